"""Hints, candidates and everything, in a real window with a real mouse and keyboard."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from napari.layers import Image, Labels, Points, Shapes
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import QEvent
from qtpy.QtGui import QHelpEvent
from qtpy.QtWidgets import QApplication

from napari_segany.core.prompts import Point
from napari_segany.widgets.actions import ACTIONS
from tests.fakes import FakeSegmenter, KnowingSegmenter
from tests.widgets.conftest import Hand, Opened


@pytest.fixture
def knowing(hand: Hand) -> Iterator[Opened]:
    """Two objects are known to be there."""
    opened = Opened(hand, np.zeros((60, 80), np.uint8), KnowingSegmenter([Point(15, 15), Point(40, 60)], radius=8))
    yield opened
    opened.close()


def preview(opened: Opened) -> np.ndarray:
    return np.asarray(opened.widget.binding.preview.layer.data)


def test_a_hint_follows_the_cursor_and_is_dropped_when_it_leaves(opened: Opened) -> None:
    opened.hand.move(30, 40)
    opened.hand.qtbot.waitUntil(lambda: preview(opened).any())
    layer = opened.widget.binding.preview.layer
    assert layer.opacity == pytest.approx(0.3)
    assert layer.data[30, 40]
    assert opened.widget.session.result is None, "nobody has asked for it"
    opened.hand.move(10, 12)
    opened.hand.qtbot.waitUntil(lambda: bool(preview(opened)[10, 12]))
    assert not preview(opened)[30, 40]
    opened.hand.press("h")
    assert not preview(opened).any()
    opened.hand.move(30, 40)
    opened.settle()
    assert not preview(opened).any(), "switched off"


def test_a_click_takes_the_place_of_the_hint(opened: Opened) -> None:
    opened.hand.move(30, 40)
    opened.hand.qtbot.waitUntil(lambda: preview(opened).any())
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    assert opened.widget.binding.preview.layer.opacity == pytest.approx(0.6)
    opened.hand.move(10, 12)
    opened.settle()
    assert not preview(opened)[10, 12], "a click there would mend the object, not begin one"


def test_the_key_shows_the_next_candidate_and_the_choice_is_kept(opened: Opened) -> None:
    widget = opened.widget
    assert not widget.candidate_box.isVisible()
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    assert widget.candidate_box.isVisible()
    first = preview(opened).astype(bool).sum()
    opened.hand.press("j")
    assert preview(opened).astype(bool).sum() < first, "the second candidate is half as large"
    assert "predicted IoU 0.80" in opened.text
    chosen = widget.session.mask
    opened.hand.click(30, 42)
    opened.wait_for_mask()
    assert widget.answers.segmenter.asked[-1][0].mask is chosen.logits
    assert not widget.candidate_box.isVisible(), "two clicks have one answer"


def test_where_nothing_is_found_that_is_said(opened: Opened) -> None:
    opened.widget.answers.segmenter.radius = float("nan")
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    assert "Nothing was found" in opened.text
    assert "K keeps" not in opened.text


def test_a_button_chooses_too(opened: Opened) -> None:
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    opened.widget.candidate_box._group.button(2).click()
    assert opened.widget.session.choice == 2
    assert preview(opened).astype(bool).sum() > 300
    opened.hand.press("k")
    assert (opened.widget.binding.labels.data > 0).sum() > 300


def test_a_button_tells_of_its_mask_when_the_mouse_rests_on_it(opened: Opened) -> None:
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    for number, mask in enumerate(opened.widget.session.result.masks):
        button = opened.widget.candidate_box._group.button(number)
        middle = button.rect().center()
        QApplication.sendEvent(button, QHelpEvent(QEvent.Type.ToolTip, middle, button.mapToGlobal(middle)))
        assert button.toolTip().startswith(f"{mask.pixels.sum()} pixels, predicted IoU {mask.score:.2f}")


def test_in_a_large_plane_the_preview_waits_where_the_answer_will_be(hand: Hand) -> None:
    opened = Opened(hand, np.zeros((3000, 3000), np.uint8), FakeSegmenter(radius=40))
    opened.hand.press("h")  # a hint would have moved it already
    opened.hand.click(400, 300)
    opened.wait_for_mask()
    opened.hand.press("q")
    layer, session, moved = opened.widget.binding.preview.layer, opened.widget.session, []
    note = layer.events.affine.connect(lambda event: moved.append(session.result is None))
    opened.hand.click(2500, 2600)
    opened.wait_for_mask()
    layer.events.affine.disconnect(note)
    assert moved == [True], "moved once, before the answer"
    assert preview(opened).sum() > 40**2
    opened.close()


def test_everything_is_found_filtered_without_the_model_and_kept_in_one_step(knowing: Opened) -> None:
    widget = knowing.widget
    knowing.hand.press("g")
    knowing.hand.qtbot.waitUntil(lambda: widget.finder.found is not None)
    assert set(np.unique(preview(knowing))) == {0, 1, 2}
    assert "2 objects" in knowing.text
    asked = len(widget.answers.segmenter.asked)
    widget.everything_box._score.setValue(0.95)
    assert not preview(knowing).any()
    widget.everything_box._score.setValue(0.5)
    assert preview(knowing).any()
    assert len(widget.answers.segmenter.asked) == asked, "the sliders need no model"
    knowing.hand.press("k")
    labels = widget.binding.labels
    assert [labels.data[15, 15], labels.data[40, 60]] == [1, 2]
    assert not preview(knowing).any()
    labels.undo()
    assert not labels.data.any(), "all of it is one step"


def test_what_is_there_is_not_found_again_and_never_painted_over(knowing: Opened) -> None:
    widget = knowing.widget
    knowing.hand.click(15, 15)
    knowing.wait_for_mask()
    knowing.hand.press("k")
    labels = widget.binding.labels
    before = labels.data.copy()
    knowing.hand.press("g")
    knowing.hand.qtbot.waitUntil(lambda: widget.finder.found is not None)
    knowing.hand.press("k")
    assert np.array_equal(labels.data[before > 0], before[before > 0])
    assert set(np.unique(labels.data)) == {0, 1, 2}
    # a third time there is nothing new
    knowing.hand.press("g")
    knowing.hand.qtbot.waitUntil(lambda: widget.finder.found is not None)
    knowing.hand.press("k")
    assert "other labels cover all" in knowing.text
    knowing.hand.press("q")
    assert widget.finder.found is None
    assert not preview(knowing).any()


def test_no_key_is_one_of_napari(opened: Opened) -> None:
    theirs = {str(key) for keys in default_shortcuts.values() for key in keys}
    for kind in (Image, Labels, Points, Shapes):
        theirs |= {str(key) for key in kind.class_keymap}
    ours = {action.key for action in ACTIONS.values()}
    assert len(ours) == len(ACTIONS), "each has its own"
    assert not ours & theirs


def test_each_click_and_box_is_an_object_and_one_key_keeps_them_all(opened: Opened) -> None:
    widget = opened.widget
    opened.hand.press("h")
    assert not widget.hover.enabled
    widget.answers.segmenter.asked.clear()
    widget.prompt_box._several.setChecked(True)
    opened.hand.click(15, 15)
    opened.hand.click(40, 30)
    widget.prompt_box.take("Box")
    opened.hand.drag((10, 50), (30, 70))
    opened.hand.qtbot.waitUntil(lambda: len(np.unique(preview(opened))) == 4)
    assert [len(batch) for batch in widget.answers.segmenter.asked] == [1, 1, 1], "nothing is asked twice"
    opened.hand.press("k")
    labels = widget.binding.labels
    assert len({labels.data[15, 15], labels.data[40, 30], labels.data[20, 60]} - {0}) == 3
    assert not len(widget.binding.points.data)
    assert not len(widget.binding.shapes.data)
    opened.hand.press("ctrl+z")
    assert not labels.data.any()
    assert len(widget.binding.points.data) == 2, "what was said is there again"


def test_a_kept_object_is_opened_changed_and_kept_again(opened: Opened) -> None:
    widget = opened.widget
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    opened.hand.press("k")
    labels = widget.binding.labels
    opened.hand.click(10, 65)
    opened.wait_for_mask()
    opened.hand.press("k")
    opened.hand.move(30, 40)
    opened.hand.press("u")
    opened.wait_for_mask()
    assert len(widget.binding.points.data) == 1, "its click is there again"
    opened.hand.click(30, 52)
    opened.wait_for_mask()
    opened.hand.press("k")
    assert labels.data[30, 56] == 1, "it has grown, and is the same object"
    assert labels.data[10, 65] == 2
    opened.hand.click(50, 10)
    opened.wait_for_mask()
    opened.hand.press("k")
    assert labels.data[50, 10] == 3, "the next one is a new one"


def test_a_label_that_was_painted_by_hand_is_refined_by_clicks(opened: Opened) -> None:
    labels = opened.viewer.add_labels(np.zeros((60, 80), np.int32))
    labels.data_setitem(tuple(np.indices((12, 12)).reshape(2, -1) + 20), 5)
    opened.widget.layer_box.labels.value = labels
    opened.widget.prompt_box.take("Points")
    opened.hand.move(25, 25)
    opened.hand.press("u")
    opened.wait_for_mask()
    assert opened.widget.session.result.request.prompt.mask.sum() == 144
    opened.hand.press("q")
    assert (labels.data == 5).sum() == 144, "it was left as it is"
    opened.hand.move(25, 25)
    opened.hand.press("u")
    opened.hand.click(25, 40)
    opened.wait_for_mask()
    opened.hand.press("k")
    assert labels.data[25, 40] == 5
    assert set(np.unique(labels.data)) == {0, 5}


def test_there_is_nothing_to_change_where_there_is_nothing(opened: Opened) -> None:
    opened.hand.move(30, 40)
    opened.hand.press("u")
    assert "no object to change" in opened.text
    opened.widget.binding.refresh()
    assert "no object to change" in opened.text, "nobody can have read it yet"
    opened.widget.prompt_box._several.setChecked(True)
    opened.hand.press("u")
    assert "one by one" in opened.text
