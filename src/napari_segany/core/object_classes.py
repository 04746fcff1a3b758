"""Learn classes of objects from a few of each, and suggest a class with a probability for the others.

An object is described by its mask (:func:`~.ranking.window_features`), by how its pixels look (:func:`appearance`),
and by the vector of its crop, where the model makes such vectors. A linear model is learned from these: logistic
regression with a penalty, for several weightings of the three kinds, mixed by how well each predicts the class
of objects that were left out. The same objects set the temperature of the probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, cast

import numpy as np
import scipy

from napari_segany.core.errors import InputError
from napari_segany.core.exemplars import describe
from napari_segany.core.masks import Mask, window_of
from napari_segany.core.planes import Plane, Region
from napari_segany.core.ranking import FEATURES
from napari_segany.core.segmenter import ImageEmbedding, Segmenter

APPEARANCE = 12
"""Numbers of :func:`appearance`."""
SEEN = 64
"""Pixels of the longer side of an object that its appearance is measured on."""
WEIGHTINGS = ((0.4, 0.2, 0.4), (0.9, 0.05, 0.05), (0.05, 0.05, 0.9), (0.15, 0.7, 0.15))
"""Shares of mask features, appearance and vector. These and the next numbers were chosen on tasks made of sets of
train/: objects of two to six sources that look alike, and small or large, dark or bright, round or long objects of one
source."""
PENALTY = 3e-3
"""Of the squared weights; each class counts the same, however many objects it has."""
LEAST_SPREAD = 0.01
"""Standard deviation of a number below which it is noise."""
MOST_SPREADS = 4.0
"""Standard deviations beyond which a number is not stranger still."""
FOLDS = 10
"""Groups of objects that are left out one after the other, at most."""
USUAL_TEMPERATURE = 1.5
"""Where no class has two objects, so that none can be left out."""
TEMPERATURE_SPREAD = 0.5
"""Standard deviation of the logarithm of the temperature that is assumed."""
LATEST = 200
"""Objects of a class that are learned from, the last ones."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassDescriptors:
    """What classes of objects are told apart by.

    Parameters
    ----------
    features : ndarray
        (n, 4), see :func:`~napari_segany.core.ranking.window_features`.
    appearance : ndarray
        (n, 12), see :func:`appearance`.
    vectors : ndarray
        (n, d) of length 1; d is 0 for a model that makes none.
    named : ndarray
        (n, k) vectors by which the model names objects itself, see :class:`NamesObjects`; k is 0 for a model that knows
        no names. Classes of the user are learned from them as well, with the other vectors as one kind of numbers.
    """

    features: np.ndarray = field(default_factory=lambda: np.zeros((0, FEATURES)))
    appearance: np.ndarray = field(default_factory=lambda: np.zeros((0, APPEARANCE)))
    vectors: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    named: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def __len__(self) -> int:
        return len(self.features)

    @property
    def blocks(self) -> tuple[np.ndarray, ...]:
        """The three kinds of numbers; both kinds of vectors count the same."""
        vectors = self.vectors.reshape(len(self), -1)
        if self.named.shape[1]:
            length = np.linalg.norm(self.named, axis=1, keepdims=True)
            vectors = np.concatenate([vectors, self.named / np.maximum(length, 1e-6)], axis=1)
        return self.features, self.appearance, vectors

    @property
    def length(self) -> int:
        """How long the vectors are, both kinds together."""
        return int(self.vectors.shape[1] + self.named.shape[1])

    @property
    def parts(self) -> tuple[np.ndarray, ...]:
        """All numbers, as the object is made of."""
        named = self.named if len(self.named) else np.zeros((len(self), self.named.shape[1]))
        return self.features, self.appearance, self.vectors, named

    def chosen(self, rows: Sequence[int] | np.ndarray) -> ClassDescriptors:
        """Return those of some objects."""
        return ClassDescriptors(*(part[np.asarray(rows, int)] for part in self.parts))

    def joined(self, other: ClassDescriptors) -> ClassDescriptors:
        """Return these and those of other objects.

        Raises
        ------
        InputError
            When they were made by different models.
        """
        if not len(self) or not len(other):
            return self if len(self) else other
        _check_same(self, other.length)
        pairs = zip(self.parts, other.parts, strict=True)
        return ClassDescriptors(*(np.concatenate(pair) for pair in pairs))


