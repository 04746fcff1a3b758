"""`tiny`, the model in the wheel: SAM's interfaces over a small convolutional encoder, for microscopy.

The image encoder is a residual network with a feature pyramid. Its input has the colours and, next to them, the gray
value normalised by its surroundings, so that dim, bright and unevenly lit pictures have similar inputs. It uses only
batch norm and local windows: its features of an object do not depend on the amount of empty picture around it.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_segany.models.inference_config import InferenceConfig
from napari_segany.models.sam.layers import LayerNorm2d
from napari_segany.models.sam.mask_decoder import MaskDecoder
from napari_segany.models.sam.model import Sam
from napari_segany.models.sam.prompt_encoder import PromptEncoder
from napari_segany.models.sam.transformer import TwoWayTransformer

IMAGE_SIZE = 512
EMBED_DIM = 128
STRIDE = 8
HEADS = 4
DENSE_CHANNELS = ("foreground", "boundary", "centre", "offset_y", "offset_x")


def _conv_norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, silent: bool = False) -> list[nn.Module]:
    """A convolution and its batch norm; a silent one outputs zero until it is trained."""
    norm = nn.BatchNorm2d(outputs)
    if silent:
        # So a block can be put behind those of a trained encoder, which goes on as it was.
        nn.init.zeros_(norm.weight)
    return [nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False), norm]


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and what came in; at first only what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv_norm(channels, channels), nn.ReLU(True), *_conv_norm(channels, channels, silent=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        return F.relu(x + self.body(x))


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """Halve the resolution, then refine."""
    down = [*_conv_norm(inputs, outputs, stride=2), nn.ReLU(True)]
    return nn.Sequential(*down, *(ResidualBlock(outputs) for _ in range(blocks)))


def local_contrast(gray: Tensor, *, cell: int = 8, window: int = 15, floor: float = 0.01) -> Tensor:
    """Gray values minus their local mean, over their local standard deviation.

    Parameters
    ----------
    gray : Tensor
        (B, 1, h, w), 0 to 1.
    cell, window : int
        The statistics are taken over `window` x `window` cells of `cell` x `cell` pixels.
    floor : float
        Added to the deviation, so that noise in an empty region stays small.

    Returns
    -------
    Tensor
        (B, 1, h, w), within -4 to 4.
    """

    def smooth(x: Tensor) -> Tensor:
        cells = F.avg_pool2d(x, cell, ceil_mode=True, count_include_pad=False)
        wide = F.avg_pool2d(cells, window, stride=1, padding=window // 2, count_include_pad=False)
        return F.interpolate(wide, size=x.shape[-2:], mode="bilinear", align_corners=False)

    mean = smooth(gray)
    deviation = (smooth(gray.square()) - mean.square()).clamp_min(0).sqrt()
    return ((gray - mean) / (deviation + floor)).clamp(-4, 4)


class TinyEncoder(nn.Module):
    """Image to a 128-channel embedding at a stride of 8 pixels, with finer maps for sharp edges.

    Parameters
    ----------
    embed_dim : int
        Channels C of the embedding.
    widths, blocks : tuple of int
        Channels, and residual blocks, at strides 2, 4, 8, 16 and 32.
    """

    def __init__(
        self,
        embed_dim: int = EMBED_DIM,
        widths: tuple[int, ...] = (24, 48, 96, 160, 208),
        blocks: tuple[int, ...] = (1, 2, 3, 2, 2),
    ) -> None:
        super().__init__()
        self.embed_dim, self.widths = embed_dim, widths
        self.stem = _stage(4, widths[0], blocks[0])
        self.stages = nn.ModuleList(_stage(*sizes) for sizes in zip(widths[:-1], widths[1:], blocks[1:], strict=True))
        self.laterals = nn.ModuleList(nn.Conv2d(width, embed_dim, 1) for width in widths[2:])
        self.neck = nn.Sequential(
            *_conv_norm(embed_dim, embed_dim), nn.ReLU(True), nn.Conv2d(embed_dim, embed_dim, 1), LayerNorm2d(embed_dim)
        )
        self.skip_half = nn.Conv2d(widths[0], embed_dim // 8, 1)
        self.skip_quarter = nn.Conv2d(widths[1], embed_dim // 4, 1)

    def stage_maps(self, x: Tensor) -> list[Tensor]:
        """(B, 4, H, W) from :meth:`TinySam.preprocess` -> what each stage sees, at strides 2, 4, 8, 16 and 32."""
        maps = [self.stem(x.to(self.skip_half.weight.dtype))]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 4, H, W) from :meth:`TinySam.preprocess` -> ``image_embed``, ``high_res_0`` and ``high_res_1``."""
        return self.features_of(self.stage_maps(x))

    def features_of(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """What :meth:`forward` gives, of what :meth:`stage_maps` gave."""
        pyramid = self.laterals[-1](maps[-1])
        for lateral, finer in zip(reversed(self.laterals[:-1]), reversed(maps[2:-1]), strict=True):
            pyramid = lateral(finer) + F.interpolate(
                pyramid, size=finer.shape[-2:], mode="bilinear", align_corners=False
            )
        return {
            "image_embed": self.neck(pyramid),
            "high_res_0": self.skip_half(maps[0]),
            "high_res_1": self.skip_quarter(maps[1]),
        }


def fold_batch_norm(encoder: nn.Module) -> nn.Module:
    """The same encoder for use alone: each batch norm is part of the convolution before it, which computes the same."""
    encoder = copy.deepcopy(encoder).eval()
    for chain in [part for part in encoder.modules() if isinstance(part, nn.Sequential)]:
        for i, (layer, after) in enumerate(pairwise(list(chain))):
            if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                chain[i], chain[i + 1] = fuse_conv_bn_eval(layer, after), nn.Identity()
    return encoder


class DenseHead(nn.Module):
    """Predictions for every pixel without a prompt, at a stride of 4 pixels.

    Channels are those of ``DENSE_CHANNELS``: logits of foreground, boundary and centre, and the vector from the pixel
    to the centre of its object in units of the object's radius.
    """

    def __init__(self, embed_dim: int = EMBED_DIM) -> None:
        super().__init__()
        width = embed_dim // 4
        self.reduce = nn.Conv2d(embed_dim, width, 1)
        self.head = nn.Sequential(
            nn.ReLU(), *_conv_norm(width, width), nn.ReLU(True), nn.Conv2d(width, len(DENSE_CHANNELS), 1)
        )

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Features of :class:`TinyEncoder` -> (B, 5, H / 4, W / 4)."""
        quarter = features["high_res_1"]
        coarse = self.reduce(features["image_embed"])
        return self.head(quarter + F.interpolate(coarse, size=quarter.shape[-2:], mode="bilinear", align_corners=False))


class TinySam(Sam):
    """The shipped model: SAM with the small encoder, and dense heads next to its prompts.

    Attributes
    ----------
    inference : InferenceConfig or None
        The numbers of inference that go with its weights; None for random weights.
    """

    inference: InferenceConfig | None = None

    image_encoder: TinyEncoder

    def __init__(self) -> None:
        grid = IMAGE_SIZE // STRIDE
        super().__init__(
            TinyEncoder(),
            PromptEncoder(EMBED_DIM, (grid, grid), (IMAGE_SIZE, IMAGE_SIZE)),
            MaskDecoder(EMBED_DIM, TwoWayTransformer(2, EMBED_DIM, HEADS, 4 * EMBED_DIM)),
        )
        self.dense_head = DenseHead()

    def preprocess(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) RGB from 0 to 255 -> (B, 4, h, w): colours within -1 to 1, and local contrast."""
        x = x / 255
        return torch.cat([2 * x - 1, local_contrast(x.mean(dim=1, keepdim=True))], dim=1)

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """Embed pictures of at most ``IMAGE_SIZE`` pixels a side; see :meth:`Sam.encode`."""
        height, width = x.shape[-2:]
        # Padded before the local contrast is taken: black around a picture is what the encoder learned from.
        x = F.pad(x, (0, self.image_size - width, 0, self.image_size - height))
        return self.image_encoder(self.preprocess(x))

    def encode_windows(self, x: Tensor) -> dict[str, Tensor]:
        """Embed (B, 3, s, s) windows of pictures, s at most ``IMAGE_SIZE`` and a multiple of 32; nothing is padded."""
        return self.image_encoder(self.preprocess(x))

    def decode_windows(
        self,
        features: dict[str, Tensor],
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        text: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict the masks of B prompts, each in a separate window, which counts as the middle of the input frame.

        Parameters
        ----------
        features : dict of str to Tensor
            From :meth:`encode_windows`, of B windows; with ``image_pe`` as in :meth:`Sam.decode`.
        points, boxes : tuple of Tensor, Tensor, optional
            As :meth:`Sam.decode` takes them, in pixels of the window.
        masks : Tensor, optional
            (B, 1, s / 2, s / 2) logits.
        text : Tensor, optional
            (B, T, C) tokens.

        Returns
        -------
        masks : Tensor
            (B, 4, s / 2, s / 2) logits, in the order of :meth:`Sam.decode`.
        iou : Tensor
            (B, 4) predicted IoU of each.
        """
        cells = features["image_embed"].shape[-1]
        start = (self.image_size // STRIDE - cells) // 2
        shift = start * STRIDE
        here = slice(start, start + cells)
        sparse, dense = self.prompt_encoder(
            None if points is None else (points[0] + shift, points[1]),
            None if boxes is None else boxes + shift,
            masks,
            text,
        )
        return self.mask_decoder(
            features["image_embed"],
            self._position(features)[..., here, here],
            sparse,
            dense,
            (features["high_res_0"], features["high_res_1"]),
        )
