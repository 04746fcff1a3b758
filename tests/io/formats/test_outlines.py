"""Outlines cover masks exactly, and are polygons that every program takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_segany.io.formats.outlines import outline
from tests.filling import filled

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans())


def area(ring: np.ndarray) -> float:
    """Positive where a ring runs clockwise on the screen."""
    (y, x), (next_y, next_x) = ring.T, np.roll(ring, -1, axis=0).T
    return float((x * next_y - next_x * y).sum() / 2)


@settings(deadline=None)
@given(masks)
def test_filled_again_they_are_the_mask(mask: np.ndarray) -> None:
    polygons = outline(mask)
    np.testing.assert_array_equal(filled((ring for rings in polygons for ring in rings), mask.shape), mask)
    assert sum(area(ring) for rings in polygons for ring in rings) == mask.sum()


@settings(deadline=None)
@given(masks)
def test_rings_are_simple_and_turn_as_they_should(mask: np.ndarray) -> None:
    pieces, count = ndimage.label(mask)
    polygons = outline(mask)
    assert len(polygons) == count
    for piece, (outer, *holes) in enumerate(polygons, start=1):
        assert area(outer) > 0
        assert all(area(hole) < 0 for hole in holes)
        np.testing.assert_array_equal(filled([outer, *holes], mask.shape), pieces == piece)
        for ring in (outer, *holes):
            assert len(np.unique(ring, axis=0)) == len(ring)
            steps = np.diff(ring, axis=0, append=ring[:1])
            assert np.all((steps == 0).sum(axis=1) == 1), "each side runs along one axis"
            assert np.all((steps == 0).argmax(axis=1)[1:] != (steps == 0).argmax(axis=1)[:-1]), "corners only"


def test_a_ring_that_touches_itself_is_an_outline_and_a_hole() -> None:
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)
    ((outer, hole),) = outline(mask, (10, 20))
    assert sorted(hole.tolist()) == [[11, 21], [11, 22], [12, 21], [12, 22]]
    assert sorted(outer.tolist()) == [[10, 20], [10, 23], [12, 22], [12, 23], [13, 20], [13, 22]]


def test_pixels_that_touch_at_a_corner_are_two_polygons() -> None:
    assert [len(rings) for rings in outline(np.eye(2, dtype=bool))] == [1, 1]


@pytest.mark.parametrize("shape", [(1, 1), (3, 4)])
def test_nothing_has_no_outline(shape: tuple[int, int]) -> None:
    assert outline(np.zeros(shape, bool)) == []
