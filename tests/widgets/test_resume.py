"""Sessions that were not ended, in a real window."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from napari_segany.engine.autosave import EarlierSession, SavedSession
from napari_segany.engine.session_files import sessions_folder
from napari_segany.session.recovery import recover
from napari_segany.widgets.controllers import resume_controller
from napari_segany.widgets.main import SeganyWidget
from napari_segany.widgets.panels.resume_panel import summary
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Hand, Opened

IMAGE = np.zeros((60, 80), np.uint8)


@pytest.fixture
def left_behind(hand: Hand) -> np.ndarray:
    """Labels of a session whose window went without a word; its file stays."""
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=8))
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    opened.hand.press("k")
    opened.hand.click(12, 15)
    opened.wait_for_mask()
    opened.widget.keeper._drop()
    opened.widget.keeper._image = None
    opened.widget.keeper.flush()
    labels = opened.widget.binding.labels.data.copy()
    opened.close()
    hand.viewer.layers.clear()
    return labels


def test_a_session_that_was_not_ended_is_offered_and_resumed(hand, left_behind):
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=8))
    box = opened.widget.resume_box
    hand.qtbot.waitUntil(box.isVisible)
    mine = hand.viewer.add_labels(np.ones((60, 80), int))
    box.button.click()
    assert not box.isVisible()
    labels = opened.widget.binding.labels
    assert labels is not mine
    assert mine.data.all()
    np.testing.assert_array_equal(labels.data, left_behind)
    np.testing.assert_allclose(opened.widget.binding.points.data, [[12, 15]], atol=1)
    assert opened.widget.layer_box.labels.value is labels
    opened.wait_for_mask()
    opened.hand.press("k")
    assert labels.data.max() == 2
    hand.viewer.layers.selection.active = labels
    for _ in range(2):
        opened.hand.press("ctrl+z")
    assert labels.data.max() == 1
    opened.hand.press("ctrl+z")
    assert not labels.data.any(), "what was done before can be undone, too"
    opened.hand.press("ctrl+shift+z")
    np.testing.assert_array_equal(labels.data, left_behind)
    opened.close()
    (file,) = sessions_folder().glob("*.jsonl")
    assert recover(file).state.finished


def test_the_offer_goes_with_the_first_click_and_for_another_image(hand, left_behind):
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=8))
    box = opened.widget.resume_box
    hand.qtbot.waitUntil(box.isVisible)
    other = hand.viewer.add_image(np.ones((60, 80), np.uint8))
    opened.widget.layer_box.image.value = other
    opened.settle()
    assert not box.isVisible()
    opened.widget.layer_box.image.value = opened.image
    hand.qtbot.waitUntil(box.isVisible)
    opened.hand.click(30, 40)
    assert not box.isVisible()
    opened.close()


def test_nothing_is_offered_when_there_is_nothing(hand):
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=8))
    opened.settle()
    assert not opened.widget.resume_box.isVisible()
    assert not sessions_folder().exists()
    opened.close()


def test_real_keys_and_a_real_brush_go_to_the_sessions_history(hand):
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=8))
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    opened.hand.press("ctrl+z")
    assert len(opened.widget.binding.points.data) == 0
    assert opened.widget.session.result is None
    opened.hand.press("ctrl+shift+z")
    opened.wait_for_mask()
    opened.hand.press("k")
    labels = opened.widget.binding.labels
    before = labels.data.copy()
    hand.viewer.layers.selection.active = labels
    labels.mode, labels.selected_label, labels.brush_size = "paint", 5, 3
    opened.hand.drag((10, 10), (12, 60))
    stroke = labels.data.copy()
    assert (stroke == 5).sum() > 60
    assert opened.widget.session.history.undo_name == "brush"
    opened.hand.press("ctrl+z")
    np.testing.assert_array_equal(labels.data, before)
    opened.hand.press("ctrl+z")
    assert not labels.data.any()
    for _ in range(2):
        opened.hand.press("ctrl+shift+z")
    np.testing.assert_array_equal(labels.data, stroke)
    opened.close()


def test_drawn_shapes_are_one_step_each(hand):
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=8))
    opened.widget.prompt_box.take("Box")
    opened.hand.drag((10, 10), (40, 50))
    opened.wait_for_mask()
    opened.widget.prompt_box.take("Outline")
    opened.hand.drag((15, 20), (30, 60))
    opened.widget.prompt_box.take("Box")
    opened.hand.drag((20, 12), (50, 30))
    shapes = opened.widget.binding.shapes
    count = len(shapes.data)
    assert len(opened.widget.session.history) == count
    for left in range(count - 1, -1, -1):
        opened.hand.press("ctrl+z")
        assert len(shapes.data) == left
    opened.close()


def _commit(opened: Opened, y: int, x: int) -> None:
    opened.hand.click(y, x)
    opened.wait_for_mask()
    opened.hand.press("k")


def test_switching_images_keeps_labels_names_and_history(hand):
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=5))
    widget = opened.widget
    _commit(opened, 30, 40)
    _commit(opened, 12, 15)
    labels = widget.binding.labels
    widget.objects_box.objects.rename(1, "first")
    other = hand.viewer.add_image(np.ones((60, 80), np.uint8))
    widget.layer_box.image.value = other
    opened.settle()
    assert widget.binding.labels is not labels
    widget.layer_box.image.value = opened.image
    hand.qtbot.waitUntil(lambda: widget.binding.labels is labels)
    assert not widget.resume_box.isVisible()
    assert widget.session.label == 3
    assert widget.session.history.undo_name == "keep"
    assert widget.objects_box.objects.about(1).name == "first"
    assert widget.objects_box.objects.about(2).source == "1 click"
    assert widget.binding.undo()
    assert labels.data.max() == 1
    _commit(opened, 50, 70)
    assert sorted(np.unique(labels.data)) == [0, 1, 2]
    opened.close()
    assert len(list(sessions_folder().glob("*.jsonl"))) == 1


def test_closing_the_dock_and_opening_it_again_continues_in_the_same_layer(hand):
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=5))
    _commit(opened, 30, 40)
    labels = opened.widget.binding.labels
    opened.widget.close_session()
    opened.widget.jobs.join(30)
    hand.viewer.window.remove_dock_widget(opened.widget)
    widget = SeganyWidget(hand.viewer, load=lambda: FakeSegmenter(radius=5))
    hand.viewer.window.add_dock_widget(widget, name="Segment Anything again")
    hand.qtbot.waitUntil(lambda: widget.binding is not None and widget.binding.labels is labels)
    assert widget.session.history.undo_name == "keep"
    opened.widget = widget
    _commit(opened, 12, 15)
    assert labels.data.max() == 2
    assert sum(layer._type_string == "labels" for layer in hand.viewer.layers) == 2, "labels and preview"
    opened.close()


def test_start_new_leaves_the_earlier_session_in_the_menu(hand, left_behind):
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=8))
    box = opened.widget.resume_box
    hand.qtbot.waitUntil(box.isVisible)
    assert box.text.startswith("Unfinished session: 1 object, 1 open prompt, today ")
    box.new.click()
    assert not box.isVisible()
    opened.close()
    hand.viewer.layers.clear()
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=8))
    box = opened.widget.resume_box
    hand.qtbot.waitUntil(box.isVisible)
    assert not box.button.isVisible()
    (action,) = box.older.menu().actions()
    action.trigger()
    hand.qtbot.waitUntil(lambda: opened.widget.binding.labels is not None)
    np.testing.assert_array_equal(opened.widget.binding.labels.data, left_behind)
    opened.close()


def test_no_click_waits_for_an_image_to_be_known_again(hand, left_behind, monkeypatch):
    known = threading.Event()
    monkeypatch.setattr(
        resume_controller, "earlier_sessions", lambda array, cancelled: known.wait(60) and EarlierSession()
    )
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=5))
    _commit(opened, 30, 40)
    assert opened.widget.binding.labels.data.max() == 1
    assert not known.is_set()
    known.set()
    opened.close()
    hand.qtbot.waitUntil(lambda: sum(thread.name == "napari-segany worker" for thread in threading.enumerate()) == 0)


def test_a_click_before_the_earlier_session_was_found_does_not_hide_it(hand, left_behind, monkeypatch):
    found, earlier = threading.Event(), resume_controller.earlier_sessions

    def slow(*given):
        found.wait(60)
        return earlier(*given)

    monkeypatch.setattr(resume_controller, "earlier_sessions", slow)
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=5))
    _commit(opened, 45, 60)
    mine = opened.widget.binding.labels
    found.set()
    box = opened.widget.resume_box
    hand.qtbot.waitUntil(box.isVisible, timeout=20_000)
    assert not box.button.isVisible()
    box.older.menu().actions()[-1].trigger()
    hand.qtbot.waitUntil(lambda: opened.widget.binding.labels is not mine, timeout=20_000)
    np.testing.assert_array_equal(opened.widget.binding.labels.data, left_behind)
    assert mine in hand.viewer.layers
    assert mine.data.any(), "what was made since is in its layer"
    opened.close()


def test_earlier_sessions_are_in_a_menu_at_any_time(hand, left_behind):
    opened = Opened(hand, IMAGE, FakeSegmenter(radius=8))
    box = opened.widget.resume_box
    hand.qtbot.waitUntil(box.isVisible)
    box.new.click()
    _commit(opened, 45, 60)
    assert not box.isVisible()
    opened.widget.layer_box.sessions_wanted.emit()
    hand.qtbot.waitUntil(box.isVisible, timeout=20_000)
    assert box.older.menu().actions()[-1].text().startswith("1 object, 1 open prompt")
    opened.close()
    hand.viewer.layers.clear()
    opened = Opened(hand, np.ones((60, 80), np.uint8), FakeSegmenter(radius=8))
    opened.settle()
    opened.widget.layer_box.sessions_wanted.emit()
    hand.qtbot.waitUntil(lambda: "no earlier session" in opened.text, timeout=20_000)
    opened.close()


@pytest.mark.parametrize(
    ("when", "says"),
    [
        (datetime(2026, 3, 9, 17, 40), "20 objects, today 17:40, not saved"),
        (datetime(2026, 3, 8, 7, 5), "20 objects, yesterday 07:05, not saved"),
        (datetime(2025, 3, 9, 17, 40), "20 objects, 2025-03-09 17:40, not saved"),
    ],
)
def test_a_session_in_a_few_words(when, says):
    assert summary(SavedSession(Path("a"), when, 20, 0, saved=False), datetime(2026, 3, 9, 18, 0)) == says