class NamesObjects(Segmenter, Protocol):
    """A segmenter with the capability ``known_classes``."""

    def class_vectors(self, plane: Plane, windows: Sequence[Region], masks: Sequence[np.ndarray]) -> np.ndarray:
        """Return vectors (n, d) float32 of objects, that classes are told apart by.

        Parameters
        ----------
        plane : ndarray or LazyPlane
            (y, x, 3) uint8.
        windows : sequence of (slice, slice)
            Rows and columns of each object's bounding box.
        masks : sequence of ndarray
            bool, of the windows' shapes.
        """

    def name_masks(self, embedding: ImageEmbedding, masks: Sequence[Mask]) -> list[Mask]:
        """Return masks on the plane of an embedding with their names and probabilities."""


def _check_same(objects: ClassDescriptors, length: int) -> None:
    if objects.length != length:
        raise InputError(
            "the objects were described by different models; use the model that the classes were learned with"
        )


def describe_for_classes(
    segmenter: Segmenter, plane: Plane, windows: Sequence[Region], masks: Sequence[np.ndarray]
) -> ClassDescriptors:
    """Return what classes of objects are told apart by.

    Parameters
    ----------
    segmenter : Segmenter
        Makes the vectors, where it can.
    plane : ndarray or LazyPlane
        (y, x, 3) uint8.
    windows : sequence of (slice, slice)
        Rows and columns of each object's bounding box.
    masks : sequence of ndarray
        bool, of the windows' shapes, none empty.
    """
    if not windows:
        return ClassDescriptors()
    known = describe(segmenter, plane, windows, masks)
    looks = np.stack([appearance(plane, window, mask) for window, mask in zip(windows, masks, strict=True)])
    named = np.zeros((len(looks), 0))
    if segmenter.capabilities.known_classes is not None:
        named = cast("NamesObjects", segmenter).class_vectors(plane, windows, masks)
    return ClassDescriptors(known.features, looks, known.vectors, named)


def named_masks(segmenter: Segmenter, plane: Plane, masks: Sequence[Mask]) -> list[Mask]:
    """Return masks of a plane with the names that a model gives them, the probability with each.

    Masks of a model that knows no names, and empty ones, come back as they are.
    """
    known = segmenter.capabilities.known_classes
    places = {number: window for number, mask in enumerate(masks) if (window := window_of(mask.pixels)) is not None}
    if known is None or not places:
        return list(masks)
    shapes = [masks[number].pixels[window] for number, window in places.items()]
    vectors = cast("NamesObjects", segmenter).class_vectors(plane, list(places.values()), shapes)
    names = dict(zip(places, known.suggest(vectors), strict=True))
    return [with_name(mask, names[number]) if number in names else mask for number, mask in enumerate(masks)]


def with_name(mask: Mask, found: tuple[str, float]) -> Mask:
    """Return a mask with a name and its probability; as it is with an empty name."""
    name, probability = found
    return replace(mask, class_name=name, class_probability=probability) if name else mask


def appearance(plane: Plane, window: Region, mask: np.ndarray) -> np.ndarray:
    """Describe the pixels of an object by numbers that do not depend on its direction.

    Parameters
    ----------
    plane : ndarray or LazyPlane
        (y, x, 3) uint8.
    window : tuple of slice
        Rows and columns of the bounding box of the object.
    mask : ndarray
        bool, of the window's shape, not empty.

    Returns
    -------
    ndarray
        (12,) float: red and blue less green; deviation, tenth and ninetieth percentile of the brightness; fine and
        coarse texture; share of the convex hull and of the box that the object fills; deviation of each channel.
    """
    step = max(round(max(mask.shape) / SEEN), 1)
    crop, inside = plane[window][::step, ::step] / 255.0, mask[::step, ::step]
    if not inside.any():
        # thinner than the steps
        crop, inside = plane[window] / 255.0, mask
    gray = crop.mean(axis=2)
    values, pixels = gray[inside], crop[inside]
    smooth, smoother = scipy.ndimage.gaussian_filter(gray, 1), scipy.ndimage.gaussian_filter(gray, 3)
    red, green, blue = pixels.mean(axis=0)
    return np.array(
        [
            *(red - green, blue - green),
            *(values.std(), *np.quantile(values, (0.1, 0.9))),
            *((gray - smooth)[inside].std(), (smooth - smoother)[inside].std()),
            *(_solidity(inside), np.count_nonzero(mask) / mask.size),
            *pixels.std(axis=0),
        ]
    )


