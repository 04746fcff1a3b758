"""Shapes of objects that are corrected in a real window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from napari_segany.core.clean_up import CleanUp
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Hand, Opened


def holed() -> np.ndarray:
    """Two touching objects, one of which has a hole; and a third one."""
    labels = np.zeros((60, 80), np.int32)
    labels[10:30, 10:30] = 1
    labels[18:22, 18:22] = 0
    labels[10:30, 30:50] = 2
    labels[40:50, 10:50] = 5
    return labels


@pytest.fixture
def opened(hand: Hand) -> Iterator[Opened]:
    """An image with labels in use."""
    made = Opened(hand, np.zeros((60, 80), np.uint8), FakeSegmenter(radius=8))
    made.widget.layer_box.labels.value = made.viewer.add_labels(holed(), name="cells")
    made.settle()
    yield made
    made.close()


def stroke(opened: Opened, *corners: tuple[float, float]) -> None:
    opened.widget.binding.shapes.add([np.array(corners, float)], shape_type="path")
    opened.settle()


def test_holes_of_all_objects_are_filled_in_one_step(opened: Opened) -> None:
    opened.widget.clean_up_box.choose(CleanUp.FILL)
    opened.widget.cleaning.clean(True)
    opened.settle()
    labels = opened.widget.binding.labels
    assert (labels.data[18:22, 18:22] == 1).all()
    assert "1 object changed" in opened.widget.status_box.text
    assert opened.widget.binding.undo()
    np.testing.assert_array_equal(labels.data, holed())


def test_only_selected_objects_change(opened: Opened) -> None:
    opened.widget.objects_box.objects.show(2)
    opened.settle()
    opened.widget.clean_up_box.choose(CleanUp.FILL)
    opened.widget.cleaning.clean(False)
    opened.settle()
    np.testing.assert_array_equal(opened.widget.binding.labels.data, holed())


def test_a_stroke_cuts_and_undo_brings_it_back(opened: Opened) -> None:
    stroke(opened, (35, 30), (55, 30))
    opened.hand.press("shift+c")
    opened.settle()
    labels = opened.widget.binding.labels.data
    assert len(set(labels[40:50, 10:50].ravel())) == 2
    assert (labels > 0).sum() == (holed() > 0).sum()
    assert not len(opened.widget.binding.shapes.data)
    assert opened.widget.binding.undo()
    np.testing.assert_array_equal(opened.widget.binding.labels.data, holed())
    assert len(opened.widget.binding.shapes.data) == 1


def test_a_stroke_merges(opened: Opened) -> None:
    stroke(opened, (25, 15), (25, 45))
    opened.hand.press("shift+m")
    opened.settle()
    labels = opened.widget.binding.labels.data
    assert set(np.unique(labels)) == {0, 1, 5}
    assert opened.widget.binding.undo()
    np.testing.assert_array_equal(opened.widget.binding.labels.data, holed())


@pytest.mark.parametrize("act", ["cut", "join"])
def test_without_a_stroke_nothing_changes(opened: Opened, act: str) -> None:
    getattr(opened.widget.cleaning, act)()
    assert "stroke" in opened.widget.status_box.text
    stroke(opened, (2, 2), (4, 70))
    getattr(opened.widget.cleaning, act)()
    np.testing.assert_array_equal(opened.widget.binding.labels.data, holed())
    assert len(opened.widget.binding.shapes.data) == 1
    assert "stroke" in opened.widget.status_box.text.lower()


def test_labels_that_change_meanwhile_are_left_alone(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = []
    monkeypatch.setattr(opened.widget.jobs, "run", lambda work, done, **_: waiting.append((work, done)))
    opened.widget.cleaning.clean(True)
    ((work, done),) = waiting
    opened.widget.binding.labels.data_setitem((np.array([0]), np.array([0])), 9)
    before = opened.widget.binding.labels.data.copy()
    done(work())
    np.testing.assert_array_equal(opened.widget.binding.labels.data, before)
    assert "meanwhile" in opened.widget.status_box.text


def previewed(opened: Opened) -> np.ndarray:
    """The numbers of pixels that the preview shows: added 1, removed 2."""
    opened.hand.qtbot.wait(150)
    opened.settle()
    layer = opened.widget.binding.mask_preview.layer
    counts = np.bincount(layer.data.ravel(), minlength=3)
    return counts[1:]


def switch(opened: Opened) -> None:
    opened.widget.tabs.show_box(opened.widget.clean_up_box)
    box = opened.widget.clean_up_box.preview
    opened.hand.qtbot.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))


def test_a_preview_tells_and_writes_nothing(opened: Opened) -> None:
    box, labels = opened.widget.clean_up_box, opened.widget.binding.labels
    switch(opened)
    assert previewed(opened).tolist() == [16, 0]
    assert box.text == "1 hole filled in 1 object."
    box.choose(CleanUp.SMALL)
    box._amount.setValue(401)
    assert previewed(opened).tolist() == [0, 400 - 16 + 400 + 400]
    assert box.text == "3 objects too small, removed: 1, 2, 5."
    np.testing.assert_array_equal(labels.data, holed())
    opened.hand.press("Escape")
    assert not box.preview.isChecked()
    assert previewed(opened).tolist() == [0, 0]
    assert not box.text


def test_a_preview_follows_what_changes(opened: Opened) -> None:
    box, labels = opened.widget.clean_up_box, opened.widget.binding.labels
    switch(opened)
    assert previewed(opened).tolist() == [16, 0]
    labels.data_setitem((np.array([42, 43]), np.array([20, 20])), 0)
    assert previewed(opened).tolist() == [18, 0]
    box.choose_scope(everything=False)
    opened.widget.objects_box.choose([5])
    assert previewed(opened).tolist() == [2, 0]
    opened.widget.objects_box.choose([1])
    assert previewed(opened).tolist() == [16, 0]


def test_apply_ends_the_preview_in_one_step_of_undo(opened: Opened) -> None:
    box, labels = opened.widget.clean_up_box, opened.widget.binding.labels
    switch(opened)
    previewed(opened)
    opened.hand.qtbot.mouseClick(box.buttons["Apply"], Qt.MouseButton.LeftButton)
    assert previewed(opened).tolist() == [0, 0]
    assert not box.preview.isChecked()
    assert (labels.data[18:22, 18:22] == 1).all()
    assert opened.widget.binding.undo()
    np.testing.assert_array_equal(labels.data, holed())


def test_a_preview_does_not_hide_a_mask(opened: Opened) -> None:
    opened.widget.prompt_box.take("Points")
    opened.hand.click(55, 62)
    opened.wait_for_mask()
    switch(opened)
    assert not opened.widget.clean_up_box.preview.isChecked()
    assert "Keep (K) or clear (Q)" in opened.widget.clean_up_box.text
    opened.hand.press("q")
    switch(opened)
    assert previewed(opened).tolist() == [16, 0]
    opened.hand.click(50, 66)
    opened.wait_for_mask()
    assert not opened.widget.clean_up_box.preview.isChecked()
    assert opened.widget.session.mask.pixels[50, 66]


def test_another_tab_ends_the_preview(opened: Opened) -> None:
    switch(opened)
    assert previewed(opened).any()
    opened.widget.tabs.show_box(opened.widget.prompt_box)
    assert not previewed(opened).any()
