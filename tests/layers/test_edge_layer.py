"""Edges lie on their image, and no layer of the user's is changed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_segany.core.views import View
from napari_segany.layers.edge_layer import NAME, EdgeLayers
from napari_segany.layers.read import data_to_world_matrix


def opened(shape: tuple[int, ...], **options: object) -> tuple[ViewerModel, SimpleNamespace, EdgeLayers]:
    """A viewer with an image and a layer of clicks, what stands for a Binding, and the layers of edges."""
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(shape, np.uint8), **options)
    viewer.add_points(ndim=image.ndim)
    preview = SimpleNamespace(painting=False, erasing=False)
    return viewer, SimpleNamespace(image=image, mask_preview=preview), EdgeLayers(viewer)


@pytest.mark.parametrize(
    ("shape", "options", "view"),
    [
        ((6, 8), {}, View((0, 1), (0, 0))),
        ((6, 8, 3), {"rgb": True}, View((0, 1), (0, 0))),
        ((6, 8), {"scale": (2, 0.5), "translate": (10, -3), "rotate": 30}, View((0, 1), (0, 0))),
        ((5, 6, 8), {"scale": (4, 2, 0.5), "translate": (1, 2, 3)}, View((1, 2), (3, 0, 0))),
        ((5, 6, 8), {"units": ("um", "um", "um")}, View((2, 0), (0, 4, 0))),
        ((2, 5, 6, 8), {"affine": np.diag([1, 2, 3, 4, 1.0])}, View((2, 3), (1, 2, 0, 0))),
    ],
)
def test_edges_lie_where_the_image_lies_on_the_slice_that_was_computed(shape, options, view) -> None:
    viewer, binding, edges = opened(shape, **options)
    found = np.random.default_rng(0).random(view.plane_shape(shape), np.float32)
    layer = edges.show(binding, view, found)
    np.testing.assert_allclose(data_to_world_matrix(layer), data_to_world_matrix(binding.image))
    assert layer.units == binding.image.units
    np.testing.assert_array_equal(view.read(layer.data), found)
    assert np.count_nonzero(layer.data) == np.count_nonzero(found)
    assert [one.name for one in viewer.layers][1] == NAME, "above the image, below the clicks"


def test_other_slices_are_added_and_the_layer_follows_an_image_that_was_moved() -> None:
    viewer, binding, edges = opened((5, 6, 8))
    views = [View((1, 2), (number, 0, 0)) for number in (1, 3)]
    layers = {edges.show(binding, view, np.full((6, 8), 0.5, np.float32)) for view in views}
    (layer,) = layers
    layer.opacity = 0.3
    assert np.flatnonzero(layer.data.any(axis=(1, 2))).tolist() == [1, 3]
    binding.image.scale = (3, 2, 2)
    assert edges.show(binding, views[0], np.ones((6, 8), np.float32)) is layer
    assert layer.scale.tolist() == [3, 2, 2]
    assert layer.opacity == 0.3
    assert len(viewer.layers) == 3


@pytest.mark.parametrize("change", ["mine", "removed", "values", "image"])
def test_what_is_the_users_stays_and_a_new_layer_is_made(change: str) -> None:
    viewer, binding, edges = opened((6, 8))
    view, found = View((0, 1), (0, 0)), np.ones((6, 8), np.float32)
    if change == "mine":
        theirs = viewer.add_image(np.full((6, 8), 7.0), name=NAME)
    else:
        theirs = edges.show(binding, view, np.full((6, 8), 0.25, np.float32))
        if change == "removed":
            viewer.layers.remove(theirs)
        elif change == "values":
            theirs.data = np.full((6, 8), 7.0)
        else:
            binding.image.data = np.ones((6, 8), np.uint8)
    before = theirs.data.copy()
    made = edges.show(binding, view, found)
    assert made is not theirs
    np.testing.assert_array_equal(theirs.data, before)
    assert made in viewer.layers


@pytest.mark.parametrize("active", [0, 1])
def test_the_layer_in_use_stays_in_use(active: int) -> None:
    viewer, binding, edges = opened((6, 8))
    used = viewer.layers[active]
    viewer.layers.selection.active = used
    edges.show(binding, View((0, 1), (0, 0)), np.ones((6, 8), np.float32))
    assert viewer.layers.selection.active is used
    assert set(viewer.layers.selection) == {used}
