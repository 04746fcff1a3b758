"""Image to embedding: a vision transformer with windowed attention (Kirillov et al. 2023, appendix A, "Image encoder").

The plain ViT of Li et al. 2022 ("Exploring plain vision transformer backbones for object detection"): most blocks
attend within windows, a few evenly spaced ones over the whole picture; positions enter as one absolute embedding and as
relative ones, decomposed into a row and a column part, in every attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.models.sam.layers import LayerNorm2d, gelu, linear

SCORES, SCORES_OF_CARD = 2**21, 2**28
"""Attention scores that are worked on at a time: few enough to stay in a processor's cache until they are used; a
graphics card wants many."""


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Sizes of an image encoder; the defaults are those of ViT-B.

    Parameters
    ----------
    width : int
        Channels of a token.
    depth : int
        Number of blocks.
    heads : int
        Heads of every attention; must divide `width`.
    global_blocks : tuple of int
        Blocks that attend over the whole picture instead of windows.
    image_size, patch_size : int
        Side of the square input frame and of one patch in pixels.
    window : int
        Side of an attention window in tokens.
    out_channels : int
        Channels C of the embedding.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    image_size: int = 1024
    patch_size: int = 16
    window: int = 14
    out_channels: int = 256

    @property
    def grid(self) -> int:
        """Tokens along one side of the frame."""
        return self.image_size // self.patch_size


class PatchEmbed(nn.Module):
    """Cut the picture into patches and project each to a token."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, h, w, C)."""
        return self.proj(x).permute(0, 2, 3, 1)


