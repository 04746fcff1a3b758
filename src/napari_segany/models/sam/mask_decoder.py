"""Tokens and image features to masks (Kirillov et al. 2023, appendix A, "Lightweight mask decoder")."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.models.sam.layers import MLP, LayerNorm2d, gelu, linear

CANDIDATES = {1: slice(0, 1), 3: slice(1, None), 4: slice(None)}
"""Of four masks the one for clear prompts, the three for ambiguous ones, or all."""
CELLS = 4096
"""Cells of images that are up-sampled together: what is made of more does not stay in a processor's cache."""


def _quartered(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """What a 2 x 2 transposed convolution with stride 2 makes of cells (..., C): (..., 4, C'), its pixels row by row.

    Each cell becomes four pixels that depend on nothing else, so this is a linear layer; that the four stay next to
    each other saves carrying the whole map from one order of pixels to the other after every layer.
    """
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)
    bias = None if layer.bias is None else layer.bias.repeat(4)
    return linear(x, weight, bias).unflatten(-1, (4, -1))


def _by_cell(fine: Tensor, times: int) -> Tensor:
    """A map (B, C, k h, k w), k = 2^times, in the order of :func:`_quartered`: (B, h * w, 4, ..., C)."""
    batch, channels, height, width = fine.shape
    cells = height >> times, width >> times
    x = fine.reshape(batch, channels, cells[0], *[2] * times, cells[1], *[2] * times)
    inner = [axis for step in range(times) for axis in (3 + step, 4 + times + step)]
    return x.permute(0, 2, 3 + times, *inner, 1).reshape(batch, cells[0] * cells[1], *[4] * times, channels)


