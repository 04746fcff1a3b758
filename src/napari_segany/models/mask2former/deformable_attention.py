"""Multi-scale deformable attention in plain PyTorch (Zhu et al. 2021, arXiv:2010.04159, section 4.1).

Each place samples a few points of every level around its reference point, instead of all cells: the cost grows with
the number of cells and not with its square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.models.mask2former.position_encodings import cell_centres

Shapes = Sequence[tuple[int, int]]


def reference_points(shapes: Shapes) -> Tensor:
    """Centres of the cells of all levels, (S, 2) x and y from 0 to 1, level after level."""
    return torch.cat([cell_centres(*shape) for shape in shapes])


class DeformableAttention(nn.Module):
    """Attention of each query to `points` places of each level, for each head.

    Parameters
    ----------
    channels : int
        C, a multiple of `heads`.
    heads, levels, points : int
        M heads, L levels, K points of each.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self._start()

    def _start(self) -> None:
        """Initialise each head with a separate direction, and point k at a distance of k cells."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1)[:, None]
        start = directions[:, None, None] * steps[None, None]
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(start.expand(-1, self.levels, -1, -1).flatten())

    def forward(self, queries: Tensor, values: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        """Attend.

        Parameters
        ----------
        queries : Tensor
            (B, N, C), positions included.
        values : Tensor
            (B, S, C), the cells of all levels one after the other, without positions.
        reference : Tensor
            (N, 2) x and y from 0 to 1.
        shapes : sequence of tuple of int
            Rows and columns of each level, S cells in all.

        Returns
        -------
        Tensor
            (B, N, C).
        """
        batch, count, _ = queries.shape
        heads = (self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(queries).view(batch, count, *heads, 2)
        sides = offsets.new_tensor([[columns, rows] for rows, columns in shapes])
        places = reference[:, None, None, None] + offsets / sides[:, None]
        weights = self.attention_weights(queries).view(batch, count, self.heads, -1).softmax(-1)
        seen = self._sampled(self.value_proj(values), 2 * places - 1, shapes)
        # (B M, C / M, N, L K) and (B M, 1, N, L K)
        weights = weights.transpose(1, 2).flatten(0, 1)[:, None]
        mixed = (seen * weights).sum(-1).view(batch, -1, count)
        return self.output_proj(mixed.transpose(1, 2))

    def _sampled(self, values: Tensor, grid: Tensor, shapes: Shapes) -> Tensor:
        """Values (B, S, C) at places (B, N, M, L, K, 2) from -1 to 1: (B M, C / M, N, L K)."""
        batch = values.shape[0]
        grid = grid.to(values.dtype)
        seen = []
        for level, part in enumerate(values.split([rows * columns for rows, columns in shapes], dim=1)):
            maps = part.transpose(1, 2).reshape(batch * self.heads, -1, *shapes[level])
            places = grid[:, :, :, level].transpose(1, 2).flatten(0, 1)
            seen.append(F.grid_sample(maps, places, align_corners=False))
        return torch.cat(seen, dim=-1)
