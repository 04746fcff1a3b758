"""Objects are reviewed one after the other, by keys and buttons, in a real window."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_segany.core.objects import ObjectInfo
from napari_segany.session.recovery import recover
from napari_segany.widgets.object_outline import ObjectOutline
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Hand, Opened

STATES = {1: "automatic", 2: "proposed", 3: "uncertain", 4: "", 5: "automatic"}
SCORES = {1: 0.9, 2: 0.4, 3: 0.6, 4: 0.1, 5: None}


@pytest.fixture
def review(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    monkeypatch.setattr(getpass, "getuser", lambda: "ana")
    labels = np.zeros((60, 80), np.uint8)
    for label in STATES:
        labels[10:20, 15 * label - 10 : 15 * label] = label
    opened = Opened(hand, labels * 20, FakeSegmenter(radius=4))
    opened.widget.layer_box.labels.value = opened.viewer.add_labels(labels)
    opened.widget.tabs.show_box(opened.widget.objects_box)
    opened.settle()
    for label, state in STATES.items():
        opened.widget.objects_box.note(ObjectInfo(label, score=SCORES[label], state=state))
    opened.widget.objects_box.update_now()
    opened.viewer.reset_view()
    opened.hand.draw()
    yield opened
    opened.close()


def rows(opened: Opened) -> list[int]:
    return [int(label) for label in opened.widget.objects_box._rows.features.index]


def states(opened: Opened) -> dict[int, str]:
    return opened.widget.objects_box.objects.states


def press(opened: Opened, key: str) -> None:
    opened.hand.press(key)
    opened.settle()


def test_least_certain_first_by_keys_and_undone_one_by_one(review: Opened) -> None:
    box = review.widget.objects_box
    box.review_box.choose("to check")
    assert rows(review) == [2, 3, 1, 5]
    box.go_to(2)
    press(review, "shift+y")
    assert (states(review)[2], box.chosen, rows(review)) == ("accepted", [3], [3, 1, 5])
    assert "1 of 4 checked" in review.text
    press(review, "shift+u")
    assert (states(review)[3], box.chosen) == ("uncertain", [1])
    press(review, "shift+b")
    assert (states(review)[1], box.chosen) == ("rejected", [5])
    assert (review.widget.binding.labels.data == 1).any(), "nothing is deleted"
    press(review, "comma")
    assert box.chosen == [3]
    press(review, "period")
    press(review, "shift+y")
    assert box.chosen == [3], "around the end"
    assert box.progress == (3, 4)
    history = review.widget.session.history
    assert [step.kind for step in history.held] == ["accept", "mark uncertain", "reject", "accept"]
    for _ in range(3):
        press(review, "ctrl+z")
    assert states(review) == {**STATES, 2: "accepted", 3: "uncertain"}


def test_who_and_when_come_back_with_the_session(review: Opened, sessions: Path) -> None:
    review.widget.objects_box.review_box.choose("uncertain")
    review.widget.objects_box.go_to(3)
    press(review, "shift+b")
    about = review.widget.objects_box.objects.about(3)
    assert about.reviewed_by == "ana"
    assert about.reviewed_at.endswith("+00:00")
    review.widget.keeper.flush()
    (path,) = sessions.glob("*.jsonl")
    assert recover(path).state.described[3].review == about.review
    press(review, "ctrl+z")
    review.widget.keeper.flush()
    assert recover(path).state.described[3].review == ("", "")


def test_keys_decide_nothing_where_nothing_is_selected(review: Opened) -> None:
    box = review.widget.objects_box
    box.review_box.choose("rejected")
    press(review, "shift+y")
    assert states(review) == STATES
    assert "shows no objects" in review.text
    box.review_box.choose("to check")
    box._rows.choose([])
    press(review, "shift+b")
    assert states(review) == STATES
    assert box.chosen == [2]


def test_buttons_decide_on_many_rows(review: Opened) -> None:
    box = review.widget.objects_box
    box._rows.choose([1, 2])
    review.hand.qtbot.mouseClick(box.review_box.buttons["Reject"], Qt.MouseButton.LeftButton)
    assert states(review) == {**STATES, 1: "rejected", 2: "rejected"}
    assert not box.review_box.buttons["Reject"].isEnabled() or box.chosen == [3]
    assert len(review.widget.session.history) == 1


def test_the_order_of_a_column_is_kept_until_another_filter(review: Opened) -> None:
    box = review.widget.objects_box
    box.review_box.choose("to check")
    assert box.review_box.order.isChecked()
    header = box._view.widget.table.horizontalHeader()
    header.setSortIndicator(0, Qt.SortOrder.DescendingOrder)
    assert rows(review) == [5, 3, 2, 1]
    assert not box.review_box.order.isChecked()
    box.review_box.order.setChecked(True)
    assert rows(review) == [2, 3, 1, 5]


def outline(opened: Opened) -> ObjectOutline:
    return opened.hand.canvas.findChild(ObjectOutline)


def test_the_chosen_object_has_an_outline_and_rejected_ones_a_cross(review: Opened) -> None:
    box, layers = review.widget.objects_box, list(review.viewer.layers)
    box.go_to(2)
    drawn = outline(review)
    assert drawn.isVisible()
    assert (drawn._outline.boundingRect().left(), drawn._outline.boundingRect().right()) == (19.5, 29.5)
    assert drawn._crosses.isEmpty()
    press(review, "shift+b")
    assert drawn._crosses.boundingRect().left() == 20
    assert drawn._outline.boundingRect().left() == 34.5, "the next object"
    camera = getattr(review.viewer, "scene", review.viewer).camera
    place = drawn._to_screen().map(34.5, 9.5)
    camera.zoom *= 2
    assert drawn._to_screen().map(34.5, 9.5) != place
    review.viewer.dims.ndisplay = 3
    assert drawn.empty
    review.viewer.dims.ndisplay = 2
    assert not drawn.empty
    assert list(review.viewer.layers) == layers
    review.widget.tabs.show_box(review.widget.prompt_box)
    assert drawn.empty


def test_hidden_classes_are_transparent_and_come_back(review: Opened) -> None:
    labels = review.widget.binding.labels
    own, before = labels.colormap, labels.data.copy()
    tree = review.widget.classes_box
    review.widget.classes.classify({1: "cell", 2: "cell/dividing", 3: "debris"})
    shades = own.map(np.arange(6, dtype=labels.data.dtype))
    row = tree._tree._rows["cell"]
    row.setCheckState(3, Qt.CheckState.Unchecked)
    assert tree.hidden == {"cell", "cell/dividing"}
    shown = labels.colormap.map(np.arange(6, dtype=labels.data.dtype))
    assert (shown[[1, 2], 3] == 0).all()
    np.testing.assert_allclose(shown[[3, 4, 5]], shades[[3, 4, 5]], atol=1 / 255)
    review.widget.classes.classify({4: "cell"})
    assert labels.colormap.map(np.array([4], labels.data.dtype))[0, 3] == 0
    row.setCheckState(3, Qt.CheckState.Checked)
    assert labels.colormap is own
    assert (labels.data == before).all()


def test_a_class_below_another_counts_for_both_and_follows_its_name(review: Opened) -> None:
    widget = review.widget
    widget.classes._add("cell/dividing")
    widget.classes.classify({1: "cell", 2: "cell/dividing"})
    tree = widget.classes_box._tree
    assert [tree._rows[name].text(2) for name in ("", "cell", "cell/dividing")] == ["3", "2", "1"]
    assert tree._rows["cell/dividing"].parent() is tree._rows["cell"]
    widget.classes._rename("cell", "nucleus")
    assert widget.objects_box.objects.classes == {1: "nucleus", 2: "nucleus/dividing", 3: "", 4: "", 5: ""}
    widget.classes._add("a/b/c")
    assert "two levels" in review.text
    widget.classes._add("debris/small")
    widget.classes._remove("debris")
    assert "classes below 'debris'" in review.text
    widget.classes._remove("debris/small")
    widget.classes._remove("debris")
    assert widget.classes.classes.names == ("nucleus", "nucleus/dividing")
