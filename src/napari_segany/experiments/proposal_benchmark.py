"""``napari-segany bench proposals``: how many objects are among the proposals (Kirillov et al. 2023, section 7.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from napari_segany.core.automatic_masks import Candidate, Grid, suppress_overlaps
from napari_segany.core.errors import InputError
from napari_segany.core.filters import Filters
from napari_segany.core.query import Query
from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.coco_truth import annotated_images, target_overlaps
from napari_segany.experiments.datasets import MIN_PIXELS, Target, labelled_planes
from napari_segany.experiments.scores import Row

METHODS = ("grid", "proposals")
"""The grid of the paper, or what the model itself proposes, all masks of each."""
GRID = 64
"""Points along each side; the paper's edges and automatic masks take fewer."""
BOX_OVERLAP = 0.9
"""IoU of boxes above which only the better proposal stays."""
THRESHOLDS = tuple(0.5 + 0.05 * k for k in range(10))
COUNTS = (10, 100, 1000)
"""Proposals of an image that count, the best ones."""
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 2**62)}
"""Pixels of an object, as COCO has them."""


def overlaps(proposals: Sequence[Candidate], truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the IoU of proposals with true objects, and the sizes of these.

    Parameters
    ----------
    proposals : sequence of Candidate
        In pixels of the plane.
    truth : ndarray
        (y, x) integer labels; objects of fewer than 16 pixels are ignored.

    Returns
    -------
    ndarray, ndarray
        (proposals, objects) IoU, and (objects,) pixels.
    """
    labels, areas = np.unique(truth[truth > 0], return_counts=True)
    labels, areas = labels[areas >= MIN_PIXELS], areas[areas >= MIN_PIXELS]
    columns = {int(label): number for number, label in enumerate(labels)}
    found = np.zeros((len(proposals), len(labels)))
    for row, one in enumerate(proposals):
        inside, counts = np.unique(truth[one.window][one.mask], return_counts=True)
        for label, count in zip(inside.tolist(), counts.tolist(), strict=True):
            if label in columns:
                column = columns[label]
                found[row, column] = count / (one.area + areas[column] - count)
    return found, areas


def recalled(overlap: np.ndarray, threshold: float) -> np.ndarray:
    """Return which objects are found, (objects,) bool: each proposal in turn takes the best free one, as in COCO.

    Parameters
    ----------
    overlap : ndarray
        (proposals, objects) IoU, the best proposal first.
    threshold : float
        Least IoU.
    """
    free = np.ones(overlap.shape[1], bool)
    for row in overlap:
        candidates = np.where(free, row, -1.0)
        best = int(candidates.argmax()) if len(candidates) else 0
        if len(candidates) and candidates[best] >= threshold:
            free[best] = False
    return ~free


def average_recall(images: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Return AR at 10, 100 and 1000 proposals, and at 1000 by size.

    Parameters
    ----------
    images : sequence of (ndarray, ndarray)
        For each image what :func:`overlaps` returns, the best proposal first.

    Returns
    -------
    dict of str to float
        ``ar10``, ``ar100``, ``ar1000``, ``ar_small``, ``ar_medium``, ``ar_large``: mean over IoU thresholds .5 to .95
        of the share of all objects that are found; NaN where there is none of a size.
    """
    rows: dict[str, float] = {}
    sizes = np.concatenate([areas for _, areas in images])
    for count in COUNTS:
        hits = np.array([np.concatenate([recalled(found[:count], t) for found, _ in images]) for t in THRESHOLDS])
        rows[f"ar{count}"] = float(hits.mean()) if hits.size else float("nan")
    for name, (low, high) in SIZES.items():
        chosen = hits[:, (sizes >= low) & (sizes < high)]
        rows[f"ar_{name}"] = float(chosen.mean()) if chosen.size else float("nan")
    return rows


def proposals_of(segmenter: Segmenter, plane: np.ndarray, method: str) -> list[Candidate]:
    """Return the proposals on a plane, the best first: ranked by the mean of predicted IoU and stability."""
    grid = Grid(GRID) if method == "grid" else None
    query = Query(grid, (), Filters(score=0.0, stability=0.0, box_overlap=1.0))
    found = list(query.candidates(segmenter, plane))
    ranks = [(one.score + (0.0 if np.isnan(one.stability) else one.stability)) / 2 for one in found]
    kept = suppress_overlaps([one.window for one in found], ranks, BOX_OVERLAP)
    return [found[k] for k in sorted(kept, key=lambda k: -ranks[k])][: max(COUNTS)]


Comparison = Callable[[Sequence[Candidate]], tuple[np.ndarray, np.ndarray]]


def _measurable(data: Path) -> Iterator[tuple[np.ndarray, Comparison]]:
    """Planes, and what compares proposals with the objects of each, as :func:`overlaps` does."""
    if data.suffix.lower() == ".json":
        for image in annotated_images(data):
            yield image.plane, partial(_annotated_overlaps, targets=image.targets, areas=image.areas)
    else:
        for one in labelled_planes(data):
            yield one.plane, partial(overlaps, truth=one.labels)


def _annotated_overlaps(
    proposals: Sequence[Candidate], targets: Sequence[Target], areas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return target_overlaps([Target(one.window, one.mask) for one in proposals], targets), areas


def rows_of_proposals(
    data: Path,
    load: Callable[[], Segmenter],
    methods: Sequence[str] = METHODS,
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Row]:
    """Measure object proposals, whatever class the objects have.

    Parameters
    ----------
    data : Path
        A set of :func:`~napari_segany.experiments.datasets.labelled_planes`, or a JSON file of
        :func:`~napari_segany.experiments.coco_truth.annotated_images`, of which all objects but crowds count, however
        small, and each has the size that the file tells, as in COCO's own evaluation.
    load : callable
        Makes the segmenter.
    methods : sequence of str
        Some of ``METHODS``.
    limit : int, optional
        Take the first images only.
    progress : callable, optional
        Called with the number of images that are done.

    Yields
    ------
    dict
        For each method ``bench``, ``set``, ``model``, ``method``, the figures of :func:`average_recall`, ``images``,
        ``n`` (objects) and ``commit``.

    Raises
    ------
    InputError
        A method is unknown, the model proposes nothing, or the data cannot be used.
    """
    unknown = sorted(set(methods) - set(METHODS))
    if unknown:
        raise InputError(f"unknown method {', '.join(unknown)}; known: {', '.join(METHODS)}")
    segmenter = load()
    if "proposals" in methods and not segmenter.capabilities.proposals:
        raise InputError(f"the model {segmenter.name!r} proposes no objects; measure its grid")
    images: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {method: [] for method in methods}
    for done, (plane, compared) in enumerate(islice(_measurable(data), limit), start=1):
        for method in methods:
            images[method].append(compared(proposals_of(segmenter, plane, method)))
        if progress is not None:
            progress(done)
    for method, measured in images.items():
        yield {
            "bench": "proposals",
            "set": set_name(data),
            "model": segmenter.name,
            "method": method,
            **average_recall(measured),
            "images": len(measured),
            "n": sum(len(areas) for _, areas in measured),
            "commit": commit(),
        }
