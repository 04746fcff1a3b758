"""The channels of an image file, one by one, as measurements take them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.io.images import ImageFile, reading

COLOURS = ("red", "green", "blue")
"""Channels of pictures in colours; their transparency is not measured."""


def channel_names(count: int | None, *, rgb: bool) -> tuple[str, ...]:
    """Names of channels: one without a name for None, else "red", "green" and "blue", or "c0", "c1" and so on."""
    if count is None:
        return ("",)
    return COLOURS if rgb else tuple(f"c{number}" for number in range(count))


def file_channels(path: Path, file: ImageFile, shape: tuple[int, ...]) -> dict[str, Any]:
    """The channels of an image by their names.

    Parameters
    ----------
    path : Path
        Where it was read from.
    file : ImageFile
        The image.
    shape : tuple of int
        Of the labels that its channels fit.

    Raises
    ------
    InputError
        They have another shape, hold no numbers, or cannot be read.
    """
    axis = file.channel_axis
    whole = file.array.shape
    own = tuple(size for place, size in enumerate(whole) if place != axis)
    if own != shape:
        raise InputError(f"{path} has the shape {own}, which does not fit labels of shape {shape}")
    names = channel_names(None if axis is None else whole[axis], rgb=file.rgb)
    with reading(path):
        found = {
            name: np.asarray(file.array[(slice(None),) * (axis or 0) + ((number,) if axis is not None else ())])
            for number, name in enumerate(names)
        }
    if any(values.dtype.kind not in "buif" for values in found.values()):
        raise InputError(f"{path} holds {next(iter(found.values())).dtype}, which cannot be measured")
    return found
