"""Simulated corrective clicks: where a predicted mask is wrong (Kirillov et al. 2023, appendix A)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Points = tuple[Tensor, Tensor]


def add_corrective_click(
    points: Points | None, logits: Tensor, target: Tensor, stride: float, generator: torch.Generator
) -> Points:
    """Add to each prompt one click in the error region of its mask, or anywhere on the object where there is none.

    Parameters
    ----------
    points : tuple of Tensor, optional
        (B, N, 2) x and y in input pixels, and (B, N) labels.
    logits, target : Tensor
        (B, h, w) logits of the predicted mask, and the true mask from 0 to 1.
    stride : float
        Input pixels per pixel of the masks.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    tuple of Tensor
        (B, N + 1, 2) and (B, N + 1); 1 is a click on the object, 0 one on the background.
    """
    truth = target > 0.5
    wrong = (logits > 0) ^ truth
    # users see solid regions, not scattered single pixels
    solid = F.avg_pool2d(wrong[:, None].float(), 5, stride=1, padding=2)[:, 0] ** 2 * wrong
    weights = (solid + 1e-6 * truth + 1e-9).flatten(1)
    place = torch.multinomial(weights, 1, generator=generator)
    label = truth.flatten(1).gather(1, place)
    rows, columns = place // target.shape[-1], place % target.shape[-1]
    new = torch.stack([columns, rows], -1) * stride + (stride - 1) / 2
    if points is None:
        return new.float(), label.long()
    return torch.cat([points[0], new.to(points[0])], 1), torch.cat([points[1], label.to(points[1])], 1)