def _solidity(inside: np.ndarray) -> float:
    """Share of the convex hull of all corners of the pixels of a mask that these fill."""
    rows, columns = np.nonzero(inside)
    corners = np.concatenate([np.stack([rows + y, columns + x], axis=1) for y in (0, 1) for x in (0, 1)])
    return len(rows) / float(scipy.spatial.ConvexHull(corners).volume)


@dataclass(frozen=True, slots=True, eq=False)
class ObjectClassifier:
    """Tells the class of an object; made by :func:`learn_classes`.

    Parameters
    ----------
    names : tuple of str
        Of the classes.
    middle, spread : ndarray
        (d,) from numbers of objects to those that `weights` are for.
    weights, bias : ndarray
        (d, classes) and (classes,): from these to the logarithms of the probabilities, up to a constant.
    """

    names: tuple[str, ...]
    middle: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def probabilities(self, objects: ClassDescriptors) -> np.ndarray:
        """Return the probability of each class for each object, (n, classes).

        Raises
        ------
        InputError
            The objects were described by another model.
        """
        _check_same(objects, len(self.middle) - FEATURES - APPEARANCE)
        values = _standardised(np.concatenate(objects.blocks, axis=1), self.middle, self.spread)
        found: np.ndarray = scipy.special.softmax(values @ self.weights + self.bias, axis=1)
        return found

    def suggest(self, objects: ClassDescriptors) -> list[tuple[str, float]]:
        """Return the most probable class of each object, and its probability."""
        found = self.probabilities(objects)
        return [(self.names[int(row.argmax())], float(row.max())) for row in found]


def learn_classes(
    known: ClassDescriptors, names: Sequence[str], others: ClassDescriptors | None = None
) -> ObjectClassifier:
    """Learn to tell classes apart.

    Parameters
    ----------
    known : ClassDescriptors
        Of objects whose class is known.
    names : sequence of str
        The class of each.
    others : ClassDescriptors, optional
        Of more objects of the same images, which tell what is usual there.

    Raises
    ------
    InputError
        When there are not two classes, or another model described the others.
    """
    classes = check_classes(names)
    rows = np.sort(np.concatenate([[k for k, n in enumerate(names) if n == name][-LATEST:] for name in classes]))
    kinds = np.array([classes.index(names[row]) for row in rows])
    usual = known if others is None else known.joined(others)
    middle, spread = _usual(usual)
    values = _standardised(np.concatenate(known.chosen(rows).blocks, axis=1), middle, spread)
    scales = list(_scales(known.length))
    fits = [_fit(values * scale, kinds, len(classes)) for scale in scales]
    shares, temperature = _judged(values, kinds, scales)
    weights = sum(s * scale[:, None] * w for s, scale, (w, _) in zip(shares, scales, fits, strict=True)) / temperature
    bias = sum(s * b for s, (_, b) in zip(shares, fits, strict=True)) / temperature
    return ObjectClassifier(classes, middle, spread, np.asarray(weights), np.asarray(bias))


