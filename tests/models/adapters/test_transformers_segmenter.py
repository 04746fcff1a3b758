"""SAM and its successors: masks and scores as of the library's documented call, and bad folders in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_segany.core.automatic_masks import Grid
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.query import Query
from napari_segany.engine.embeddings import EmbeddingStore
from napari_segany.engine.encoding import PlaneEncoder, model_key
from napari_segany.models import availability
from napari_segany.models.adapters import hub_folder
from napari_segany.models.adapters.hub_loading import load_hub_folder
from napari_segany.models.adapters.transformers_segmenter import TransformersSegmenter
from napari_segany.models.loading import load_segmenter

from tests.models.adapters.small_models import small_folder, transformers  # isort: skip

KINDS = ("sam", "sam_hq", "sam2", "edgetam", "sam3_tracker")
SHAPES = ((90, 140), (150, 70), (128, 128))
CLICK = Prompt((Point(30, 40),))
PROMPTS = {
    "click": CLICK,
    "clicks": Prompt((Point(30.5, 40), Point(50, 61.25, positive=False), Point(8, 9))),
    "box": Prompt(box=Box(20, 15, 55, 60)),
    "both": Prompt((Point(30, 40), Point(50, 61, positive=False)), Box(20, 15, 55, 60)),
}


def plane_of(shape: tuple[int, int]) -> np.ndarray:
    smooth = np.random.default_rng(4).integers(0, 256, (shape[0] // 8 + 2, shape[1] // 8 + 2, 3))
    return np.kron(smooth, np.ones((8, 8, 1)))[: shape[0], : shape[1]].astype(np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: small_folder(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def segmenters(folders: dict[str, Path]) -> dict[str, TransformersSegmenter]:
    found = {kind: load_hub_folder(folder, torch.device("cpu")) for kind, folder in folders.items()}
    for one in found.values():
        one.kept = torch.float32
    return found


def processor_of(kind: str) -> Any:
    """The library's processor, at the size of the small model."""
    square = {"height": 128, "width": 128}
    if kind in ("sam", "sam_hq"):
        images = transformers.SamImageProcessor(size={"longest_edge": 128}, pad_size=square)
        return {"sam": transformers.SamProcessor, "sam_hq": transformers.SamHQProcessor}[kind](images)
    if kind == "sam3_tracker":
        return transformers.Sam3TrackerProcessor(transformers.Sam3ImageProcessor(size={"height": 112, "width": 112}))
    return transformers.Sam2Processor(transformers.Sam2ImageProcessor(size=square))


def documented(kind: str, folder: Path, plane: np.ndarray, prompt: Prompt, several: bool) -> Any:
    """Masks (M, y, x), IoU (M,) and logits of the object score, as the library's documentation calls it."""
    processor = processor_of(kind)
    given: dict[str, Any] = {}
    if prompt.points:
        given["input_points"] = [[[[point.x, point.y] for point in prompt.points]]]
        given["input_labels"] = [[[int(point.positive) for point in prompt.points]]]
    if prompt.box is not None:
        given["input_boxes"] = [[[prompt.box.x0, prompt.box.y0, prompt.box.x1, prompt.box.y1]]]
    inputs = processor(images=plane, return_tensors="pt", **given)
    model = getattr(transformers, json.loads((folder / "config.json").read_text())["architectures"][0])
    with torch.inference_mode():
        sizes = {key: inputs.pop(key) for key in ("original_sizes", "reshaped_input_sizes") if key in inputs}
        found = model.from_pretrained(folder).eval()(**inputs, multimask_output=several)
    masks = processor.post_process_masks(found.pred_masks, *sizes.values())[0][0]
    return found, masks.numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("several", [True, False], ids=["three", "one"])
