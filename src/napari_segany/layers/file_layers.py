"""Layers made from files that this package reads, where they lie in the world, and where they are from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from napari.layers import Image, Labels

from napari_segany.core.errors import InputError
from napari_segany.io.images import ImageFile
from napari_segany.layers.compat import opened_from
from napari_segany.layers.read import image_shape
from napari_segany.layers.write import placement

PIXEL = "pixel"
"""What napari calls the unit of an axis without one."""


def image_layer(file: ImageFile, path: Path) -> Image:
    """A layer of an image file, with its pixel size and units where napari's layers have them."""
    axes = len(file.axes) - file.rgb
    units = tuple(unit or PIXEL for unit in file.units)
    placed = {
        name: values[:axes]
        for name, values in (("scale", file.scale), ("translate", file.translation), ("units", units))
        if len(values) >= axes
    }
    with opened_from(path):
        return Image(file.array, rgb=file.rgb, name=path.stem, **placed)


def labels_layer(labels: np.ndarray, path: Path, image: Image) -> Labels:
    """A layer of a label file, placed as its image.

    Raises
    ------
    InputError
        The labels are not of the shape of the image.
    """
    if labels.shape != image_shape(image):
        raise InputError(f"{path} has shape {labels.shape}, but {image.name!r} needs {image_shape(image)}")
    with opened_from(path):
        return Labels(labels, name=path.stem, **placement(image))
