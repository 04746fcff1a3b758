"""The widget through every door that it comes into a window by: made by a program, by npe2, from the menu, as a
plugin's dock, by a command."""

from __future__ import annotations

import numpy as np

from napari_segany.session.recovery import recover
from tests.widgets.conftest import Opened

PLACES = ((15, 15), (40, 60), (30, 40))


def keep_objects(opened: Opened) -> list[bytes]:
    """Keep three objects; the labels before and after each of them."""
    states = []
    for place in PLACES:
        opened.hand.click(*place)
        opened.wait_for_mask()
        opened.hand.press("k")
        states.append(opened.widget.binding.labels.data.tobytes())
    return [bytes(len(states[0])), *states]


def test_a_click_gives_a_mask(through: Opened) -> None:
    through.hand.click(30, 40)
    through.wait_for_mask()
    assert through.widget.session.mask.pixels[30, 40]
    assert through.widget.binding.preview.layer.data.any()
    through.hand.press("k")
    assert through.widget.binding.labels.data[30, 40] == 1


def test_no_proxy_comes_in(through: Opened) -> None:
    assert type(through.widget.viewer) is type(through.viewer)
    binding = through.widget.binding
    assert binding.image is through.image
    for layer in (binding.points, binding.shapes, binding.preview.layer):
        assert any(layer is one for one in through.viewer.layers)


def test_each_layer_is_known_once_and_undo_goes_back_step_by_step(through: Opened) -> None:
    states = keep_objects(through)
    binding = through.widget.binding
    assert len(binding.recorder._mirrors) == 1
    assert len(binding.recorder._prompts) == 2
    kinds = [step.kind for step in through.widget.session.history._steps]
    assert kinds == ["prompt", "keep"] * 3
    for state in reversed(states[:-1]):
        through.hand.press("ctrl+z")
        through.hand.press("ctrl+z")
        assert binding.labels.data.tobytes() == state
    for state in states[1:]:
        through.hand.press("ctrl+shift+z")
        through.hand.press("ctrl+shift+z")
        assert binding.labels.data.tobytes() == state


def test_layers_that_are_chosen_come_in_as_they_are(through: Opened) -> None:
    widget = through.widget
    labels = through.viewer.add_labels(np.zeros((60, 80), np.int32), name="mine")
    points = through.viewer.add_points(ndim=2, name="my clicks")
    widget.layer_box.labels.value = labels
    widget.layer_box.points.value = points
    assert widget.binding.labels is labels
    assert widget.binding.points is points
    keep_objects(through)
    assert set(np.unique(labels.data)) == {0, 1, 2, 3}


def test_the_session_says_what_the_window_shows(through: Opened) -> None:
    keep_objects(through)
    through.hand.press("ctrl+z")
    through.hand.press("ctrl+z")
    through.widget.keeper.flush()
    found = recover(through.widget.keeper.path)
    np.testing.assert_array_equal(found.labels, through.widget.binding.labels.data)
    assert found.labels.max() == 2
