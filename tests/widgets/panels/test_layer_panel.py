"""Which layers are in use, whatever becomes of the list of layers."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Layer

from tests.widgets.conftest import Opened, posted

USED = ("image", "labels", "points", "shapes")


def used(opened: Opened) -> dict[str, Layer]:
    return {name: getattr(opened.widget.binding, name) for name in USED}


def keep(opened: Opened, y: float, x: float) -> None:
    opened.hand.click(y, x)
    opened.wait_for_mask()
    opened.hand.press("k")


@pytest.fixture
def working(opened: Opened) -> Opened:
    """An object is kept, and next to each layer in use lies another one of its kind."""
    keep(opened, 15, 15)
    opened.viewer.add_image(np.ones((60, 80), np.uint8), name="another image")
    opened.viewer.add_labels(np.zeros((60, 80), np.int32), name="other labels")
    opened.viewer.add_points(ndim=2, name="other dots")
    opened.viewer.add_shapes(ndim=2, name="other shapes")
    opened.widget.prompt_box.take("Points")
    return opened


@pytest.mark.parametrize("names", ["one", "swapped", "taken", "in turn"])
@pytest.mark.parametrize("kind", USED)
def test_a_renamed_layer_stays_in_use(working: Opened, kind: str, names: str) -> None:
    before, binding = used(working), working.widget.binding
    layer = before[kind]
    other = next(one for one in working.viewer.layers if type(one) is type(layer) and "other" in one.name)
    name = layer.name
    if names == "taken":
        layer.name = other.name
    elif names == "swapped":
        other.name, layer.name = "for a moment", other.name
        other.name = name
    else:
        for new in ("first", "second", "third")[: 1 if names == "one" else 3]:
            layer.name = f"{new} name"
            posted(working.hand.qtbot)
    assert working.widget.binding is binding
    assert used(working) == before
    assert getattr(working.widget.layer_box, kind).value is layer
    assert getattr(working.widget.layer_box, kind).native.currentText() == layer.name
    keep(working, 40, 60)
    assert binding.labels.data[15, 15] == 1
    assert binding.labels.data[40, 60] == 2


def test_a_layer_that_is_removed_is_let_go(working: Opened) -> None:
    labels = working.widget.binding.labels
    working.viewer.layers.remove(labels)
    assert working.widget.binding.labels is None
    assert working.widget.layer_box.labels.value is None


def test_an_image_that_is_opened_on_top_is_spoken_of_and_offered(opened: Opened) -> None:
    button = opened.widget.layer_box._offers[opened.widget.layer_box.image]
    assert not button.isVisible()
    other = opened.viewer.add_image(np.ones((60, 80), np.uint8), name="second")
    assert "“second” was opened" in opened.text
    assert opened.widget.binding.image is opened.image
    assert button.isVisible()
    assert "second" in button.text()
    button.click()
    assert opened.widget.binding.image is other
    assert not button.isVisible()
    opened.viewer.layers.selection.active = opened.image
    assert button.isVisible(), "the image that is looked at is offered"
    button.click()
    assert opened.widget.binding.image is opened.image


def test_labels_that_fit_are_offered_until_some_are_in_use(opened: Opened) -> None:
    button = opened.widget.layer_box._offers[opened.widget.layer_box.labels]
    opened.viewer.add_labels(np.zeros((6, 8), np.int32), name="too small")
    assert not button.isVisible()
    labels = opened.viewer.add_labels(np.eye(60, 80, dtype=np.int32), name="mine")
    assert button.isVisible()
    button.click()
    assert opened.widget.binding.labels is labels
    assert not button.isVisible()
    assert opened.widget.prompt_box.clicking, "the next click is a prompt, and not one into the labels"
    layers = list(opened.viewer.layers)
    assert layers.index(opened.widget.binding.shapes) > layers.index(labels), "strokes are seen above the labels"
    keep(opened, 15, 40)
    assert labels.data[15, 40] == 2
