"""From masks to Labels layers: the preview, which is ours, and the output, in which nothing is ever lost."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_segany.core.errors import InputError
from napari_segany.core.masks import paintable
from napari_segany.core.views import View
from napari_segany.layers.read import image_shape

COUNTED_VOXELS = 2**27
"""Labels of larger arrays are not all read to find the highest."""


def placement(image: Image) -> dict[str, Any]:
    """Keyword arguments that put a layer of the image's axes exactly where the image lies."""
    return {
        name: getattr(image, name)
        for name in ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
        if hasattr(image, name)
    }


def data_to_world_matrix(layer: Layer) -> np.ndarray:
    """(axes + 1, axes + 1) homogeneous matrix from a layer's pixels to the world."""
    ndim = layer.ndim
    origin = np.asarray(layer.data_to_world(np.zeros(ndim)), float)
    matrix = np.eye(ndim + 1)
    matrix[:ndim, ndim] = origin
    for axis, unit in enumerate(np.eye(ndim)):
        matrix[:ndim, axis] = np.asarray(layer.data_to_world(unit), float) - origin
    return matrix


def new_labels(image: Image) -> Labels:
    """An empty Labels layer for the whole image.

    Raises
    ------
    InputError
        When there is not the memory for it.
    """
    try:
        empty = np.zeros(image_shape(image), np.int32)
    except MemoryError:
        raise InputError(f"there is no memory for labels of {image_shape(image)}; crop {image.name!r} first") from None
    return Labels(empty, name=f"{image.name} labels", **placement(image))


def check_labels(labels: Labels, image: Image) -> None:
    """Make sure that masks of the image can be painted into a layer.

    Raises
    ------
    InputError
        When the layer has another shape, or cannot be painted into.
    """
    if labels.multiscale or not isinstance(labels.data, np.ndarray):
        raise InputError(f"{labels.name!r} is not an array in memory and cannot be painted into; choose another layer")
    if labels.data.shape != image_shape(image):
        raise InputError(
            f"{labels.name!r} has shape {labels.data.shape}, but {image.name!r} needs {image_shape(image)}"
        )


def free_label(labels: Labels, view: View | None, wanted: int) -> int:
    """The lowest label from `wanted` on that no pixel has yet.

    Raises
    ------
    InputError
        When the layer's type can hold no higher label.
    """
    values = labels.data if labels.data.size <= COUNTED_VOXELS or view is None else view.read(labels.data)
    label = max(wanted, int(values.max(initial=0)) + 1)
    if label > np.iinfo(labels.data.dtype).max:
        raise InputError(f"{labels.name!r} is {labels.data.dtype} and has no label left; make a new layer")
    return label


def free_pixels(labels: Labels, view: View, pixels: np.ndarray, *, overwrite: bool) -> tuple[np.ndarray, ...]:
    """Rows and columns of the plane that a mask may take, see :func:`~napari_segany.core.masks.paintable`.

    Parameters
    ----------
    labels : Labels
        Checked by :func:`check_labels`.
    view : View
        The plane.
    pixels : ndarray
        (rows, columns) bool.
    overwrite : bool
        Whether pixels of other labels may be taken.
    """
    return paintable(view.read(labels.data), pixels, overwrite=overwrite)


class Preview:
    """A Labels layer of one plane that lies on the image wherever the image lies.

    It holds no more than the plane, so that a large volume needs no second one.

    Parameters
    ----------
    image : Image
        What it lies on.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self.layer = Labels(
            np.zeros((1,) * image.ndim, np.int32),
            name="segmentation preview",
            opacity=0.6,
            affine=data_to_world_matrix(image),
        )

    def show(self, view: View, pixels: np.ndarray, label: int) -> None:
        """Show a mask, (rows, columns) bool, in the colour that `label` will have."""
        shape = [1] * len(view.position)
        shape[view.axes[0]], shape[view.axes[1]] = pixels.shape
        plane = np.where(pixels, label, 0).astype(np.int32)
        block = (plane if view.axes[0] < view.axes[1] else plane.T).reshape(shape)
        matrix = data_to_world_matrix(self._image)
        matrix[:, -1] = matrix @ [*view.position, 1]
        if block.shape == self.layer.data.shape and np.array_equal(matrix, self.layer.affine.affine_matrix):
            self.layer.data[...] = block
            self._redraw()
            return
        self.layer.data = block
        self.layer.affine = matrix

    def clear(self) -> None:
        """Show nothing."""
        if self.layer.data.any():
            self.layer.data[...] = 0
            self._redraw()

    def _redraw(self) -> None:
        """Draw the pixels and nothing else: a new thumbnail has napari draw its whole list of layers."""
        self.layer.refresh(thumbnail=False, highlight=False, extent=False)
