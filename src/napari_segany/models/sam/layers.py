"""The few layers that SAM's parts share."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What a linear layer makes of thousands of vectors: (..., C), (C', C) and (C',) -> (..., C').

    On a CPU it is a convolution with a kernel of one pixel. That is the same product, but torch leaves it to oneDNN in
    every type: on the AMD processor where it was measured by up to a fifth faster in float32, and a tenth in bfloat16.
    """
    # A lone thread has its convolutions in float32 done by something else, which is slow, as all have without oneDNN.
    slow = not torch.backends.mkldnn.is_available() or (x.dtype == torch.float32 and torch.get_num_threads() == 1)
    if x.device.type != "cpu" or torch.is_grad_enabled() or slow:
        return F.linear(x, weight, bias)
    row_of_pixels = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)
    return F.conv2d(row_of_pixels, weight[:, :, None, None], bias).permute(0, 2, 3, 1).view(*x.shape[:-1], -1)


def gelu(x: Tensor) -> Tensor:
    """GELU; in place where nothing is learned, as a gradient needs what was there before."""
    return F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of a (B, C, h, w) map, one pixel at a time."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        last = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
        return last.permute(0, 3, 1, 2)


class MLP(nn.Module):
    """Linear layers with ReLU between them, none after the last."""

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, depth: int) -> None:
        super().__init__()
        widths = [input_dim, *[hidden_dim] * (depth - 1), output_dim]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., input_dim) -> (..., output_dim)."""
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)
