"""TinyViT, the image encoder of MobileSAM (Wu et al. 2022, arXiv:2207.10666; Zhang et al. 2023, arXiv:2306.14289).

Convolutions at strides 4 and 8, then attention within windows at strides 8 and 16. Each attention block also has a
depthwise convolution, through which windows learn of each other. Names of the weights are those of the published
checkpoints; the classifier that these still carry is left out.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.models.sam.layers import LayerNorm2d

WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (4, 5, 10)
WINDOWS = (7, 14, 7)
"""Heads and side of a window of the stages that attend; the first has convolutions only."""
STRIDES = (2, 2, 1)
"""Of the step from one stage to the next; the last one keeps the resolution, which leaves SAM's stride of 16."""
EXPAND = 4
OUT_CHANNELS = 256


class ConvNorm(nn.Sequential):
    """A convolution without bias and the batch norm after it."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.add_module("c", nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False))
        self.add_module("bn", nn.BatchNorm2d(outputs))


class ConvPatchEmbed(nn.Module):
    """Two convolutions down to a stride of 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, width // 2, 3, 2), nn.GELU(), ConvNorm(width // 2, width, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, H / 4, W / 4)."""
        out: Tensor = self.seq(x)
        return out


class MBConv(nn.Module):
    """Widen, convolve each channel alone, narrow again, and add what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = EXPAND * width
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class PatchMerging(nn.Module):
    """From one stage's width, and resolution, to the next one's."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs)
        self.conv2 = ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = ConvNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h / stride, w / stride)."""
        out: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return out


class WindowAttention(nn.Module):
    """Attention among the tokens of a window, with a learned bias for each absolute offset."""

    offsets: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window**2))
        place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij"), -1).flatten(0, 1)
        away = (place[:, None] - place).abs()
        self.register_buffer("offsets", away[..., 0] * window + away[..., 1], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, window ** 2, C) -> the same shape."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
        bias = self.attention_biases[:, self.offsets].to(q.dtype)
        out: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2))
        return out


class WindowMLP(nn.Module):
    """Norm and two linear layers on each token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, EXPAND * width)
        self.fc2 = nn.Linear(EXPAND * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return out


class ConvAttentionBlock(nn.Module):
    """Attention within windows, a depthwise convolution across them, token MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = WindowMLP(width)

    def _attended(self, x: Tensor) -> Tensor:
        """Attention on windows of (B, h, w, C); what does not fill the last ones is padded with zeros."""
        height, width = x.shape[1:3]
        n = self.window
        padded = F.pad(x, (0, 0, 0, -width % n, 0, -height % n))
        rows, columns = padded.shape[1] // n, padded.shape[2] // n
        windows = padded.unflatten(2, (columns, n)).unflatten(1, (rows, n)).transpose(2, 3)
        seen = self.attn(windows.flatten(3, 4).flatten(0, 2)).unflatten(0, (-1, rows, columns)).unflatten(3, (n, n))
        return seen.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :height, :width]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        x = x + self._attended(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.local_conv(x)
        return x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Blocks of one width, and where another stage follows, the step to it."""

    def __init__(self, blocks: list[nn.Module], step: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.downsample = step

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h', w')."""
        x = self.blocks(x)
        return x if self.downsample is None else self.downsample(x)


class TinyViT(nn.Module):
    """The image encoder of MobileSAM: (B, 3, 1024, 1024) -> (B, 256, 64, 64), six million parameters."""

    def __init__(self) -> None:
        super().__init__()
        steps = [PatchMerging(i, o, stride) for (i, o), stride in zip(pairwise(WIDTHS), STRIDES, strict=True)]
        blocks: list[list[nn.Module]] = [[MBConv(WIDTHS[0]) for _ in range(DEPTHS[0])]]
        for width, depth, heads, window in zip(WIDTHS[1:], DEPTHS[1:], HEADS, WINDOWS, strict=True):
            blocks.append([ConvAttentionBlock(width, heads, window) for _ in range(depth)])
        stages = [Stage(each, step) for each, step in zip(blocks, [*steps, None], strict=True)]
        self.patch_embed = ConvPatchEmbed(WIDTHS[0])
        self.layers = nn.Sequential(*stages)
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], OUT_CHANNELS, 1, bias=False),
            LayerNorm2d(OUT_CHANNELS),
            nn.Conv2d(OUT_CHANNELS, OUT_CHANNELS, 3, padding=1, bias=False),
            LayerNorm2d(OUT_CHANNELS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 256, H / 16, W / 16)."""
        out: Tensor = self.neck(self.layers(self.patch_embed(x)))
        return out