class FeedForward(nn.Module):
    """Two linear layers with GELU between, for each token by itself."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        hidden = gelu(linear(x, self.lin1.weight, self.lin1.bias))
        return linear(hidden, self.lin2.weight, self.lin2.bias)


def relative_positions(table: Tensor, size: int) -> Tensor:
    """Vector for every pair of places along one axis.

    Parameters
    ----------
    table : Tensor
        (2 n - 1, d) one vector for each distance from -(n - 1) to n - 1.
    size : int
        Number of places; a table made for another number is interpolated linearly.

    Returns
    -------
    Tensor
        (size, size, d), first the place of the query, second the place of the key.
    """
    distances = 2 * size - 1
    if len(table) != distances:
        table = F.interpolate(table.T[None], size=distances, mode="linear")[0].T
    places = torch.arange(size, device=table.device)
    return table[places[:, None] - places[None, :] + size - 1]


def score_blocks(count: int, size: int, most: int = SCORES) -> Iterator[tuple[slice, slice]]:
    """Cut `count` score matrices of `size` x `size` into blocks of about `most`: (which matrices, which rows)."""
    matrices, rows = max(most // size**2, 1), min(max(most // size, 1), size)
    for first in range(0, count, matrices):
        for row in range(0, size, rows):
            yield slice(first, first + matrices), slice(row, row + rows)


class RelativePositionAttention(nn.Module):
    """Multi-head self-attention over an (h, w) grid with decomposed relative positions (Li et al. 2022, MViTv2).

    Parameters
    ----------
    width : int
        Channels of a token.
    heads : int
        Number of heads.
    size : int
        Tokens along each side of the grid that the relative positions are made for.
    """

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, width // heads))

    def position_scores(self, q: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Queries (N, h * w, d), not scaled -> what scores gain by row (N, h * w, h) and by column (N, h * w, w)."""
        grid = q.unflatten(1, (height, width))
        rows = torch.einsum("nhwd,hkd->nhwk", grid, relative_positions(self.rel_pos_h, height).to(q.dtype))
        columns = torch.einsum("nhwd,wkd->nhwk", grid, relative_positions(self.rel_pos_w, width).to(q.dtype))
        return rows.flatten(1, 2), columns.flatten(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, size: tuple[int, int]) -> Tensor:
        """Queries, keys and values (N, h * w, d) of a grid of `size` (h, w) -> (N, h * w, d)."""
        height, width = size
        depth = q.shape[-1]
        rows, columns = self.position_scores(q, height, width)
        q = q * depth**-0.5
        # On a small grid one product yields scores and positions. On a large one that would cost more than adding.
        folded = height + width <= depth
        if folded:
            q, k = torch.cat([q, rows, columns], dim=-1), torch.cat([k, self._places(k, size)], dim=-1)
        # Turned once: a product would turn them again for every block of scores.
        k = k.transpose(1, 2).contiguous()
        attended = torch.empty_like(v)
        most = SCORES_OF_CARD if q.is_cuda else SCORES
        for some, part in score_blocks(len(q), height * width, most):
            if folded:
                scores = q[some, part] @ k[some]
            else:
                positions = rows[some, part, :, None] + columns[some, part, None, :]
                scores = positions.flatten(2).baddbmm_(q[some, part], k[some])
            attended[some, part] = scores.softmax(-1) @ v[some]
        return attended

    @staticmethod
    def _places(k: Tensor, size: tuple[int, int]) -> Tensor:
        """Of each key, which row and which column it is in, as ones among zeros: (N, h * w, h + w)."""
        rows, columns = (torch.eye(length, dtype=k.dtype, device=k.device) for length in size)
        places = [rows.repeat_interleave(size[1], 0), columns.repeat(size[0], 1)]
        return torch.cat(places, dim=1).expand(len(k), -1, -1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h, w, C)."""
        batch, height, width = x.shape[:3]
        qkv = linear(x, self.qkv.weight, self.qkv.bias).flatten(1, 2).unflatten(2, (3, self.heads, -1))
        qkv = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)
        attended = self.attend(qkv[0], qkv[1], qkv[2], (height, width)).unflatten(0, (batch, self.heads))
        attended = attended.transpose(1, 2).flatten(2).unflatten(1, (height, width))
        return linear(attended, self.proj.weight, self.proj.bias)


def to_windows(x: Tensor, window: int) -> Tensor:
    """Cut a grid into square windows, filled up with zeros to the right and below.

    Parameters
    ----------
    x : Tensor
        (B, h, w, C).
    window : int
        Side of a window in tokens.

    Returns
    -------
    Tensor
        (B * rows * columns, window, window, C).
    """
    height, width = x.shape[1:3]
    x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return x.transpose(2, 3).flatten(0, 2)


def from_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Undo :func:`to_windows`: (B * rows * columns, window, window, C) -> (B, height, width, C)."""
    window = windows.shape[1]
    rows, columns = -(-height // window), -(-width // window)
    x = windows.unflatten(0, (-1, rows, columns)).transpose(2, 3)
    return x.flatten(3, 4).flatten(1, 2)[:, :height, :width]


class ViTBlock(nn.Module):
    """One transformer block; `window` 0 attends over the whole grid."""

    def __init__(self, config: EncoderConfig, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attn = RelativePositionAttention(config.width, config.heads, window or config.grid)
        self.norm2 = nn.LayerNorm(config.width, eps=1e-6)
        self.mlp = FeedForward(config.width, 4 * config.width)

    def attend(self, x: Tensor) -> Tensor:
        """Attention within windows or over the whole grid: (B, h, w, C) -> (B, h, w, C)."""
        if not self.window:
            return self.attn(x)
        return from_windows(self.attn(to_windows(x, self.window)), *x.shape[1:3])

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h, w, C)."""
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ImageEncoder(nn.Module):
    """Vision transformer and neck: a picture of the full frame becomes a C-channel embedding at a stride of one patch.

    Parameters
    ----------
    config : EncoderConfig
        Sizes; the defaults are those of ViT-B.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.patch_size, config.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid, config.grid, config.width))
        self.blocks = nn.ModuleList(
            ViTBlock(config, 0 if index in config.global_blocks else config.window) for index in range(config.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(config.width, config.out_channels, kernel_size=1, bias=False),
            LayerNorm2d(config.out_channels),
            nn.Conv2d(config.out_channels, config.out_channels, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(config.out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, image_size, image_size), normalised and padded -> (B, out_channels, grid, grid)."""
        # A token's channels next to each other: else every norm would carry the whole grid from one order to the other.
        x = (self.patch_embed(x) + self.pos_embed).contiguous()
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))
