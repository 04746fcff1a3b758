"""The losses of promptable training (Kirillov et al. 2023, appendix A, "Losses") and of the dense heads."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Area = Literal["object", "picture"]
"""What a sum over pixels is divided by."""


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0, area: Area = "object") -> Tensor:
    """Focal loss of each mask, summed over pixels and divided by an area.

    Dividing by the picture's area, as for photographs, leaves small objects without a voice.

    Parameters
    ----------
    logits, target : Tensor
        (..., h, w); the target is from 0 to 1.
    gamma : float
        Exponent of the weight of a pixel.
    area : {"object", "picture"}
        What the sum is divided by: pixels of the object, 16 more, or all pixels.

    Returns
    -------
    Tensor
        (...,).
    """
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weighted = (target - logits.sigmoid()).abs() ** gamma * entropy
    if area == "picture":
        return weighted.mean((-2, -1))
    return weighted.sum((-2, -1)) / (target.sum((-2, -1)) + 16)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """Dice loss of each mask; (..., h, w) -> (...,)."""
    found = logits.sigmoid()
    overlap = 2 * (found * target).sum((-2, -1))
    return 1 - (overlap + 1) / (found.sum((-2, -1)) + target.sum((-2, -1)) + 1)


def soft_dice(found: Tensor, expected: Tensor) -> Tensor:
    """Dice loss of two masks of probabilities, 0 where they are equal; (..., h, w) -> (...,)."""
    overlap = 2 * (found * expected).sum((-2, -1))
    return 1 - (overlap + 1) / ((found**2).sum((-2, -1)) + (expected**2).sum((-2, -1)) + 1)


def iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of each thresholded mask with its target; 0 for what should be empty; (..., h, w) -> (...,)."""
    found, truth = logits > 0, target > 0.5
    union = (found | truth).sum((-2, -1))
    return (found & truth).sum((-2, -1)) / union.clamp_min(1)


def dense_loss(predicted: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Loss of the dense heads.

    Parameters
    ----------
    predicted, target : Tensor
        (B, 5, h, w), channels as in ``models.tiny.DENSE_CHANNELS``.
    known : Tensor
        (B, h, w), 1 where the target holds, else 0.
    """
    shares = F.binary_cross_entropy_with_logits(predicted[:, :3], target[:, :3], reduction="none")
    shares = (shares * shares.new_tensor([1.0, 1.0, 3.0])[:, None, None]).sum(1) * known
    inside = target[:, :1] * known[:, None]
    vector = F.smooth_l1_loss(predicted[:, 3:], target[:, 3:], reduction="none", beta=0.2) * inside
    # sums over all pictures, so that one with a few known pixels counts as little
    vectors = (vector.sum((1, 2, 3)) / (inside.sum((1, 2, 3)) + 16)).sum() / known.amax((1, 2)).sum().clamp_min(1)
    return shares.sum() / known.sum().clamp_min(1) + vectors
