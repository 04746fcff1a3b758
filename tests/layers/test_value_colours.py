"""Colours of values, in the layer, and the layer's own again."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from napari.layers import Labels

from napari_segany.core.errors import InputError
from napari_segany.layers.value_colours import FAINT, FAST, UNKNOWN, ValueColours

IDS = np.array([1, 3, 7])
COLOURS = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1.0]])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.int64])
def test_each_object_has_its_colour(kind: type) -> None:
    labels = Labels(np.arange(9, dtype=kind).reshape(3, 3))
    colours = ValueColours(labels)
    own = labels.colormap
    colours.show(IDS, COLOURS)
    np.testing.assert_allclose(labels.colormap.map(IDS), COLOURS)
    np.testing.assert_allclose(labels.colormap.map(np.array([2, 0])), [UNKNOWN, (0, 0, 0, 0)], atol=1e-6)
    colours.clear()
    assert labels.colormap is own


def test_negative_labels() -> None:
    labels = Labels(np.array([[-2, 1], [7, 5]]))
    ValueColours(labels).show(np.array([-2, 1, 7]), COLOURS)
    np.testing.assert_allclose(labels.get_color(7), COLOURS[2])
    np.testing.assert_allclose(labels.get_color(-2), COLOURS[0])
    np.testing.assert_allclose(labels.get_color(5), UNKNOWN, atol=1e-6)


def test_high_labels_are_coloured_or_refused() -> None:
    labels = Labels(np.array([[1, 3], [70_000, 5]]))
    if any(map(importlib.util.find_spec, FAST)):
        ValueColours(labels).show(np.array([1, 3, 70_000]), COLOURS)
        np.testing.assert_allclose(labels.get_color(70_000), COLOURS[2])
    else:
        with pytest.raises(InputError, match="too high"):
            ValueColours(labels).show(np.array([1, 3, 70_000]), COLOURS)


def test_chosen_objects_are_brought_out() -> None:
    labels = Labels(np.arange(9).reshape(3, 3))
    colours = ValueColours(labels)
    before = labels.colormap.map(IDS)
    colours.show(IDS, None, np.array([False, True, False]))
    after = labels.colormap.map(IDS)
    np.testing.assert_allclose(after[:, :3], before[:, :3], atol=1e-6)
    np.testing.assert_allclose(after[:, 3], [FAINT, 1, FAINT])


def test_a_colormap_that_was_chosen_since_stays() -> None:
    labels = Labels(np.arange(9).reshape(3, 3))
    colours = ValueColours(labels)
    colours.show(IDS, COLOURS)
    labels.new_colormap()
    chosen = labels.colormap
    colours.clear()
    assert labels.colormap is chosen
