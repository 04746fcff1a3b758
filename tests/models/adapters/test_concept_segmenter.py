"""SAM 3 with texts and example boxes, as the library's documented call finds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from napari_segany import cli
from napari_segany.core import tiles
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.prompts import Box, ExampleBox, Point, Prompt
from napari_segany.core.query import Query, example_query, query_for
from napari_segany.models.adapters import concept_segmenter
from napari_segany.models.adapters.concept_segmenter import ConceptSegmenter, DetectorSegmenter, drawn
from napari_segany.models.loading import load_segmenter
from tests.fakes import FakeSegmenter

from tests.models.adapters.small_models import concept_folder, detector_folder, transformers  # isort: skip

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
    "boxes": ("", (ExampleBox(BOXES[0]), ExampleBox(BOXES[1], positive=False))),
    "both": ("cell", (ExampleBox(BOXES[0]),)),
}


@pytest.mark.parametrize("case", CASES)
def test_objects_are_the_librarys(segmenter, folder, plane, case) -> None:
    text, examples = CASES[case]
    given: dict[str, Any] = {"text": text} if text else {}
    if examples:
        given["input_boxes"] = [[[one.box.x0, one.box.y0, one.box.x1, one.box.y1] for one in examples]]
        given["input_boxes_labels"] = [[int(one.positive) for one in examples]]
    theirs = documented(folder, plane, 0.0, **given)
    embedding = segmenter.embed(plane)
    encoded = segmenter.encode_examples(embedding, examples) if examples else None
    ours = segmenter.detections(embedding, text, encoded)
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


ANY = {"score": 0.0, "stability": 0.0, "box_overlap": 1.0}


@pytest.fixture
def anything(monkeypatch) -> None:
    """Random weights are sure of nothing: all detections are objects."""
    monkeypatch.setattr(concept_segmenter, "LEAST", 0.0)
    monkeypatch.setattr("napari_segany.core.query.LEAST_SCORE", 0.0)


@pytest.mark.parametrize("case", ["boxes", "both"])
def test_example_boxes_go_through_the_query(segmenter, folder, plane, anything, case) -> None:
    text, examples = CASES[case]
    query = example_query(segmenter, examples, text, changes=ANY)
    assert query.examples == examples
    candidates = query.candidates(segmenter, plane)
    given: dict[str, Any] = {"text": text} if text else {}
    given["input_boxes"] = [[[one.box.x0, one.box.y0, one.box.x1, one.box.y1] for one in examples]]
    given["input_boxes_labels"] = [[int(one.positive) for one in examples]]
    theirs = documented(folder, plane, 0.0, **given)
    seen = theirs["masks"].flatten(1).any(1)
    scores = sorted((float(one) for one in theirs["scores"][seen]), reverse=True)
    assert sorted((one.score for one in candidates), reverse=True) == pytest.approx(scores, abs=1e-4)
    assert {one.name for one in candidates} == ({text} if text else {""})
    assert all(name == text for name in query.select(candidates).names)


def test_example_boxes_of_one_tile_serve_all_tiles(segmenter, plane, anything, monkeypatch) -> None:
    monkeypatch.setattr(tiles, "LARGE", 1000)
    regions = [(slice(0, 90), slice(0, 80)), (slice(0, 90), slice(60, 140))]
    monkeypatch.setattr(tiles, "tile_grid", lambda shape: regions)
    query = example_query(segmenter, [ExampleBox(Box(20, 85, 55, 120))], "cell", changes=ANY)
    candidates = query.candidates(segmenter, plane)
    parts = [np.ascontiguousarray(plane[region]) for region in regions]
    encoded = segmenter.encode_examples(segmenter.embed(parts[1]), [ExampleBox(Box(20, 25, 55, 60))])
    assert [region for region, _ in candidates.found] == regions
    for part, (_, batch) in zip(parts, candidates.found, strict=True):
        known = segmenter.detections(segmenter.embed(part), "cell", encoded)
        assert {round(one.score, 5) for one in batch} <= {round(float(one), 5) for one in known.scores}
    # (on the tile with the box, this is the library's own call; an example changes what is found on the other one)
    without = segmenter.detections(segmenter.embed(parts[0]), "cell").scores
    assert not torch.allclose(segmenter.detections(segmenter.embed(parts[0]), "cell", encoded).scores, without)


def test_boxes_in_several_tiles_are_all_examples(segmenter, plane, monkeypatch) -> None:
    monkeypatch.setattr(tiles, "LARGE", 1000)
    regions = [(slice(0, 90), slice(0, 80)), (slice(0, 90), slice(60, 140))]
    monkeypatch.setattr(tiles, "tile_grid", lambda shape: regions)
    given: list[int] = []
    encode = segmenter.encode_examples

    def counted(embedding, examples):
        found = encode(embedding, examples)
        given.append(len(found))
        return found

    monkeypatch.setattr(segmenter, "encode_examples", counted)
    boxes = [ExampleBox(Box(20, 85, 55, 120)), ExampleBox(Box(2, 3, 20, 25)), ExampleBox(Box(40, 9, 60, 30), False)]
    example_query(segmenter, boxes, changes=ANY).candidates(segmenter, plane)
    # each call adds a token for the whole
    assert sorted(given) == [2, 3]


@pytest.mark.parametrize(
    ("examples", "error", "reason"),
    [
        ((), InputError, "draw a box"),
        ((ExampleBox(BOXES[0], positive=False),), InputError, "draw a box"),
        ((ExampleBox(Box(200, 200, 220, 220)),), InputError, "lies outside the picture"),
    ],
)
def test_examples_that_show_nothing_are_one_line(segmenter, plane, examples, error, reason) -> None:
    with pytest.raises(error, match=reason):
        example_query(segmenter, examples).candidates(segmenter, plane)


def test_other_models_take_no_example_boxes(plane) -> None:
    fake = FakeSegmenter()
    with pytest.raises(ModelError, match="'fake' takes no example boxes; SAM 3 does"):
        example_query(fake, [ExampleBox(BOXES[0])])
    with pytest.raises(ModelError, match="takes no example boxes"):
        Query(examples=(ExampleBox(BOXES[0]),)).candidates(fake, plane)


def test_example_boxes_on_the_command_line(folder, plane, tmp_path, capsys) -> None:
    Image.fromarray(plane).save(tmp_path / "cells.png")
    command = ["segment", str(tmp_path / "cells.png"), "-o", str(tmp_path / "out"), "--model", str(folder)]
    boxes = ["--example", "20,15,55,60", "--example", "10,80,40,120,-"]
    assert cli.main([*command, "--text", "cell", *boxes, "--score", "0"]) == 0
    settings = json.loads((tmp_path / "out" / "everything.json").read_text())
    assert [one["positive"] for one in settings["examples"]] == [True, False]
    assert settings["examples"][0]["box"] == {"y0": 20, "x0": 15, "y1": 55, "x1": 60}
    # other boxes are other settings
    assert cli.main([*command, "--text", "cell", *boxes[:2], "--score", "0"]) == 2
    assert "made with another examples" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--example", "20,15,55"], "--example takes y0,x0,y1,x1"),
        (["--example", "20,15,55,60,-", "--model", "FOLDER"], "draw a box"),
        (["--example", "200,200,210,210"], "has no area on"),
        (["--example", "20,15,20,60"], "has no area on"),
        (["--example", "20,15,55,60"], "'tiny' takes no example boxes"),
        (["--example", "20,15,55,60", "--everything"], "leave --everything out"),
        (["--example", "20,15,55,60", "--grid", "8"], "leave exemplars, a CLIP and grids out"),
        (["--example", "20,15,55,60", "--point", "3,4"], "--example takes no points"),
    ],
)
def test_wrong_example_boxes_are_one_line(folder, plane, tmp_path, capsys, options, reason) -> None:
    Image.fromarray(plane).save(tmp_path / "cells.png")
    options = [str(folder) if one == "FOLDER" else one for one in options]
    assert cli.main(["segment", str(tmp_path / "cells.png"), "-o", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_example_boxes_are_of_one_plane(tmp_path, capsys) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 40, 50), np.uint8), photometric="minisblack")
    command = ["segment", str(tmp_path / "stack.tif"), "-o", str(tmp_path / "out"), "--example", "2,3,20,30"]
    assert cli.main(command) == 2
    assert "one image of one plane" in capsys.readouterr().err


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return detector_folder(tmp_path_factory.mktemp("detector") / "sam3")


@pytest.mark.parametrize("case", CASES)
def test_the_detector_alone_finds_what_the_library_finds(detector, plane, case) -> None:
    text, examples = CASES[case]
    segmenter = load_segmenter(detector, "cpu", "float32")
    assert type(segmenter) is DetectorSegmenter
    segmenter.kept = torch.float32
    given: dict[str, Any] = {"text": text} if text else {}
    if examples:
        given["input_boxes"] = [[[one.box.x0, one.box.y0, one.box.x1, one.box.y1] for one in examples]]
        given["input_boxes_labels"] = [[int(one.positive) for one in examples]]
    theirs = documented(detector, plane, 0.0, **given)
    embedding = segmenter.embed(plane)
    encoded = segmenter.encode_examples(embedding, examples) if examples else None
    ours = segmenter.detections(embedding, text, encoded)
    torch.testing.assert_close(ours.scores, theirs["scores"].sort(descending=True)[0], atol=1e-4, rtol=1e-4)


def test_texts_of_the_detector_alone_go_through_the_query(detector, plane, anything) -> None:
    segmenter = load_segmenter(detector, "cpu")
    known = segmenter.capabilities
    assert (known.texts, known.examples, known.memory) == (True, True, False)
    found = query_for(segmenter, "cell", changes=ANY).candidates(segmenter, plane)
    assert len(found) > 0
    assert {one.name for one in found} == {"cell"}
    (together,) = segmenter.segment(segmenter.embed(plane), [Prompt(text="cell")])
    assert together[0].pixels.any()


@pytest.mark.parametrize(
    "prompt", [Prompt((Point(20, 30),)), Prompt(box=BOXES[0]), Prompt(mask=np.ones(SHAPE, bool)), Prompt(text="")]
)
def test_clicks_for_the_detector_alone_are_one_line(detector, plane, prompt) -> None:
    segmenter = load_segmenter(detector, "cpu")
    with pytest.raises(ModelError, match="clicks, boxes and masks need the weights of the tracker") as caught:
        segmenter.segment(segmenter.embed(plane), [prompt])
    assert "\n" not in str(caught.value)


def test_the_detector_alone_without_a_tokenizer_is_refused(tmp_path) -> None:
    folder = detector_folder(tmp_path / "sam3")
    (folder / "vocab.json").unlink()
    with pytest.raises(ModelError, match="lacks the tokenizer"):
        load_segmenter(folder, "cpu")


def test_clicks_for_the_detector_alone_on_the_command_line(detector, plane, tmp_path, capsys) -> None:
    Image.fromarray(plane).save(tmp_path / "cells.png")
    command = ["segment", str(tmp_path / "cells.png"), "-o", str(tmp_path / "out.tif"), "--model", str(detector)]
    assert cli.main([*command, "--point", "20,30"]) == 2
    error = capsys.readouterr().err
    assert "need the weights of the tracker" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.tif").exists()
