"""A folder of images in a real window: from one image to the next, and back."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_segany.batch.project import mark_image, read_project
from napari_segany.engine.session_files import PROJECT, PROJECT_SESSIONS, sessions_folder
from napari_segany.io.images import read_image
from napari_segany.layers.file_layers import image_layer
from napari_segany.layers.read import current_view, stack_of
from napari_segany.widgets import command_process
from napari_segany.widgets.controllers.project_controller import _middle_plane
from napari_segany.widgets.panels.batch_dialog import ALL, LIKE, TEXT, BatchDialog, BatchRequest
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Hand, Opened


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images, and a dialog in which their folder is chosen."""
    plate = tmp_path / "plate"
    plate.mkdir()
    for number, name in enumerate("abc"):
        tifffile.imwrite(plate / f"{name}.tif", np.full((60, 80), number, np.uint8))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(plate))
    return plate


@pytest.fixture
def opened(hand: Hand, folder: Path) -> Iterator[Opened]:
    """The panel with the first image of the folder."""
    made = Opened(hand, np.zeros((60, 80), np.uint8), FakeSegmenter(radius=8))
    made.viewer.layers.clear()
    made.widget.project_box._open.click()
    arrived(made, "a.tif")
    yield made
    made.close()


def arrived(opened: Opened, name: str) -> None:
    opened.hand.qtbot.waitUntil(lambda: opened.widget.project.current == name, timeout=20_000)
    opened.hand.qtbot.waitUntil(lambda: opened.widget.binding is not None)
    opened.settle()


def keep_one(opened: Opened) -> np.ndarray:
    opened.hand.click(30, 40)
    opened.wait_for_mask()
    opened.hand.press("k")
    opened.settle()
    return opened.widget.binding.labels.data.copy()


def test_from_image_to_image_and_back(opened: Opened, folder: Path) -> None:
    made = keep_one(opened)
    opened.hand.press("shift+Next")
    arrived(opened, "b.tif")
    assert opened.widget.binding.labels is None
    assert [layer.name for layer in opened.viewer.layers if layer.source.path] == ["b"]
    assert not any("a labels" in layer.name for layer in opened.viewer.layers)
    assert json.loads((folder / PROJECT).read_text())["images"]["a.tif"]["done"] is True
    opened.hand.press("Prior")
    arrived(opened, "a.tif")
    opened.hand.qtbot.waitUntil(lambda: opened.widget.binding.labels is not None)
    np.testing.assert_array_equal(opened.widget.binding.labels.data, made)
    assert opened.widget.project_box._done.isChecked()
    # the next one that is not done
    opened.widget.project.set_done(False)
    opened.hand.press("Next")
    arrived(opened, "b.tif")
    assert list((folder / PROJECT_SESSIONS).glob("*.jsonl"))
    assert not sessions_folder().exists()


def test_a_project_goes_to_another_place_with_its_sessions(opened: Opened, folder: Path) -> None:
    made = keep_one(opened)
    opened.widget.project.step(1)
    arrived(opened, "b.tif")
    moved = folder.with_name("elsewhere")
    shutil.copytree(folder, moved)
    opened.widget.project.open_folder(str(moved))
    opened.hand.qtbot.waitUntil(
        lambda: opened.widget.binding is not None and moved_image(opened, moved), timeout=20_000
    )
    opened.settle()
    np.testing.assert_array_equal(opened.widget.binding.labels.data, made)


def moved_image(opened: Opened, moved: Path) -> bool:
    binding = opened.widget.binding
    return binding.image.source.path == str(moved / "a.tif") and binding.labels is not None


def test_labels_that_are_nowhere_else_stay(opened: Opened) -> None:
    mine = opened.viewer.add_labels(np.ones((60, 80), int), name="mine")
    opened.widget.layer_box.labels.value = mine
    opened.settle()
    opened.widget.project.step(1)
    arrived(opened, "b.tif")
    assert mine in opened.viewer.layers
    assert "mine" in opened.widget.status_box.text


