"""What the model sees of the image, and strokes of a brush as prompts."""

import numpy as np
import pytest

from napari_segany.core.errors import InputError
from napari_segany.core.planes import ChannelSettings
from tests.layers.desk import Desk


def test_what_the_model_sees_can_be_changed_and_is_asked_again() -> None:
    desk = Desk(np.arange(1200, dtype=np.uint16).reshape(30, 40))
    desk.click(10, 12)
    (stack, number), moved = desk.binding.planes.stack(desk.binding.planes.view()), []
    desk.binding.moved.connect(lambda: moved.append(True))
    desk.binding.planes.change_settings(ChannelSettings(inverted=True))
    seen = desk.binding.planes.stack(desk.binding.planes.view())[0].plane(number)
    np.testing.assert_array_equal(seen, 255 - stack.plane(number))
    assert len(desk.asked) == 2
    assert moved == [True]
    assert ChannelSettings(inverted=True) in desk.events
    desk.binding.planes.change_settings(ChannelSettings(inverted=True))
    assert len(desk.asked) == 2, "nothing is new"


def test_an_axis_can_be_seen_as_colours() -> None:
    channels = np.stack([np.full((30, 40), value, np.uint8) for value in (10, 200)])
    channels[:, 0, 0], channels[:, 0, 1] = 0, 255
    desk = Desk(np.stack([channels, channels]), rgb=False)
    desk.viewer.dims.set_point((0, 1), (1, 1))
    desk.binding.planes.change_settings(ChannelSettings((0, 255), together=1))
    stack, number = desk.binding.planes.stack(desk.binding.planes.view())
    assert (len(stack), number) == (2, 1)
    assert stack.plane(number)[5, 5].tolist() == [10, 200, 0]
    desk.click(1, 1, 10, 12)
    assert desk.binding.keep()
    assert desk.labels[1, 1, 10, 12] == 1
    with pytest.raises(InputError, match="roll the axes back"):
        desk.binding.planes.change_settings(ChannelSettings(together=3))
    assert desk.binding.planes.settings.together == 1


def test_what_is_painted_into_the_preview_is_a_rough_mask() -> None:
    desk = Desk(np.zeros((60, 80), np.uint8))
    binding = desk.binding
    binding.mask_preview.ready_to_paint()
    layer = binding.preview.layer
    assert (desk.viewer.layers.selection.active, layer.mode) == (layer, "paint")
    stroke = np.zeros((60, 80), bool)
    stroke[20:30, 20:50] = True
    stroke[23:26, 30:40] = False
    layer.data_setitem(np.nonzero(stroke), desk.session.label)
    np.testing.assert_array_equal(desk.asked[-1].prompt.mask, stroke)
    assert desk.binding.shapes.features["sign"].tolist() == ["positive", "negative"]
    # what the model made of it is rubbed out again in part
    shown = layer.data > 0
    assert shown.any()
    binding.mask_preview.ready_to_paint(erase=True)
    rows, columns = np.nonzero(shown)
    half = columns < np.median(columns)
    layer.data_setitem((rows[half], columns[half]), 0)
    mask = desk.asked[-1].prompt.mask
    assert mask.any()
    assert not mask[rows[half], columns[half]].any()
    assert desk.binding.undo()
    np.testing.assert_array_equal(desk.asked[-1].prompt.mask, stroke)
    assert desk.binding.undo()
    assert not len(desk.binding.shapes.data)
    assert desk.session.result is None


def test_a_stroke_goes_with_the_slice_that_it_is_on() -> None:
    desk = Desk(np.zeros((3, 60, 80), np.uint8))
    desk.binding.mask_preview.ready_to_paint()
    desk.viewer.dims.set_point(0, 2)
    assert desk.binding.preview.view.position[0] == 2
    _, rows, columns = np.indices((1, 9, 9)).reshape(3, -1)
    desk.binding.preview.layer.data_setitem((0 * rows, rows + 20, columns + 30), 1)
    assert desk.asked[-1].plane.position[0] == 2
    assert desk.asked[-1].prompt.mask.sum() == 81
