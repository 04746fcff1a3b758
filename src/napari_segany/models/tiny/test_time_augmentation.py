"""Test-time augmentation: a window is flipped, predicted, and the prediction is flipped back.

A convolutional network predicts slightly different masks for a picture and for its mirror image. Their mean is nearer
to the truth than either, above all where outlines are faint.
"""

from __future__ import annotations

from enum import Enum, auto

import torch
from torch import Tensor


class Flip(Enum):
    """How a window is turned over. Each way undoes itself."""

    AS_IT_IS = auto()
    MIRRORED = auto()
    TRANSPOSED = auto()


SIDES = tuple(Flip)


def flip_window(side: Flip, maps: Tensor) -> Tensor:
    """Maps (..., n, n) turned over; those that were turned over are turned back."""
    match side:
        case Flip.MIRRORED:
            return maps.flip(-1)
        case Flip.TRANSPOSED:
            return maps.transpose(-1, -2)
        case _:
            return maps


def flip_boxes(side: Flip, boxes: Tensor, length: int) -> Tensor:
    """Boxes (B, 4) of x0, y0, x1, y1 in pixels of a window of `length` pixels a side, turned over with it."""
    match side:
        case Flip.MIRRORED:
            last = length - 1
            return torch.stack([last - boxes[:, 2], boxes[:, 1], last - boxes[:, 0], boxes[:, 3]], dim=1)
        case Flip.TRANSPOSED:
            return boxes[:, [1, 0, 3, 2]]
        case _:
            return boxes
