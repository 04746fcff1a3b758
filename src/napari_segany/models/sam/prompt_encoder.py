"""Prompts to tokens and dense features (Kirillov et al. 2023, appendix A, "Prompt encoder").

Points, box corners and text become sparse tokens; a rough mask becomes a dense map that is added to the image
embedding. Coordinates here are (x, y) pixels of the model's input frame, as the tensors of the published models want.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.models.sam.layers import LayerNorm2d


class PositionEmbeddingRandom(nn.Module):
    """Sines and cosines of random projections of (x, y) positions (Tancik et al. 2020)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_pos_feats: int, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", scale * torch.randn(2, num_pos_feats))

    def forward(self, positions: Tensor) -> Tensor:
        """Positions (..., 2), x and y from 0 to 1 over the input frame -> (..., 2 * num_pos_feats)."""
        matrix = self.positional_encoding_gaussian_matrix
        angles = 2 * math.pi * ((2 * positions.to(matrix.dtype) - 1) @ matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def grid(self, size: tuple[int, int]) -> Tensor:
        """Encoding of the centres of an (h, w) grid over the frame: (C, h, w)."""
        matrix = self.positional_encoding_gaussian_matrix
        y, x = ((torch.arange(n, device=matrix.device, dtype=matrix.dtype) + 0.5) / n for n in size)
        return self(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)).permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """Encodes the prompts of a batch.

    Parameters
    ----------
    embed_dim : int
        Width C of tokens and dense features.
    embedding_size : tuple of int
        (h, w) of the image embedding.
    input_size : tuple of int
        (y, x) pixels of the model's input frame.
    mask_channels : int
        Channels inside the mask path.
    """

    def __init__(
        self,
        embed_dim: int,
        embedding_size: tuple[int, int],
        input_size: tuple[int, int],
        mask_channels: int = 16,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.embedding_size = embedding_size
        self.input_size = input_size
        self.mask_input_size = (4 * embedding_size[0], 4 * embedding_size[1])
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, embed_dim) for _ in range(4)])
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, embed_dim, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def dense_pe(self) -> Tensor:
        """Position encoding of the image embedding's grid: (1, C, h, w)."""
        return self.pe_layer.grid(self.embedding_size)[None]

    def tokens(self, xy: Tensor, labels: Tensor) -> Tensor:
        """Embed labelled positions.

        Parameters
        ----------
        xy : Tensor
            (B, N, 2) x and y in input-frame pixels.
        labels : Tensor
            (B, N) integers: -1 padding, 0 off the object, 1 on it, 2 and 3 first and second corner of a box.

        Returns
        -------
        Tensor
            (B, N, C).
        """
        height, width = self.input_size
        # Half a pixel leads to the middle of the pixel that was named.
        places = self.pe_layer((xy + 0.5) / xy.new_tensor([width, height]))
        named = [kind.weight for kind in self.point_embeddings if isinstance(kind, nn.Embedding)]
        kinds = torch.cat([self.not_a_point_embed.weight, *named])
        return places * (labels >= 0)[..., None] + kinds[labels.long() + 1]

    def forward(
        self,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        text: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode a batch of B prompts.

        Parameters
        ----------
        points : tuple of Tensor, optional
            (B, N, 2) x and y in input-frame pixels, and (B, N) labels: 1 on the object, 0 off it, -1 padding.
        boxes : Tensor, optional
            (B, 4) x0, y0, x1, y1 in input-frame pixels.
        masks : Tensor, optional
            (B, 1, 4h, 4w) logits.
        text : Tensor, optional
            (B, T, C) tokens made from text elsewhere.

        Returns
        -------
        sparse : Tensor
            (B, N', C) tokens.
        dense : Tensor
            (B, C, h, w) to add to the image embedding; (1, C, 1, 1), the same everywhere, where there are no masks.
        """
        tokens = []
        if points is not None:
            xy, labels = points
            if boxes is None:
                # One padding token stands where the box would be, as in the published models.
                xy, labels = F.pad(xy, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=-1)
            tokens.append(self.tokens(xy, labels))
        if boxes is not None:
            corners = torch.tensor([[2, 3]], device=boxes.device).expand(len(boxes), -1)
            tokens.append(self.tokens(boxes.reshape(-1, 2, 2), corners))
        if text is not None:
            tokens.append(text)
        given = next((x for x in (*tokens, masks) if x is not None), None)
        batch = 1 if given is None else len(given)
        weight = self.no_mask_embed.weight
        sparse = torch.cat(tokens, dim=1) if tokens else weight.new_zeros(batch, 0, self.embed_dim)
        if masks is not None:
            return sparse, self.mask_downscaling(masks)
        return sparse, weight.reshape(1, -1, 1, 1)
