"""What two plain methods make of a click, so that a model's figures can be judged.

Both are blind to the click until the end: they cut the plane into labels, and the click picks one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label
from skimage.segmentation import watershed

SMOOTHING = 1.0
"""Width in pixels of the Gaussian before the threshold."""
PEAK_DISTANCE = 4
"""Pixels between the seeds of the watershed, at least."""


def foreground(plane: np.ndarray) -> np.ndarray:
    """(y, x, 3) uint8 -> (y, x) bool: the smaller of Otsu's two classes, bright or dark."""
    gray = gaussian(rgb2gray(plane), SMOOTHING)
    if gray.min() == gray.max():
        return np.zeros(gray.shape, bool)
    bright: np.ndarray = gray > threshold_otsu(gray)
    return bright if 2 * np.count_nonzero(bright) <= bright.size else ~bright


def otsu(plane: np.ndarray) -> np.ndarray:
    """Otsu's threshold and connected components (8 neighbours): (y, x, 3) uint8 -> (y, x) int labels."""
    labels: np.ndarray = label(foreground(plane))
    return labels


def otsu_watershed(plane: np.ndarray) -> np.ndarray:
    """Otsu's threshold cut by a watershed on the distance transform: (y, x, 3) uint8 -> (y, x) int labels."""
    inside = foreground(plane)
    depth = ndimage.distance_transform_edt(inside)
    peaks = peak_local_max(depth, min_distance=PEAK_DISTANCE, labels=label(inside), exclude_border=False)
    seeds = np.zeros(inside.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels: np.ndarray = watershed(-depth, seeds, mask=inside)
    return labels


BASELINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"otsu": otsu, "otsu watershed": otsu_watershed}
