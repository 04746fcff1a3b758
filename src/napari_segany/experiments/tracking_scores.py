"""How well objects are linked: true links, switches of identity, HOTA, divisions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import scipy

from napari_segany.core.metrics import instance_scores
from napari_segany.experiments.datasets import MIN_PIXELS
from napari_segany.experiments.link_methods import LinkedFrames

SAME = 0.5
"""IoU from which on an object of a slice is taken for the true one."""
THRESHOLDS = np.arange(0.05, 0.96, 0.05)
"""IoU thresholds of HOTA."""


def link_scores(labels: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Compare linked slices with the truth, (slices, y, x) integers each.

    Returns
    -------
    dict of str to float
        ``right`` of ``n`` true links between neighbouring slices are made; ``switches`` links lead to another true
        object; ``hota``; ``ap50`` and ``msa`` of the objects in three dimensions; ``objects``, how many there are.
    """
    numbers = [_matches(found, true) for found, true in zip(labels, truth, strict=True)]
    right = links = 0
    for before, after in pairwise(numbers):
        both = before.keys() & after.keys()
        links += len(both)
        right += sum(before[one] == after[one] != 0 for one in both)
    scores = instance_scores(labels, truth, smallest=MIN_PIXELS)
    return {
        "right": right,
        "n": links,
        "switches": _switches(numbers),
        "hota": hota(labels, truth),
        "ap50": scores[0],
        "msa": float(np.mean(scores)),
        "objects": len(np.unique(labels[labels > 0])),
    }


def _switches(numbers: list[dict[int, int]]) -> int:
    """How often an object that was found has another number than when it was found last."""
    last: dict[int, int] = {}
    count = 0
    for here in numbers:
        for label, number in here.items():
            if number:
                count += last.get(label, number) != number
                last[label] = number
    return count


def _matches(found: np.ndarray, truth: np.ndarray) -> dict[int, int]:
    """For each true object of a slice the number of the one that was found there, 0 for none."""
    matches = {}
    sizes = np.bincount(found.ravel())
    for label, size in zip(*np.unique(truth[truth > 0], return_counts=True), strict=True):
        if size < MIN_PIXELS:
            continue
        shared = np.bincount(found[truth == label], minlength=len(sizes))
        overlap = shared / (sizes + size - shared)
        overlap[0] = 0
        best = int(overlap.argmax())
        matches[int(label)] = best if overlap[best] >= SAME else 0
    return matches


def hota(labels: np.ndarray, truth: np.ndarray) -> float:
    """Higher order tracking accuracy of linked slices, 0 to 1 (Luiten et al. 2021, arXiv:2009.07736).

    As in TrackEval, objects of a slice are matched by their IoU times how well their whole tracks agree.
    """
    frames = [_overlap(*pair) for pair in zip(truth, labels, strict=True)]
    true_numbers, numbers = (np.unique(np.concatenate([one[k] for one in frames])) for k in (0, 1))
    if not len(true_numbers) or not len(numbers):
        return float(len(true_numbers) == len(numbers))
    agree = np.zeros((len(true_numbers), len(numbers)))
    counts = np.zeros(len(true_numbers)), np.zeros(len(numbers))
    placed = []
    for true, own, iou in frames:
        rows, columns = np.searchsorted(true_numbers, true), np.searchsorted(numbers, own)
        share = iou / np.maximum(iou.sum(0, keepdims=True) + iou.sum(1, keepdims=True) - iou, 1e-9)
        agree[np.ix_(rows, columns)] += share
        counts[0][rows] += 1
        counts[1][columns] += 1
        placed.append((rows, columns, iou))
    agree /= counts[0][:, None] + counts[1][None] - agree
    return float(np.mean([_hota_at(threshold, placed, agree, counts) for threshold in THRESHOLDS]))


def _hota_at(
    threshold: float,
    placed: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    agree: np.ndarray,
    counts: tuple[np.ndarray, np.ndarray],
) -> float:
    together = np.zeros_like(agree)
    hits = 0
    for rows, columns, iou in placed:
        score = np.where(iou >= threshold, agree[np.ix_(rows, columns)] * iou + 1e-6, 0)
        i, j = scipy.optimize.linear_sum_assignment(-score)
        good = score[i, j] > 0
        together[rows[i[good]], columns[j[good]]] += 1
        hits += int(good.sum())
    missed = counts[0].sum() + counts[1].sum() - 2 * hits
    alike = together / np.maximum(counts[0][:, None] + counts[1][None] - together, 1)
    return float(np.sqrt((together * alike).sum() / max(hits + missed, 1)))


def _overlap(truth: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the true objects of a slice, of those found, and the IoU of each pair."""
    numbers = [np.unique(one[one > 0]) for one in (truth, found)]
    places = [
        np.where(one > 0, np.searchsorted(known, one) + 1, 0)
        for one, known in zip((truth, found), numbers, strict=True)
    ]
    size = len(numbers[0]) + 1, len(numbers[1]) + 1
    pairs = np.bincount((places[0].astype(np.int64) * size[1] + places[1]).ravel(), minlength=size[0] * size[1])
    table = pairs.reshape(size)
    shared = table[1:, 1:]
    union = table[1:].sum(1)[:, None] + table[:, 1:].sum(0) - shared
    return numbers[0], numbers[1], shared / np.maximum(union, 1)


def division_scores(linked: LinkedFrames, truth: np.ndarray, parents: Mapping[int, int]) -> dict[str, float]:
    """Compare found divisions with the true ones: ``hit`` of ``true`` ones are found, ``made`` were found in all.

    A division counts as found when a mother on her last frame and both daughters on the first frame on which both are
    have the numbers of a mother and her daughters; the mother's number may be that of one of them.
    """
    numbers = [_matches(found, true) for found, true in zip(linked.labels, truth, strict=True)]
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for time, here in enumerate(numbers):
        for label in here:
            first.setdefault(label, time)
            last[label] = time
    mothers: dict[int, list[int]] = {}
    for daughter, mother in parents.items():
        mothers.setdefault(mother, []).append(daughter)
    true = hit = 0
    for mother, daughters in mothers.items():
        if len(daughters) < 2 or mother not in last or any(first.get(one) != last[mother] + 1 for one in daughters):
            continue
        true += 1
        old = numbers[last[mother]][mother]
        new = {numbers[last[mother] + 1][one] for one in daughters}
        hit += (
            old != 0 and len(new) == len(daughters) and all(linked.parents.get(one) == old or one == old for one in new)
        )
    families = {(mother, _begin(linked.labels, daughter)) for daughter, mother in linked.parents.items()}
    return {"true": true, "hit": hit, "made": len(families)}


def _begin(labels: np.ndarray, number: int) -> int:
    return next((time for time, frame in enumerate(labels) if (frame == number).any()), -1)
