"""The query decoder: each query attends inside its last mask, then to the others (Cheng et al. 2022, section 3.2).

Class head and mask head read the same queries after every layer, and before the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.models.mask2former.pixel_decoder import LEVELS


@dataclass(frozen=True)
class QueryDecoderConfig:
    """Sizes of a query decoder.

    Parameters
    ----------
    classes : int
        k; the class head has one more, for no object.
    inputs, channels, mask_channels : int
        Of the levels, the queries, and the fine map.
    layers, width, heads : int
        Layers, width of their feed-forward part, heads of their attention.
    project : bool
        Convolve the levels even where they have as many channels as the queries.
    """

    classes: int
    inputs: int = 256
    channels: int = 256
    mask_channels: int = 256
    layers: int = 9
    width: int = 2048
    heads: int = 8
    project: bool = False


@dataclass(frozen=True, eq=False)
class QueryPrediction:
    """Predictions of the queries at one depth.

    Parameters
    ----------
    classes : Tensor
        (B, Q, k + 1) logits, the last for no object.
    masks : Tensor
        (B, Q, h, w) logits.
    """

    classes: Tensor
    masks: Tensor


@dataclass(frozen=True, eq=False)
class StartingQueries:
    """Queries before the first layer.

    Parameters
    ----------
    content, position : Tensor
        (B, Q, C) each; the position is added wherever queries act as queries or keys of an attention.
    places : Tensor, optional
        (B, Q, 2) x and y from 0 to 1, where the queries have a place; for decoders that draw around it.
    """

    content: Tensor
    position: Tensor
    places: Tensor | None = None


class QueryAttention(nn.Module):
    """Multi-head attention; what may not be attended to is masked."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(channels, channels) for _ in range(4))
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Attend.

        Parameters
        ----------
        queries, keys, values : Tensor
            (B, Q, C), (B, K, C) and (B, K, C).
        allowed : Tensor, optional
            (B, Q, K) bool, the same for all heads.

        Returns
        -------
        Tensor
            (B, Q, C).
        """
        q, k, v = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.q_proj(queries), self.k_proj(keys), self.v_proj(values))
        )
        mask = None if allowed is None else allowed[:, None]
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(found.transpose(1, 2).flatten(2))


class QueryLayer(nn.Module):
    """Masked cross-attention, then self-attention, then a feed-forward part; normalised after each sum."""

    def __init__(self, config: QueryDecoderConfig) -> None:
        super().__init__()
        channels = config.channels
        self.cross_attn, self.self_attn = (QueryAttention(channels, config.heads) for _ in range(2))
        self.cross_attn_norm, self.self_attn_norm, self.final_norm = (nn.LayerNorm(channels) for _ in range(3))
        self.fc1 = nn.Linear(channels, config.width)
        self.fc2 = nn.Linear(config.width, channels)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, content: Tensor, position: Tensor, level: tuple[Tensor, Tensor], allowed: Tensor) -> Tensor:
        """Queries (B, Q, C) on the cells of a level and their positions, both (B, K, C); `allowed` (B, Q, K)."""
        cells, places = level
        seen = self.cross_attn(content + position, cells + places, cells, allowed)
        content = self.cross_attn_norm(content + seen)
        positioned = content + position
        content = self.self_attn_norm(content + self.self_attn(positioned, positioned, content))
        return self.final_norm(content + self.fc2(F.relu(self.fc1(content))))


class QueryDecoder(nn.Module):
    """Queries to classes and masks.

    Parameters
    ----------
    config : QueryDecoderConfig
        Sizes.
    """

    def __init__(self, config: QueryDecoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        projected = config.project or config.inputs != channels
        self.input_projections = nn.ModuleList(
            nn.Conv2d(config.inputs, channels, 1) if projected else nn.Identity() for _ in range(LEVELS)
        )
        self.level_embed = nn.Embedding(LEVELS, channels)
        self.layers = nn.ModuleList(QueryLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(channels)
        self.class_head = nn.Linear(channels, config.classes + 1)
        self.mask_head = nn.ModuleList(
            [nn.Linear(channels, channels), nn.Linear(channels, channels), nn.Linear(channels, config.mask_channels)]
        )

    def forward(
        self, levels: Sequence[Tensor], places: Sequence[Tensor], fine: Tensor, queries: StartingQueries
    ) -> list[QueryPrediction]:
        """Decode.

        Parameters
        ----------
        levels : sequence of Tensor
            (B, inputs, h, w) each, the coarsest first; layer i attends to level i mod 3.
        places : sequence of Tensor
            (C, h, w) each, the encoded positions of their cells.
        fine : Tensor
            (B, mask channels, H, W).
        queries : StartingQueries
            Where they begin.

        Returns
        -------
        list of QueryPrediction
            That of the starting queries, and one after each layer.
        """
        shapes = [x.shape[-2:] for x in levels]
        cells = [
            (project(x) + embed[:, None, None]).flatten(2).transpose(1, 2)
            for project, x, embed in zip(self.input_projections, levels, self.level_embed.weight, strict=True)
        ]
        keys = [one.flatten(1).T for one in places]
        content = queries.content
        predictions = [self.predict(content, fine, queries)]
        for number, layer in enumerate(self.layers):
            level = number % LEVELS
            allowed = attended(predictions[-1].masks, (shapes[level][0], shapes[level][1]))
            content = layer(content, queries.position, (cells[level], keys[level]), allowed)
            predictions.append(self.predict(content, fine, queries))
        return predictions

    def predict(self, content: Tensor, fine: Tensor, queries: StartingQueries) -> QueryPrediction:
        """Classes and masks of queries (B, Q, C) with the fine map (B, mask channels, H, W)."""
        return self.read(self.norm(content), fine)

    def read(self, content: Tensor, fine: Tensor) -> QueryPrediction:
        """The same of queries that are normalised."""
        first, second, last = self.mask_head
        vectors = last(F.relu(second(F.relu(first(content)))))
        masks = (vectors @ fine.flatten(2)).unflatten(2, fine.shape[-2:])
        return QueryPrediction(self.class_head(content), masks)


@torch.no_grad()
def attended(masks: Tensor, shape: tuple[int, int]) -> Tensor:
    """Cells that queries may attend to: those inside their masks, and all where a mask is empty.

    Parameters
    ----------
    masks : Tensor
        (B, Q, H, W) logits.
    shape : tuple of int
        Rows and columns of the level.

    Returns
    -------
    Tensor
        (B, Q, rows * columns) bool.
    """
    inside = F.interpolate(masks.float(), size=shape, mode="bilinear", align_corners=False).flatten(2) >= 0
    return inside | ~inside.any(dim=-1, keepdim=True)
