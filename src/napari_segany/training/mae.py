"""Pretrain an image encoder on images without labels: masked autoencoding (He et al. 2022).

Most patches of a picture are hidden, the encoder sees the others, and a small decoder predicts the pixels of the hidden
ones. The encoders of Segment Anything began that way (Kirillov et al. 2023, appendix A, "Image encoder"). As there, the
encoder is a plain vision transformer while it is pretrained: every block attends over all visible patches, without
relative positions. Windows and relative positions, which begin with zeros, are used from the first step of the training
with prompts (Li et al. 2022), and no weight is cut or interpolated for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_segany.core.errors import InputError
from napari_segany.models.sam.image_encoder import EncoderConfig, ImageEncoder, ViTBlock
from napari_segany.models.sam.model import PIXEL_MEAN, PIXEL_STD
from napari_segany.training.batches import SeededDataset, stream
from napari_segany.training.encoder_sizes import encoder_sizes
from napari_segany.training.loop import Loop, LoopConfig
from napari_segany.training.train_sam import ENCODER, NECK, build, read_toml

_EVEN = 1e-6
"""Added to the variance of a patch: one of a single colour has none."""
_AREA = (0.2, 1.0)
"""Share of a picture that a crop shows, as in the paper."""
_ASPECT = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class MaeConfig:
    """What is hidden, and what predicts it.

    Parameters
    ----------
    masked : float
        Share of the patches that are hidden.
    width, depth, heads : int
        Of the decoder, which is thrown away at the end.
    crops : int
        Pictures of a step.
    size : int
        Side of a crop in pixels, a multiple of the patch; 0 for the whole input frame. A smaller one lies anywhere in
        the frame, so that the positions of all places are learned.
    """

    masked: float = 0.75
    width: int = 512
    depth: int = 8
    heads: int = 16
    crops: int = 16
    size: int = 0


@dataclass(frozen=True)
class MaeTrainConfig:
    """One run, as read from a TOML file.

    Parameters
    ----------
    seed : int
        Of weights, crops and hidden patches.
    architecture : str
        "vit_b", "vit_l" or "vit_h".
    encoder : dict of str to value
        Sizes that differ, see :mod:`~napari_segany.training.encoder_sizes`.
    loop, mae : LoopConfig, MaeConfig
        How long, and how.
    """

    seed: int = 0
    architecture: str = "vit_b"
    encoder: dict[str, Any] = field(default_factory=dict)
    loop: LoopConfig = field(default_factory=LoopConfig)
    mae: MaeConfig = field(default_factory=MaeConfig)

    def sizes(self) -> EncoderConfig:
        """Sizes of the encoder; an InputError where they or the decoder's do not fit."""
        sizes = encoder_sizes(self.architecture, self.encoder)
        _check(self.mae, sizes.image_size, sizes.patch_size, sizes.width)
        return sizes


def read_mae_config(path: Path) -> MaeTrainConfig:
    """Read a TOML file, see ``training/configs/mae.toml``.

    Raises
    ------
    InputError
        When the file is missing, is not TOML, or holds an unknown setting.
    """
    return read_toml(path, lambda raw, _: build(MaeTrainConfig, raw))


