"""What a newcomer meets: steps, right clicks, channels, and a window that asks before it closes."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtGui import QCloseEvent

from napari_segany.widgets.close_guard import CloseGuard
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.panels.first_steps import STEPS
from napari_segany.widgets.panels.help_button import documentation_url
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Hand, Opened


def test_the_first_steps_are_ticked_and_go(opened: Opened) -> None:
    steps = opened.widget.first_steps
    assert steps.isVisible()
    assert steps.done == set(STEPS[:1])
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    assert steps.done == set(STEPS[:2])
    opened.hand.press("k")
    assert steps.done == set(STEPS)
    opened.hand.qtbot.waitUntil(steps.isHidden, timeout=10_000)
    assert opened.widget.settings.get("first_steps") is False


def test_the_first_steps_are_not_shown_again(opened: Opened) -> None:
    opened.widget.settings.set("first_steps", False)
    steps = opened.widget.first_steps
    opened.widget.choices.remember_first_steps(steps)
    assert steps.isHidden()
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    assert steps.isHidden()


def test_a_right_click_is_off_the_object(opened: Opened) -> None:
    opened.hand.click(30, 40)
    opened.hand.click(30, 46, button=3)
    opened.hand.click(34, 40)
    opened.hand.press("n")
    opened.hand.click(30, 34, button=3)
    signs = list(opened.widget.binding.points.features["sign"])
    assert signs == ["positive", "negative", "positive", "negative"]


def test_channels_are_offered_as_one_image(hand: Hand) -> None:
    opened = Opened(hand, np.zeros((60, 80), np.uint8), FakeSegmenter(radius=8))
    assert opened.widget.layer_box._channels.isHidden()
    opened.viewer.layers.clear()
    values = np.random.default_rng(0).integers(0, 4000, (3, 60, 80)).astype(np.uint16)
    opened.viewer.add_image(values, channel_axis=0)
    opened.settle()
    button = opened.widget.layer_box._channels
    assert button.isVisible()
    assert "3 channels" in button.text()
    button.click()
    opened.settle()
    assert opened.widget.binding.image.rgb
    assert button.isHidden()
    assert [layer.visible for layer in opened.viewer.layers[:3]] == [False] * 3
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    opened.hand.press("k")
    assert opened.widget.binding.labels.data.shape == (60, 80)
    opened.close()


@pytest.mark.parametrize("agreed", [False, True])
def test_closing_asks_while_work_runs(opened: Opened, monkeypatch: pytest.MonkeyPatch, agreed: bool) -> None:
    told: list[str] = []
    monkeypatch.setattr(CloseGuard, "_agreed", lambda _, phrases: told.extend(phrases) or agreed)
    monkeypatch.setattr(Jobs, "busy_seconds", 10.0)
    # napari's own question comes behind ours
    window, event = opened.hand.window, QCloseEvent()
    stopped = opened.widget._guard.eventFilter(window, event)
    assert told == ["the work at the bottom of the panel"]
    assert stopped is not agreed
    assert event.isAccepted() is agreed
    monkeypatch.setattr(Jobs, "busy_seconds", 1.0)
    assert not opened.widget._guard.eventFilter(window, QCloseEvent())
    assert len(told) == 1


def test_the_window_is_watched(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CloseGuard, "_agreed", lambda *_: False)
    monkeypatch.setattr(Jobs, "busy_seconds", 10.0)
    opened.hand.window.close()
    assert opened.hand.window.isVisible()
    assert opened.widget.binding is not None
    monkeypatch.setattr(Jobs, "busy_seconds", 0.0)


def test_the_documentation_has_an_address() -> None:
    assert documentation_url().startswith("https://")
