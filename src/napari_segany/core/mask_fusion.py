"""What the model sees of an object and where it was expected, weighed against each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import scipy

from napari_segany.core.automatic_masks import union
from napari_segany.core.confidence import FADING, LOST, MERGE, PIECE, Gates, MaskChange, SliceConfidence, judge_mask
from napari_segany.core.masks import Mask, box_of, window_of
from napari_segany.core.metrics import iou
from napari_segany.core.optical_flow import Projection, signed_distance
from napari_segany.core.planes import Region
from napari_segany.core.prompts import Box, Prompt
from napari_segany.core.simulate import centre_point

GROWN = 0.04
"""Boxes are larger than the expected mask by so much of each side, to each side."""
SOFT = 3.0
"""Pixels from an outline within which it is in doubt."""
SHARED = 0.5
"""Two objects of which one has so much of its mask in the other's may have become one."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTrack:
    """What an object was on the slice that it was last seen on.

    Parameters
    ----------
    pixels : ndarray
        (y, x) bool, its mask.
    unrest : float
        See :class:`~napari_segany.core.confidence.MaskChange`.
    bridged : bool
        Whether it was given on both sides.
    steps : int
        Slices from the nearest one on which it was given to the one that is looked at.
    """

    pixels: np.ndarray
    unrest: float = 0.0
    bridged: bool = False
    steps: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class FusedMask:
    """An object on a slice, before it is compared with others.

    Parameters
    ----------
    window : tuple of slice
        Rows and columns of the plane.
    mask : Mask
        What it comes to.
    own, expected : ndarray
        bool of the window's shape, what the model alone says, and where it was expected.
    match : float
        See :class:`~napari_segany.core.optical_flow.Projection`.
    past : ObjectTrack
        What it was before.
    """

    window: Region
    mask: Mask
    own: np.ndarray
    expected: np.ndarray
    match: float
    past: ObjectTrack


@dataclass(frozen=True, slots=True, eq=False)
class JudgedMask:
    """An object on a slice: its mask, what is to be thought of it, and its unrest."""

    mask: Mask
    verdict: SliceConfidence
    unrest: float


def prompt_from_mask(seen: Projection) -> Prompt:
    """What is asked about an expected object: a box somewhat larger than it, and the point deepest inside."""
    inside = seen.level > 0
    box, point = box_of(inside), centre_point(inside)
    if box is None:
        raise ValueError("there is nothing to ask about")
    y, x = (span.start for span in seen.window)
    up, left = (GROWN * (high - low + 1) for low, high in ((box.y0, box.y1), (box.x0, box.x1)))
    around = Box(box.y0 + y - up, box.x0 + x - left, box.y1 + y + up, box.x1 + x + left)
    return Prompt((replace(point, y=point.y + y, x=point.x + x),), around)


def agreement(seen: Projection, other: tuple[Region, np.ndarray] | None, share: float) -> Projection:
    """The expectation from one side and, by `share` of 0 to 1, that from the other: a window and its mask."""
    if other is None:
        return seen
    if not (seen.level > 0).any():
        return Projection(other[0], signed_distance(other[1]), seen.match)
    window = union(seen.window, other[0])
    masks = [_put(seen.level > 0, seen.window, window), _put(other[1], other[0], window)]
    levels = [np.clip(signed_distance(mask), -1e3, 1e3) for mask in masks]
    return Projection(window, (1 - share) * levels[0] + share * levels[1], seen.match)


def fuse_masks(seen: Projection, answer: Mask | None, past: ObjectTrack, power: float = 1.0) -> FusedMask:
    """An object from where it was expected and what the model says, None when it says nothing.

    The model's mask weighs as its predicted IoU to a `power`, see :class:`~napari_segany.core.confidence.Gates`.
    """
    whole = np.zeros(past.pixels.shape, bool) if answer is None else answer.pixels
    window, own, expected = _compared(whole, seen)
    score = 0.0 if answer is None or not own.any() else min(max(answer.score, 0.0), 1.0)
    trust = score**power
    pixels = np.zeros(whole.shape, bool)
    pixels[window] = _reached(trust * _soft(own) + (1 - trust) * _soft(expected) > 0, expected)
    mask = Mask(pixels, 0.0, np.zeros((0, 0), np.float32)) if answer is None else replace(answer, pixels=pixels)
    return FusedMask(window, replace(mask, score=score), own, expected, seen.match, past)


