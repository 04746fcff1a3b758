"""``mask2former:FOLDER``: published checkpoints find objects with their classes, or are refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.filters import Filters
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.query import query_for
from napari_segany.models.loading import load_segmenter
from napari_segany.models.mask2former import published
from napari_segany.models.mask2former.mask2former_segmenter import Mask2FormerSegmenter, resized_shape
from napari_segany.models.mask2former.published import PublishedInput

transformers = pytest.importorskip("transformers")

NAMES = {0: "nucleus", 1: "cell", 2: "mitochondrion"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with random weights that is sure of one class, as ``save_pretrained`` writes it."""
    path = tmp_path_factory.mktemp("published")
    torch.manual_seed(5)
    inner = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, out_features=[f"stage{i}" for i in range(1, 5)]
    )
    sizes = dict.fromkeys(("feature_size", "mask_feature_size", "hidden_dim"), 32)
    config = transformers.Mask2FormerConfig(
        backbone_config=inner,
        **sizes,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=3,
        num_attention_heads=4,
        dim_feedforward=32,
        num_queries=6,
        id2label=NAMES,
    )
    model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    with torch.no_grad():
        model.class_predictor.bias[1] += 12
        for block in model.model.transformer_module.decoder.mask_predictor.mask_embedder.layers:
            block.layers[0].weight.mul_(3)
    model.save_pretrained(path)
    size = {"shortest_edge": 96, "longest_edge": 160}
    (path / "preprocessor_config.json").write_text(json.dumps({"size": size, "image_mean": [0.5, 0.4, 0.3]}))
    return path


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> Mask2FormerSegmenter:
    loaded = load_segmenter(f"mask2former:{folder}", "cpu")
    assert isinstance(loaded, Mask2FormerSegmenter)
    return loaded


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 255, (70, 100, 3), np.uint8)


