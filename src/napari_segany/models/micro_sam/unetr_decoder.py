"""The decoder that micro-sam trains next to SAM: image embedding to foreground and distances.

A UNETR (Hatamizadeh et al. 2022) without skip connections from the encoder, as torch-em builds it; names of weights are
as there, so that a ``decoder_state`` is loaded as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.core.errors import ModelError

CHANNELS = 512, 256, 128, 64
"""Of the four levels, from the coarsest to the finest."""
OUTPUTS = 3
"""Foreground, distance to the centre, distance to the boundary."""


class DoubleConv(nn.Module):
    """Two convolutions, each after a normalisation of the picture's own."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.InstanceNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.ReLU(),
            nn.InstanceNorm2d(outputs),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        return self.block(x)


class Enlarged(nn.Module):
    """Twice as large, bilinear, with other channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, 2 h, 2 w)."""
        return self.conv(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))


class Transposed(nn.Module):
    """The same by a transposed convolution, as earlier checkpoints have it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, 2 h, 2 w)."""
        return self.block(x)


class SingleConv(nn.Module):
    """One convolution, under a name of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        return self.block(x)


class EnlargingBlock(nn.Module):
    """Twice as large, then a convolution."""

    def __init__(self, inputs: int, outputs: int, *, transposed: bool) -> None:
        super().__init__()
        larger = Transposed(inputs, outputs) if transposed else Enlarged(inputs, outputs)
        self.block = nn.Sequential(larger, SingleConv(outputs), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, 2 h, 2 w)."""
        return self.block(x)


class LevelDecoder(nn.Module):
    """From the coarsest level to the finest but one, with what comes from the side."""

    def __init__(self, *, transposed: bool) -> None:
        super().__init__()
        pairs = list(pairwise(CHANNELS))
        self.blocks = nn.ModuleList([DoubleConv(*pair) for pair in pairs])
        self.samplers = nn.ModuleList([Transposed(*pair) if transposed else Enlarged(*pair) for pair in pairs])

    def forward(self, x: Tensor, sides: list[Tensor]) -> Tensor:
        """(B, 512, h, w) -> (B, 64, 8 h, 8 w)."""
        for block, sampler, side in zip(self.blocks, self.samplers, sides, strict=True):
            x = sampler(x)
            # the side has twice the channels, of which torch-em takes those in the middle
            cut = (side.shape[1] - x.shape[1]) // 2
            x = block(torch.cat([x, side[:, cut : side.shape[1] - cut]], 1))
        return x


class UnetrDecoder(nn.Module):
    """Image embedding to three maps, 16 times as large.

    Parameters
    ----------
    inputs : int
        Channels of the embedding.
    deconv_transposed, sampler_transposed, out_transposed : bool
        Whether a part enlarges by transposed convolutions.
    """

    def __init__(
        self,
        inputs: int = 256,
        *,
        deconv_transposed: bool = False,
        sampler_transposed: bool = False,
        out_transposed: bool = False,
    ) -> None:
        super().__init__()
        sizes = (inputs, *CHANNELS)
        for number in range(4):
            block = EnlargingBlock(sizes[number], sizes[number + 1], transposed=deconv_transposed)
            self.add_module(f"deconv{number + 1}", block)
        self.base = DoubleConv(inputs, CHANNELS[0])
        self.decoder = LevelDecoder(transposed=sampler_transposed)
        last = CHANNELS[-1]
        self.deconv_out = Transposed(last, last) if out_transposed else Enlarged(last, last)
        self.decoder_head = DoubleConv(2 * last, last)
        self.out_conv = nn.Conv2d(last, OUTPUTS, 1)

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, 16 h, 16 w), each 0 to 1."""
        sides, x = [], embedding
        for number in range(4):
            x = self.get_submodule(f"deconv{number + 1}")(x)
            sides.append(x)
        x = self.deconv_out(self.decoder(self.base(embedding), sides[:3]))
        x = self.decoder_head(torch.cat([x, sides[3]], 1))
        return torch.sigmoid(self.out_conv(x))


def load_decoder(state: Mapping[str, Tensor], source: str) -> UnetrDecoder:
    """Make a decoder from its weights.

    Parameters
    ----------
    state : mapping of str to Tensor
        A ``decoder_state``.
    source : str
        Where it is from, for messages.

    Raises
    ------
    ModelError
        Weights are missing, do not fit, or are no numbers.
    """
    own = {name: value for name, value in state.items() if not name.startswith("encoder.")}
    first = own.get("base.block.1.weight")
    if first is None or first.ndim != 4:
        raise ModelError(f"{source} holds a decoder of an unknown kind")
    decoder = UnetrDecoder(
        int(first.shape[1]),
        deconv_transposed="deconv1.block.0.block.weight" in own,
        sampler_transposed="decoder.samplers.0.block.weight" in own,
        out_transposed="deconv_out.block.weight" in own,
    )
    wanted = {name: tuple(value.shape) for name, value in decoder.state_dict().items()}
    # (how many batches a normalisation has seen says nothing to who only predicts)
    given = {name: tuple(value.shape) for name, value in own.items()}
    names = [name for name in wanted.keys() | given.keys() if not name.endswith("num_batches_tracked")]
    wrong = sorted(name for name in names if wanted.get(name) != given.get(name))
    if wrong:
        raise ModelError(f"the decoder in {source} does not fit: {len(wrong)} weights, first {wrong[0]!r}")
    if any(not bool(torch.isfinite(value.float()).all()) for value in own.values()):
        raise ModelError(f"the decoder in {source} holds weights that are no numbers (NaN or infinite)")
    decoder.load_state_dict({name: value.float() for name, value in own.items() if name in wanted}, strict=False)
    return decoder.eval().requires_grad_(False)
