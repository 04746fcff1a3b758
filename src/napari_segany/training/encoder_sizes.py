"""Sizes of a vision transformer that is trained here: those of a published one, with changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from napari_segany.core.errors import InputError
from napari_segany.models.sam.image_encoder import EncoderConfig
from napari_segany.models.sam.model import ENCODERS

GLOBAL = 4
"""Blocks that attend over the whole picture, evenly spaced (Kirillov et al. 2023, appendix A, "Image encoder")."""
_CHANNELS = 16
"""The embedding's channels are a multiple: eight heads of half of them."""
_PATCH = 4
"""The patch is a multiple: each cell of the embedding becomes 4 x 4 pixels of a mask."""


def encoder_sizes(architecture: str, changes: Mapping[str, Any]) -> EncoderConfig:
    """Return the sizes of an image encoder.

    Parameters
    ----------
    architecture : str
        One of :data:`~napari_segany.models.sam.model.ENCODERS`.
    changes : mapping of str to value
        Fields of :class:`~napari_segany.models.sam.image_encoder.EncoderConfig` that differ, as in the table
        ``[encoder]`` of a TOML file. With another depth, the global blocks are spaced evenly unless they are named.

    Raises
    ------
    InputError
        There is no such architecture or field, or the sizes do not fit each other.
    """
    if architecture not in ENCODERS:
        raise InputError(f"architecture = {architecture!r}: there are {', '.join(('tiny', *ENCODERS))}")
    known = asdict(ENCODERS[architecture])
    if unknown := sorted(changes.keys() - known.keys()):
        raise InputError(f"unknown setting in [encoder]: {', '.join(unknown)}")
    values = {**known, **changes}
    try:
        config = msgspec.convert(values, EncoderConfig)
    except msgspec.ValidationError as error:
        raise InputError(f"[encoder]: {str(error).replace('`', '').replace('$.', '')}") from error
    if "depth" in changes and "global_blocks" not in changes:
        config = msgspec.convert({**values, "global_blocks": _spaced(config.depth)}, EncoderConfig)
    _check(config)
    return config


def _spaced(depth: int) -> tuple[int, ...]:
    return tuple(sorted({max((number + 1) * depth // GLOBAL - 1, 0) for number in range(GLOBAL)}))


def _check(config: EncoderConfig) -> None:
    sizes = {name: value for name, value in asdict(config).items() if name != "global_blocks"}
    if small := [name for name, value in sizes.items() if value < 1]:
        raise InputError(f"[encoder]: {small[0]} is at least 1, got {sizes[small[0]]}")
    for name, value, divisor, what in (
        ("width", config.width, config.heads, f"heads, {config.heads}"),
        ("image_size", config.image_size, config.patch_size, f"patch_size, {config.patch_size}"),
        ("patch_size", config.patch_size, _PATCH, str(_PATCH)),
        ("out_channels", config.out_channels, _CHANNELS, str(_CHANNELS)),
    ):
        if value % divisor:
            raise InputError(f"[encoder]: {name} is a multiple of {what}, got {value}")
    if config.global_blocks and not 0 <= min(config.global_blocks) <= max(config.global_blocks) < config.depth:
        raise InputError(f"[encoder]: global_blocks are numbers from 0 to {config.depth - 1}")
