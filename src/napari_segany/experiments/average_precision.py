"""Average precision of scored masks, as COCO counts it, whatever class the objects have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

THRESHOLDS = tuple(0.5 + 0.05 * k for k in range(10))
RECALLS = np.linspace(0, 1, 101)
"""Recalls at which the precision is read."""
SIZES: Mapping[str, tuple[float, float]] = {
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, np.inf),
}
"""Pixels of an object, as COCO has them."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredMasks:
    """Masks of an image, compared with its objects.

    Parameters
    ----------
    overlap : ndarray
        (masks, objects) IoU.
    scores : ndarray
        (masks,) by which masks are ordered over all images.
    sizes, object_sizes : ndarray
        (masks,) and (objects,) pixels.
    """

    overlap: np.ndarray
    scores: np.ndarray
    sizes: np.ndarray
    object_sizes: np.ndarray


def average_precision(images: Sequence[ScoredMasks]) -> dict[str, float]:
    """Return ``ap`` (mean over IoU .5 to .95), ``ap50``, ``ap75``, ``ap_small``, ``ap_medium`` and ``ap_large``.

    Parameters
    ----------
    images : sequence of ScoredMasks
        All images of a set.

    Returns
    -------
    dict of str to float
        NaN where there is no object of a size.
    """
    each = {threshold: _precision(images, threshold, (0, np.inf)) for threshold in THRESHOLDS}
    rows = {"ap": float(np.mean(list(each.values()))), "ap50": each[THRESHOLDS[0]], "ap75": each[THRESHOLDS[5]]}
    for name, span in SIZES.items():
        rows[f"ap_{name}"] = float(np.mean([_precision(images, threshold, span) for threshold in THRESHOLDS]))
    return rows


def _precision(images: Sequence[ScoredMasks], threshold: float, span: tuple[float, float]) -> float:
    """AP at one IoU, of objects within a span of sizes."""
    scores, hits, counted, total = [], [], [], 0
    for one in images:
        inside = (one.object_sizes >= span[0]) & (one.object_sizes < span[1])
        total += int(inside.sum())
        order = np.argsort(-one.scores, kind="stable")
        matched = _matched(one.overlap[order], inside, threshold)
        hit = np.array([match is not None and inside[match] for match in matched], bool)
        small = (one.sizes[order] < span[0]) | (one.sizes[order] >= span[1])
        # a mask of an object of another size, or one of another size that meets no object, counts neither way
        ignored = [
            (match is not None and not inside[match]) or (match is None and away)
            for match, away in zip(matched, small, strict=True)
        ]
        scores.append(one.scores[order])
        hits.append(hit)
        counted.append(~np.array(ignored, bool))
    if not total:
        return float("nan")
    order = np.argsort(-np.concatenate(scores), kind="stable")
    kept = np.concatenate(counted)[order]
    found = np.concatenate(hits)[order][kept]
    true = np.cumsum(found)
    precision = true / np.arange(1, len(found) + 1)
    # from the right, so that the precision never rises with the recall
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(true / total, RECALLS, side="left")
    return float(np.mean([best[k] if k < len(best) else 0.0 for k in at]))


def _matched(overlap: np.ndarray, inside: np.ndarray, threshold: float) -> list[int | None]:
    """The object of each mask, the best mask first: the free one with the largest IoU, those inside the span before."""
    free = np.ones(overlap.shape[1], bool)
    found: list[int | None] = []
    for row in overlap:
        match = None
        for allowed in (free & inside, free & ~inside):
            good = np.where(allowed & (row >= threshold), row, -1.0)
            if match is None and good.size and good.max() >= 0:
                match = int(good.argmax())
        if match is not None:
            free[match] = False
        found.append(match)
    return found
