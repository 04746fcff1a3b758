"""What plugins are given is wrapped in proxies; here it comes in as what it is."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes
from napari.utils._proxies import PublicOnlyProxy

from napari_segany.layers.binding import Binding
from napari_segany.layers.proxies import unwrapped
from napari_segany.session.session import Session


@pytest.mark.parametrize("thing", [None, 5, "text", Image(np.zeros((4, 4))), ViewerModel()], ids=type)
def test_what_is_wrapped_is_unwrapped_and_the_rest_is_itself(thing: object) -> None:
    assert unwrapped(thing) is thing
    assert unwrapped(PublicOnlyProxy(thing)) is thing
    assert unwrapped(PublicOnlyProxy(PublicOnlyProxy(thing))) is thing


def test_a_binding_watches_each_layer_once_though_all_it_gets_are_proxies() -> None:
    viewer = ViewerModel()
    outside = PublicOnlyProxy(viewer)
    image = viewer.add_layer(Image(np.zeros((60, 80), np.uint8)))
    labels = viewer.add_layer(Labels(np.zeros((60, 80), np.int32), name="mine"))
    points = viewer.add_layer(Points(ndim=2, name="dots"))
    shapes = viewer.add_layer(Shapes(ndim=2, name="boxes"))
    binding = Binding(outside, Session(), outside.layers[image.name], outside.layers["mine"])
    for _ in range(2):
        binding.set_labels(outside.layers["mine"])
        binding.prompts.adopt(outside.layers["dots"])
        binding.prompts.adopt(outside.layers["boxes"])
    assert binding.image is image
    assert binding.labels is labels
    assert binding.points is points
    assert binding.shapes is shapes
    assert [mirror.layer for mirror in binding.recorder._mirrors.values()] == [labels]
    points.add([3, 4])
    points.add([5, 6])
    labels.data_setitem((np.array([1]), np.array([1])), 3)
    assert [step.kind for step in binding.session.history._steps] == ["prompt", "prompt", "edit"]
    viewer.layers.remove(labels)
    assert binding.labels is None