def position_waves(height: int, width: int, channels: int) -> Tensor:
    """Sines and cosines of the places of a grid, a half of the channels for the rows: (height, width, channels)."""
    rates = 10000 ** -(torch.arange(channels // 4) / (channels // 4))
    rows, columns = (
        torch.cat([angles.sin(), angles.cos()], dim=1)
        for angles in (torch.arange(length)[:, None] * rates for length in (height, width))
    )
    return torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=-1)


def attend_all(block: ViTBlock, x: Tensor) -> Tensor:
    """Apply a block as one of a plain transformer: (B, N, C) tokens of any places, all attending to all."""
    attention = block.attn
    q, k, v = attention.qkv(block.norm1(x)).unflatten(-1, (3, attention.heads, -1)).permute(2, 0, 3, 1, 4)
    seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = x + attention.proj(seen)
    return x + block.mlp(block.norm2(x))


def patches_of(x: Tensor, size: int) -> Tensor:
    """(B, 3, H, W) -> (B, h * w, 3 * size^2), row by row."""
    return F.unfold(x, size, stride=size).transpose(1, 2)


class MaskedAutoencoder(nn.Module):
    """An image encoder with the decoder that predicts hidden patches.

    Parameters
    ----------
    encoder : ImageEncoder
        What is pretrained, but for its neck; its position embedding is filled with sines and cosines.
    config : MaeConfig
        Sizes of the decoder.
    """

    def __init__(self, encoder: ImageEncoder, config: MaeConfig) -> None:
        super().__init__()
        self.encoder = encoder
        projection = encoder.patch_embed.proj
        width, self.patch = projection.out_channels, int(projection.kernel_size[0])
        grid = encoder.pos_embed.shape[1]
        with torch.no_grad():
            encoder.pos_embed.copy_(position_waves(grid, grid, width)[None])
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.narrow = nn.Linear(width, config.width)
        self.hidden = nn.Parameter(0.02 * torch.randn(1, 1, config.width))
        layer = nn.TransformerEncoderLayer(
            config.width, config.heads, 4 * config.width, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerEncoder(
            layer, config.depth, nn.LayerNorm(config.width), enable_nested_tensor=False
        )
        self.pixels = nn.Linear(config.width, 3 * self.patch**2)

    def forward(self, x: Tensor, cells: Tensor, order: Tensor, visible: int) -> Tensor:
        """Predict the pixels of all patches.

        Parameters
        ----------
        x : Tensor
            (B, 3, H, W), normalised.
        cells : Tensor
            (B, 2) row and column of the frame's grid where each picture begins.
        order : Tensor
            (B, h * w) a permutation of the patches of each picture; the first `visible` of it are seen.
        visible : int
            How many.

        Returns
        -------
        Tensor
            (B, h * w, 3 patch^2).
        """
        tokens = self.encoder.patch_embed(x)
        rows, columns = tokens.shape[1:3]
        places = [self.encoder.pos_embed[0, r : r + rows, c : c + columns] for r, c in cells.tolist()]
        tokens = (tokens + torch.stack(places)).flatten(1, 2)
        seen = tokens.gather(1, order[:, :visible, None].expand(-1, -1, tokens.shape[-1]))
        for block in self.encoder.blocks:
            seen = attend_all(cast(ViTBlock, block), seen)
        seen = self.narrow(self.norm(seen))
        hidden = self.hidden.to(seen.dtype).expand(len(seen), order.shape[1] - visible, -1)
        back = order.argsort(1)[..., None].expand(-1, -1, seen.shape[-1])
        whole = torch.cat([seen, hidden], dim=1).gather(1, back)
        waves = position_waves(rows, columns, whole.shape[-1]).flatten(0, 1).to(whole)
        return self.pixels(self.decoder(whole + waves))


class MaeTask:
    """Hidden patches and the loss of what is predicted for them; the loop knows neither.

    Parameters
    ----------
    model : MaskedAutoencoder
        What is trained.
    masked : float
        Share of the patches that are hidden.
    """

    def __init__(self, model: MaskedAutoencoder, masked: float) -> None:
        self.model = model
        self.masked = masked

    def training_forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Mean squared error over the hidden patches, each normalised by its own mean and deviation.

        Parameters
        ----------
        batch : dict of str to Tensor
            Of :class:`PictureDataset`.
        step : int
            Seeds what is hidden.
        """
        image = batch["image"].float()
        mean, deviation = (image.new_tensor(values)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
        image = (image - mean) / deviation
        truth = patches_of(image, self.model.patch)
        truth = (truth - truth.mean(-1, keepdim=True)) / (truth.var(-1, keepdim=True) + _EVEN).sqrt()
        generator = torch.Generator(image.device).manual_seed(step)
        order = torch.rand(truth.shape[:2], generator=generator, device=image.device).argsort(1)
        visible = max(int(order.shape[1] * (1 - self.masked)), 1)
        found = self.model(image, batch["cells"], order, visible).float()
        error = (found - truth).square().mean(-1).gather(1, order[:, visible:])
        return {"loss": error.mean()}


class PictureDataset(SeededDataset):
    """Random parts of pictures, resized and mirrored (He et al. 2022, appendix A).

    Parameters
    ----------
    pictures : sequence of ndarray
        (y, x, 3) uint8.
    config : MaeConfig
        How many make a step, and how large they are.
    grid, patch : int
        Patches along a side of the input frame, and pixels along a side of a patch.
    seed : int
        Of the sequence.
    """

    def __init__(self, pictures: Sequence[np.ndarray], config: MaeConfig, grid: int, patch: int, seed: int) -> None:
        super().__init__(config.crops)
        self.pictures, self.seed = pictures, seed
        self.size = config.size or grid * patch
        self.room = grid - self.size // patch + 1

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        picture = self.pictures[int(rng.integers(len(self.pictures)))]
        part = torch.from_numpy(np.ascontiguousarray(picture[_part(picture.shape, rng)])).permute(2, 0, 1)[None]
        image = F.interpolate(part.float(), size=(self.size, self.size), mode="bilinear", antialias=True)[0]
        mirrored = [axis for axis in (1, 2) if rng.random() < 0.5]
        image = image.flip(mirrored).clamp(0, 255).byte()
        return {"image": image, "cells": torch.from_numpy(rng.integers(0, self.room, 2))}


def _part(shape: Sequence[int], rng: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of a random part of a picture."""
    area = shape[0] * shape[1] * rng.uniform(*_AREA)
    aspect = np.exp(rng.uniform(*np.log(_ASPECT)))
    sides = [min(max(round(float(np.sqrt(area * k))), 1), n) for k, n in zip((aspect, 1 / aspect), shape, strict=False)]
    begins = [int(rng.integers(0, n - side + 1)) for side, n in zip(sides, shape, strict=False)]
    return slice(begins[0], begins[0] + sides[0]), slice(begins[1], begins[1] + sides[1])


def train_mae(config: MaeTrainConfig, pictures: Sequence[np.ndarray], folder: Path, device: torch.device) -> Path:
    """Pretrain, or go on, and write the averaged weights of the encoder.

    Parameters
    ----------
    config : MaeTrainConfig
        How.
    pictures : sequence of ndarray
        (y, x, 3) uint8; no labels are needed.
    folder : Path
        Where checkpoint, log and weights go; a checkpoint found there is resumed.
    device : torch.device
        Where to compute.

    Returns
    -------
    Path
        ``weights.safetensors`` in `folder`, half precision: those of the image encoder but for its neck, with which
        ``train sam`` begins.

    Raises
    ------
    InputError
        When a size does not fit, there is no picture, or the checkpoint in `folder` is of another run.
    """
    sizes = config.sizes()
    if not pictures:
        raise InputError("there is no picture to learn from")
    torch.manual_seed(config.seed)
    model = MaskedAutoencoder(ImageEncoder(sizes), config.mae)
    identity = {"seed": config.seed, "encoder": asdict(sizes) | {"global_blocks": list(sizes.global_blocks)}}
    loop = Loop(MaeTask(model, config.mae.masked), config.loop, folder, device, identity)
    loop.resume()
    dataset = PictureDataset(pictures, config.mae, sizes.grid, sizes.patch_size, config.seed)
    loop.run(lambda step: stream(dataset, step, config.loop.workers))
    path = folder / "weights.safetensors"
    _write(loop.average, path)
    return path


def _check(config: MaeConfig, side: int, patch: int, width: int) -> None:
    if not 0 < config.masked < 1:
        raise InputError(f"[mae]: masked is a share between 0 and 1, got {config.masked}")
    if small := [name for name in ("width", "depth", "heads", "crops") if getattr(config, name) < 1]:
        raise InputError(f"[mae]: {small[0]} is at least 1, got {getattr(config, small[0])}")
    if config.size and (config.size % patch or not 2 * patch <= config.size <= side):
        raise InputError(f"[mae]: size is a multiple of the patch, {patch}, up to {side}; got {config.size}")
    if config.width % config.heads or config.width % 4 or width % 4:
        raise InputError("[mae]: width is a multiple of heads and of 4, and so is the width of the encoder of 4")


def _write(model: nn.Module, path: Path) -> None:
    state = {
        name.replace("encoder.", ENCODER, 1): value.half().contiguous()
        for name, value in model.state_dict().items()
        if name.startswith("encoder.") and not name.startswith(NECK.replace(ENCODER, "encoder."))
    }
    partial = path.with_name(f"{path.name}.partial")
    save_file(state, partial, {"pretrained": "masked autoencoder"})
    partial.replace(path)
