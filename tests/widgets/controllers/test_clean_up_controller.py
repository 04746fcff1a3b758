"""Shapes of objects that are corrected in a real window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

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
