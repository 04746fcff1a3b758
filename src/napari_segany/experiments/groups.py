"""Kinds of pictures and sizes of objects, so that a mean does not hide what it is made of."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

SIZES = (16, 50, 100, 200, 400, 800, 1600, 3200)
"""Lower bounds, in pixels, of the classes of size."""
COLOURED = 12.0
"""Mean difference between the strongest and the weakest channel from which a picture counts as coloured."""


SIZE_CLASSES = (
    *(f"{low} to {high - 1} px" for low, high in pairwise(SIZES)),
    f"from {SIZES[-1]} px",
)


def modality(plane: np.ndarray) -> str:
    """What kind of picture a plane (y, x, 3) uint8 is: ``colour``, ``gray on dark`` or ``gray on bright``."""
    channels = plane.astype(np.int16)
    if (channels.max(axis=-1) - channels.min(axis=-1)).mean() > COLOURED:
        return "colour"
    return "gray on bright" if np.median(plane) > 96 else "gray on dark"


def size_class(pixels: np.ndarray) -> np.ndarray:
    """Class of each object by its number of pixels: (n,) int from ``SIZES[0]`` -> (n,) str."""
    named: np.ndarray = np.array(SIZE_CLASSES)[np.digitize(pixels, SIZES) - 1]
    return named
