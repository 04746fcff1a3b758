"""The class branch: it changes no mask, describes any mask, and belongs to one encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage.data import coins

from napari_segany.core.errors import ModelError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.models import loading
from napari_segany.models.inference_config import read_metadata
from napari_segany.models.loading import load_segmenter, weights_of
from napari_segany.models.registry import find
from napari_segany.models.tiny.mask_classes import (
    ENCODER,
    REGIONS,
    MaskClasses,
    MaskClassesConfig,
    classes_file,
    encoder_digest,
    read_classes,
    regions_of,
    shapes_of,
    write_classes,
)
from napari_segany.models.tiny.zoom import ZoomSegmenter

CONFIG = MaskClassesConfig(("nucleus", "cell", "other"), width=32, temperature=2.0, least=0.4)
IMAGE = np.repeat(coins()[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("names") / "classes.safetensors"
    write_classes(MaskClasses(CONFIG), encoder_digest(weights_of(find("tiny").path)), path)
    return path


@pytest.fixture(scope="module")
def segmenter(written: Path) -> ZoomSegmenter:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "classes_file", lambda: written)
        found = load_segmenter("tiny", "cpu", "float32")
    assert isinstance(found, ZoomSegmenter)
    return found


def square(top: int, left: int, side: int) -> tuple[tuple[slice, slice], np.ndarray]:
    return (slice(top, top + side), slice(left, left + side)), np.ones((side, side), bool)


def test_a_branch_is_read_as_it_was_written(written: Path) -> None:
    branch = read_classes(written)
    assert branch.config == CONFIG
    torch.manual_seed(0)
    for name, value in MaskClasses(CONFIG).state_dict().items():
        assert torch.allclose(branch.state_dict()[name], value, atol=2e-3)


@pytest.mark.parametrize("change", [{"names": ("a", "b")}, {"width": 48}])
def test_weights_of_other_sizes_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    branch = MaskClasses(CONFIG)
    branch.config = replace(CONFIG, **change)
    write_classes(branch, "", tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r"does not hold names"):
        read_classes(tmp_path / "a.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(ModelError, match="no names"):
        read_classes(tmp_path / "b.safetensors")


def test_names_change_no_mask(segmenter: ZoomSegmenter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prompts = [Prompt((Point(45, 335),)), Prompt((Point(45, 335), Point(60, 300, False)))]
    monkeypatch.setattr(loading, "classes_file", lambda: tmp_path / "none")
    plain = load_segmenter("tiny", "cpu", "float32")
    assert plain.capabilities.known_classes is None
    ours, theirs = (one.segment(one.embed(IMAGE), prompts) for one in (segmenter, plain))
    named = segmenter.name_masks(segmenter.embed(IMAGE), ours[0])
    for masks in (ours[0], named):
        for one, other in zip(masks, theirs[0], strict=True):
            np.testing.assert_array_equal(one.pixels, other.pixels)
            assert one.score == other.score
    assert all(mask.class_name in ("", *CONFIG.names) for mask in named)


@pytest.mark.parametrize("place", [(0, 0, 1), (0, 0, 30), (280, 360, 20), (100, 100, 3), (1, 1, 290)], ids=str)
def test_any_mask_has_a_vector_that_does_not_depend_on_the_others(
    segmenter: ZoomSegmenter, place: tuple[int, int, int]
) -> None:
    window, mask = square(*place)
    others = [square(50 + 5 * k, 60, 12) for k in range(20)]
    alone = segmenter.class_vectors(IMAGE, [window], [mask])
    together = segmenter.class_vectors(IMAGE, [window, *(w for w, _ in others)], [mask, *(m for _, m in others)])
    assert np.isfinite(alone).all()
    np.testing.assert_allclose(together[:1], alone, atol=2e-3)
    assert segmenter.class_vectors(IMAGE, [], []).shape == (0, CONFIG.width)


@pytest.mark.parametrize("inside", [False, True])
def test_what_is_in_the_mask_counts(segmenter: ZoomSegmenter, inside: bool) -> None:
    """Two masks at one place differ, and so does one mask on two pictures."""
    window, mask = square(40, 320, 30)
    changed = IMAGE.copy()
    changed[45:65, 325:345] = 0 if inside else changed[45:65, 325:345]
    smaller = mask.copy()
    smaller[:, 15:] = inside
    one = segmenter.class_vectors(IMAGE, [window], [mask])
    other = segmenter.class_vectors(changed, [window], [smaller])
    assert np.abs(one - other).max() > 1e-3


def test_regions_are_inside_around_outside_and_everywhere() -> None:
    cover = torch.zeros(1, 64, 64)
    cover[:, 16:48, 16:48] = 1
    regions = regions_of(cover, 16).exp().view(REGIONS, 16, 16)
    inside, ring, outside, everywhere = regions
    assert inside[8, 8] == pytest.approx(1, abs=1e-3)
    assert inside[0, 0] == pytest.approx(0, abs=1e-3)
    assert ring[8, 8] == pytest.approx(0, abs=1e-3)
    assert ring[3, 8] > 0.5
    assert outside[0, 0] == pytest.approx(1, abs=1e-3)
    assert everywhere.min() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("pixels", [0, 1, 64 * 64])
def test_shapes_of_any_mask_are_finite(pixels: int) -> None:
    cover = torch.zeros(1, 64 * 64)
    cover[:, :pixels] = 1
    assert torch.isfinite(shapes_of(cover.view(1, 64, 64))).all()


def test_a_branch_of_another_encoder_is_not_used(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that were trained on other features would be wrong without a sign of it."""
    path = tmp_path / "other.safetensors"
    write_classes(read_classes(written), "of other weights", path)
    monkeypatch.setattr(loading, "classes_file", lambda: path)
    segmenter = load_segmenter("tiny", "cpu", "float32")
    assert segmenter.capabilities.known_classes is None
    assert isinstance(segmenter, ZoomSegmenter)
    with pytest.raises(ModelError, match="knows no names"):
        segmenter.class_vectors(IMAGE, [], [])


def test_the_branch_in_the_package_belongs_to_the_weights_in_the_package() -> None:
    """After another training of `tiny`, its names are trained again: ``napari-segany train classes``."""
    path = classes_file()
    assert path.stat().st_size <= 300_000
    assert read_metadata(path)[ENCODER] == encoder_digest(weights_of(find("tiny").path))
    names = read_classes(path).config.names
    assert {"nucleus", "cell", "bacterium", "mitochondrion"} < set(names)
    assert names[-1] == "other"
