"""``napari-segany bench exemplars``: how many objects are found that are like a few given ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.exemplars import Exemplars, ObjectDescriptors, describe_labels
from napari_segany.core.metrics import instance_scores, iou
from napari_segany.core.query import exemplar_query, query_for
from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import MIN_PIXELS, LabelledPlane, labelled_planes
from napari_segany.experiments.scores import Row

FALSE = 0.3
"""IoU with every true object, below which a found one is wrong for everyone and is rejected."""


@dataclass(frozen=True, slots=True)
class ExemplarConfig:
    """What is measured.

    Parameters
    ----------
    data : Path
        Folder of a set.
    exemplars : tuple of int
        How many objects are given.
    rejected : int
        How many wrong objects the user rejects before the second search, at most.
    seeds : int
        Draws of the exemplars.
    images : int
        Images that are measured on, at most.
    """

    data: Path
    exemplars: tuple[int, ...] = (5,)
    rejected: int = 5
    seeds: int = 3
    images: int = 20


def rows_of_exemplars(
    config: ExemplarConfig, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> Iterator[Row]:
    """Find objects like some of an image on the same image, or on others of the set where an image holds few.

    The exemplars count neither as found nor as missed.

    Yields
    ------
    dict
        ``bench``, ``set``, ``model``, ``exemplars``, ``ap50_automatic`` and ``msa_automatic`` (automatic masks),
        ``ap50`` and ``msa`` (like the exemplars), ``ap50_rejected`` and ``msa_rejected`` (after up to `rejected` wrong
        ones were rejected), means over images and seeds; ``images``, ``seeds`` and ``commit``.

    Raises
    ------
    InputError
        The set cannot be used.
    """
    planes = list(labelled_planes(config.data))
    segmenter = load()
    tested = [planes[k] for k in np.random.default_rng(0).permutation(len(planes))[: config.images]]
    done = 0
    for count in config.exemplars:
        scores: list[np.ndarray] = []
        for one in tested:
            for seed in range(config.seeds):
                found = _given(segmenter, planes, one, count, np.random.default_rng((seed, count)))
                if found is not None:
                    scores.append(_scores(segmenter, one, found, config.rejected))
            done += 1
            if progress is not None:
                progress(done)
        if not scores:
            raise InputError(f"{config.data} has no image with {count} other objects to be found")
        mean = np.mean(scores, axis=0)
        names = ("automatic", "", "rejected")
        yield {
            "bench": "exemplars",
            "set": set_name(config.data),
            "model": segmenter.name,
            "exemplars": count,
            **{f"ap50_{name}".rstrip("_"): float(row[0]) for name, row in zip(names, mean, strict=True)},
            **{f"msa_{name}".rstrip("_"): float(row.mean()) for name, row in zip(names, mean, strict=True)},
            "images": len(tested),
            "seeds": config.seeds,
            "commit": commit(),
        }


def _given(
    segmenter: Segmenter, planes: Sequence[LabelledPlane], one: LabelledPlane, count: int, rng: np.random.Generator
) -> tuple[ObjectDescriptors, np.ndarray] | None:
    """Descriptors of the exemplars, and (y, x) bool, their pixels in the image; None where there are too few."""
    own = _objects(one.labels)
    if len(own) >= 2 * count:
        chosen = rng.choice(own, count, replace=False)
        return describe_labels(segmenter, one.plane, one.labels, chosen.tolist()), np.isin(one.labels, chosen)
    others = [(k, label) for k, plane in enumerate(planes) if plane is not one for label in _objects(plane.labels)]
    if len(others) < count:
        return None
    found = ObjectDescriptors()
    for index in rng.choice(len(others), count, replace=False):
        k, label = others[index]
        found = found.joined(describe_labels(segmenter, planes[k].plane, planes[k].labels, [label]))
    return found, np.zeros(one.labels.shape, bool)


def _objects(labels: np.ndarray) -> np.ndarray:
    found, counts = np.unique(labels[labels > 0], return_counts=True)
    large: np.ndarray = found[counts >= MIN_PIXELS]
    return large


def _scores(
    segmenter: Segmenter, one: LabelledPlane, given: tuple[ObjectDescriptors, np.ndarray], rejected: int
) -> np.ndarray:
    """Scores (3, thresholds) of automatic masks, of those like the exemplars, and of those after rejections."""
    known, taken = given
    truth = np.where(taken, 0, one.labels)
    embedding = segmenter.embed(one.plane)
    usual, like = query_for(segmenter), exemplar_query(segmenter, Exemplars(known))
    automatic = usual.select(usual.candidates(segmenter, one.plane, embedding=embedding), taken)
    candidates = like.candidates(segmenter, one.plane, embedding=embedding)
    first = again = like.select(candidates, taken)
    wrong = [k for k in range(len(first.objects)) if _best_iou(first.labels == k + 1, truth) < FALSE]
    if wrong[:rejected]:
        # the user sees and rejects those with the highest scores first
        negatives = describe_labels(segmenter, one.plane, first.labels, [k + 1 for k in wrong[:rejected]])
        again = replace(like, exemplars=Exemplars(known, negatives)).select(candidates, taken)
    ways = (automatic, first, again)
    return np.array([instance_scores(way.labels, truth, smallest=MIN_PIXELS) for way in ways])


def _best_iou(mask: np.ndarray, truth: np.ndarray) -> float:
    return max((iou(mask, truth == label) for label in np.unique(truth[mask]) if label), default=0.0)
