"""Which of the masks of a click is meant, from the objects that were committed before.

A click may mean a part, an object or a group of objects (Kirillov et al. 2023, section 3), and the predicted IoU does
not know which. Committed objects of the same image or series do: their size, contrast and shape are a prior for the
next one. No gradient and no model is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from napari_segany.core.masks import Mask, window_of
from napari_segany.core.metrics import iou
from napari_segany.core.planes import Plane, Region

FEATURES = 4
"""Numbers that describe a mask, see :func:`window_features`."""
SEEN = 32
"""Pixels of the longer side of a mask that its features are measured on."""
LATEST = 20
"""Committed objects that count, the latest ones."""
LEAST_OVERLAP = 0.5
"""IoU of a committed mask with the nearest mask of its click, from which on the click tells what was chosen."""
RING = 3
"""Pixels around a mask that its contrast is measured against."""


WEIGHTS = (0.0, 0.02, 0.04, 0.07, 0.1)
"""Of the log-likelihood among committed objects in the choice of a mask; the predicted IoU has the weight 1."""
ENOUGH = 3
"""Committed objects from which on they choose the weight."""


@dataclass(frozen=True, slots=True)
class RankingConfig:
    """What is assumed before the committed objects themselves tell it.

    Any model may begin with the defaults, as the predicted IoU of each has one meaning and the objects soon choose the
    weight; they were chosen with ``tiny`` on ten sets of train/.

    Parameters
    ----------
    spread : tuple of float
        Standard deviations of the features, see :func:`mask_features`.
    strength : float
        How many objects these are worth.
    first_weight, usual_weight : float
        Weight of the log-likelihood for the first objects, and before the objects say otherwise.
    caution : float
        Sum of IoU that a weight must gain on the committed objects for each unit that it differs from the usual one.
    """

    spread: tuple[float, float, float, float] = (0.6, 0.15, 0.15, 0.4)
    strength: float = 3.0
    first_weight: float = 0.04
    usual_weight: float = 0.07
    caution: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class CommittedObject:
    """What is remembered of a committed object.

    Parameters
    ----------
    features : ndarray
        (4,) of its mask, see :func:`mask_features`.
    candidates : sequence of (ndarray or None, float, float)
        Features, predicted IoU, and IoU with the committed mask, of each mask that its click might have meant.
    """

    features: np.ndarray
    candidates: Sequence[tuple[np.ndarray | None, float, float]] = ()


class RankingPrior:
    """What is known of the objects that a user committed.

    The weight of the prior is chosen so that it would have ranked the masks of the committed objects best, each judged
    by the others.

    Parameters
    ----------
    config : RankingConfig, optional
        That of the model that predicts the masks.
    """

    def __init__(self, config: RankingConfig | None = None) -> None:
        self.config = config or RankingConfig()
        self.objects: list[CommittedObject] = []
        self._weight: float | None = None

    def use(self, config: RankingConfig) -> None:
        """Go on with the assumptions of another model."""
        if config != self.config:
            self.config, self._weight = config, None

    def add(self, plane: Plane, pixels: np.ndarray, masks: Sequence[Mask] = ()) -> CommittedObject | None:
        """Learn from a committed object.

        Parameters
        ----------
        plane : ndarray or LazyPlane
            (y, x, 3) uint8.
        pixels : ndarray
            (y, x) bool, the committed mask; an empty one is ignored.
        masks : sequence of Mask
            What its first click might have meant, if a click made it.

        Returns
        -------
        CommittedObject or None
            What is remembered of it, for :meth:`use_objects`; None for an empty mask.
        """
        found = mask_features(plane, pixels)
        if found is None:
            return None
        candidates = [(mask_features(plane, m.pixels), m.score, iou(m.pixels, pixels)) for m in masks]
        if max((overlap for _, _, overlap in candidates), default=0.0) < LEAST_OVERLAP:
            # the click was on something else, or much was painted by hand
            candidates = []
        made = CommittedObject(found, candidates)
        self.use_objects([*self.objects, made])
        return made

    def use_objects(self, objects: Sequence[CommittedObject]) -> None:
        """Count the latest of these objects, and no others."""
        latest = list(objects)[-LATEST:]
        if list(map(id, latest)) != list(map(id, self.objects)):
            self.objects, self._weight = latest, None

    def best(self, plane: Plane, masks: Sequence[Mask]) -> int:
        """Index of the mask that is most likely meant; 0, the most confident, where nothing is known.

        Parameters
        ----------
        plane : ndarray or LazyPlane
            (y, x, 3) uint8, that the masks are of.
        masks : sequence of Mask
            What a click may mean, the most confident first.
        """
        if not self.objects or len(masks) < 2:
            return 0
        candidates = [(mask_features(plane, mask.pixels), mask.score) for mask in masks]
        return choose(candidates, self.objects, self.weight, self.config)

    @property
    def weight(self) -> float:
        """Weight of the log-likelihood, chosen by the committed objects once there are enough."""
        if self._weight is None:
            self._weight = self.config.first_weight if len(self.objects) < ENOUGH else max(WEIGHTS, key=self._gain)
        return self._weight

    def _gain(self, weight: float) -> float:
        """Sum of the IoU of the masks that a weight chooses for the committed objects, less what caution takes."""
        total = 0.0
        for number, one in enumerate(self.objects):
            if one.candidates:
                others = self.objects[:number] + self.objects[number + 1 :]
                total += one.candidates[choose([c[:2] for c in one.candidates], others, weight, self.config)][2]
        return total - self.config.caution * abs(weight - self.config.usual_weight)


def choose(
    candidates: Sequence[tuple[np.ndarray | None, float]],
    known: Sequence[CommittedObject],
    weight: float,
    config: RankingConfig,
) -> int:
    """Index of the candidate with the highest sum of predicted IoU and weighted log-likelihood."""
    features_of_known = np.array([one.features for one in known])
    values = [
        -math.inf if features is None else score + weight * float(log_likelihood(features, features_of_known, config))
        for features, score in candidates
    ]
    return int(np.argmax(values))


def log_likelihood(features: np.ndarray, known: np.ndarray, config: RankingConfig) -> np.ndarray:
    """Log-likelihood among known objects, 0 at most, of features as far from their mean as these.

    Parameters
    ----------
    features : ndarray
        (..., 4), see :func:`mask_features`.
    known : ndarray
        (n, 4) of at least one object.
    config : RankingConfig
        What is assumed of few objects.

    Returns
    -------
    ndarray
        (...).
    """
    distance = np.square(features - known.mean(axis=0)) / (variance_of(known, config) * (1 + 1 / len(known)))
    # Student's t with four degrees of freedom: one strange feature must not decide
    found: np.ndarray = -2.5 * np.log1p(distance / 4).sum(axis=-1)
    return found


def variance_of(known: np.ndarray, config: RankingConfig) -> np.ndarray:
    """Variance (4,) of the features (n, 4) of known objects, few of which are not trusted alone."""
    count, assumed = len(known), np.square(config.spread) * config.strength
    variance: np.ndarray = (known.var(axis=0) * count + assumed) / (count + config.strength)
    return variance


def mask_features(plane: Plane, pixels: np.ndarray) -> np.ndarray | None:
    """Features of a mask of the whole plane, (y, x) bool; None for an empty one, see :func:`window_features`."""
    window = window_of(pixels)
    return None if window is None else window_features(plane, window, pixels[window])


def window_features(plane: Plane, window: Region, mask: np.ndarray) -> np.ndarray:
    """Logarithm of the area, brightness, contrast to the surrounding ring, and logarithm of the elongation.

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
        (4,) float.
    """
    area = int(np.count_nonzero(mask))
    grown = [
        (max(span.start - RING, 0), min(span.stop + RING, n)) for span, n in zip(window, plane.shape, strict=False)
    ]
    pad = [(span.start - low, high - span.stop) for span, (low, high) in zip(window, grown, strict=True)]
    mask = np.pad(mask, pad)
    # coarse is enough for brightness and shape, and takes a tenth of a millisecond
    step = max(round(max(mask.shape) / SEEN), 1)
    (rows, columns), mask = (slice(*span) for span in grown), _thinned(mask, step)
    gray = plane[rows, columns][::step, ::step].mean(axis=2) / 255
    ring = scipy.ndimage.binary_dilation(mask, iterations=max(RING // step, 1)) & ~mask
    bright = float(gray[mask].mean())
    contrast = bright - float(gray[ring].mean()) if ring.any() else 0.0
    y, x = np.nonzero(mask)
    spread = np.linalg.eigvalsh(np.cov(np.stack([y, x])) + np.eye(2) / 12) if len(y) > 1 else np.ones(2)
    return np.array([math.log(area), bright, contrast, 0.5 * math.log(spread[1] / spread[0])])


def _thinned(mask: np.ndarray, step: int) -> np.ndarray:
    """Every so many-th pixel of a mask; of one that is thinner than that, any pixel of each block."""
    coarse = mask[::step, ::step]
    if coarse.any():
        return coarse
    blocks = np.zeros_like(coarse)
    rows, columns = np.nonzero(mask)
    blocks[rows // step, columns // step] = True
    return blocks
