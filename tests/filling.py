"""Polygons filled again, without any of the code that drew them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import draw

few_labels = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3))
"""Small (y, x) labels: objects of several pieces, with holes, touching at corners, at the border."""


def filled(rings: Iterable[Sequence[Sequence[float]] | np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """(y, x) bool: pixels whose centre lies within an odd number of rings of (y, x) corners of pixels."""
    inside = np.zeros(shape, bool)
    for ring in rings:
        # skimage counts from the centre of the first pixel
        inside[draw.polygon(*(np.asarray(ring, float).T - 0.5), shape=shape)] ^= True
    return inside
