"""``napari-segany bench everything``: how many objects are found without prompts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from napari_segany.core.automatic_masks import Grid
from napari_segany.core.errors import InputError
from napari_segany.core.metrics import instance_scores
from napari_segany.core.query import Query, query_for
from napari_segany.core.segmenter import Segmenter
from napari_segany.engine.crop_ranking import find
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import MIN_PIXELS, labelled_planes, targets
from napari_segany.experiments.scores import Row
from napari_segany.models.mask2former.query_segmenter import FINDERS, QuerySegmenter

METHODS = ("seeds", "grid", "queries", "queries+sam")


def rows_of_everything(
    data: Path,
    load: Callable[[], Segmenter],
    method: tuple[str, ...] = (),
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Row]:
    """Measure automatic masks.

    Parameters
    ----------
    data : Path
        Folder of a set, see :func:`~napari_segany.experiments.datasets.labelled_planes`.
    load : callable
        Makes the segmenter.
    method : tuple of str
        One or more of ``METHODS``; by default what the model's automatic masks use: its queries, seeds, or the grid.
        With "queries" they draw their masks themselves, with "queries+sam" the decoder of `tiny` draws them.
    limit : int, optional
        Take the first planes only.
    progress : callable, optional
        Called with the number of planes done.

    Returns
    -------
    list of dict
        A row for each method: ``bench``, ``set``, ``model``, ``device``, ``commit``, ``method``, ``ap50`` (TP / (TP +
        FP + FN) at an IoU of 0.5, mean over images), ``msa`` (the same, mean over IoU 0.5 to 0.95 in steps of 0.05),
        ``seconds_per_image`` (encoding included), ``images``, ``n`` (true objects) and ``found``. Objects of fewer
        than 16 pixels are ignored.

    Raises
    ------
    InputError
        When the data cannot be used, or the model lacks the requested seeds or queries.
    ModelError
        From `load`.
    """
    if unknown := set(method) - set(METHODS):
        raise InputError(f"unknown method {', '.join(sorted(unknown))}; known: {', '.join(METHODS)}")
    planes = labelled_planes(data)
    segmenter = load()
    methods = method or (_usual(segmenter),)
    results: dict[str, list[tuple[np.ndarray, float, int]]] = {way: [] for way in methods}
    searches = {way: _search(segmenter, way) for way in methods}
    objects = 0
    for done, one in enumerate(islice(planes, limit), start=1):
        objects += len(targets(one.labels))
        for way in methods:
            started = time.perf_counter()
            finder, query = searches[way]
            labels = find(finder, query, one.plane).labels
            seconds = time.perf_counter() - started
            scores = instance_scores(labels, one.labels, smallest=MIN_PIXELS)
            results[way].append((scores, seconds, int(labels.max())))
        if progress is not None:
            progress(done)
    return list(_rows(results, data, segmenter, objects))


def _usual(segmenter: Segmenter) -> str:
    if isinstance(segmenter, QuerySegmenter):
        return segmenter.finder
    return "seeds" if segmenter.capabilities.proposals else "grid"


def _search(segmenter: Segmenter, method: str) -> tuple[Segmenter, Query]:
    """Return the segmenter of a method, and the query for it; InputError where the method is not supported."""
    if isinstance(segmenter, QuerySegmenter):
        segmenter = segmenter.finding_by(method if method in FINDERS else "seeds")
    elif method in FINDERS and method != "seeds":
        raise InputError(f"the model {segmenter.name!r} has no queries; give --model a file of train mask2former")
    if method == "seeds" and not segmenter.capabilities.proposals:
        raise InputError(f"the model {segmenter.name!r} has no seeds; measure its grid")
    return segmenter, query_for(segmenter, grid=Grid() if method == "grid" else None)


def _rows(
    results: dict[str, list[tuple[np.ndarray, float, int]]], data: Path, segmenter: Segmenter, objects: int
) -> Iterator[Row]:
    for method, measured in results.items():
        scores = np.array([one for one, _, _ in measured])
        yield {
            "bench": "everything",
            "set": set_name(data),
            "model": segmenter.name,
            "device": segmenter.capabilities.device,
            "commit": commit(),
            "method": method,
            "ap50": float(scores[:, 0].mean()),
            "msa": float(scores.mean()),
            "seconds_per_image": float(np.mean([seconds for _, seconds, _ in measured])),
            "images": len(measured),
            "n": objects,
            "found": sum(count for _, _, count in measured),
        }
