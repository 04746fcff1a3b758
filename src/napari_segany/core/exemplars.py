"""Find all objects like given ones: exemplars, and how like them a candidate mask is.

Exemplars are objects that a user committed; candidates that the user rejected count against what is like them. The
likeness has two parts: size, brightness, contrast and elongation of the mask (:func:`~.ranking.window_features`), and
the vector of its crop, where the model makes such vectors. No gradient and no threshold of an image is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, cast

import numpy as np

from napari_segany.core.automatic_masks import Candidate
from napari_segany.core.errors import InputError
from napari_segany.core.masks import windows_of
from napari_segany.core.planes import Plane, Region
from napari_segany.core.ranking import FEATURES, RankingConfig, log_likelihood, variance_of, window_features
from napari_segany.core.segmenter import Segmenter

FEATURE_WEIGHT = 0.1
"""Of the log-likelihood of the mask's features in the score; the predicted IoU has the weight 1. This and the next
numbers were chosen on seventeen sets of train/, none of which is part of a benchmark."""
VECTOR_WEIGHT = 1.0
"""Of the cosine by which a crop is less like the exemplars than these are like each other."""
NEAREST = 3
"""Exemplars whose vectors a crop is compared with: the nearest ones."""
REJECTION_WEIGHT, MOST_REJECTION = 0.06, 0.6
"""Taken from the score of what is like a rejected mask, for each exemplar, and at most: few exemplars cannot tell what
distinguishes them from a rejected mask."""
VECTOR_SCALE = 0.1
"""Cosine distance that counts as much as one standard deviation of a feature."""
MOST_POINTS = 16
"""Along a side of a grid next to the proposals: more cost seconds, and small objects are among the proposals."""
LEAST_SCORE = 0.3
"""Sum of predicted IoU and likeness from which on a candidate is an object; the default of the slider."""


class DescribesObjects(Segmenter, Protocol):
    """A segmenter with the capability ``describes``."""

    def describe(self, plane: Plane, windows: Sequence[Region], masks: Sequence[np.ndarray]) -> np.ndarray:
        """Return vectors (n, d) float32 of length 1 of objects: alike for objects of one kind.

        Parameters
        ----------
        plane : ndarray or LazyPlane
            (y, x, 3) uint8.
        windows : sequence of (slice, slice)
            Rows and columns of each object's bounding box.
        masks : sequence of ndarray
            bool, of the windows' shapes.
        """


@dataclass(frozen=True, slots=True, eq=False)
class ObjectDescriptors:
    """What objects are compared by.

    Parameters
    ----------
    features : ndarray
        (n, 4), see :func:`~napari_segany.core.ranking.window_features`.
    vectors : ndarray
        (n, d) of length 1; d is 0 for a model that makes none.
    """

    features: np.ndarray = field(default_factory=lambda: np.zeros((0, FEATURES)))
    vectors: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __len__(self) -> int:
        return len(self.features)

    def joined(self, other: ObjectDescriptors) -> ObjectDescriptors:
        """Return these and those of another image.

        Raises
        ------
        InputError
            When they were made by different models.
        """
        if not len(self) or not len(other):
            return self if len(self) else other
        if self.vectors.shape[1] != other.vectors.shape[1]:
            raise InputError("the exemplars were described by different models; choose them again")
        parts = ((getattr(one, name) for one in (self, other)) for name in ("features", "vectors"))
        features, vectors = (np.concatenate(list(part)) for part in parts)
        return ObjectDescriptors(features, vectors)


@dataclass(frozen=True, slots=True, eq=False)
class Exemplars:
    """Objects that show what is looked for.

    Parameters
    ----------
    objects : ObjectDescriptors
        Of at least one object.
    rejected : ObjectDescriptors
        Of masks that are not what is looked for.
    config : RankingConfig
        What is assumed of the features of few objects.

    Raises
    ------
    InputError
        When there is no object.
    """

    objects: ObjectDescriptors
    rejected: ObjectDescriptors = field(default_factory=ObjectDescriptors)
    config: RankingConfig = field(default_factory=RankingConfig)

    def __post_init__(self) -> None:
        if not len(self.objects):
            raise InputError("there is no object to find others like it; commit one first")

    def grid_side(self, length: int) -> int:
        """Return how many points along a side of so many pixels leave no object between them; 0 for too many."""
        diameter = math.exp(float(np.median(self.objects.features[:, 0])) / 2)
        side = math.ceil(2 * length / max(diameter, 1))
        return side if side <= MOST_POINTS else 0

    def with_scores(self, candidates: Sequence[Candidate], found: ObjectDescriptors) -> list[Candidate]:
        """Return candidates with the sum of their predicted IoU and their likeness as score, 0 to 1.

        Parameters
        ----------
        candidates : sequence of Candidate
            Of the model that described the exemplars.
        found : ObjectDescriptors
            Of the candidates.
        """
        if not candidates:
            return []
        scores = np.clip(np.array([one.score for one in candidates]) + self.likeness(found), 0, 1)
        return [replace(one, score=float(score)) for one, score in zip(candidates, scores, strict=True)]

    def likeness(self, found: ObjectDescriptors) -> np.ndarray:
        """Return how like the exemplars objects are: (n,) float, 0 for those like them, negative for others."""
        likeness: np.ndarray = FEATURE_WEIGHT * log_likelihood(found.features, self.objects.features, self.config)
        if self.objects.vectors.shape[1] and found.vectors.shape[1] == self.objects.vectors.shape[1]:
            likeness = likeness + VECTOR_WEIGHT * self._vector_likeness(found.vectors)
        total: np.ndarray = likeness - self._rejection(found)
        return total

    def _vector_likeness(self, vectors: np.ndarray) -> np.ndarray:
        """How much less like the exemplars crops are than these are like each other, (n,), 0 at most."""
        known = self.objects.vectors
        nearness = _mean_of_nearest(vectors @ known.T, NEAREST)
        among = known @ known.T
        np.fill_diagonal(among, -1)
        usual = 1.0 if len(known) < 2 else float(_mean_of_nearest(among, min(NEAREST, len(known)) - 1).mean())
        likeness: np.ndarray = np.minimum(nearness - usual, 0)
        return likeness

    def _rejection(self, found: ObjectDescriptors) -> np.ndarray:
        """What is taken from objects that are nearer to a rejected mask than to an exemplar, (n,), 0 or more."""
        if not len(self.rejected):
            return np.zeros(len(found))
        to_objects, to_rejected = (self._distance(found, to) for to in (self.objects, self.rejected))
        share = np.clip((to_objects - to_rejected) / np.maximum(to_objects, 1e-6), 0, 1)
        rejection: np.ndarray = min(REJECTION_WEIGHT * len(self.objects), MOST_REJECTION) * share
        return rejection

    def _distance(self, found: ObjectDescriptors, known: ObjectDescriptors) -> np.ndarray:
        """Squared distance (n,) to the nearest of some objects."""
        variance = variance_of(self.objects.features, self.config)
        each = (np.square(found.features[:, None] - known.features[None]) / variance).sum(axis=-1)
        if known.vectors.shape[1] and found.vectors.shape[1] == known.vectors.shape[1]:
            each = each + (1 - found.vectors @ known.vectors.T) / VECTOR_SCALE
        nearest: np.ndarray = each.min(axis=1)
        return nearest


def _mean_of_nearest(nearness: np.ndarray, count: int) -> np.ndarray:
    """Mean of the `count` largest values of each row."""
    mean: np.ndarray = np.sort(nearness, axis=1)[:, -max(min(count, nearness.shape[1]), 1) :].mean(axis=1)
    return mean


def describe(
    segmenter: Segmenter, plane: Plane, windows: Sequence[Region], masks: Sequence[np.ndarray]
) -> ObjectDescriptors:
    """Return what objects are compared by; parameters as of :meth:`DescribesObjects.describe`."""
    if not windows:
        return ObjectDescriptors()
    features = np.stack([window_features(plane, window, mask) for window, mask in zip(windows, masks, strict=True)])
    vectors = np.zeros((len(features), 0), np.float32)
    if segmenter.capabilities.describes:
        vectors = cast("DescribesObjects", segmenter).describe(plane, windows, masks)
    return ObjectDescriptors(features, vectors)


def describe_labels(
    segmenter: Segmenter, plane: Plane, labels: np.ndarray, chosen: Sequence[int] | None = None
) -> ObjectDescriptors:
    """Return what the objects of a label image are compared by.

    Parameters
    ----------
    segmenter : Segmenter
        The model that will look for others.
    plane : ndarray or LazyPlane
        (y, x, 3) uint8.
    labels : ndarray
        (y, x) integer.
    chosen : sequence of int, optional
        Labels of the exemplars; all by default.
    """
    objects = windows_of(labels)
    found = [objects[number] for number in (objects if chosen is None else chosen) if number in objects]
    return describe(segmenter, plane, [window for window, _ in found], [mask for _, mask in found])