@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_scores_are_the_librarys(segmenters, folders, kind, prompt, several, shape) -> None:
    plane, segmenter = plane_of(shape), segmenters[kind]
    theirs, masks = documented(kind, folders[kind], plane, PROMPTS[prompt], several)
    embedding = segmenter.embed(plane)
    ours = segmenter.predict(embedding, [PROMPTS[prompt]], 3 if several else 1)
    torch.testing.assert_close(ours.logits, theirs.pred_masks[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.iou, theirs.iou_scores[0], atol=1e-4, rtol=1e-4)
    if kind in ("sam", "sam_hq"):
        assert ours.object_score is None
    else:
        torch.testing.assert_close(ours.object_score, theirs.object_score_logits[0, 0], atol=1e-4, rtol=1e-4)
    answer = segmenter.segment(embedding, [PROMPTS[prompt]], candidates=3 if several else 1)[0]
    scores = theirs.iou_scores[0, 0]
    order = torch.argsort(scores, descending=True, stable=True).tolist()
    assert [one.score for one in answer] == pytest.approx(scores[order].clamp(0, 1).tolist(), abs=1e-4)
    for mask, number in zip(answer, order, strict=True):
        assert mask.pixels.shape == shape
        assert np.mean(mask.pixels != masks[number]) < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_prompt_is_what_the_model_returned(segmenters, folders, kind) -> None:
    plane, segmenter = plane_of((90, 140)), segmenters[kind]
    embedding = segmenter.embed(plane)
    first = segmenter.segment(embedding, [CLICK])[0][0]
    prompts = [Prompt(CLICK.points, mask=first.logits), Prompt(mask=first.logits)]
    inputs = processor_of(kind)(images=plane, input_points=[[[[40, 30]]]], input_labels=[[[1]]], return_tensors="pt")
    model = segmenter.model
    logits = torch.tensor(first.logits)[None, None]
    with torch.inference_mode():
        given = {key: inputs[key] for key in ("pixel_values", "input_points", "input_labels")}
        both = model(**given, input_masks=logits, multimask_output=False)
        alone = model(pixel_values=given["pixel_values"], input_masks=logits, multimask_output=False)
    for prompt, theirs in zip(prompts, (both, alone), strict=True):
        ours = segmenter.predict(embedding, [prompt], 1)
        torch.testing.assert_close(ours.logits, theirs.pred_masks[0], atol=1e-4, rtol=1e-4)
    rough = np.zeros((90, 140), bool)
    rough[20:60, 30:70] = True
    assert segmenter.segment(embedding, [Prompt(mask=rough)])[0][0].pixels.shape == (90, 140)
    with pytest.raises(InputError, match="mask logits"):
        segmenter.segment(embedding, [Prompt(mask=np.zeros((7, 9), np.float32))])


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_in_one_call_are_those_of_single_calls(segmenters, kind) -> None:
    segmenter = segmenters[kind]
    embedding = segmenter.embed(plane_of((90, 140)))
    others = [Prompt((Point(y, x),)) for y, x in ((5, 6), (80, 100), (44, 90))]
    prompts = [*PROMPTS.values(), *others]
    together = segmenter.segment(embedding, prompts)
    for prompt, masks in zip(prompts, together, strict=True):
        (alone,) = segmenter.segment(embedding, [prompt])
        assert [one.score for one in masks] == pytest.approx([one.score for one in alone], abs=1e-5)
        assert len(masks) == (3 if prompt.ambiguous else 1)
        for one, other in zip(masks, alone, strict=True):
            assert np.mean(one.pixels != other.pixels) < 1e-3
    assert segmenter.segment(embedding, prompts, at_least=1.5) == [[] for _ in prompts]


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_kept_in_half_precision(folders, kind) -> None:
    segmenter = load_segmenter(folders[kind], "cpu", "float32")
    embedding = segmenter.embed(plane_of((90, 140)))
    assert {array.dtype for array in embedding.features.values()} == {np.dtype(np.float16)}
    assert len(embedding.features) == {"sam": 1, "sam_hq": 2}.get(kind, 3)
    assert embedding.nbytes == 2 * sum(array.size for array in embedding.features.values())
    exact = load_hub_folder(folders[kind], torch.device("cpu"))
    exact.kept = torch.float32
    other = exact.segment(exact.embed(plane_of((90, 140))), [CLICK])[0]
    for one, two in zip(segmenter.segment(embedding, [CLICK])[0], other, strict=True):
        assert one.score == pytest.approx(two.score, abs=5e-3)


def test_features_beyond_half_precision_stay_single(folders) -> None:
    segmenter = load_hub_folder(folders["sam2"], torch.device("cpu"))
    with torch.no_grad():
        segmenter.model.mask_decoder.conv_s0.bias.fill_(1e6)
    embedding = segmenter.embed(plane_of((64, 64)))
    assert {array.dtype for array in embedding.features.values()} == {np.dtype(np.float16), np.dtype(np.float32)}
    assert all(np.isfinite(array).all() for array in embedding.features.values())


@pytest.mark.parametrize("kind", KINDS)
def test_automatic_masks(segmenters, kind) -> None:
    found = Query(Grid(4)).candidates(segmenters[kind], plane_of((90, 140)))
    assert all(one.mask.any() for one in found)
    assert not segmenters[kind].capabilities.texts


def test_the_name_changes_with_the_weights(folders, tmp_path) -> None:
    first = load_segmenter(f"hf:{folders['sam2']}", "cpu")
    assert first.name == load_segmenter(str(folders["sam2"]), "cpu").name
    other = load_segmenter(small_folder("sam2", tmp_path / folders["sam2"].name, seed=8), "cpu")
    assert other.name != first.name
    assert other.name.rpartition("-")[0] == first.name.rpartition("-")[0]


def test_a_picture_is_normalised_as_the_folder_says(tmp_path) -> None:
    folder = small_folder("sam2", tmp_path / "own")
    usual = load_segmenter(folder, "cpu").pixels(plane_of((40, 40)))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}))
    own = load_segmenter(folder, "cpu").pixels(plane_of((40, 40)))
    assert own.min() >= 0 and own.max() <= 1 and usual.min() < 0  # noqa: PT018
    for wrong in ({"image_mean": ["?"]}, {"image_std": [0, 0, 0]}, {"image_mean": [0.5]}):
        (folder / "preprocessor_config.json").write_text(json.dumps(wrong))
        with pytest.raises(ModelError, match="settings of the picture") as caught:
            load_segmenter(folder, "cpu")
        assert "\n" not in str(caught.value)


