"""Encodings of the places of a map, added to queries and keys of attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor

OCTAVES = 6
"""Of :func:`fourier_places`: the shortest wave is a 32nd of a window."""


def sine_positions(height: int, width: int, channels: int, *, temperature: float = 10000.0) -> Tensor:
    """Encode the cells of a map as published checkpoints do: (channels, height, width) float32, y before x.

    Parameters
    ----------
    height, width : int
        Cells of the map; both sides are normalised to 2 pi.
    channels : int
        A multiple of 4.
    temperature : float
        Ratio of the longest wave to the shortest.
    """
    half = channels // 2
    waves = temperature ** (2 * torch.div(torch.arange(half), 2, rounding_mode="floor") / half)
    parts = []
    for cells in (height, width):
        # The published models divide by the last place and a small number.
        places = torch.arange(1, cells + 1, dtype=torch.float32) / (cells + 1e-6) * 2 * math.pi
        angles = places[:, None] / waves
        parts.append(torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1))
    rows = parts[0].T[:, :, None].expand(-1, -1, width)
    columns = parts[1].T[:, None, :].expand(-1, height, -1)
    return torch.cat([rows, columns])


def fourier_places(places: Tensor) -> Tensor:
    """Encode places of a window by sines and cosines of doubling frequency.

    The products of two such encodings are a kernel around a place, from which a mask can begin.

    Parameters
    ----------
    places : Tensor
        (..., 2) x and y, 0 to 1.

    Returns
    -------
    Tensor
        (..., 4 * OCTAVES).
    """
    waves = 2 * math.pi * 2.0 ** torch.arange(OCTAVES, dtype=places.dtype, device=places.device)
    angles = (places[..., None] * waves).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def cell_centres(height: int, width: int) -> Tensor:
    """Centres of the cells of a map, (height * width, 2) x and y from 0 to 1, row by row."""
    y, x = ((torch.arange(cells) + 0.5) / cells for cells in (height, width))
    return torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=-1).flatten(0, 1)