def check_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Return the different classes of objects, sorted.

    Raises
    ------
    InputError
        When there are not two.
    """
    classes = tuple(sorted(set(names)))
    if len(classes) < 2:
        known = f"the class of all known objects is {classes[0]!r}" if classes else "no object has a class yet"
        raise InputError(f"{known}; give at least one object of each of two classes its class")
    return classes


def _usual(objects: ClassDescriptors) -> tuple[np.ndarray, np.ndarray]:
    """Middle and spread (d,) of the numbers of objects, such that each of the three kinds counts the same."""
    numbers = np.concatenate([objects.features, objects.appearance], axis=1)
    vectors = objects.blocks[2]
    middle = [np.median(numbers, axis=0), vectors.mean(axis=0)]
    spread = [np.maximum(numbers.std(axis=0), LEAST_SPREAD)]
    # the parts of a vector have one scale
    length = math.sqrt(float(np.square(vectors - middle[1]).sum(axis=1).mean()))
    spread.append(np.full(vectors.shape[1], max(length, LEAST_SPREAD)))
    return np.concatenate(middle), np.concatenate(spread)


def _standardised(values: np.ndarray, middle: np.ndarray, spread: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.clip((values - middle) / spread, -MOST_SPREADS, MOST_SPREADS)
    return found


def _scales(length: int) -> Iterator[np.ndarray]:
    """Factors (d,) for each weighting of the three kinds of numbers; `length` is that of the vectors."""
    for features, looks, vector in WEIGHTINGS:
        blocks = ((features / FEATURES, FEATURES), (looks / APPEARANCE, APPEARANCE), (vector, length))
        yield np.concatenate([np.full(count, math.sqrt(share)) for share, count in blocks])


def _fit(values: np.ndarray, kinds: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (d, classes) and bias (classes,) of a logistic regression in which each class counts the same."""
    share = 1 / (classes * np.maximum(np.bincount(kinds, minlength=classes), 1))[kinds]
    truth = np.eye(classes)[kinds]
    # the weights are combinations of the objects: as many unknowns as objects, however long the vectors
    left, sizes, right = np.linalg.svd(values, full_matrices=False)
    inner = left * sizes
    split = inner.shape[1] * classes

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = flat[:split].reshape(-1, classes), flat[split:]
        logits = inner @ weights + bias
        total = scipy.special.logsumexp(logits, axis=1)
        error = share[:, None] * (np.exp(logits - total[:, None]) - truth)
        value = float((share * (total - (logits * truth).sum(axis=1))).sum() + PENALTY / 2 * np.square(weights).sum())
        return value, np.concatenate([(inner.T @ error + PENALTY * weights).ravel(), error.sum(axis=0)])

    found = scipy.optimize.minimize(loss, np.zeros(split + classes), jac=True, method="L-BFGS-B").x
    return right.T @ found[:split].reshape(-1, classes), found[split:]


def _judged(values: np.ndarray, kinds: np.ndarray, scales: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """The share of each weighting, and the temperature, by the classes that are predicted for objects left out."""
    classes = int(kinds.max()) + 1
    several = np.flatnonzero(np.bincount(kinds)[kinds] > 1)
    if not len(several):
        return np.full(len(scales), 1 / len(scales)), USUAL_TEMPERATURE
    several = several[np.argsort(kinds[several], kind="stable")]
    groups = min(FOLDS, len(several))
    logits = np.zeros((len(scales), len(kinds), classes))
    for group in range(groups):
        out = several[group::groups]
        rest = np.setdiff1d(np.arange(len(kinds)), out)
        for number, scale in enumerate(scales):
            weights, bias = _fit(values[rest] * scale, kinds[rest], classes)
            logits[number, out] = values[out] * scale @ weights + bias
    logits, truth = logits[:, several], kinds[several]
    shares = scipy.special.softmax([-_surprise(one, truth) for one in logits])
    mixed = np.tensordot(shares, logits, axes=1)

    def cost(logarithm: float) -> float:
        return _surprise(mixed * math.exp(-logarithm), truth) + (logarithm / TEMPERATURE_SPREAD) ** 2 / 2

    return shares, math.exp(scipy.optimize.minimize_scalar(cost, bounds=(-3, 2), method="bounded").x)


def _surprise(logits: np.ndarray, truth: np.ndarray) -> float:
    """Sum of the negative logarithms of the probabilities (n, classes) of the true classes (n,)."""
    return -float(scipy.special.log_softmax(logits, axis=1)[np.arange(len(truth)), truth].sum())
