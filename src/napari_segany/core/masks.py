"""A mask with its score, and what can be measured of masks alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from napari_segany.core.prompts import Box


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A candidate mask for a prompt.

    Parameters
    ----------
    pixels : ndarray
        (y, x) bool, of the plane's shape.
    score : float
        The IoU with the true mask that the model predicts, 0..1.
    logits : ndarray
        (h, w) float32, low resolution, in the model's own frame; can be passed to the model as ``Prompt(mask=...)``.
        Twice as fine for small objects, which are predicted in a magnified crop.
    stability : float
        IoU of the masks at a logit of 1 above and below the threshold, 0..1: how little the outline depends on it
        (Kirillov et al. 2023, appendix B). NaN where it is not known.
    class_name : str
        What the model takes it for; empty where it does not know, or where names are switched off.
    class_probability : float
        How probable that is, 0..1; NaN without a name.
    """

    pixels: np.ndarray
    score: float
    logits: np.ndarray
    stability: float = math.nan
    class_name: str = ""
    class_probability: float = math.nan


def box_of(pixels: np.ndarray) -> Box | None:
    """Tightest box around a mask, in pixel centres; None when the mask is empty.

    Parameters
    ----------
    pixels : ndarray
        (y, x) bool.
    """
    rows = np.flatnonzero(pixels.any(axis=1))
    if not rows.size:
        return None
    columns = np.flatnonzero(pixels[rows[0] : rows[-1] + 1].any(axis=0))
    return Box(float(rows[0]), float(columns[0]), float(rows[-1]), float(columns[-1]))


def window_of(mask: np.ndarray) -> tuple[slice, slice] | None:
    """Return the rows and columns of the box around a mask (y, x) bool; None for an empty one."""
    box = box_of(mask)
    return None if box is None else (slice(int(box.y0), int(box.y1) + 1), slice(int(box.x0), int(box.x1) + 1))


def windows_of(labels: np.ndarray) -> dict[int, tuple[tuple[slice, slice], np.ndarray]]:
    """The bounding box of each object of a label image (y, x) as rows and columns, and its mask within that."""
    numbers, places = np.unique(labels, return_inverse=True)
    # find_objects searches for every number up to the highest, and skips 0
    compact = places.reshape(labels.shape).astype(np.int32) + 1
    boxes = zip(numbers.tolist(), scipy.ndimage.find_objects(compact), strict=True)
    return {n: (box, compact[box] == place) for place, (n, box) in enumerate(boxes, start=1) if n > 0}


def paintable(labels: np.ndarray, pixels: np.ndarray, *, overwrite: bool = False) -> tuple[np.ndarray, ...]:
    """Indices of the pixels of a mask that a new label may take; nothing is written.

    Parameters
    ----------
    labels : ndarray
        (y, x) integer label image, 0 is background.
    pixels : ndarray
        (y, x) bool, what is to be painted.
    overwrite : bool
        Also take pixels that belong to other labels. Off by default: work that is done stays.

    Returns
    -------
    tuple of ndarray
        (rows, columns) of the pixels to set.
    """
    return np.nonzero(pixels if overwrite else pixels & (labels == 0))