def _by_row(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels (B, h * w * 16, M) of cells that were quartered twice, `size` being (h, w): (B, M, 4 h, 4 w) float32."""
    maps = cells.transpose(1, 2).float().contiguous().unflatten(2, (*size, 2, 2, 2, 2))
    # In two steps, each of which moves rows of pixels, and not one by one, it takes a third of the time.
    double = maps.transpose(3, 4).contiguous()
    return double.permute(0, 1, 2, 3, 6, 4, 5, 7).reshape(*maps.shape[:2], 4 * size[0], 4 * size[1])


def _of(maps: Tensor, part: slice, batch: int) -> Tensor:
    """Of maps (1 or B, ...) those of a part of the batch."""
    return maps[part] if len(maps) == batch else maps


@dataclass(frozen=True, slots=True)
class Choice:
    """Which masks of a decoder are wanted; no others are computed.

    Parameters
    ----------
    candidates : {1, 3, 4}
        How many: the one for clear prompts, the three for ambiguous ones, or all in this order.
    at_least : float
        Where no predicted IoU of a prompt reaches it, its masks are not drawn, which takes a third of the time.
    """

    candidates: int = 4
    at_least: float = -math.inf


ALL = Choice()

_Upscaling = tuple[nn.ConvTranspose2d, LayerNorm2d, nn.GELU, nn.ConvTranspose2d, nn.GELU]


class MaskDecoder(nn.Module):
    """Predicts one mask for clear prompts and three for ambiguous ones, each with its IoU.

    Parameters
    ----------
    transformer_dim : int
        Width C of tokens and image features.
    transformer : nn.Module
        A :class:`~napari_segany.models.sam.transformer.TwoWayTransformer`.
    num_multimask_outputs : int
        Masks for an ambiguous prompt.
    iou_head_depth, iou_head_hidden_dim : int
        Layers and width of the head that predicts the IoU.
    """

    def __init__(
        self,
        transformer_dim: int,
        transformer: nn.Module,
        *,
        num_multimask_outputs: int = 3,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.num_mask_tokens = num_multimask_outputs + 1
        self.iou_token = nn.Embedding(1, transformer_dim)
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, transformer_dim)
        half, quarter = transformer_dim // 4, transformer_dim // 8
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(transformer_dim, half, kernel_size=2, stride=2),
            LayerNorm2d(half),
            nn.GELU(),
            nn.ConvTranspose2d(half, quarter, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(transformer_dim, transformer_dim, quarter, 3) for _ in range(self.num_mask_tokens)
        )
        self.iou_prediction_head = MLP(transformer_dim, iou_head_hidden_dim, self.num_mask_tokens, iou_head_depth)

    def _upscale(self, image: Tensor, high_res: tuple[Tensor, Tensor] | None) -> Tensor:
        """(B, h * w, C) -> (B, h * w * 16, C // 8), the sixteen pixels of a cell next to each other."""
        up_1, norm, _, up_2, _ = cast(_Upscaling, tuple(self.output_upscaling))
        double = _quartered(up_1, image)
        if high_res is not None:
            double = double + _by_cell(high_res[1], 1)
        double = gelu(F.layer_norm(double, norm.weight.shape, norm.weight, norm.bias, norm.eps))
        fourfold = _quartered(up_2, double)
        if high_res is not None:
            fourfold = fourfold + _by_cell(high_res[0], 2)
        return gelu(fourfold).flatten(1, 3)

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        high_res: tuple[Tensor, Tensor] | None = None,
        choice: Choice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Decode a batch of B prompts.

        Parameters
        ----------
        image_embeddings : Tensor
            (1 or B, C, h, w).
        image_pe : Tensor
            (1 or B, C, h, w), from :meth:`PromptEncoder.dense_pe`.
        sparse : Tensor
            (B, N, C) prompt tokens.
        dense : Tensor
            (B, C, h, w) from mask prompts, or (1, C, 1, 1).
        high_res : tuple of Tensor, optional
            (1 or B, C // 8, 4h, 4w) and (1 or B, C // 4, 2h, 2w) finer features, where the model has them.
        choice : Choice
            Which M of the masks are wanted.

        Returns
        -------
        masks : Tensor
            (B, M, 4h, 4w) float32 logits; 0 where nothing is drawn.
        iou : Tensor
            (B, M) predicted IoU of each.
        """
        chosen = CANDIDATES[choice.candidates]
        output = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output.expand(len(sparse), -1, -1), sparse], dim=1).to(image_embeddings.dtype)
        image = image_embeddings + dense.to(image_embeddings.dtype)
        size = image.shape[-2], image.shape[-1]
        # The first token predicts the quality of the masks, each of the others one mask.
        masks = range(1, 1 + self.num_mask_tokens)[chosen]
        tokens, image = self.transformer(image, image_pe, tokens, [0, *masks])
        iou = self.iou_prediction_head(tokens[:, 0])[:, chosen].float()
        mlps = self.output_hypernetworks_mlps[chosen]
        kernels = torch.stack([mlp(token) for mlp, token in zip(mlps, tokens[:, 1:].unbind(1), strict=True)], dim=1)
        good = (iou >= choice.at_least).any(dim=1)
        return _by_row(self._draw(image, kernels, high_res, good), size), iou

    def _draw(self, image: Tensor, kernels: Tensor, high_res: tuple[Tensor, Tensor] | None, good: Tensor) -> Tensor:
        """Image (B, h * w, C) and kernels (B, M, C // 8) -> (B, h * w * 16, M), zero where not `good` (B,)."""
        batch, cells, _ = image.shape
        if self.training:
            return self._upscale(image, high_res) @ kernels.transpose(1, 2)
        drawn = kernels.new_zeros(batch, 16 * cells, kernels.shape[1])
        some = max(CELLS // cells, 1)
        for part in (slice(start, start + some) for start in range(0, batch, some)):
            if good[part].any():
                finer = high_res and (_of(high_res[0], part, batch), _of(high_res[1], part, batch))
                drawn[part] = self._upscale(image[part], finer) @ kernels[part].transpose(1, 2)
        return drawn
