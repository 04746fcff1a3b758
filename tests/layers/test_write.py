"""What is written into layers: the preview of large planes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
from napari.layers import Image, Shapes

from napari_segany.core.views import View
from napari_segany.layers.read import read_prompt
from napari_segany.layers.write import ROOM, Preview, write_outlines

NONE = {"sign": np.array([], object)}


def rough_masks() -> dict[str, np.ndarray]:
    """Masks with slopes, holes, islands in holes, pieces that touch at corners, and pieces at the edge."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:40, :50]
    away = np.hypot(y - 20, x - 25)
    smooth = {f"smooth {k}": scipy.ndimage.gaussian_filter(rng.normal(size=(40, 50)), k) > 0.01 for k in (1, 1.5, 2, 3)}
    rings = (away < 18) & ~((away > 5) & (away < 12))
    return {**smooth, "rings": rings, "diagonal": y == x, "board": (y + x) % 2 == 0, "all": away >= 0, "bar": x < 9}


@pytest.mark.parametrize("name", rough_masks())
def test_outlines_are_read_as_the_very_same_pixels(name: str) -> None:
    pixels, image, shapes = rough_masks()[name], Image(np.zeros((40, 50), np.uint8)), Shapes(ndim=2, features=NONE)
    write_outlines(pixels, View((0, 1), (0, 0)), image, shapes)
    found = read_prompt(None, shapes, image, View((0, 1), (0, 0))).mask
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("seed", range(20))
def test_outlines_of_any_mask_are_read_as_the_very_same_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = scipy.ndimage.gaussian_filter(rng.normal(size=(40, 50)), rng.uniform(0.3, 2.5)) > 0
    image, shapes = Image(np.zeros((40, 50), np.uint8)), Shapes(ndim=2, features=NONE)
    write_outlines(pixels, View((0, 1), (0, 0)), image, shapes)
    found = read_prompt(None, shapes, image, View((0, 1), (0, 0))).mask
    np.testing.assert_array_equal(found, pixels)


def test_outlines_have_straight_slopes() -> None:
    y, x = np.mgrid[:40, :50]
    shapes = Shapes(ndim=2, features=NONE)
    write_outlines(x + y < 30, View((0, 1), (0, 0)), Image(np.zeros((40, 50), np.uint8)), shapes)
    assert len(shapes.data[0]) < 8


class TestPreviewOfALargePlane:
    def shown(self, axes: tuple[int, int] = (0, 1)) -> tuple[Preview, np.ndarray]:
        preview = Preview(Image(np.zeros((2500, 3000), np.uint8), scale=(2, 2)))
        pixels = np.zeros((2500, 3000), bool)
        pixels[2100:2110, 1500:1530] = True
        pixels = pixels if axes == (0, 1) else pixels.T
        preview.show(View(axes, (0, 0)), pixels, number=7)
        return preview, pixels

    @pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
    def test_only_a_window_is_drawn_and_lies_where_the_mask_is(self, axes):
        preview, _ = self.shown(axes)
        assert preview.layer.data.shape == (ROOM, ROOM)
        assert preview.layer.get_value((2 * 2105, 2 * 1510), world=True) == 7
        assert not preview.layer.get_value((2 * 2120, 2 * 1510), world=True)

    def test_a_large_mask_has_a_larger_window(self):
        preview, pixels = self.shown()
        pixels[100:2400, 20:1500] = True
        preview.show(View((0, 1), (0, 0)), pixels)
        assert preview.layer.data.shape == (2304, 1536)
        assert preview.layer.data.sum() == pixels.sum()

    def test_another_window_shows_another_mask_and_nothing_of_the_first(self):
        preview, pixels = self.shown()
        preview.show(View((0, 1), (0, 0)), np.roll(pixels, -1500, axis=0), number=3)
        assert preview.layer.get_value((2 * 605, 2 * 1510), world=True) == 3
        assert preview.layer.data.sum() == 3 * pixels.sum()

    def test_who_paints_has_the_whole_plane(self):
        preview, pixels = self.shown()
        preview.layer.mode = "paint"
        assert preview.layer.data.shape == pixels.shape
        np.testing.assert_array_equal(preview.layer.data, 7 * pixels)
        np.testing.assert_array_equal(preview.with_strokes([]), pixels)

    def test_nothing_is_a_small_window(self):
        preview, pixels = self.shown()
        preview.show(View((0, 1), (0, 0)), np.zeros_like(pixels))
        assert preview.layer.data.shape == (ROOM, ROOM)
        assert not preview.layer.data.any()

    def test_a_mask_in_the_same_window_moves_nothing(self):
        preview, pixels = self.shown()
        moved = []
        preview.layer.events.affine.connect(moved.append)
        shifted = np.roll(pixels, -60, axis=0)
        preview.show(View((0, 1), (0, 0)), shifted)
        assert not moved
        assert preview.layer.get_value((2 * 2045, 2 * 1510), world=True) == 1
        assert preview.layer.data.sum() == pixels.sum()

    @pytest.mark.parametrize("place", [(1000.0, 1200.0), (0.0, 0.0), (2499.4, 2999.4), (1279.5, 1535.9)])
    def test_it_lies_where_a_mask_is_expected_before_it_is_there(self, place):
        preview, pixels = self.shown()
        view = View((0, 1), (0, 0))
        preview.clear()
        preview.expect(view, pixels.shape, place)
        assert not preview.layer.data.any()
        moved = []
        preview.layer.events.affine.connect(moved.append)
        mask = np.zeros_like(pixels)
        row, column = (min(round(at), length - 1) for at, length in zip(place, pixels.shape, strict=True))
        mask[max(row - 380, 0) : row + 380, max(column - 380, 0) : column + 380] = True
        preview.expect(view, pixels.shape, place)
        preview.show(view, mask, number=5)
        assert not moved
        assert preview.layer.get_value((2 * row, 2 * column), world=True) == 5
        assert preview.layer.data.sum() == 5 * mask.sum()

    def test_where_nothing_is_found_it_stays(self):
        preview, pixels = self.shown()
        moved = []
        preview.layer.events.affine.connect(moved.append)
        preview.show(View((0, 1), (0, 0)), np.zeros_like(pixels))
        assert not moved
        assert not preview.layer.data.any()

    def test_what_is_shown_does_not_give_way_to_what_is_expected(self):
        preview, pixels = self.shown()
        preview.expect(View((0, 1), (0, 0)), pixels.shape, (10, 10))
        assert preview.layer.get_value((2 * 2105, 2 * 1510), world=True) == 7
