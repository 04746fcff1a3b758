"""Regions of large images as layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image

from napari_segany.io.ome_zarr import CHUNK, Layout, create_labels
from napari_segany.layers import region
from napari_segany.layers.read import current_view, stack_of


class Watched:
    """A plane that is made up where it is read, and knows what was."""

    ndim, dtype = 2, np.dtype(np.uint16)

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.read: list[tuple[slice, ...]] = []

    def __getitem__(self, key: Any) -> np.ndarray:
        spans = [range(*one.indices(length)) for one, length in zip(key, self.shape, strict=True)]
        self.read.append(tuple(slice(span.start, span.stop) for span in spans))
        return np.add.outer(np.array(spans[0]), np.array(spans[1])).astype(np.uint16)


def test_a_region_lies_within_the_image_around_its_centre() -> None:
    assert region.region_around((20000, 20000), (0, 1), (9000, 100)) == (slice(7976, 10024), slice(0, 2048))
    assert region.region_around((900, 20000), (0, 1), (100, 19999)) == (slice(0, 900), slice(17952, 20000))


def test_a_region_of_a_stack_has_as_many_slices_as_there_is_room_for() -> None:
    window = region.region_around((5, 2000, 4096, 4096), (2, 3), (3, 1000, 2000, 2000))
    assert [side.stop - side.start for side in window] == [1, 32, 2048, 2048]
    assert region.region_around((2000, 512, 512), (1, 2), (0, 0, 0))[0] == slice(0, 512)


@pytest.mark.parametrize("transform", [{}, {"scale": (2.0, 0.5), "translate": (7.0, -3.0), "rotate": 30.0}])
def test_a_region_is_shown_where_the_image_shows_it(transform: dict[str, Any]) -> None:
    image = Image(np.arange(600).reshape(20, 30), affine=np.array([[0, 2, 5], [1, 0, 0], [0, 0, 1.0]]), **transform)
    window = (slice(4, 12), slice(10, 25))
    part = region.cut_out(image, window)
    labels = region.labels_of_region(image, window, np.zeros((8, 15), np.int32))
    for layer in (part, labels):
        np.testing.assert_allclose(layer.data_to_world((3, 5)), image.data_to_world((7, 15)))
    np.testing.assert_array_equal(np.asarray(part.data), image.data[window])


def test_the_middle_of_what_is_shown_is_the_middle_of_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region, "SIDE", 10)
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((4, 100, 200)), scale=(5, 2, 2))
    viewer.dims.set_point(0, 10)
    getattr(viewer, "scene", viewer).camera.center = (0, 100, 300)
    assert region.region_shown(image, viewer) == (slice(0, 4), slice(45, 55), slice(145, 155))


def test_only_the_region_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region, "SIDE", 512)
    array = Watched((6000, 6000))
    image = Image(array, contrast_limits=(0, 12000), multiscale=False)
    window = region.region_around(array.shape, (0, 1), (3000, 3000))
    array.read.clear()
    viewer = ViewerModel()
    part = viewer.add_layer(region.cut_out(image, window))
    plane = stack_of(part, current_view(part, viewer.dims)).plane(0)
    assert plane.shape == (512, 512, 3)
    spans = [side for key in array.read for side in key if side.stop > side.start]
    assert spans
    assert min(span.start for span in spans) > 3000 - 2 * 512
    assert max(span.stop for span in spans) < 3000 + 2 * 512


@pytest.mark.parametrize(("shape", "large"), [((4096, 4096), False), ((5000, 5000), True), ((2000, 512, 512), True)])
def test_what_is_too_large(shape: tuple[int, ...], *, large: bool) -> None:
    array = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), shape, (0,) * len(shape))
    assert region.is_too_large(Image(array, contrast_limits=(0, 1), multiscale=False)) is large


def test_all_labels_are_shown_but_not_painted_into() -> None:
    image = Image(np.zeros((40, 60)), scale=(2.0, 2.0))
    levels = [zarr.zeros(shape, chunks=(20, 20), dtype=np.uint32) for shape in ((40, 60), (20, 30))]
    layer = region.overview(image, levels)
    assert layer.multiscale
    assert not layer.editable
    np.testing.assert_allclose(layer.scale, image.scale)


def test_all_labels_are_shown_in_the_chunks_of_their_file(tmp_path: Path) -> None:
    """napari reads whole chunks of what is in view: a few of the file's, not thousands of rows and columns."""
    layout = Layout((9000, 9000), np.dtype(np.uint32), "yx", (1.0, 1.0))
    levels = create_labels(tmp_path / "all.zarr", layout, version="0.5").levels
    layer = region.overview(Image(np.broadcast_to(np.uint8(0), (9000, 9000))), levels)
    assert len(layer.data) == len(levels) > 1
    assert max(max(sides) for level in layer.data for sides in level.chunks) <= CHUNK
