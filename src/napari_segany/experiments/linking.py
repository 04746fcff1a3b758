"""``napari-segany bench link``: objects of slices or frames, linked; the given ones, and those that a model finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.planes import Stack
from napari_segany.core.query import query_for
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.synthetic_movies import synthetic_movie
from napari_segany.engine.crop_ranking import find
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import labelled_volumes
from napari_segany.experiments.link_methods import link_methods
from napari_segany.experiments.scores import Row
from napari_segany.experiments.tracking_scores import division_scores, link_scores

HELD_OUT = 7_000_000
"""Of the seeds of made-up movies to measure on; training counts its seeds from 0."""
FRAMES = 10
"""Of such a movie."""


def rows_of_links(  # noqa: PLR0913  each parameter is an option of the bench
    data: Path,
    load: Callable[[], Segmenter],
    limit: int | None = None,
    given_only: bool = False,
    first: int = 0,
    progress: Callable[[int], None] | None = None,
    methods: Sequence[str] = ("iou",),
    identity: Path | None = None,
) -> list[Row]:
    """Measure linking.

    Parameters
    ----------
    data : Path
        Folder of a set, see :func:`~napari_segany.experiments.datasets.labelled_volumes`.
    load : callable
        Makes the segmenter; not called with `given_only`, unless a method needs its features.
    limit : int, optional
        Take the first stacks only.
    given_only : bool
        Without the objects that the model finds by itself.
    first : int
        Slices before it are left out.
    progress : callable, optional
        Called with the number of stacks done.
    methods : sequence of str
        Of :data:`~napari_segany.experiments.link_methods.METHODS`.
    identity : Path, optional
        Weights of identity queries, in place of those of the package.

    Returns
    -------
    list of dict
        A row for each method and source of ``labels``, "given" (the true ones of each slice, numbered again) and
        "own": ``links`` (share of the true links between neighbouring slices that are made), ``switches`` (links from
        one true object to another), ``hota`` (over IoU 0.05 to 0.95), ``ap50`` and ``msa`` (of the objects in three
        dimensions, mean over stacks), ``seconds_per_slice`` (with finding the objects), ``n`` (true links),
        ``objects``, ``stacks``.

    Raises
    ------
    InputError
        When the data cannot be used, or hold nothing that could be linked; or a package of a method is missing.
    ModelError
        From `load`.
    """
    linkers = link_methods(methods, identity)
    segmenter = None if given_only and not any(one.needs_features for one in linkers.values()) else load()
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for done, volume in enumerate(islice(labelled_volumes(data), limit), start=1):
        truth = volume.labels[first:]
        frames = _Frames(volume.stack, first, segmenter)
        for source, slices, seconds in _slices(frames, truth, own=not given_only):
            for name, method in linkers.items():
                started = time.perf_counter()
                linked = method.link(slices, frames.embeddings() if method.needs_features else None)
                spent = seconds + time.perf_counter() - started
                figures = {**link_scores(linked.labels, truth), "seconds_per_slice": spent / len(slices)}
                found.setdefault((source, name), []).append(figures)
        if progress is not None:
            progress(done)
    if not any(one["n"] for each in found.values() for one in each):
        raise InputError(f"{data} holds no object on two neighbouring slices")
    common = {"bench": "link", "set": set_name(data), "model": segmenter.name if segmenter else "none"}
    common |= {"device": segmenter.capabilities.device if segmenter else "cpu", "commit": commit()}
    return [{**common, "labels": source, "method": name, **_figures(each)} for (source, name), each in found.items()]


def rows_of_divisions(
    load: Callable[[], Segmenter],
    movies: int,
    methods: Sequence[str] = ("iou",),
    identity: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Row]:
    """Measure links and divisions in made-up movies of seeds that no training uses.

    Returns
    -------
    list of dict
        A row for each method, for the true objects of each frame, numbered again: ``links``, ``switches``, ``hota``
        as in :func:`rows_of_links`, ``divisions`` (share of the true ones that are found: both daughters with the
        track of their mother as parent), ``precision`` (share of the found ones that are true), ``n`` (true
        divisions), ``stacks``.
    """
    linkers = link_methods(methods, identity)
    segmenter = load()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in linkers}
    for number in range(movies):
        movie = synthetic_movie(np.random.default_rng((HELD_OUT, number)), FRAMES, (288, 288))
        frames = _Frames(Stack(movie.images, rgb=True), 0, segmenter)
        rng = np.random.default_rng(number)
        slices = [_renumbered(one, rng) for one in movie.labels]
        for name, method in linkers.items():
            linked = method.link(slices, frames.embeddings() if method.needs_features else None)
            scores = link_scores(linked.labels, movie.labels)
            found[name].append({**scores, **division_scores(linked, movie.labels, movie.parents)})
        if progress is not None:
            progress(number + 1)
    common = {"bench": "divisions", "set": f"{movies} made-up movies", "model": segmenter.name}
    common |= {"device": segmenter.capabilities.device, "commit": commit()}
    return [{**common, "method": name, **_division_figures(each)} for name, each in found.items()]


def _division_figures(found: Sequence[dict[str, float]]) -> Row:
    total = {name: sum(one[name] for one in found) for name in ("right", "n", "true", "made", "hit", "switches")}
    return {
        "links": total["right"] / total["n"],
        "switches": int(total["switches"]),
        "hota": float(np.mean([one["hota"] for one in found])),
        "divisions": total["hit"] / max(total["true"], 1),
        "precision": total["hit"] / max(total["made"], 1),
        "n": int(total["true"]),
        "stacks": len(found),
    }


def _figures(found: Sequence[dict[str, float]]) -> Row:
    total = {name: sum(one[name] for one in found) for name in ("right", "n", "switches", "objects")}
    means = {name: float(np.mean([one[name] for one in found])) for name in ("hota", "ap50", "msa")}
    return {
        "links": total["right"] / total["n"],
        "switches": int(total["switches"]),
        **means,
        "seconds_per_slice": float(np.mean([one["seconds_per_slice"] for one in found])),
        "n": int(total["n"]),
        "objects": int(total["objects"]),
        "stacks": len(found),
    }


@dataclass(slots=True, eq=False)
class _Frames:
    """Planes of a stack from one on, whose embeddings are made once, when a method needs them."""

    stack: Stack
    first: int
    segmenter: Segmenter | None
    _embeddings: list[ImageEmbedding] = field(default_factory=list)

    def planes(self) -> Iterator[np.ndarray]:
        return (self.stack.plane(number) for number in range(self.first, len(self.stack)))

    def embeddings(self) -> list[ImageEmbedding]:
        if not self._embeddings and self.segmenter is not None:
            self._embeddings = [self.segmenter.embed(plane) for plane in self.planes()]
        return self._embeddings


def _slices(frames: _Frames, truth: np.ndarray, *, own: bool) -> Iterator[tuple[str, list[np.ndarray], float]]:
    """Label images of all slices by where they come from, and the seconds that it took."""
    rng = np.random.default_rng(0)
    yield "given", [_renumbered(one, rng) for one in truth], 0.0
    segmenter = frames.segmenter
    if own and segmenter is not None:
        started = time.perf_counter()
        query = query_for(segmenter)
        slices = [find(segmenter, query, plane).labels for plane in frames.planes()]
        yield "own", slices, time.perf_counter() - started


def _renumbered(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slice whose numbers have no meaning any more."""
    values, flat = np.unique(labels, return_inverse=True)
    numbers = np.where(values == 0, 0, 1 + rng.permutation(len(values)))
    renumbered: np.ndarray = numbers[flat].reshape(labels.shape)
    return renumbered
