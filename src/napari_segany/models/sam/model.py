"""The whole model: encoder, prompt encoder and mask decoder behind two calls, `encode` and `decode`."""

from __future__ import annotations

import copy
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.core.errors import ModelError
from napari_segany.models.sam.image_encoder import EncoderConfig, ImageEncoder
from napari_segany.models.sam.mask_decoder import ALL, Choice, MaskDecoder
from napari_segany.models.sam.prompt_encoder import PromptEncoder
from napari_segany.models.sam.tiny_vit import TinyViT
from napari_segany.models.sam.transformer import TwoWayTransformer

# Mean and deviation of the R, G and B values that the published models were trained with.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

ENCODERS = {
    "vit_b": EncoderConfig(),
    "vit_l": EncoderConfig(width=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23)),
    "vit_h": EncoderConfig(width=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31)),
}

SIZES = (*ENCODERS, "vit_t")


class Sam(nn.Module):
    """Segment Anything (Kirillov et al. 2023).

    A model with another encoder overrides :meth:`preprocess`; its encoder may return one tensor or a dict of tensors
    with ``image_embed`` and, where it has finer maps, ``high_res_0`` and ``high_res_1``.

    Parameters
    ----------
    image_encoder : nn.Module
        (B, 3, image_size, image_size) -> (B, C, h, w), or a dict of such maps.
    prompt_encoder : PromptEncoder
        Also defines the size of the input frame and of the mask logits.
    mask_decoder : MaskDecoder
        Tokens and maps to masks.
    """

    mask_threshold = 0.0

    def __init__(self, image_encoder: nn.Module, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.image_size = prompt_encoder.input_size[0]
        self.mask_size = prompt_encoder.mask_input_size

    def with_decoder(self, decoder: nn.Module) -> Self:
        """The same model, sharing all weights, with another mask decoder."""
        other = copy.copy(self)
        other._modules = {**self._modules, "mask_decoder": decoder}
        return other

    def in_type(self, dtype: torch.dtype) -> Self:
        """A copy of the model whose image encoder and mask decoder compute in another type."""
        other = self.with_decoder(copy.deepcopy(self.mask_decoder).to(dtype))
        other._modules["image_encoder"] = copy.deepcopy(self.image_encoder).to(dtype)
        return other

    def preprocess(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) RGB from 0 to 255 -> the same shape, normalised the way the encoder was trained."""
        mean, std = (x.new_tensor(values)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
        return (x - mean) / std

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """Embed pictures.

        Parameters
        ----------
        x : Tensor
            (B, 3, h, w) float RGB from 0 to 255, resized so that the longest side is `image_size`, not padded.

        Returns
        -------
        dict of str to Tensor
            ``image_embed`` (B, C, grid, grid), and what else the encoder returns.
        """
        x = self.preprocess(x)
        height, width = x.shape[-2:]
        # Padded after normalisation, so that what is not picture is the mean colour to the encoder.
        x = F.pad(x, (0, self.image_size - width, 0, self.image_size - height))
        features = self.image_encoder(x.to(next(self.image_encoder.parameters()).dtype))
        return features if isinstance(features, dict) else {"image_embed": features}

    def decode(
        self,
        features: dict[str, Tensor],
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        text: Tensor | None = None,
        choice: Choice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Predict the masks of B prompts on one picture.

        Parameters
        ----------
        features : dict of str to Tensor
            From :meth:`encode`, of one picture or of B. With ``image_pe``, the prompt encoder's ``dense_pe`` is not
            computed again.
        points : tuple of Tensor, optional
            (B, N, 2) x and y in input-frame pixels, and (B, N) labels: 1 on the object, 0 off it, -1 padding.
        boxes : Tensor, optional
            (B, 4) x0, y0, x1, y1 in input-frame pixels.
        masks : Tensor, optional
            (B, 1, 4 grid, 4 grid) logits.
        text : Tensor, optional
            (B, T, C) tokens.
        choice : Choice
            Which M of the four masks are returned; those of prompts that are not good enough for it are all zero.

        Returns
        -------
        masks : Tensor
            (B, M, 4 grid, 4 grid) logits.
        iou : Tensor
            (B, M) predicted IoU of each.
        """
        sparse, dense = self.prompt_encoder(points, boxes, masks, text)
        finer = [features[name] for name in ("high_res_0", "high_res_1") if name in features]
        high_res = (finer[0], finer[1]) if finer else None
        image = features["image_embed"]
        return self.mask_decoder(image, self._position(features), sparse, dense, high_res, choice)

    def _position(self, features: dict[str, Tensor]) -> Tensor:
        """Position encoding of the whole input frame, in the type of the features: theirs, or else a new one."""
        known = features.get("image_pe")
        return self.prompt_encoder.dense_pe().to(features["image_embed"].dtype) if known is None else known


def build_sam(size: str | EncoderConfig) -> Sam:
    """Make a SAM with random weights.

    Parameters
    ----------
    size : {"vit_b", "vit_l", "vit_h", "vit_t"} or EncoderConfig
        A published size, "vit_t" being MobileSAM, or sizes of your own.

    Raises
    ------
    ModelError
        The size is none of the published ones.
    """
    if isinstance(size, str) and size not in SIZES:
        raise ModelError(f"no SAM of size {size!r}; there are {', '.join(SIZES)}")
    config = ENCODERS.get(size, EncoderConfig()) if isinstance(size, str) else size
    channels, grid, frame = config.out_channels, config.grid, config.image_size
    return Sam(
        TinyViT() if size == "vit_t" else ImageEncoder(config),
        PromptEncoder(channels, (grid, grid), (frame, frame)),
        MaskDecoder(channels, TwoWayTransformer(depth=2, embedding_dim=channels, num_heads=8, mlp_dim=2048)),
    )
