"""What the model sees, chosen in a real window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from napari_segany.core.planes import ChannelSettings
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Hand, Opened

GREY = np.tile(np.linspace(100, 900, 80).astype(np.uint16), (60, 1))


@pytest.fixture
def grey(hand: Hand) -> Iterator[Opened]:
    opened = Opened(hand, GREY, FakeSegmenter(radius=8))
    yield opened
    opened.close()


def ready(opened: Opened) -> None:
    """Show the tab and wait for its picture."""
    box = opened.widget.picture_box
    opened.widget.tabs.show_box(box)
    opened.hand.qtbot.waitUntil(lambda: not box._picture.pixmap().isNull())


def brightness(opened: Opened) -> list[int]:
    """Of the small picture, at its left and its right."""
    image = opened.widget.picture_box._picture.pixmap().toImage()
    return [image.pixelColor(x, image.height() // 2).red() for x in (4, image.width() - 5)]


def test_the_small_picture_is_what_the_model_sees_and_inversion_encodes_anew(grey: Opened) -> None:
    ready(grey)
    box, widget = grey.widget.picture_box, grey.widget
    dark, bright = brightness(grey)
    assert (dark < 30, bright > 225) == (True, True)
    assert box._range.value() == pytest.approx((100, 900), abs=10)
    grey.hand.click(30, 40)
    grey.wait_for_mask()
    before = len(widget.answers.cache)
    box._inverted.click()
    grey.hand.qtbot.waitUntil(lambda: len(widget.answers.cache) == before + 1)
    grey.wait_for_mask()
    grey.hand.qtbot.waitUntil(lambda: brightness(grey)[0] > 225)
    assert widget.binding.planes.settings == ChannelSettings(inverted=True)
    assert widget.session.mask is not None, "what was asked is asked again"


def test_a_range_is_chosen_by_hand_and_given_back(grey: Opened) -> None:
    ready(grey)
    box, binding = grey.widget.picture_box, grey.widget.binding
    box._range.setValue((100, 300))
    grey.hand.qtbot.waitUntil(lambda: binding.planes.settings.limits == pytest.approx((100, 300)))
    grey.hand.qtbot.waitUntil(lambda: brightness(grey) == [pytest.approx(20, abs=25), 255])
    grey.image.contrast_limits = (200, 800)
    box._displayed.click()
    assert binding.planes.settings.limits == pytest.approx((200, 800))
    box._measured.click()
    assert binding.planes.settings == ChannelSettings()
    assert tuple(grey.image.contrast_limits) == (200, 800), "the layer's own stays"


def test_channels_of_a_picture(hand: Hand) -> None:
    opened = Opened(hand, np.full((60, 80, 3), (255, 0, 80), np.uint8), FakeSegmenter(radius=8), rgb=True)
    ready(opened)
    box = opened.widget.picture_box
    assert [box._channels.itemText(i) for i in range(4)] == ["All colours", "Red only", "Green only", "Blue only"]
    box._channels.setCurrentIndex(2)
    box._channels.activated.emit(2)
    hand.qtbot.waitUntil(lambda: opened.widget.binding.planes.settings == ChannelSettings(channels=(1,)))
    hand.qtbot.waitUntil(lambda: brightness(opened) == [0, 0])
    opened.close()


def test_an_axis_may_be_colours(hand: Hand) -> None:
    opened = Opened(hand, np.stack([GREY, GREY[:, ::-1]]), FakeSegmenter(radius=8))
    ready(opened)
    box = opened.widget.picture_box
    assert box._channels.count() == 2
    box._channels.setCurrentIndex(1)
    box._channels.activated.emit(1)
    hand.qtbot.waitUntil(lambda: opened.widget.binding.planes.settings == ChannelSettings(together=0))
    opened.close()


def test_a_hidden_panel_reads_nothing(grey: Opened) -> None:
    grey.settle()
    assert grey.widget.picture_box._picture.pixmap().isNull()
