"""Objects of a label image drawn again by a model: each object is the prompt for its own, better mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from napari_segany.core.masks import Mask, window_of, windows_of
from napari_segany.core.metrics import iou
from napari_segany.core.planes import Plane, Region
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.simulate import centre_point
from napari_segany.core.tiles import is_large, segment_in_window

ROUNDS = 2
"""Predictions of an object: from its centre and its mask, then from its centre and the predicted mask. Chosen, as the
point at the centre next to the mask, on the first five images of dev/dsb2018 with `tiny`."""
LEAST = 0.2
"""IoU with the old mask below which the new one is taken for another object, and the old one stays."""
TOGETHER = 16
"""Objects that are predicted together, between two reports."""


@dataclass(frozen=True, slots=True, eq=False)
class RefinedObject:
    """An object of a plane, before and after.

    Parameters
    ----------
    label : int
        Its label, which stays.
    window : tuple of slice
        Rows and columns around both masks.
    before, after : ndarray
        bool, of the window's shape.
    score : float
        The IoU of the new mask with the true one that the model predicts, 0..1.
    """

    label: int
    window: Region
    before: np.ndarray
    after: np.ndarray
    score: float

    @property
    def iou(self) -> float:
        """Intersection over union of the old and the new mask, 0..1: 1 where nothing changes."""
        return iou(self.after, self.before)

    @property
    def found(self) -> bool:
        """Whether the new mask is the same object as the old one."""
        return self.iou >= LEAST


def refine_labels(
    segmenter: Segmenter,
    plane: Plane,
    labels: np.ndarray,
    *,
    embedding: ImageEmbedding | None = None,
    report: Callable[[float], None] | None = None,
) -> list[RefinedObject]:
    """Draw each object of a label image again; the labels are not changed.

    Parameters
    ----------
    segmenter : Segmenter
        The model; it takes points and masks.
    plane : ndarray or LazyPlane
        (y, x, 3) uint8.
    labels : ndarray
        (y, x) integers, 0 is background.
    embedding : ImageEmbedding, optional
        Of the plane, when there is one. Planes above :data:`~napari_segany.core.tiles.LARGE` pixels are encoded in a
        window around each object instead.
    report : callable, optional
        Called with the share that is done, 0 to 1; what it raises stops the work.

    Returns
    -------
    list of RefinedObject
        Those that change most first.

    Raises
    ------
    ValueError
        The labels have another shape than the plane.
    """
    shape = (plane.shape[0], plane.shape[1])
    if labels.shape != shape:
        raise ValueError(f"labels of shape {labels.shape} for a plane of {shape}")
    objects = windows_of(labels)
    if not objects:
        return []
    if not is_large(shape) and embedding is None:
        embedding = segmenter.embed(plane[slice(None), slice(None)])
    found: list[RefinedObject] = []
    numbers = list(objects)
    for start in range(0, len(numbers), TOGETHER):
        part = numbers[start : start + TOGETHER]
        old = [_Old(label, *objects[label], shape) for label in part]
        if embedding is None or is_large(shape):
            found += [_refined_in_window(segmenter, plane, one) for one in old]
        else:
            found += _refined(segmenter, embedding, old)
        if report is not None:
            report((start + len(part)) / len(numbers))
    return by_change(found)


def by_change(objects: Sequence[RefinedObject]) -> list[RefinedObject]:
    """The same objects, those that change most first, then by their labels."""
    return sorted(objects, key=lambda one: (one.iou, one.label))


@dataclass(frozen=True, slots=True, eq=False)
class _Old:
    """An object as it is: its label, its bounding box, its mask within that, and (y, x) of the plane."""

    label: int
    window: Region
    mask: np.ndarray
    shape: tuple[int, int]

    @property
    def centre(self) -> Point:
        inner = centre_point(self.mask)
        return Point(inner.y + self.window[0].start, inner.x + self.window[1].start)

    def whole(self) -> np.ndarray:
        """Its mask on the plane."""
        pixels = np.zeros(self.shape, bool)
        pixels[self.window] = self.mask
        return pixels

    def refined(self, pixels: np.ndarray, score: float, part: Region | None = None) -> RefinedObject:
        """The object with a mask (y, x) of a part of the plane, by default of all of it."""
        top, left = (0, 0) if part is None else (part[0].start, part[1].start)
        new = window_of(pixels)
        if new is None:
            return RefinedObject(self.label, self.window, self.mask, np.zeros_like(self.mask), score)
        at = _moved(new, top, left)
        rows, columns = (
            slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(at, self.window, strict=True)
        )
        before, after = np.zeros((2, rows.stop - rows.start, columns.stop - columns.start), bool)
        before[_moved(self.window, -rows.start, -columns.start)] = self.mask
        after[_moved(at, -rows.start, -columns.start)] = pixels[new]
        return RefinedObject(self.label, (rows, columns), before, after, score)


def _moved(window: Region, rows: int, columns: int) -> Region:
    return (
        slice(window[0].start + rows, window[0].stop + rows),
        slice(window[1].start + columns, window[1].stop + columns),
    )


def _refined(segmenter: Segmenter, embedding: ImageEmbedding, old: Sequence[_Old]) -> list[RefinedObject]:
    drawn = [one.whole() for one in old]
    masks: list[Mask] = []
    for _ in range(ROUNDS):
        prompts = [Prompt((one.centre,), mask=pixels) for one, pixels in zip(old, drawn, strict=True)]
        answers = segmenter.segment(embedding, prompts, candidates=1)
        masks = [one[0] for one in answers]
        # an empty mask is no prompt
        drawn = [mask.pixels if mask.pixels.any() else pixels for mask, pixels in zip(masks, drawn, strict=True)]
    return [one.refined(mask.pixels, mask.score) for one, mask in zip(old, masks, strict=True)]


def _refined_in_window(segmenter: Segmenter, plane: Plane, one: _Old) -> RefinedObject:
    pixels = one.whole()
    score, part, mask = math.nan, (slice(0, one.shape[0]), slice(0, one.shape[1])), pixels
    for _ in range(ROUNDS):
        part, masks = segment_in_window(segmenter, plane.__getitem__, one.shape, Prompt((one.centre,), mask=pixels))
        mask, score = masks[0].pixels, masks[0].score
        if mask.any():
            pixels = np.zeros(one.shape, bool)
            pixels[part] = mask
    return one.refined(mask, score, part)


def repainted(labels: np.ndarray, objects: Sequence[RefinedObject], accepted: Collection[int]) -> np.ndarray:
    """Label image with the new masks of some objects; all others stay as they are.

    A pixel that several new masks claim stays with the object that had it, else it goes to the one of the highest
    score. No object takes pixels of one that stays as it is, and one that would be left without any stays, too.

    Parameters
    ----------
    labels : ndarray
        (y, x) integers, as they were given to :func:`refine_labels`.
    objects : sequence of RefinedObject
        From there.
    accepted : collection of int
        Labels of the objects whose new masks are wanted.

    Returns
    -------
    ndarray
        (y, x), of the same type.
    """
    wanted = {one.label for one in objects if one.label in accepted and one.after.any()}
    while True:
        painted = _painted(labels, [one for one in objects if one.label in wanted])
        lost = {one.label for one in objects if one.label in wanted and not (painted[one.window] == one.label).any()}
        if not lost:
            return painted
        wanted -= lost


def _painted(labels: np.ndarray, objects: Sequence[RefinedObject]) -> np.ndarray:
    painted = labels.copy()
    for one in objects:
        painted[one.window][one.before] = 0
    own = [(one, labels[one.window] == one.label) for one in objects]
    # first each object gets the pixels that were its own before
    for one, mine in own:
        painted[one.window][one.after & mine] = one.label
    for one, _ in sorted(own, key=lambda pair: -pair[0].score):
        here = painted[one.window]
        here[one.after & (here == 0)] = one.label
    return painted