def test_texts_and_strange_embeddings_are_refused(segmenters) -> None:
    segmenter = segmenters["sam2"]
    embedding = segmenter.embed(plane_of((90, 140)))
    with pytest.raises(ModelError, match="no text"):
        segmenter.segment(embedding, [Prompt(text="nuclei")])
    with pytest.raises(InputError, match="not by"):
        segmenters["edgetam"].segment(embedding, [CLICK])
    with pytest.raises(InputError, match="candidates"):
        segmenter.segment(embedding, [CLICK], candidates=2)


def _without(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def _with(name: str, text: str) -> Any:
    return lambda folder: (folder / name).write_text(text)


def _other_kind(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))


def _fewer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    del state["mask_decoder.iou_token.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def _infinite(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state["mask_decoder.iou_token.weight"] += float("nan")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def _other_shape(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state["mask_decoder.iou_token.weight"] = torch.ones(1, 5)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (_without("model.safetensors"), "holds no weights"),
        (_with("config.json", "{"), "is no JSON"),
        (_with("config.json", "[]"), "holds no settings"),
        (_other_kind, "kind 'bert'; supported are .*SAM 2"),
        (_with("model.safetensors", "nothing"), "not a complete safetensors file"),
        (_fewer, "lacks 1 weights of Sam2Model, first 'mask_decoder.iou_token.weight'"),
        (_other_shape, "Sam2Model"),
        (_infinite, "NaN"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_line(tmp_path, spoil, line) -> None:
    folder = small_folder("sam2", tmp_path / "mine")
    spoil(folder)
    with pytest.raises(ModelError, match=line) as caught:
        load_segmenter(f"hf:{folder}", "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["hf:", "hf:no such folder", "hf:/no/such/folder", "hf:~nobody-of-that-name/a"])
def test_a_folder_that_is_not_there_is_one_line(name) -> None:
    with pytest.raises(ModelError) as caught:
        load_segmenter(name, "cpu")
    assert "\n" not in str(caught.value)


def test_a_model_that_is_too_large_for_the_memory_is_said_before(folders, monkeypatch) -> None:
    monkeypatch.setattr(availability.psutil, "virtual_memory", lambda: type("Free", (), {"available": 10**6})())
    with pytest.raises(ModelError, match=r"needs about 1\.1 GB of memory, and 0\.0 GB are free"):
        load_segmenter(folders["sam2"], "cpu")


@pytest.mark.parametrize(("version", "line"), [(None, "not installed"), ("4.57.1", "transformers 5 or later")])
def test_without_the_library_the_extra_is_named(folders, monkeypatch, version, line) -> None:
    def imported(name: str) -> Any:
        if version is None:
            raise ImportError(name)
        return type("Old", (), {"__version__": version})()

    monkeypatch.setattr(hub_folder, "import_module", imported)
    with pytest.raises(ModelError, match=line) as caught:
        load_segmenter(folders["sam2"], "cpu")
    assert "napari-segany[transformers]" in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reduced_precision_is_nearly_the_same(folders, segmenters, kind) -> None:
    reduced = load_segmenter(folders[kind], "cpu", "bfloat16")
    assert reduced.capabilities.precision == "bfloat16"
    embedding = reduced.embed(plane_of((90, 140)))
    assert {array.dtype for array in embedding.features.values()} == {np.dtype(np.float16)}
    scores = [mask.score for mask in reduced.segment(embedding, [CLICK])[0]]
    exact = segmenters[kind].segment(segmenters[kind].embed(plane_of((90, 140))), [CLICK])[0]
    assert scores == pytest.approx([mask.score for mask in exact], abs=0.1)


def test_embeddings_come_back_from_the_disk(folders, tmp_path) -> None:
    segmenter = load_segmenter(folders["sam2"], "cpu", "float32")
    store = EmbeddingStore(tmp_path / "kept")
    maker = model_key(segmenter)
    assert maker
    plane = plane_of((90, 140))
    first = PlaneEncoder(segmenter, store, maker).embed(plane)
    again = PlaneEncoder(segmenter, store, maker).embed(plane)
    assert again is not first
    for name, array in first.features.items():
        np.testing.assert_array_equal(again.features[name], array)
    answers = [segmenter.segment(one, [CLICK])[0][0].logits for one in (first, again)]
    np.testing.assert_array_equal(*answers)
