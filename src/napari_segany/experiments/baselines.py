"""Two plain methods that segment a click, so that a model's figures can be compared with them.

Both divide the whole plane into labels, the bright as well as the dark of Otsu's two classes, and a click selects the
label that it lies on. So the class of the clicked pixel decides whether objects are bright or dark.
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


def otsu(plane: np.ndarray) -> np.ndarray:
    """Connected components (8 neighbours) of Otsu's classes: (y, x, 3) uint8 -> (y, x) int labels, from 1."""
    return _both(plane, label)


def otsu_watershed(plane: np.ndarray) -> np.ndarray:
    """Otsu's classes cut by a watershed on the distance transform: (y, x, 3) uint8 -> (y, x) int labels, from 1."""
    return _both(plane, _watershed)


def _both(plane: np.ndarray, cut: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Labels of the bright class, and beyond them those of the dark class."""
    gray = gaussian(rgb2gray(plane), SMOOTHING)
    bright = gray > (threshold_otsu(gray) if gray.min() < gray.max() else gray.min())
    first, second = cut(bright), cut(~bright)
    return np.where(bright, first, second + first.max())


def _watershed(inside: np.ndarray) -> np.ndarray:
    depth = ndimage.distance_transform_edt(inside)
    peaks = peak_local_max(depth, min_distance=PEAK_DISTANCE, labels=label(inside), exclude_border=False)
    seeds = np.zeros(inside.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels: np.ndarray = watershed(-depth, seeds, mask=inside)
    return labels


BASELINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"otsu": otsu, "otsu watershed": otsu_watershed}
