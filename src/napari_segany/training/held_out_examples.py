"""Small pictures of held-out objects with their masks before and after fine-tuning, as text that JSON can hold."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import imagecodecs
import numpy as np

from napari_segany.core.masks import window_of
from napari_segany.core.metrics import iou

SIDE = 96
"""Pixels of a picture, along each side."""
MARGIN = 1.8
"""Side of a crop, over the longer side of its object."""
LEAST = 32
"""Side of a crop in pixels of the image, at least."""
MOST = 6
"""Examples that are kept."""


@dataclass(frozen=True, slots=True)
class HeldOutExample:
    """A held-out object, and the masks of one click on its middle with two models.

    Parameters
    ----------
    before, after : float
        IoU with the true mask, with the parent and with the result.
    picture : str
        Crop around the object, (y, x, 3) uint8, as PNG in base 64.
    masks : str
        Of the same shape and kind: the channels are the true mask, that of the parent and that of the result, 0 or 255.
    """

    before: float
    after: float
    picture: str
    masks: str

    @property
    def image(self) -> np.ndarray:
        """(y, x, 3) uint8, the crop."""
        return _decoded(self.picture)

    @property
    def outlines(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(y, x) bool each: the true mask, that of the parent, and that of the result."""
        truth, before, after = np.moveaxis(_decoded(self.masks) > 127, -1, 0)
        return truth, before, after


def make_example(plane: np.ndarray, truth: np.ndarray, before: np.ndarray, after: np.ndarray) -> HeldOutExample:
    """Crop an image around an object.

    Parameters
    ----------
    plane : ndarray
        (y, x, 3) uint8.
    truth, before, after : ndarray
        (y, x) bool masks.
    """
    # (the window shows examples, and need not wait for it)
    from skimage.transform import resize

    rows, columns = _square(truth)
    masks = np.stack([mask[rows, columns] for mask in (truth, before, after)], axis=-1)
    shape = (*_fitted(masks.shape[:2]), 3)
    picture = resize(plane[rows, columns], shape, order=1, preserve_range=True, anti_aliasing=True)
    small = resize(masks.astype(np.uint8) * 255, shape, order=0, preserve_range=True, anti_aliasing=False)
    return HeldOutExample(
        float(iou(before, truth)), float(iou(after, truth)), _encoded(np.round(picture)), _encoded(small)
    )


def choose_examples(gains: Sequence[float]) -> list[int]:
    """Places of the worst, middle and best gains, two of each, from the worst to the best; all where there are few."""
    order = sorted(range(len(gains)), key=lambda place: gains[place])
    if len(order) <= MOST:
        return order
    share = MOST // 3
    middle = (len(order) - share) // 2
    return [*order[:share], *order[middle : middle + share], *order[-share:]]


def _square(truth: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a square around a mask, moved or cut where the image ends."""
    window = window_of(truth) or tuple(slice(0, length) for length in truth.shape)
    side = max(round(MARGIN * max(one.stop - one.start for one in window)), LEAST)
    cut = []
    for one, length in zip(window, truth.shape, strict=True):
        start = min(max((one.start + one.stop - side) // 2, 0), max(length - side, 0))
        cut.append(slice(start, min(start + side, length)))
    return cut[0], cut[1]


def _fitted(shape: tuple[int, ...]) -> tuple[int, int]:
    """The shape with `SIDE` as its longer side."""
    height, width = (max(round(SIDE * length / max(shape)), 1) for length in shape)
    return height, width


def _encoded(array: np.ndarray) -> str:
    return base64.b64encode(imagecodecs.png_encode(np.ascontiguousarray(array, np.uint8))).decode()


def _decoded(text: str) -> np.ndarray:
    return np.asarray(imagecodecs.png_decode(base64.b64decode(text)))
