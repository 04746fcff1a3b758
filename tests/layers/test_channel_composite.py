"""Channels that napari shows as separate layers."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_segany.layers.channel_composite import composite, split_channels
from napari_segany.layers.layer_measurements import measurement_of
from napari_segany.layers.object_features import ObjectFeatures


@pytest.fixture
def viewer() -> ViewerModel:
    """A two-channel stack (c, z, y, x), opened as napari opens channels."""
    made = ViewerModel()
    values = np.zeros((2, 3, 20, 30), np.uint16)
    values[0, :, 2:8, 2:8] = 1000
    values[1, 1, 10:18, 10:28] = 4000
    made.add_image(values, channel_axis=0, name=["dna", "actin"], scale=(2, 1, 1))
    return made


def test_channels_of_one_file_are_found(viewer: ViewerModel) -> None:
    first, second = viewer.layers
    assert split_channels(first, viewer.layers) == [first, second]
    assert split_channels(None, viewer.layers) == []
    assert str(first.blending) != "additive", "napari has the lowest one so"
    viewer.add_image(np.zeros((3, 20, 30)), scale=(2, 1, 1), name="opaque")
    viewer.add_image(np.zeros((3, 9, 9)), blending="additive", name="other shape")
    viewer.add_image(np.zeros((3, 20, 30)), blending="additive", name="other place")
    assert split_channels(first, viewer.layers) == [first, second]
    second.blending = "translucent"
    assert split_channels(first, viewer.layers) == []


def test_the_composite_has_their_colours_and_their_place(viewer: ViewerModel) -> None:
    first, second = viewer.layers
    before = first.data.copy()
    made = composite([first, second])
    assert made.rgb
    assert made.name == "dna + actin"
    np.testing.assert_allclose(made.data_to_world((1, 2, 3)), first.data_to_world((1, 2, 3)))
    plane = np.asarray(made.data)[1]
    for layer, (y, x) in ((first, (4, 4)), (second, (12, 20))):
        np.testing.assert_array_equal(plane[y, x], np.rint(255 * layer.colormap.map([1.0])[0, :3]))
    assert not plane[0, 29].any()
    np.testing.assert_array_equal(first.data, before)
    viewer.add_layer(made)
    assert split_channels(first, viewer.layers) == [], "once is enough"


def test_it_does_not_depend_on_the_contrast_limits(viewer: ViewerModel) -> None:
    first, second = viewer.layers
    before = np.asarray(composite([first, second]).data)
    first.contrast_limits = (0, 10)
    np.testing.assert_array_equal(np.asarray(composite([first, second]).data), before)


def test_the_channels_are_measured_and_not_their_composite(viewer: ViewerModel) -> None:
    channels = list(viewer.layers)
    made = viewer.add_layer(composite(channels))
    values = np.zeros((3, 20, 30), np.uint16)
    values[:, 2:8, 2:8] = 1
    labels = viewer.add_labels(values, scale=(2, 1, 1))
    objects = ObjectFeatures(viewer, labels, made)
    assert objects.problem == ""
    table = measurement_of(labels, viewer.layers, made, {}).run(lambda done, total: None)
    means = {name: values for name, values in table.columns.items() if name.startswith("intensity_mean")}
    assert means == {"intensity_mean_dna": [1000.0], "intensity_mean_actin": [0.0]}
