"""Run lengths are those of pycocotools, and come back as the same mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from napari_segany.core.errors import InputError
from napari_segany.io.formats.rle import from_rle, to_rle

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans())


@settings(deadline=None)
@given(masks)
def test_as_pycocotools_has_it(mask: np.ndarray) -> None:
    theirs = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    assert to_rle(mask) == {"size": list(mask.shape), "counts": theirs["counts"].decode()}
    np.testing.assert_array_equal(from_rle(theirs), mask)


@settings(deadline=None)
@given(masks, st.tuples(st.integers(0, 4), st.integers(0, 4)), st.tuples(st.integers(0, 4), st.integers(0, 4)))
def test_a_window_is_encoded_as_its_plane_is(mask: np.ndarray, before: tuple[int, int], after: tuple[int, int]) -> None:
    plane = np.pad(mask, list(zip(before, after, strict=True)))
    assert to_rle(mask, corner=before, shape=plane.shape) == to_rle(plane)


@settings(deadline=None)
@given(masks)
def test_round_trip(mask: np.ndarray) -> None:
    back = from_rle(to_rle(mask))
    assert back.dtype == bool
    np.testing.assert_array_equal(back, mask)


def test_long_runs() -> None:
    mask = np.zeros((3000, 2000), bool)
    mask[5:2900, 17:1800] = True
    mask[:, 1900:] = True
    assert to_rle(mask)["counts"] == coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    np.testing.assert_array_equal(from_rle(to_rle(mask)), mask)


def test_uncompressed_and_empty_runs_are_read() -> None:
    np.testing.assert_array_equal(from_rle({"size": [2, 2], "counts": [1, 0, 0, 2, 1]}), [[0, 1], [1, 0]])


@pytest.mark.parametrize(
    "rle",
    [
        {},
        {"size": [4, 5]},
        {"size": [4], "counts": "92203"},
        {"size": 4, "counts": "92203"},
        {"size": ["a", 5], "counts": "92203"},
        {"size": [4, 5], "counts": 3},
        {"size": [4, 5], "counts": ["a"]},
        {"size": [4, 5], "counts": "ä"},
        {"size": [4, 5], "counts": ""},
        {"size": [4, 5], "counts": []},
        {"size": [2, 2], "counts": "92203"},
        {"size": [40, 50], "counts": "92203"},
        {"size": [-4, -5], "counts": "92203"},
        {"size": [4, 5], "counts": [-1, 21]},
    ],
)
def test_what_is_no_mask(rle: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="run-length encoded mask"):
        from_rle(rle)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 2, 2)])
def test_what_has_no_pixels_on_a_plane(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="along y and x"):
        to_rle(np.ones(shape, bool))


@pytest.mark.parametrize(("shape", "corner"), [((3, 3), (2, 0)), ((3, 3), (0, 2)), ((2, 2), (-1, 0))])
def test_what_fits_no_plane(shape: tuple[int, int], corner: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="does not fit a plane"):
        to_rle(np.ones(shape, bool), corner=corner, shape=(4, 4))
