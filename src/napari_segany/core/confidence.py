"""Confidence in the mask of an object on a slice that was not annotated, and flags for what should be checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy

LOST, FILLED, SPLIT, MERGE, JUMP, DROP = "lost", "filled", "split", "merge", "area jump", "overlap drop"
"""Flags. A lost object has no mask; a filled one lies between two slices on which the object was found."""

FITTED = 12
"""Slices from a given one up to which calibrations were fitted; what lies farther counts as this far."""
PIECE = 0.2
"""A piece of a mask counts as one when it has at least this share of the pixels of the largest."""


@dataclass(frozen=True, slots=True)
class MaskChange:
    """Measurements that the confidence in a mask is computed from.

    Parameters
    ----------
    agreement : float
        IoU of the model's own mask with where the object was expected.
    score : float
        IoU that the model predicts.
    match : float
        How well the slice agrees with the one before in and around the object, see
        :class:`~napari_segany.core.optical_flow.Projection`.
    growth : float
        Natural logarithm of the area, over that on the slice before.
    unrest : float
        How much the area has changed lately: the sizes of all growths since a given slice, those long ago counting
        less and less.
    steps : int
        Slices from the nearest one on which the object was given.
    """

    agreement: float
    score: float
    match: float
    growth: float
    unrest: float
    steps: int = 1

    @property
    def features(self) -> tuple[float, ...]:
        """What a :class:`ConfidenceCalibration` weighs."""
        return 1.0, self.agreement, self.match, abs(self.growth), self.unrest, math.log1p(min(self.steps, FITTED))


@dataclass(frozen=True, slots=True)
class ConfidenceCalibration:
    """Calibration from the measurements of a mask to its expected IoU, for one model.

    Parameters
    ----------
    weights : tuple of float
        Of the :attr:`MaskChange.features` in the logit of the confidence, from ``scripts/confidence.py``.
    """

    weights: tuple[float, ...]

    def confidence(self, signs: MaskChange) -> float:
        """Expected IoU with the true mask, 0 to 1."""
        total = sum(weight * value for weight, value in zip(self.weights, signs.features, strict=True))
        return float(scipy.special.expit(total))


@dataclass(frozen=True, slots=True)
class Gates:
    """How an object is propagated: what its mask weighs, when it is taken for lost, and what is worth a flag.

    Parameters
    ----------
    confidence : float
        Below it an object is not there, unless it was given on both sides.
    score : float
        Nor where the model predicts a lower IoU. Low, as ``tiny`` often predicts little of what it draws well.
    gap : int
        Slices that an object may be away before it has ended; they are filled when it is back.
    overlap : float
        IoU of the model's own mask with where the object was expected, below which that is flagged.
    growth : float
        Factor of area, up or down, from slice to slice that is flagged.
    smallest : int
        An object with fewer pixels is not there.
    calibration : ConfidenceCalibration, optional
        That of the model; None where nothing was fitted to it.
    score_power : float
        The model's mask weighs as its predicted IoU to this power, the expected mask the rest.
    """

    confidence: float = 0.35
    score: float = 0.05
    gap: int = 2
    overlap: float = 0.5
    growth: float = 1.6
    smallest: int = 4
    calibration: ConfidenceCalibration | None = None
    score_power: float = 1.0


@dataclass(frozen=True, slots=True)
class SliceConfidence:
    """Confidence in an object on a slice.

    Parameters
    ----------
    confidence : float
        Expected IoU with the true mask, 0 to 1.
    flags : tuple of str
        What should be checked: of ``LOST``, ``FILLED``, ``SPLIT``, ``MERGE``, ``JUMP`` and ``DROP``.
    signs : MaskChange, optional
        The measurements that the confidence is computed from.
    """

    confidence: float
    flags: tuple[str, ...] = ()
    signs: MaskChange | None = None


FADING = 0.93
"""What is left of unrest from slice to slice."""


def plain_confidence(signs: MaskChange) -> float:
    """What is expected of the mask of a model that nothing was fitted to: how far mask and expectation agree.

    Half of that where the slices themselves have nothing in common.
    """
    return signs.agreement * (1 + min(max(signs.match, 0.0), 1.0)) / 2


def count_pieces(pixels: np.ndarray) -> int:
    """How many parts of about one size a mask (y, x) bool has."""
    parts, _ = scipy.ndimage.label(pixels)
    sizes = np.bincount(parts.ravel())[1:]
    return int((sizes >= PIECE * sizes.max()).sum()) if sizes.size else 0


def _confidence(signs: MaskChange, gates: Gates) -> float:
    return plain_confidence(signs) if gates.calibration is None else gates.calibration.confidence(signs)


def judge_mask(
    signs: MaskChange, mask: np.ndarray, before: np.ndarray, gates: Gates, *, bridged: bool = False
) -> SliceConfidence:
    """The verdict on a mask (y, x) bool of an object that was the mask `before`; `bridged`: given on both sides."""
    sure, here = (_confidence(one, gates) for one in (signs, replace(signs, steps=1)))
    # this slice decides whether an object is there; the distance to a known slice only makes its outline less certain
    unsure = here < gates.confidence and not bridged
    if unsure or signs.agreement == 0 or signs.score < gates.score or int(mask.sum()) < gates.smallest:
        return SliceConfidence(sure, (LOST,), signs)
    seen = {
        SPLIT: count_pieces(mask) > max(count_pieces(before), 1),
        JUMP: abs(signs.growth) > math.log(gates.growth),
        DROP: signs.agreement < gates.overlap,
    }
    return SliceConfidence(sure, tuple(flag for flag, there in seen.items() if there), signs)