def unfused_mask(seen: Projection, answer: Mask, past: ObjectTrack) -> FusedMask:
    """An object as the model alone says it is, next to where it was expected."""
    window, own, expected = _compared(answer.pixels, seen)
    score = min(max(answer.score, 0.0), 1.0) if own.any() else 0.0
    return FusedMask(window, replace(answer, score=score), own, expected, seen.match, past)


def _compared(whole: np.ndarray, seen: Projection) -> tuple[Region, np.ndarray, np.ndarray]:
    """The window around a mask (y, x) bool and where it was expected, and both in it."""
    found, window = window_of(whole), seen.window
    if found is not None:
        window = union(window, found) if seen.level.size else found
    return window, whole[window], _put(seen.level > 0, seen.window, window)


def resolve_overlaps(found: Mapping[int, FusedMask], taken: np.ndarray, gates: Gates) -> dict[int, JudgedMask]:
    """All objects of a slice, none with a pixel of another, or one that is `taken` (y, x) bool.

    Of two objects the one that was expected there, or nearer, has a pixel.
    """
    best, owner = np.where(taken, np.inf, -np.inf), np.zeros(taken.shape, np.int64)
    for label, one in found.items():
        claim = signed_distance(one.expected)
        surer = (claim > best[one.window]) & one.mask.pixels[one.window]
        best[one.window][surer] = claim[surer]
        owner[one.window][surer] = label
    uncertain = _mergers(found)
    return {label: _judged(one, owner == label, gates, label in uncertain) for label, one in found.items()}


def _judged(one: FusedMask, pixels: np.ndarray, gates: Gates, merging: bool) -> JudgedMask:
    past = one.past
    # An object that is given on both sides may grow or shrink on the way from one to the other.
    before = int((one.expected if past.bridged else past.pixels).sum())
    growth = math.log(max(int(pixels.sum()), 1) / max(before, 1))
    agreement = iou(one.own, one.expected) if one.own.any() else 0.0
    signs = MaskChange(agreement, one.mask.score, one.match, growth, FADING * past.unrest + abs(growth), past.steps)
    verdict = judge_mask(signs, pixels, past.pixels, gates, bridged=past.bridged)
    if merging and LOST not in verdict.flags:
        verdict = replace(verdict, flags=(*verdict.flags, MERGE))
    return JudgedMask(replace(one.mask, pixels=pixels), verdict, signs.unrest)


def _mergers(found: Mapping[int, FusedMask]) -> set[int]:
    """Labels that the model draws over each other."""
    uncertain: set[int] = set()
    for (first, one), (second, other) in combinations(found.items(), 2):
        shared = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one.window, other.window, strict=True)
        )
        if any(span.stop <= span.start for span in shared):
            continue
        masks = [_put(each.own, each.window, (shared[0], shared[1])) for each in (one, other)]
        smaller = min(int(each.own.sum()) for each in (one, other))
        if int((masks[0] & masks[1]).sum()) > SHARED * smaller:
            uncertain |= {first, second}
    return uncertain


def _soft(mask: np.ndarray) -> np.ndarray:
    """A mask as evidence, -1 to 1."""
    evidence: np.ndarray = np.tanh(signed_distance(mask) / SOFT)
    return evidence


def _reached(inside: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The parts of a mask that lie where the object was expected, specks left out."""
    parts, count = scipy.ndimage.label(inside)
    hits = np.bincount(parts[expected & inside], minlength=count + 1)
    stays = hits >= max(PIECE * hits.max(), 1) if count else hits > 0
    kept: np.ndarray = stays[parts] & inside
    return kept


def _put(mask: np.ndarray, source: Region, target: Region) -> np.ndarray:
    """A mask of one window as that of another; what lies beyond is cut off."""
    put = np.zeros(tuple(span.stop - span.start for span in target), bool)
    shared = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(source, target, strict=True)]
    if all(span.stop > span.start for span in shared):
        here, there = (
            tuple(slice(one.start - whole.start, one.stop - whole.start) for one, whole in zip(shared, to, strict=True))
            for to in (target, source)
        )
        put[here] = mask[there]
    return put
