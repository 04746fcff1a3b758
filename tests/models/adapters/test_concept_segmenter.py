"""SAM 3 with texts and example boxes, as the library's documented call finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.query import query_for
from napari_segany.models.adapters import concept_segmenter
from napari_segany.models.adapters.concept_finder import Example
from napari_segany.models.adapters.concept_segmenter import ConceptSegmenter, drawn
from napari_segany.models.loading import load_segmenter

from tests.models.adapters.small_models import concept_folder, transformers  # isort: skip

SHAPE = (90, 140)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return concept_folder(tmp_path_factory.mktemp("sam3") / "sam3")


@pytest.fixture
def segmenter(folder: Path) -> ConceptSegmenter:
    found = load_segmenter(folder, "cpu", "float32")
    assert type(found) is ConceptSegmenter
    found.kept = torch.float32
    return found


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    blocks = np.random.default_rng(2).integers(0, 256, (16, 24, 3))
    return np.kron(blocks, np.ones((8, 8, 1))).astype(np.uint8)[: SHAPE[0], : SHAPE[1]]


def documented(folder: Path, plane: np.ndarray, threshold: float, **given: Any) -> dict[str, Any]:
    images = transformers.Sam3ImageProcessor(size={"height": 112, "width": 112})
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.Sam3Processor(images, tokenizer)
    inputs = processor(images=plane, return_tensors="pt", **given)
    sizes = inputs.pop("original_sizes")
    with torch.inference_mode():
        found = transformers.Sam3Model.from_pretrained(folder).eval()(**inputs)
    return processor.post_process_instance_segmentation(
        found, threshold=threshold, mask_threshold=0.5, target_sizes=sizes.tolist()
    )[0]


BOXES = (Box(20, 15, 55, 60), Box(10, 80, 40, 120))
CASES = {
    "text": ("cell", ()),
    "other text": ("a nuclear envelope", ()),
    "boxes": ("", (Example(BOXES[0]), Example(BOXES[1], positive=False))),
    "both": ("cell", (Example(BOXES[0]),)),
}


@pytest.mark.parametrize("case", CASES)
def test_objects_are_the_librarys(segmenter, folder, plane, case) -> None:
    text, examples = CASES[case]
    given: dict[str, Any] = {"text": text} if text else {}
    if examples:
        given["input_boxes"] = [[[one.box.x0, one.box.y0, one.box.x1, one.box.y1] for one in examples]]
        given["input_boxes_labels"] = [[int(one.positive) for one in examples]]
    theirs = documented(folder, plane, 0.0, **given)
    ours = segmenter.detections(segmenter.embed(plane), text, examples)
    order = torch.argsort(theirs["scores"], descending=True, stable=True)
    torch.testing.assert_close(ours.scores, theirs["scores"][order], atol=1e-4, rtol=1e-4)
    masks = drawn(ours, SHAPE)
    for mask, number in zip(masks, order.tolist(), strict=True):
        assert np.mean(mask.pixels != theirs["masks"][number].numpy().astype(bool)) < 1e-3


def test_texts_go_through_the_query(segmenter, plane, monkeypatch) -> None:
    monkeypatch.setattr(concept_segmenter, "LEAST", 0.0)
    assert segmenter.capabilities.texts
    query = query_for(segmenter, "cell", changes={"score": 0.0, "stability": 0.0, "box_overlap": 1.0})
    candidates = query.candidates(segmenter, plane)
    assert len(candidates) > 0
    assert {one.name for one in candidates} == {"cell"}
    known = segmenter.detections(segmenter.embed(plane), "cell")
    assert {round(one.score, 4) for one in candidates} <= {round(float(score), 4) for score in known.scores}
    assert all(name == "cell" for name in query.select(candidates).names)


def test_a_click_chooses_among_the_objects_of_a_text(segmenter, plane, monkeypatch) -> None:
    monkeypatch.setattr(concept_segmenter, "LEAST", 0.0)
    embedding = segmenter.embed(plane)
    masks = drawn(segmenter.detections(embedding, "cell"), SHAPE)
    best = next(one for one in masks if one.pixels.any())
    y, x = (int(k[len(k) // 2]) for k in np.nonzero(best.pixels))
    (answer,) = segmenter.segment(embedding, [Prompt((Point(y, x),), text="cell")])
    fitting = [one for one in masks if one.pixels[y, x]]
    assert answer[0].score == pytest.approx(max(one.score for one in fitting))
    assert answer[0].pixels[y, x]
    (together,) = segmenter.segment(embedding, [Prompt(text="cell")])
    assert np.array_equal(together[0].pixels, np.any([one.pixels for one in masks], axis=0))


def test_prompts_with_and_without_texts_keep_their_order(segmenter, plane) -> None:
    embedding = segmenter.embed(plane)
    click = Prompt((Point(30, 40),))
    answers = segmenter.segment(embedding, [Prompt(text="cell"), click, Prompt(text="cell")])
    assert [len(masks) for masks in answers] == [1, 3, 1]
    np.testing.assert_array_equal(answers[1][0].logits, segmenter.segment(embedding, [click])[0][0].logits)


def test_an_excluded_name_takes_objects_away(segmenter, plane, monkeypatch) -> None:
    monkeypatch.setattr(concept_segmenter, "LEAST", 0.0)
    embedding = segmenter.embed(plane)
    (phrase,) = segmenter.phrases("cell not cell")
    assert segmenter.named_proposals(embedding, [phrase]) == []


def test_the_detector_shares_the_image_encoder(segmenter, plane) -> None:
    segmenter.detections(segmenter.embed(plane), "cell")
    detector = segmenter._finder._detector
    assert detector.vision_encoder.backbone is segmenter.model.vision_encoder.backbone


def test_memory_and_clicks_are_those_of_the_tracker(segmenter, plane) -> None:
    assert segmenter.capabilities.memory
    pixels = np.zeros(SHAPE, bool)
    pixels[20:50, 30:60] = True
    memory = segmenter.remember(3)
    memory.give(0, segmenter.embed(plane), pixels)
    assert memory.step(1, segmenter.embed(plane), backward=False).pixels.shape == SHAPE


def test_without_a_tokenizer_there_are_no_texts(tmp_path) -> None:
    folder = concept_folder(tmp_path / "sam3")
    (folder / "vocab.json").unlink()
    segmenter = load_segmenter(folder, "cpu")
    assert not segmenter.capabilities.texts
    with pytest.raises(ModelError, match="no text"):
        query_for(segmenter, "cell")


def test_a_text_that_names_nothing_is_refused(segmenter) -> None:
    with pytest.raises(InputError):
        query_for(segmenter, "small")
