"""The layer of edges of an image: slices that were computed, 0 elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.utils.colormaps import Colormap

from napari_segany.core.errors import InputError
from napari_segany.core.views import View
from napari_segany.layers.binding import Binding
from napari_segany.layers.read import data_to_world_matrix, image_array, image_shape
from napari_segany.layers.write import placement

NAME = "edges"
KEY = "napari_segany"
"""In the metadata of the layer; its value is ``NAME``."""
COLOURS = Colormap([[1, 0, 1, 0], [1, 0, 1, 1]], name="edges")
"""From nothing to magenta: edges are seen on bright and on dark images, and cover nothing else."""


def is_edges(layer: Layer) -> bool:
    """Whether a layer holds edges that were computed here, which are no image to segment."""
    return layer.metadata.get(KEY) == NAME


@dataclass(slots=True, eq=False)
class _Made:
    """The layer of an image, the values that it was computed from, and where the image was."""

    layer: Image
    array: np.ndarray
    source: Any
    matrix: np.ndarray


class EdgeLayers:
    """Shows the edges of images, each in one layer for all slices.

    A layer is known by itself, never by its name. One that was removed, or whose values the user replaced, is left as
    it is, as is that of an image whose values were replaced; a new one is made then.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._made: WeakKeyDictionary[Image, _Made] = WeakKeyDictionary()

    def show(self, binding: Binding, view: View, edges: np.ndarray) -> Image:
        """Put the edges of a slice into the layer of its image, and return that.

        Parameters
        ----------
        binding : Binding
            Of the image.
        view : View
            The slice.
        edges : ndarray
            (rows, columns) float32, 0 to 1.

        Raises
        ------
        InputError
            When there is not the memory for the layer.
        """
        made = self._made.get(binding.image)
        if made is None or not self._usable(made, binding.image):
            made = self._make(binding)
        matrix = data_to_world_matrix(binding.image)
        if not np.array_equal(matrix, made.matrix):
            made.matrix = matrix
            for name, value in placement(binding.image).items():
                setattr(made.layer, name, value)
        made.array[view.key()] = edges if view.axes[0] < view.axes[1] else edges.T
        made.layer.refresh()
        return made.layer

    def _usable(self, made: _Made, image: Image) -> bool:
        there = any(made.layer is layer for layer in self._viewer.layers)
        return there and made.layer.data is made.array and made.source is image_array(image)

    def _make(self, binding: Binding) -> _Made:
        image, layers = binding.image, self._viewer.layers
        try:
            array = np.zeros(image_shape(image), np.float32)
        except MemoryError:
            raise InputError(
                f"there is no memory for edges of {image_shape(image)}; crop {image.name!r} first"
            ) from None
        look = {"contrast_limits": (0, 1), "colormap": COLOURS, "blending": "translucent"}
        layer = Image(array, name=NAME, metadata={KEY: NAME}, **look, **placement(image))
        preview = binding.mask_preview
        active, painting, erasing = layers.selection.active, preview.painting, preview.erasing
        # above the image, and below labels and prompts
        layers.insert(layers.index(image) + 1, layer)
        layers.selection.active = active
        if painting:
            preview.ready_to_paint(erase=erasing)
        made = _Made(layer, array, image_array(image), data_to_world_matrix(image))
        self._made[image] = made
        return made
