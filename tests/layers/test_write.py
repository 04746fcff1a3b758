"""What is written into layers: the preview of large planes."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_segany.core.views import View
from napari_segany.layers.write import ROOM, Preview


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
