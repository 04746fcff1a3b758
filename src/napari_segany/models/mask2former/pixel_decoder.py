"""The pixel decoder: backbone maps to three levels for the queries and one fine map for the masks.

Cheng et al. 2022, section 3.2 and appendix ("MSDeformAttn"): six layers of deformable attention over the three coarse
levels, then a lateral convolution of the finest backbone map and a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.models.mask2former.deformable_attention import DeformableAttention, Shapes, reference_points
from napari_segany.models.mask2former.position_encodings import sine_positions

LEVELS = 3
"""Of which the queries see one in each layer."""
GROUPS = 32
"""Of the group norms, which channels are a multiple of."""


@dataclass(frozen=True)
class PixelDecoderConfig:
    """Sizes of a pixel decoder.

    Parameters
    ----------
    inputs : tuple of int
        Channels of the four backbone maps, the finest first.
    channels, mask_channels : int
        Of the levels, and of the fine map.
    layers, width : int
        Layers of deformable attention, and the width of their feed-forward part.
    heads, points : int
        Of the attention; `points` on each level.
    """

    inputs: tuple[int, ...]
    channels: int = 256
    mask_channels: int = 256
    layers: int = 6
    width: int = 1024
    heads: int = 8
    points: int = 4


class DeformableLayer(nn.Module):
    """Self-attention of all cells of all levels, and a feed-forward part; normalised after each sum."""

    def __init__(self, config: PixelDecoderConfig) -> None:
        super().__init__()
        channels = config.channels
        self.self_attn = DeformableAttention(channels, config.heads, LEVELS, config.points)
        self.self_attn_norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, config.width)
        self.fc2 = nn.Linear(config.width, channels)
        self.final_norm = nn.LayerNorm(channels)

    def forward(self, cells: Tensor, positions: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        """(B, S, C) cells with (S, C) positions and (S, 2) reference points -> (B, S, C)."""
        cells = self.self_attn_norm(cells + self.self_attn(cells + positions, cells, reference, shapes))
        return self.final_norm(cells + self.fc2(F.relu(self.fc1(cells))))


class PixelDecoder(nn.Module):
    """Backbone maps to the levels that queries attend to, and the map that masks are made of.

    Parameters
    ----------
    config : PixelDecoderConfig
        Sizes.
    """

    def __init__(self, config: PixelDecoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        finest, *coarse = config.inputs
        self.input_projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, channels, 1), nn.GroupNorm(GROUPS, channels)) for inputs in coarse[::-1]
        )
        self.level_embed = nn.Parameter(torch.randn(LEVELS, channels))
        self.layers = nn.ModuleList(DeformableLayer(config) for _ in range(config.layers))
        self.lateral = nn.Sequential(nn.Conv2d(finest, channels, 1, bias=False), nn.GroupNorm(GROUPS, channels))
        self.output = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.GroupNorm(GROUPS, channels), nn.ReLU()
        )
        self.mask_projection = nn.Conv2d(channels, config.mask_channels, 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Decode.

        Parameters
        ----------
        maps : sequence of Tensor
            (B, C_i, h_i, w_i) of the backbone, the finest of four first.

        Returns
        -------
        levels : list of Tensor
            Three of (B, C, h, w), the coarsest first.
        fine : Tensor
            (B, mask channels, h, w) of the finest input map.
        """
        finest, *coarse = maps
        levels = [project(x) for project, x in zip(self.input_projections, coarse[::-1], strict=True)]
        shapes = [(x.shape[-2], x.shape[-1]) for x in levels]
        cells = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], dim=1)
        positions, reference = self._places(shapes, cells)
        for layer in self.layers:
            cells = layer(cells, positions, reference, shapes)
        parts = cells.transpose(1, 2).split([rows * columns for rows, columns in shapes], dim=2)
        levels = [part.unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]
        lateral = self.lateral(finest)
        coarser = F.interpolate(levels[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        return levels, self.mask_projection(self.output(lateral + coarser))

    def _places(self, shapes: Shapes, like: Tensor) -> tuple[Tensor, Tensor]:
        """Encodings (S, C) of the cells of all levels with that of their level, and their centres (S, 2)."""
        encodings = [sine_positions(*shape, self.config.channels).flatten(1).T.to(like) for shape in shapes]
        positions = torch.cat([one + level for one, level in zip(encodings, self.level_embed, strict=True)])
        return positions, reference_points(shapes).to(like)
