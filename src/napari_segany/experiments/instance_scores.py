"""``napari-segany bench everything``: how many objects are found when nobody points at any."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from napari_segany.core.automatic_masks import Grid
from napari_segany.core.errors import InputError
from napari_segany.core.metrics import instance_scores
from napari_segany.core.query import query_for
from napari_segany.core.segmenter import Segmenter
from napari_segany.engine.crop_ranking import find
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import MIN_PIXELS, labelled_planes, targets
from napari_segany.experiments.scores import Row

METHODS = ("seeds", "grid")


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
        One or more of ``METHODS``; by default seeds where the model has them, else the grid.
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
        When the data cannot be used, or the model has no seeds and they are asked for.
    ModelError
        From `load`.
    """
    if unknown := set(method) - set(METHODS):
        raise InputError(f"unknown method {', '.join(sorted(unknown))}; known: {', '.join(METHODS)}")
    planes = labelled_planes(data)
    segmenter = load()
    seeding = segmenter.capabilities.proposals
    if "seeds" in method and not seeding:
        raise InputError(f"the model {segmenter.name!r} has no seeds; measure its grid")
    methods = method or ("seeds" if seeding else "grid",)
    results: dict[str, list[tuple[np.ndarray, float, int]]] = {way: [] for way in methods}
    queries = {way: query_for(segmenter, grid=None if way == "seeds" else Grid()) for way in methods}
    objects = 0
    for done, one in enumerate(islice(planes, limit), start=1):
        objects += len(targets(one.labels))
        for way in methods:
            started = time.perf_counter()
            labels = find(segmenter, queries[way], one.plane).labels
            seconds = time.perf_counter() - started
            scores = instance_scores(labels, one.labels, smallest=MIN_PIXELS)
            results[way].append((scores, seconds, int(labels.max())))
        if progress is not None:
            progress(done)
    return list(_rows(results, data, segmenter, objects))


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