def test_masks_are_those_of_transformers(folder: Path, segmenter: Mask2FormerSegmenter, plane: np.ndarray) -> None:
    """The picture is resized and normalised as its settings say, and padded to a multiple of 32."""
    theirs = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(folder).eval()
    from PIL import Image

    resized = np.array(Image.fromarray(plane).resize((137, 96), Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(resized).permute(2, 0, 1)[None] / 255
    usual = PublishedInput()
    pixels = (pixels - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / torch.tensor(usual.deviation)[:, None, None]
    pixels = torch.nn.functional.pad(pixels, (0, 160 - 137, 0, 0))
    with torch.no_grad():
        expected = theirs(pixels)
    embedding = segmenter.embed(plane)
    assert np.allclose(embedding.features["masks"], expected.masks_queries_logits, atol=1e-4)
    assert np.allclose(embedding.features["classes"], expected.class_queries_logits, atol=1e-4)


def test_everything_has_class_names(segmenter: Mask2FormerSegmenter, plane: np.ndarray) -> None:
    assert segmenter.capabilities.draws
    assert segmenter.capabilities.filters != Filters()
    found = query_for(segmenter)
    selection = found.select(found.candidates(segmenter, plane))
    assert selection.objects
    assert set(selection.names) == {"cell"}
    assert selection.labels.shape == plane.shape[:2]


def test_prompts_choose_among_the_objects(segmenter: Mask2FormerSegmenter, plane: np.ndarray) -> None:
    embedding = segmenter.embed(plane)
    first = next(segmenter.found_objects(embedding))
    (answers,) = segmenter.segment(embedding, [Prompt((first.point,))])
    assert 1 <= len(answers) <= 3
    y, x = int(first.point.y), int(first.point.x)
    assert all(mask.pixels[y, x] for mask in answers)
    rows, columns = np.nonzero(first.mask.pixels)
    box = Box(rows.min(), columns.min(), rows.max(), columns.max())
    ((by_box,), (by_mask,), (by_logits,)) = segmenter.segment(
        embedding, [Prompt(box=box), Prompt(mask=first.mask.pixels), Prompt(mask=first.mask.logits)]
    )
    for mask in (by_mask, by_logits):
        assert np.array_equal(mask.pixels, first.mask.pixels)
    assert by_box.pixels.any()
    points = (first.point, Point(first.point.y, first.point.x, positive=False))
    ((nothing,),) = segmenter.segment(embedding, [Prompt(points)])
    assert not nothing.pixels.any()
    assert nothing.score == 0
    assert segmenter.segment(embedding, [Prompt(points)], at_least=0.5) == [[]]


def test_texts_and_foreign_embeddings_are_refused(segmenter: Mask2FormerSegmenter, plane: np.ndarray) -> None:
    embedding = segmenter.embed(plane)
    with pytest.raises(ModelError, match="no text"):
        segmenter.segment(embedding, [Prompt(text="cell")])
    with pytest.raises(InputError, match="not by"):
        load_segmenter("tiny", "cpu").segment(embedding, [Prompt((Point(1, 1),))])
    with pytest.raises(InputError, match="uint8"):
        segmenter.embed(plane.astype(float))


def without(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).unlink()


def with_setting(name: str, value: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        settings = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**settings, name: value}))

    return change


def written(name: str, content: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        (path / name).write_bytes(content)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("config.json"), "no config.json"),
        (without("model.safetensors"), "holds no weights"),
        (written("config.json", b"{"), "is no JSON"),
        (written("config.json", b"[]"), "holds no settings"),
        (written("model.safetensors", b"x" * 100), "model.safetensors"),
        (written("preprocessor_config.json", b'{"size": {"shortest_edge": "wide"}}'), "preprocessor_config.json"),
        (with_setting("model_type", "maskformer"), "'maskformer', not of 'mask2former'"),
        (with_setting("pre_norm", True), "pre_norm = True is not supported"),
        (with_setting("feature_strides", [8, 16, 32, 64]), "feature_strides"),
        (with_setting("backbone_config", None), "backbone None is not supported"),
        (with_setting("backbone_config", {"model_type": "resnet", "depths": [1, 1]}), "config.json"),
        (with_setting("num_queries", 7), "weights do not fit its config.json, first 'query_content.weight'"),
        (with_setting("feature_size", 33), "config.json"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    folder: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    change(tmp_path)
    with pytest.raises(ModelError, match=message.replace("(", r"\(")) as caught:
        load_segmenter(f"mask2former:{tmp_path}", "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mask2former:", "mask2former:nowhere/at all"])
def test_a_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(ModelError, match="folder"):
        load_segmenter(name, "cpu")


def test_without_transformers_one_line_tells_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r'pip install "napari-segany\[mask2former\]"'):
        load_segmenter(f"mask2former:{folder}", "cpu")


@pytest.mark.parametrize(
    ("plane", "expected"), [((100, 100), (800, 800)), ((480, 640), (800, 1067)), ((100, 1000), (133, 1333))]
)
def test_the_longest_side_is_bounded(plane: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized_shape(plane, PublishedInput()) == expected


def test_segment_everything_writes_the_classes(folder: Path, plane: np.ndarray, tmp_path: Path) -> None:
    from skimage import io

    from napari_segany.cli import main

    io.imsave(tmp_path / "plane.png", plane, check_contrast=False)
    out = tmp_path / "out"
    image, model = str(tmp_path / "plane.png"), f"mask2former:{folder}"
    assert main(["segment", image, "-o", str(out), "--everything", "--model", model, "--device", "cpu"]) == 0
    header, *rows = (out / "plane_objects.csv").read_text().splitlines()
    names = [row.split(",")[header.split(",").index("class")] for row in rows]
    assert names
    assert set(names) == {"cell"}
    assert "text" not in {row.split(",")[header.split(",").index("how")] for row in rows}


def test_a_folder_is_known_by_its_configuration(folder: Path, segmenter: Mask2FormerSegmenter) -> None:
    for named in (folder, str(folder), f"hf:{folder}"):
        loaded = load_segmenter(named, "cpu")
        assert type(loaded) is Mask2FormerSegmenter
        assert loaded.name == segmenter.name