def test_all_images_are_segmented_and_opened_with_their_labels(
    opened: Opened, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = np.zeros((60, 80), np.int32)
    found[5:20, 5:20] = 1
    results = folder / "segany-labels" / "all objects-fake"
    results.mkdir(parents=True)
    tifffile.imwrite(results / "a_labels.tif", found)
    (results / "a_objects.csv").write_text("label,state,score\n1,automatic,0.9\n")
    program, seen = tmp_path / "program", tmp_path / "seen"
    program.write_text(f'#!/bin/sh\necho "$@" > {seen}\necho "wrote x: 3 images"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(command_process, "PYTHON", str(program))
    opened.widget.batch.begin(BatchRequest(ALL, "", opened.widget.project.project.names))
    opened.hand.qtbot.waitUntil(lambda: opened.widget.binding.labels is not None, timeout=20_000)
    np.testing.assert_array_equal(opened.widget.binding.labels.data, found)
    assert f"segment {folder} -o {results}" in seen.read_text()
    assert "--everything" in seen.read_text()
    assert "3 images" in opened.widget.project_box._result.text()


def test_an_image_that_cannot_be_read_is_passed_over(opened: Opened, folder: Path) -> None:
    told: list[str] = []
    opened.widget.project.failed.connect(lambda error: told.append(str(error)))
    (folder / "b.tif").write_bytes(b"II*\0broken")
    opened.widget.project.step(1)
    arrived(opened, "c.tif")
    assert any("b.tif" in line and "\n" not in line for line in told)
    opened.widget.project.step(-1)
    arrived(opened, "a.tif")
    opened.widget.project.open_image("b.tif")
    opened.hand.qtbot.waitUntil(lambda: len(told) > 1, timeout=20_000)
    opened.settle()
    assert opened.widget.project_box._images.currentText() == "a.tif", "the list shows what is open"


def test_what_was_done_is_back_before_a_click_can_come(opened: Opened) -> None:
    made = keep_one(opened)
    opened.widget.project.step(1)
    arrived(opened, "b.tif")
    opened.widget.project.step(-1)
    opened.hand.qtbot.waitUntil(lambda: opened.widget.project.current == "a.tif", timeout=20_000)
    # no event of the window lies between the image and its labels
    np.testing.assert_array_equal(opened.widget.binding.labels.data, made)


def test_a_later_session_without_objects_hides_no_work(opened: Opened, folder: Path) -> None:
    made = keep_one(opened)
    opened.widget.project.step(1)
    arrived(opened, "b.tif")
    opened.widget.keeper.flush()
    (worked,) = (folder / PROJECT_SESSIONS).glob("*.jsonl")
    stray = worked.with_name(worked.name.replace("-20", "-21", 1))
    lines = worked.read_text().splitlines(keepends=True)
    stray.write_text("".join(lines[:6]))
    opened.widget.project.step(-1)
    arrived(opened, "a.tif")
    np.testing.assert_array_equal(opened.widget.binding.labels.data, made)


def test_a_project_file_opens_the_panel(hand: Hand, folder: Path) -> None:
    (folder / PROJECT).write_text("{}")
    hand.viewer.open(str(folder / PROJECT), plugin="napari-segany")
    hand.qtbot.waitUntil(lambda: bool(hand.viewer.window.dock_widgets))
    widget = next(iter(hand.viewer.window.dock_widgets.values()))
    hand.qtbot.waitUntil(lambda: widget.project.current == "a.tif", timeout=20_000)
    widget.close_session()


def test_the_list_of_images_decides_which_is_next(opened: Opened, folder: Path) -> None:
    table = opened.widget.project.table
    opened.widget.project_box._menu.menu().actions()[0].trigger()
    opened.hand.qtbot.waitUntil(table.isVisible)
    assert table.order == ("a.tif", "b.tif", "c.tif")
    table.table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    assert table.order == ("c.tif", "b.tif", "a.tif")
    table.table.selectRow(0)
    opened.hand.qtbot.keyClick(table.table, Qt.Key.Key_U)
    assert opened.widget.project.project.state_of("c.tif") == "uncertain"
    assert table.selected == ("b.tif",), "the next one is selected"
    assert "1 uncertain" in table.text
    opened.widget.project.step(-1)
    arrived(opened, "b.tif")
    opened.hand.qtbot.keyClick(table.table, Qt.Key.Key_R)
    assert opened.widget.project_box._done.text() == "Rejected"
    opened.widget.project.open_image("c.tif")
    arrived(opened, "c.tif")
    opened.widget.project.step(1)
    arrived(opened, "a.tif")
    table._kind.setCurrentText("not finished")
    assert table.order == ("c.tif", "a.tif")
    table.close()


def test_what_another_window_marks_appears(opened: Opened, folder: Path) -> None:
    mark_image(read_project(folder), "b.tif", state="accepted")
    opened.hand.qtbot.waitUntil(lambda: opened.widget.project.project.state_of("b.tif") == "accepted", timeout=10_000)
    assert "✓✓ b.tif" in [opened.widget.project_box._images.itemText(row) for row in range(3)]
    tifffile.imwrite(folder / "d.tif", np.zeros((60, 80), np.uint8))
    opened.hand.qtbot.waitUntil(lambda: "d.tif" in opened.widget.project.project.names, timeout=10_000)


def test_ticked_images_are_searched_for_objects_like_the_kept_ones(
    opened: Opened, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = keep_one(opened)
    program, seen = tmp_path / "program", tmp_path / "seen"
    program.write_text(f'#!/bin/sh\necho "$@" > {seen}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(command_process, "PYTHON", str(program))
    opened.widget.objects_box.update_now()
    opened.widget.project.table._model.tick(["b.tif", "c.tif"], on=True)
    dialogs: list[BatchRequest] = []

    def start(dialog: BatchDialog) -> int:
        dialog.choose(TEXT)
        assert not dialog._buttons.buttons()[0].isEnabled(), "a text is missing"
        dialog.choose(LIKE)
        dialogs.append(dialog.request)
        return 1

    monkeypatch.setattr(BatchDialog, "exec", start)
    opened.widget.batch.ask()
    opened.hand.qtbot.waitUntil(lambda: seen.exists() and not opened.widget.batch.running, timeout=20_000)
    assert dialogs == [BatchRequest(LIKE, "", ("b.tif", "c.tif"))]
    words = seen.read_text()
    assert "--exemplars-image" in words
    (examples,) = (folder / "segany-labels" / "examples").glob("a-*.tif")
    np.testing.assert_array_equal(tifffile.imread(examples) > 0, made > 0)
    (names,) = (folder / "segany-labels").glob("like a */images.txt")
    assert names.read_text() == "b.tif\nc.tif\n"
    assert f"--only {names}" in words


def test_the_next_image_is_encoded_while_this_one_is_worked_on(opened: Opened) -> None:
    seen = opened.widget.answers.segmenter.embedded
    # (the first one is of the image before the folder)
    opened.hand.qtbot.waitUntil(lambda: len(seen) == 3, timeout=20_000)
    opened.hand.qtbot.wait(1500)
    assert len(seen) == 3, "once"


@pytest.mark.parametrize("shape", [(60, 80), (5, 60, 80), (3, 4, 60, 80)])
def test_the_plane_that_is_encoded_is_the_one_that_napari_shows(
    hand: Hand, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    values = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    file = read_image(tmp_path / "a.tif")
    layer = hand.viewer.add_layer(image_layer(file, tmp_path / "a.tif"))
    stack, number = _middle_plane(tmp_path / "a.tif")
    shown, of_view = stack_of(layer, current_view(layer, hand.viewer.dims)), current_view(layer, hand.viewer.dims)
    np.testing.assert_array_equal(stack.plane(number), shown.plane(of_view.number(shape, None)))


def test_a_file_that_this_window_wrote_is_not_shown_again(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    project = opened.widget.project
    project.mark("done")
    shown = []
    monkeypatch.setattr(project, "_show", lambda: shown.append(project.project.done))
    project.read_again()
    opened.settle()
    assert shown == []
    mark_image(project.project, "b.tif", state="done")
    project.read_again()
    opened.hand.qtbot.waitUntil(lambda: shown == [{"a.tif", "b.tif"}])


def test_the_list_shows_the_same_values_once_and_keeps_its_selection(opened: Opened) -> None:
    project, table = opened.widget.project, opened.widget.project.table
    project.show_table()
    changes = []
    table._model.dataChanged.connect(lambda *_: changes.append("values"))
    table._model.layoutChanged.connect(lambda *_: changes.append("rows"))
    project._show()
    assert changes == []
    table.table.selectRow(1)
    table.table.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    assert changes == ["rows"]
    assert table.order == ("c.tif", "b.tif", "a.tif")
    assert table.selected == ("b.tif",)
    table._text.setText("B")
    assert table.order == table.selected == ("b.tif",)
    project._mark(["b.tif", "c.tif"], "accepted")
    table._kind.setCurrentText("not finished")
    assert table.order == ()
    table._text.setText("")
    assert table.order == ("a.tif",)
    table.hide()
