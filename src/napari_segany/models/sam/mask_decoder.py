"""Tokens and image features to masks (Kirillov et al. 2023, appendix A, "Lightweight mask decoder")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_segany.models.sam.layers import MLP, LayerNorm2d


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
        """(B, C, h, w) -> (B, C // 8, 4h, 4w)."""
        if high_res is None:
            return self.output_upscaling(image)
        up_1, norm, act_1, up_2, act_2 = self.output_upscaling
        double = act_1(norm(up_1(image) + high_res[1]))
        return act_2(up_2(double) + high_res[0])

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        high_res: tuple[Tensor, Tensor] | None = None,
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
            (B, C, h, w), from the mask prompt.
        high_res : tuple of Tensor, optional
            (1 or B, C // 8, 4h, 4w) and (1 or B, C // 4, 2h, 2w) finer features, where the model has them.

        Returns
        -------
        masks : Tensor
            (B, 4, 4h, 4w) logits: index 0 for clear prompts, 1 to 3 for an ambiguous one.
        iou : Tensor
            (B, 4) predicted IoU of each.
        """
        output = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output.expand(len(sparse), -1, -1), sparse], dim=1).to(image_embeddings.dtype)
        image = image_embeddings + dense.to(image_embeddings.dtype)
        height, width = image.shape[-2:]
        tokens, image = self.transformer(image, image_pe, tokens)
        image = image.transpose(1, 2).unflatten(2, (height, width))

        upscaled = self._upscale(image, high_res)
        mask_tokens = tokens[:, 1 : 1 + self.num_mask_tokens]
        kernels = torch.stack([mlp(mask_tokens[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        masks = (kernels @ upscaled.flatten(2)).unflatten(2, upscaled.shape[-2:])
        return masks, self.iou_prediction_head(tokens[:, 0])
