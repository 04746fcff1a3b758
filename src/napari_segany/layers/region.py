"""The open part of a large image, as separate layers: napari can paint only what fits into memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_segany.core.tiles import is_large
from napari_segany.layers.compat import camera_of
from napari_segany.layers.read import data_to_world_matrix, image_array, image_shape
from napari_segany.layers.write import placement
from napari_segany.session.history import Window

SIDE = 2048
"""Rows and columns of a region, at most."""
VOXELS = 2**27
"""Of a region, at most."""
LARGE_VOXELS = 2**28
"""Images of more are worked on in regions."""


def is_too_large(image: Image) -> bool:
    """Whether an image is worked on in regions."""
    shape = image_shape(image)
    return is_large((shape[-2], shape[-1])) or math.prod(shape) > LARGE_VOXELS


def region_around(shape: Sequence[int], axes: Sequence[int], centre: Sequence[float]) -> Window:
    """The region of an image around a place.

    Parameters
    ----------
    shape : sequence of int
        Of the image, without colours.
    axes : sequence of int
        The two that are shown: ``SIDE`` pixels of each. Of the others, the last first, as much as ``VOXELS`` allow.
    centre : sequence of float
        In the image's pixels.

    Returns
    -------
    tuple of slice
        One with both ends for each axis, within the image.
    """
    lengths = {axis: min(SIDE, shape[axis]) for axis in axes}
    room = VOXELS // math.prod(lengths.values())
    for axis in reversed(range(len(shape))):
        if axis not in lengths:
            lengths[axis] = min(shape[axis], max(room, 1))
            room //= lengths[axis]
    starts = [
        min(max(round(centre[axis] - lengths[axis] / 2), 0), length - lengths[axis])
        for axis, length in enumerate(shape)
    ]
    return tuple(slice(start, start + lengths[axis]) for axis, start in enumerate(starts))


def region_shown(image: Image, viewer: ViewerModel) -> Window:
    """The region around the middle of what is shown."""
    dims = viewer.dims
    extra = dims.ndim - image.ndim
    world = np.asarray(dims.point, float)[extra:]
    camera = camera_of(viewer)
    shown = [axis - extra for axis in dims.displayed[-2:]]
    world[shown] = np.asarray(camera.center, float)[-2:]
    return region_around(image_shape(image), shown, [float(place) for place in image.world_to_data(world)])


def cut_out(image: Image, window: Window) -> Image:
    """A layer that shows a region where the image shows it; nothing of it is read before it is shown."""
    import dask.array as da  # late, as most images are small

    array = image_array(image)
    chunks = getattr(array, "chunks", (SIDE,) * len(array.shape))
    whole = array if isinstance(array, np.ndarray | da.Array) else da.from_array(array, chunks=chunks)
    part = Image(
        whole[window],
        name=f"{image.name}, region",
        rgb=image.rgb,
        contrast_limits=image.contrast_limits,
        colormap=image.colormap,
        multiscale=False,
        **_placed(image, window),
    )
    part.bounding_box.visible = True
    return part


def labels_of_region(image: Image, window: Window, labels: np.ndarray) -> Labels:
    """A layer of labels (an int32 array of the window's shape) that can be painted into, where the region lies."""
    return Labels(labels, name=f"{image.name} labels, region", **_placed(image, window))


def overview(image: Image, levels: Sequence[Any]) -> Labels:
    """A read-only layer with all labels of the image.

    Parameters
    ----------
    image : Image
        The image that they belong to.
    levels : sequence of zarr.Array
        From fine to coarse.
    """
    import dask.array as da

    # napari shows whole chunks of dask: those of the file, for larger ones would be read and drawn for nothing
    data = [da.from_array(level, chunks=level.chunks) for level in levels]
    several = len(data) > 1
    layer = Labels(
        data if several else data[0],
        multiscale=several,
        name=f"{image.name} labels",
        opacity=0.4,
        **placement(image),
    )
    layer.editable = False
    return layer


def _placed(image: Image, window: Window) -> dict[str, object]:
    """Where a layer lies whose first pixel is that of a window."""
    matrix = data_to_world_matrix(image)
    start = matrix @ np.array([*(side.start for side in window), 1.0])
    # the affine transform comes after the layer's own
    own = np.linalg.solve(np.asarray(image.affine.affine_matrix, float), start)
    return placement(image) | {"translate": own[:-1]}
