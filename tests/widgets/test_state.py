"""One state drives the status line, the buttons and the keys; one tool is in use, and the buttons say which."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QComboBox, QLineEdit, QPushButton

from napari_segany.core.prompts import Point
from napari_segany.widgets.controllers.pending_objects import PendingKind
from tests.fakes import FakeSegmenter, KnowingSegmenter
from tests.widgets.conftest import Hand, Opened, posted

PLACES = [Point(15, 15), Point(40, 60), Point(45, 20)]


@pytest.fixture
def knowing(hand: Hand) -> Iterator[Opened]:
    """Three objects are known to be there."""
    opened = Opened(hand, np.zeros((60, 80), np.uint8), KnowingSegmenter(PLACES, radius=8))
    opened.hand.press("h")
    yield opened
    opened.close()


def find(opened: Opened) -> None:
    opened.hand.press("g")
    opened.hand.qtbot.waitUntil(lambda: opened.widget.finder.found is not None)


def keep(opened: Opened, y: float, x: float) -> None:
    opened.hand.click(y, x)
    opened.wait_for_mask()
    opened.hand.press("k")


def shown(opened: Opened) -> int:
    """How many objects are previewed."""
    return len(np.unique(opened.widget.binding.preview.layer.data)) - 1


def labels_of(opened: Opened) -> set[int]:
    labels = opened.widget.binding.labels
    return set() if labels is None else set(np.unique(labels.data).tolist()) - {0}


def says_what_k_does(opened: Opened) -> None:
    """The line, both buttons, the preview and K are about the same."""
    widget = opened.widget
    offer, before = widget.pending.offer, len(labels_of(opened))
    assert widget.prompt_box._keep.isEnabled() == offer.keepable
    assert widget.everything_box._keep.isEnabled() == (offer.subject is PendingKind.FOUND and offer.keepable)
    assert ("K keeps" in opened.text) == offer.keepable
    wanted = widget.finder.count if offer.subject is PendingKind.FOUND else int(offer.keepable)
    assert shown(opened) == wanted
    opened.hand.press("k")
    assert len(labels_of(opened)) == before + wanted


def test_found_objects_are_kept_though_a_click_is_open(knowing: Opened) -> None:
    knowing.hand.click(30, 40)
    knowing.wait_for_mask()
    find(knowing)
    assert "3 objects" in knowing.text
    says_what_k_does(knowing)
    assert "3 objects kept" in knowing.text


def test_a_click_after_that_is_what_k_is_about_and_what_was_found_comes_back(knowing: Opened) -> None:
    find(knowing)
    knowing.hand.click(15, 15)
    knowing.wait_for_mask()
    assert "pixels" in knowing.text
    says_what_k_does(knowing)
    assert knowing.widget.finder.count == 2, "one of them is labelled now"
    knowing.hand.press("k")
    assert labels_of(knowing) == {1, 2, 3}


@pytest.mark.parametrize("overwrite", [False, True])
def test_labelled_objects_are_not_offered_again(knowing: Opened, overwrite: bool) -> None:
    keep(knowing, 15, 15)
    knowing.widget.prompt_box._overwrite.setChecked(overwrite)
    find(knowing)
    assert "2 objects found" in knowing.text
    assert "1 object is labelled already" in knowing.text
    says_what_k_does(knowing)
    find(knowing)
    assert "Nothing new" in knowing.text
    assert not knowing.widget.prompt_box._keep.isEnabled()
    assert labels_of(knowing) == {1, 2, 3}


@pytest.mark.parametrize("change", ["delete", "undo", "paint", "merge"])
def test_counts_follow_the_labels(knowing: Opened, change: str) -> None:
    keep(knowing, 15, 15)
    keep(knowing, 40, 60)
    find(knowing)
    assert knowing.widget.finder.count == 1
    labels = knowing.widget.binding.labels
    if change == "delete":
        knowing.widget.objects_box.delete([1])
    elif change == "undo":
        knowing.widget.binding.undo()
        knowing.hand.press("q")
        find(knowing)
    elif change == "merge":
        knowing.widget.objects_box.update_now()
        knowing.widget.objects_box.objects.merge([1, 2])
    else:
        labels.data_setitem(np.nonzero(labels.data == 2), 0)
    posted(knowing.hand.qtbot)
    assert knowing.widget.finder.count == (1 if change == "merge" else 2)
    before = len(labels_of(knowing))
    knowing.hand.press("k")
    assert len(labels_of(knowing)) == before + (1 if change == "merge" else 2)


def test_a_search_that_fails_leaves_nothing_to_keep(knowing: Opened) -> None:
    find(knowing)
    words = knowing.widget.everything_box._words
    words.setText("xyzzy")
    words.returnPressed.emit()
    knowing.settle()
    assert knowing.widget.finder.found is None or not knowing.widget.finder.count
    assert not shown(knowing)
    assert not knowing.widget.everything_box._keep.isEnabled()
    assert not knowing.widget.prompt_box._keep.isEnabled()
    knowing.hand.press("k")
    assert not labels_of(knowing)


def test_with_each_click_an_object_the_button_is_for_all_of_them(opened: Opened) -> None:
    opened.hand.press("h")
    opened.widget.prompt_box._several.setChecked(True)
    opened.hand.click(15, 15)
    opened.hand.click(40, 60)
    opened.hand.qtbot.waitUntil(lambda: opened.widget.finder.count == 2)
    assert opened.widget.prompt_box._keep.isEnabled()
    opened.widget.prompt_box._keep.click()
    assert labels_of(opened) == {1, 2}


def test_k_before_the_answer_waits_for_it(opened: Opened) -> None:
    import threading

    slow, segmenter = threading.Event(), opened.widget.answers.segmenter
    segment = segmenter.segment
    segmenter.segment = lambda *a, **o: (slow.wait(10), segment(*a, **o))[1]
    opened.hand.press("h")
    opened.hand.click(30, 40)
    opened.hand.press("k")
    assert "as soon as it is there" in opened.text
    slow.set()
    opened.hand.qtbot.waitUntil(lambda: labels_of(opened) == {1})
    assert "Object 1 kept" in opened.text
    assert not len(opened.widget.binding.points.data)


def test_k_says_what_it_did_and_undo_too(opened: Opened) -> None:
    keep(opened, 30, 40)
    assert "Object 1 kept" in opened.text
    opened.hand.press("ctrl+z")
    assert "Undone" in opened.text
    opened.hand.press("ctrl+shift+z")
    assert "Redone" in opened.text


def test_a_click_into_an_object_offers_to_change_it(opened: Opened) -> None:
    keep(opened, 30, 40)
    opened.hand.click(31, 41)
    opened.wait_for_mask()
    assert "This is object 1. U changes it" in opened.text
    assert not opened.widget.prompt_box._keep.isEnabled()
    opened.hand.press("k")
    assert labels_of(opened) == {1}, "no sliver around it"
    assert "this is object 1" in opened.text.lower()
    opened.hand.move(5, 5)
    opened.hand.press("u")
    opened.wait_for_mask()
    assert "K changes object 1" in opened.text
    opened.hand.click(30, 50)
    opened.wait_for_mask()
    opened.hand.press("k")
    assert labels_of(opened) == {1}
    assert opened.widget.binding.labels.data[30, 50] == 1
    assert "Object 1 changed" in opened.text


def pressed(opened: Opened) -> list[str]:
    return [button.text() for button in opened.widget.prompt_box._tools.buttons() if button.isChecked()]


@pytest.mark.parametrize("tool", ["Points", "Box", "Scribble", "Outline"])
@pytest.mark.parametrize("what", ["n", "k", "q", "slice", "labels"])
def test_the_brush_does_not_come_back_by_itself(hand: Hand, tool: str, what: str) -> None:
    opened = Opened(hand, np.zeros((3, 60, 80), np.uint8), FakeSegmenter(radius=8))
    opened.viewer.dims.set_current_step(0, 0)
    widget = opened.widget
    widget.prompt_box.take("Brush")
    opened.hand.drag((20, 20), (20, 50))
    opened.wait_for_mask()
    widget.prompt_box.take(tool)
    if what == "slice":
        opened.viewer.dims.set_current_step(0, 1)
    elif what == "labels":
        opened.viewer.layers.selection.active = opened.image
    else:
        opened.hand.press(what)
    layer = widget.binding.shapes if tool != "Points" else widget.binding.points
    assert not widget.binding.mask_preview.painting
    assert widget.binding.preview.layer.mode == "pan_zoom"
    if what == "labels":
        assert pressed(opened) == []
    else:
        assert opened.viewer.layers.selection.active is layer
        assert pressed(opened) == [tool]
    opened.close()


def test_the_brush_stays_the_tool_for_the_next_object(opened: Opened) -> None:
    widget = opened.widget
    widget.prompt_box.take("Brush")
    for number, row in enumerate((10, 40), start=1):
        opened.hand.drag((row, 20), (row, 50))
        opened.wait_for_mask()
        opened.hand.press("k")
        assert labels_of(opened) == set(range(1, number + 1))
        assert pressed(opened) == ["Brush"]
        assert widget.binding.mask_preview.painting


def test_buttons_follow_the_active_layer_and_its_mode(opened: Opened) -> None:
    binding, active = opened.widget.binding, opened.viewer.layers.selection
    assert pressed(opened) == ["Points"]
    active.active = binding.shapes
    assert pressed(opened) == []
    binding.shapes.mode = "add_rectangle"
    assert pressed(opened) == ["Box"]
    binding.shapes.mode = "add_path"
    assert pressed(opened) == ["Scribble"]
    active.active = opened.image
    assert pressed(opened) == []
    active.active = binding.points
    assert pressed(opened) == ["Points"]
    binding.points.mode = "select"
    assert pressed(opened) == []
    active.active = binding.preview.layer
    binding.preview.layer.mode = "erase"
    assert pressed(opened) == ["Brush"]
    assert opened.widget.prompt_box._negative
    binding.preview.layer.mode = "paint"
    assert not opened.widget.prompt_box._negative


def test_a_click_in_3d_is_no_prompt_in_2d_either(hand: Hand) -> None:
    opened = Opened(hand, np.zeros((3, 60, 80), np.uint8), FakeSegmenter(radius=8))
    binding = opened.widget.binding
    opened.viewer.dims.set_current_step(0, 1)
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    opened.viewer.dims.ndisplay = 3
    assert pressed(opened) == []
    assert binding.points.mode == "pan_zoom"
    binding.points.add([1, 10, 10])
    assert "2D" in opened.text
    binding.shapes.add_rectangles([[1, 3, 3], [1, 3, 9], [1, 9, 9], [1, 9, 3]])
    opened.viewer.dims.ndisplay = 2
    np.testing.assert_allclose(binding.points.data, [[1, 30, 40]], atol=1)
    assert not len(binding.shapes.data)
    assert pressed(opened) == ["Points"]
    opened.wait_for_mask()
    assert len(opened.widget.session.prompt.points) == 1
    assert [step.kind for step in opened.widget.session.history._steps] == ["prompt"]
    opened.close()


def test_keys_work_after_something_was_typed_or_chosen(knowing: Opened) -> None:
    widget, canvas = knowing.widget, knowing.hand.canvas
    for line in widget.findChildren(QLineEdit):
        if line.isVisible() and not isinstance(line.parent(), QComboBox):
            line.setFocus()
            line.returnPressed.emit()
            assert canvas.hasFocus(), line.placeholderText()
    for chooser in widget.findChildren(QComboBox):
        chooser.setFocus()
        chooser.activated.emit(chooser.currentIndex())
        assert canvas.hasFocus()
    keep(knowing, 15, 15)
    widget.tabs.show_box(widget.objects_box)
    widget.objects_box.update_now()
    table = widget.objects_box._view._table
    knowing.hand.qtbot.waitUntil(lambda: table.model().rowCount() == 1)
    table.setFocus()
    where = table.visualRect(table.model().index(0, 0)).center()
    posted(knowing.hand.qtbot)
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=where)
    assert table.hasFocus(), "arrows and the Delete key are the table's"
    find(knowing)
    assert canvas.hasFocus(), "all other keys go to the picture"


def test_no_text_of_the_panel_uses_our_own_words(opened: Opened) -> None:
    texts = [button.text() + button.toolTip() for button in opened.widget.findChildren(QPushButton)]
    assert not [text for text in texts if any(word in text for word in ("anew", "doubtful", "Take back", "beside"))]


def test_the_chosen_row_is_marked(knowing: Opened) -> None:
    widget = knowing.widget
    widget.tabs.show_box(widget.objects_box)
    for place in PLACES:
        keep(knowing, place.y, place.x)
    table = widget.objects_box._view._table
    knowing.hand.qtbot.waitUntil(lambda: table.model().rowCount() == len(PLACES))
    for _ in range(4):
        knowing.hand.press("period")
        posted(knowing.hand.qtbot)
        label = widget.binding.labels.selected_label
        rows = {index.row() for index in table.selectionModel().selectedIndexes()}
        assert [widget.objects_box._rows._frame.index[row] for row in rows] == [label]
