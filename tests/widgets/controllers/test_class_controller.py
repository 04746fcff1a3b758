"""Objects get classes by keys and rows, and the others are offered one, in a real window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QLineEdit, QMessageBox, QTreeWidgetItemIterator

from napari_segany.session.recovery import recover
from tests.fakes import FakeSegmenter, NamingSegmenter
from tests.widgets.conftest import Hand, Opened

PLACES = [(10 + 20 * row, 10 + 20 * column) for row in range(3) for column in range(4)]
"""Of the objects 1 to 12; every second one is bright, and one is larger in each."""


@pytest.fixture
def cells(hand: Hand) -> Iterator[Opened]:
    plane, labels = np.full((60, 80), 90, np.uint8), np.zeros((60, 80), np.uint8)
    rows, columns = np.ogrid[:60, :80]
    for label, (y, x) in enumerate(PLACES, start=1):
        disc = (rows - y) ** 2 + (columns - x) ** 2 <= 36
        plane[disc], labels[disc] = (220 if label % 2 else 20), label
    opened = Opened(hand, plane, FakeSegmenter(radius=4))
    opened.widget.layer_box.labels.value = opened.viewer.add_labels(labels)
    opened.widget.tabs.show_box(opened.widget.classes_box)
    opened.settle()
    opened.viewer.reset_view()
    opened.hand.draw()
    yield opened
    opened.close()


def objects(opened: Opened):
    return opened.widget.objects_box.objects


def classes(opened: Opened) -> dict[int, str]:
    return {label: name for label, name in objects(opened).classes.items() if name}


def press_on(opened: Opened, label: int, key: str) -> None:
    opened.hand.move(*PLACES[label - 1])
    opened.hand.press(key)
    opened.settle()


def suggest(opened: Opened) -> dict[int, tuple[str, float]]:
    opened.widget.classes_box.buttons["suggest"].click()
    opened.settle()
    return objects(opened).suggested


def counts(opened: Opened) -> dict[str, str]:
    tree = opened.widget.classes_box._tree
    found = QTreeWidgetItemIterator(tree)
    rows = {}
    while found.value() is not None:
        rows[found.value().text(0)] = found.value().text(2)
        found += 1
    return rows


def learned(opened: Opened) -> None:
    opened.widget.classes_box.switch_keys(True)
    for label, key in ((1, "1"), (2, "2"), (3, "1"), (4, "2")):
        press_on(opened, label, key)


@pytest.mark.parametrize("active", ["labels", "clicks", "image"])
def test_a_digit_gives_the_object_under_the_cursor_a_class_and_napari_gets_it_back(cells: Opened, active: str) -> None:
    widget, viewer = cells.widget, cells.viewer
    layer = {"labels": widget.binding.labels, "clicks": widget.binding.points, "image": widget.binding.image}[active]
    viewer.layers.selection.active = layer
    before = dict(layer.keymap), dict(viewer.keymap)
    widget.classes_box.switch_keys(True)
    mode = layer.mode
    press_on(cells, 3, "2")
    press_on(cells, 5, "1")
    assert classes(cells) == {3: "class 2", 5: "class 1"}
    assert layer.mode == mode
    press_on(cells, 3, "0")
    assert classes(cells) == {5: "class 1"}
    press_on(cells, 3, "7")
    assert "no class has the key 7" in cells.text
    cells.hand.move(20, 40)
    cells.hand.press("1")
    assert "no object under the cursor" in cells.text
    widget.classes_box.switch_keys(False)
    assert (dict(layer.keymap), dict(viewer.keymap)) == before
    press_on(cells, 4, "1")
    assert classes(cells) == {5: "class 1"}


def test_a_layer_that_comes_while_the_keys_are_on_gives_its_digits_too(cells: Opened) -> None:
    cells.widget.classes_box.switch_keys(True)
    layer = cells.viewer.add_labels(np.zeros((60, 80), int))
    cells.viewer.layers.selection.active = layer
    press_on(cells, 2, "1")
    assert classes(cells) == {2: "class 1"}
    cells.widget.classes_box.switch_keys(False)
    assert not any(str(key) in "0123456789" for key in layer.keymap)


def test_the_others_are_offered_a_class_and_accepted_in_one_step(cells: Opened) -> None:
    learned(cells)
    found = suggest(cells)
    assert {label: name for label, (name, _) in found.items()} == {
        label: "class 1" if label % 2 else "class 2" for label in range(5, 13)
    }
    assert all(0.5 < probability <= 1 for _, probability in found.values())
    table = objects(cells).table()
    assert table["suggested"][5] == "class 1"
    box, history = cells.widget.classes_box, cells.widget.session.history
    assert counts(cells) == {"no class": "8", "class 1": "2", "class 2": "2"}
    steps = len(history)
    box.buttons["all"].click()
    assert len(history) == steps + 1
    assert set(classes(cells)) == set(range(1, 13))
    assert "suggested" not in objects(cells).table()
    cells.widget.binding.undo()
    assert set(classes(cells)) == {1, 2, 3, 4}
    assert set(objects(cells).suggested) == set(range(5, 13))
    cells.widget.binding.redo()
    assert set(classes(cells)) == set(range(1, 13))


def test_selected_rows_are_accepted_alone_and_get_the_current_class(cells: Opened) -> None:
    learned(cells)
    suggest(cells)
    widget = cells.widget
    widget.objects_box._rows.choose([6, 7])
    widget.classes_box.buttons["rows"].click()
    assert set(classes(cells)) == {1, 2, 3, 4, 6, 7}
    widget.objects_box._rows.choose([8, 9])
    widget.classes_box.choose("class 2")
    assert "New objects get the class class 2" in cells.text
    widget.classes_box.buttons["set"].click()
    assert classes(cells)[8] == classes(cells)[9] == "class 2"


def test_new_objects_get_the_current_class(cells: Opened) -> None:
    widget = cells.widget
    widget.classes._add("cell")
    assert widget.classes_box.current == "", "adding a class does not choose it"
    widget.classes_box.choose("cell")
    widget.prompt_box.take("Points")
    cells.hand.click(30, 20)
    cells.wait_for_mask()
    cells.hand.press("k")
    cells.settle()
    widget.objects_box.update_now()
    assert classes(cells) == {13: "cell"}
    assert "kept as cell" in cells.text
    widget.binding.undo()
    widget.objects_box.update_now()
    assert classes(cells) == {}


@pytest.mark.parametrize(("given", "line"), [({}, "no object has a class yet"), ({1: "1", 3: "1"}, "'class 1'")])
def test_a_single_class_is_refused_with_a_line(cells: Opened, given: dict[int, str], line: str) -> None:
    cells.widget.classes_box.switch_keys(True)
    for label, key in given.items():
        press_on(cells, label, key)
    assert suggest(cells) == {}
    assert line in cells.text


def test_renaming_a_class_renames_it_in_its_objects(cells: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    learned(cells)
    widget = cells.widget
    widget.classes._rename("class 1", "bright")
    assert classes(cells) == {1: "bright", 2: "class 2", 3: "bright", 4: "class 2"}
    widget.classes._rename("class 2", "bright")
    assert "there is a class 'bright' already" in cells.text
    told: list[str] = []
    monkeypatch.setattr(
        QMessageBox, "question", lambda _, title, text: told.append(text) or QMessageBox.StandardButton.No
    )
    widget.classes._remove("bright")
    assert "2 objects of class 'bright' would have no class" in told[0]
    assert classes(cells)[1] == "bright"
    widget.classes_box.choose("class 2")
    widget.classes_box._rename()
    editor = widget.classes_box.findChild(QLineEdit)
    editor.setText("dark")
    cells.hand.qtbot.keyClick(editor, Qt.Key.Key_Return)
    cells.settle()
    assert classes(cells)[2] == "dark"
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    widget.classes._remove("bright")
    assert classes(cells) == {2: "dark", 4: "dark"}
    assert "bright" not in widget.classes.classes.names


def test_classes_come_from_a_table_and_go_to_one(
    cells: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("name,key,colour\nneutrophil,3,#112233\nother,,\n")
    box = cells.widget.classes_box
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(path), ""))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "again"), ""))
    box._read()
    assert cells.widget.classes.classes.of_key(3).colour == "#112233"
    box._write()
    assert (tmp_path / "again.csv").read_text().startswith("name,key,colour\nneutrophil,3,#112233\nother,1,#")
    path.write_text("nothing")
    box._read()
    assert "has no column name" in cells.text


def test_an_earlier_session_has_its_classes(cells: Opened, sessions: Path) -> None:
    learned(cells)
    suggest(cells)
    cells.widget.classes_box.buttons["all"].click()
    cells.settle()
    cells.widget.keeper.flush()
    (path,) = sessions.glob("*.jsonl")
    known = recover(path).state.described
    assert {label: about.class_name for label, about in known.items()} == objects(cells).classes


@pytest.fixture
def named(hand: Hand) -> Iterator[Opened]:
    """Bright and dark discs without labels, and a model that knows names."""
    plane = np.full((60, 80), 100, np.uint8)
    rows, columns = np.ogrid[:60, :80]
    for label, (y, x) in enumerate(PLACES, start=1):
        plane[(rows - y) ** 2 + (columns - x) ** 2 <= 36] = 250 if label % 2 else 5
    plane[0, :2] = 0, 255
    opened = Opened(hand, plane, NamingSegmenter(radius=4))
    opened.settle()
    opened.viewer.reset_view()
    opened.hand.draw()
    yield opened
    opened.close()


def keep_at(opened: Opened, place: tuple[int, int]) -> None:
    opened.widget.binding.points.add(place)
    opened.settle()
    opened.widget.keep()
    opened.settle()


def names(opened: Opened) -> dict[int, tuple[str, float | None]]:
    found = objects(opened)
    found.update()
    return {label: (found.about(label).class_name, found.about(label).class_probability) for label in found.present}


def test_a_click_says_what_it_is_and_the_table_keeps_it(named: Opened) -> None:
    named.widget.binding.points.add(PLACES[0])
    named.settle()
    assert "nucleus (" in named.text
    named.widget.keep()
    named.settle()
    keep_at(named, PLACES[1])
    assert {label: name for label, (name, _) in names(named).items()} == {1: "nucleus", 2: "cell"}
    assert objects(named).table()["class_probability"][1] > 0.9
    assert classes(named) == {}


def test_a_class_of_the_user_is_never_replaced_and_undo_brings_the_name_back(named: Opened) -> None:
    keep_at(named, PLACES[0])
    named.widget.classes.classify({1: "mine"})
    named.widget.suggesting.name_objects([1])
    named.settle()
    assert names(named)[1] == ("mine", None)
    named.widget.binding.undo_stack.undo()
    named.settle()
    assert names(named)[1][0] == "nucleus"


def test_names_can_be_switched_off(named: Opened) -> None:
    keep_at(named, PLACES[0])
    named.widget.prompt_box.choose(hover=False, rank=False, overwrite=False, names=False)
    named.settle()
    keep_at(named, PLACES[1])
    assert {label: name for label, (name, _) in names(named).items()} == {1: "nucleus", 2: ""}, "given names stay"
    assert named.widget.settings.get("names") is False


def test_before_there_is_a_class_the_button_names_the_objects_of_any_layer(named: Opened) -> None:
    rows, columns = np.ogrid[:60, :80]
    labels = np.zeros((60, 80), np.uint8)
    for label, (y, x) in enumerate(PLACES, start=1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= 36] = label
    named.widget.layer_box.labels.value = named.viewer.add_labels(labels)
    named.settle()
    named.widget.tabs.show_box(named.widget.classes_box)
    assert suggest(named) == {}
    assert {label: name for label, (name, _) in names(named).items()} == {
        label: "nucleus" if label % 2 else "cell" for label in range(1, 13)
    }
    named.widget.classes.classify({1: "mine", 2: "yours"})
    assert {name for name, _ in suggest(named).values()} == {"mine", "yours"}
