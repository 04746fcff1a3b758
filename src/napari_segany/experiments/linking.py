"""``napari-segany bench link``: objects of slices or frames, linked; the given ones, and those that a model finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.link import link_planes
from napari_segany.core.metrics import instance_scores
from napari_segany.core.planes import Stack
from napari_segany.core.query import query_for
from napari_segany.core.segmenter import Segmenter
from napari_segany.engine.crop_ranking import find
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import MIN_PIXELS, labelled_volumes
from napari_segany.experiments.scores import Row

SAME = 0.5
"""IoU from which on an object of a slice is taken for the true one."""


def rows_of_links(
    data: Path,
    load: Callable[[], Segmenter],
    limit: int | None = None,
    given_only: bool = False,
    first: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Row]:
    """Measure linking.

    Parameters
    ----------
    data : Path
        Folder of a set, see :func:`~napari_segany.experiments.datasets.labelled_volumes`.
    load : callable
        Makes the segmenter; not called with `given_only`.
    limit : int, optional
        Take the first stacks only.
    given_only : bool
        Without the objects that the model finds by itself.
    first : int
        Slices before it are left out.
    progress : callable, optional
        Called with the number of stacks done.

    Returns
    -------
    list of dict
        A row for each source of ``labels``, "given" (the true ones of each slice, numbered again) and "own": ``links``
        (share of the true links between neighbouring slices that are made), ``ap50`` and ``msa`` (of the objects in
        three dimensions, mean over stacks), ``seconds_per_slice``, ``n`` (true links), ``objects``, ``stacks``.

    Raises
    ------
    InputError
        When the data cannot be used, or hold nothing that could be linked.
    ModelError
        From `load`.
    """
    segmenter = None if given_only else load()
    found: dict[str, list[tuple[int, int, np.ndarray, float, int]]] = {}
    for done, volume in enumerate(islice(labelled_volumes(data), limit), start=1):
        truth = volume.labels[first:]
        for source, slices, seconds in _slices(volume.stack, truth, segmenter, first):
            started = time.perf_counter()
            labels = link_planes(slices)
            seconds += time.perf_counter() - started
            right, links = _right(labels, truth)
            scores = instance_scores(labels, truth, smallest=MIN_PIXELS)
            found.setdefault(source, []).append((right, links, scores, seconds / len(slices), int(labels.max())))
        if progress is not None:
            progress(done)
    if not any(one[1] for each in found.values() for one in each):
        raise InputError(f"{data} holds no object on two neighbouring slices")
    common = {"bench": "link", "set": set_name(data), "model": segmenter.name if segmenter else "none"}
    common |= {"device": segmenter.capabilities.device if segmenter else "cpu", "commit": commit()}
    return [{**common, "labels": source, **_figures(each)} for source, each in found.items()]


def _figures(found: list[tuple[int, int, np.ndarray, float, int]]) -> Row:
    right, links, scores, seconds, objects = zip(*found, strict=True)
    return {
        "links": sum(right) / sum(links),
        "ap50": float(np.mean([one[0] for one in scores])),
        "msa": float(np.mean(scores)),
        "seconds_per_slice": float(np.mean(seconds)),
        "n": sum(links),
        "objects": sum(objects),
        "stacks": len(found),
    }


def _slices(
    stack: Stack, truth: np.ndarray, segmenter: Segmenter | None, first: int
) -> Iterator[tuple[str, list[np.ndarray], float]]:
    """Label images of all slices by where they come from, and the seconds that it took."""
    rng = np.random.default_rng(0)
    yield "given", [_renumbered(one, rng) for one in truth], 0.0
    if segmenter is not None:
        started = time.perf_counter()
        query = query_for(segmenter)
        slices = [find(segmenter, query, stack.plane(number)).labels for number in range(first, len(stack))]
        yield "own", slices, time.perf_counter() - started


def _renumbered(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slice whose numbers have no meaning any more."""
    values, flat = np.unique(labels, return_inverse=True)
    numbers = np.where(values == 0, 0, 1 + rng.permutation(len(values)))
    renumbered: np.ndarray = numbers[flat].reshape(labels.shape)
    return renumbered


def _right(labels: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """How many true links between neighbouring slices are made, and how many there are."""
    numbers = [_matches(found, true) for found, true in zip(labels, truth, strict=True)]
    right = links = 0
    for before, after in pairwise(numbers):
        both = before.keys() & after.keys()
        links += len(both)
        right += sum(before[one] == after[one] != 0 for one in both)
    return right, links


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
