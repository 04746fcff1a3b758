"""Channels that napari shows as separate Image layers, as one image in their colours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from napari.layers import Image, Layer

from napari_segany.core.planes import Stack
from napari_segany.layers.edge_layer import is_edges
from napari_segany.layers.read import data_to_world_matrix, image_array, image_shape, lying_on

KEY = "napari_segany_channels"
"""In the metadata of a composite: the names of its channels."""
MOST = 8
"""More layers of one shape are rather images than channels."""


def split_channels(image: Image | None, layers: Sequence[Layer]) -> list[Image]:
    """The layers that are channels of one image; empty where an image stands for itself.

    They are gray, of one shape and place, and blended additively, but for the lowest one: so napari opens the channels
    of a file. Where there is a composite of them already, they are not channels any more.

    Parameters
    ----------
    image : Image or None
        One of the channels.
    layers : sequence of Layer
        All layers of the viewer.
    """
    if image is None:
        return []
    same = [one for one in layers if type(one) is Image and _is_gray(one) and _lies_on(one, image)]
    additive = [str(one.blending) == "additive" for one in same]
    if not any(additive):
        return []
    first = additive.index(True)
    found = same[max(first - 1, 0) : first] + [one for one, adds in zip(same, additive, strict=True) if adds]
    names = [one.name for one in found]
    made = any(one.metadata.get(KEY) == names for one in layers)
    return found if image in found and 1 < len(found) <= MOST and not made else []


def is_composite(layer: Layer) -> bool:
    """Whether a layer is a :func:`composite`."""
    return KEY in layer.metadata


def _is_gray(layer: Image) -> bool:
    return not layer.rgb and not layer.multiscale and not is_edges(layer)


def _lies_on(layer: Image, image: Image) -> bool:
    same = image_shape(layer) == image_shape(image)
    return same and bool(np.allclose(data_to_world_matrix(layer), data_to_world_matrix(image)))


def composite(channels: Sequence[Image]) -> Image:
    """Return a layer of colours (..., y, x, 3) uint8: the sum of the channels, each in the colours of its layer.

    The range of each channel is measured as models measure it, and not that of the contrast limits: so a session is
    found again under any of them. Planes are computed when they are shown.

    Parameters
    ----------
    channels : sequence of Image
        As :func:`split_channels` gives them.
    """
    first = channels[0]
    stacks = [Stack(image_array(one), rgb=False) for one in channels]
    tables = [np.asarray(one.colormap.map(np.linspace(0, 1, 256)), float)[:, :3] for one in channels]
    # (it takes a while to import)
    import dask.array as da
    from dask.delayed import delayed

    blend = delayed(partial(_blend, stacks, tables))
    leading, plane = image_shape(first)[:-2], (*image_shape(first)[-2:], 3)
    planes = [da.from_delayed(blend(number), plane, np.uint8) for number in range(int(np.prod(leading, dtype=int)))]
    data = da.stack(planes).reshape((*leading, *plane)) if leading else planes[0]
    names = [one.name for one in channels]
    return Image(data, rgb=True, name=" + ".join(names), metadata={KEY: names}, **lying_on(first))


def _blend(stacks: Sequence[Stack], tables: Sequence[np.ndarray], number: int) -> np.ndarray:
    """(y, x, 3) uint8 sum of the colours of a plane, clipped."""
    total = sum(table[stack.plane(number)[..., 0]] for stack, table in zip(stacks, tables, strict=True))
    return np.clip(np.rint(255 * np.asarray(total)), 0, 255).astype(np.uint8)
