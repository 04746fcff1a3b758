"""Export in a real window: formats, the question before something is replaced, and work off the window's thread."""

from __future__ import annotations

import csv
import importlib.util
import json
import threading

import dask.array as da
import numpy as np
import pytest
import tifffile
from napari import layers
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_segany.core.objects import ObjectInfo
from napari_segany.io.export import FORMATS
from napari_segany.io.labels import read_labels
from napari_segany.layers.object_features import ObjectFeatures
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.panels import export_panel as module
from napari_segany.widgets.panels.export_panel import ExportPanel


class Opened:
    """A window with labels, a picture and the box."""

    def __init__(self, hand) -> None:
        self.hand, self.viewer = hand, hand.viewer
        data = np.zeros((30, 40), np.uint8)
        data[2:8, 3:9], data[10:14, 20:30] = 1, 4
        placed = {"scale": (0.5, 0.25), "units": ("um", "um")}
        self.image = self.viewer.add_image(data * 2.0, name="picture", **placed)
        self.labels = self.viewer.add_labels(data, name="cells", **placed)
        self.objects = ObjectFeatures(self.viewer, self.labels, self.image)
        self.objects.note(ObjectInfo(4, name="four", score=0.5, source="click"))
        self.jobs = Jobs()
        self.box = ExportPanel(self.jobs)
        self.viewer.window.add_dock_widget(self.box, name="Export")
        self.box.bind(self.labels, self.image, self.objects)

    def choose(self, format_name: str) -> None:
        self.box.formats.setCurrentIndex(self.box.formats.findData(format_name))

    def wait(self) -> None:
        self.hand.qtbot.waitUntil(lambda: not self.box.text.startswith("Writing"), timeout=30_000)

    def press(self) -> None:
        self.hand.qtbot.mouseClick(self.box.button, Qt.MouseButton.LeftButton)
        self.wait()

    def close(self) -> None:
        self.box.bind(None)
        self.objects.close()
        self.jobs.close()
        self.jobs.join(20)
        vars(self).clear()


@pytest.fixture
def opened(hand):
    opened = Opened(hand)
    yield opened
    opened.close()


@pytest.fixture
def warnings_shown(monkeypatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(module, "show_warning", shown.append)
    return shown


@pytest.fixture
def say_where(monkeypatch):
    """What the user types into the dialogs: a path, and whether it may be replaced."""
    asked: list[str] = []

    def say(path, replace: bool = False) -> list[str]:
        answer = QMessageBox.StandardButton.Yes if replace else QMessageBox.StandardButton.No
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args, **options: (str(path), ""))
        monkeypatch.setattr(QMessageBox, "question", lambda *args: asked.append(args[2]) or answer)
        return asked

    return say


def test_every_format_is_offered(opened):
    names = [opened.box.formats.itemData(number) for number in range(opened.box.formats.count())]
    assert names == list(FORMATS)


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_every_format_is_written(opened, say_where, tmp_path, format_name):
    opened.choose(format_name)
    say_where(tmp_path / "out")
    opened.press()
    path = tmp_path / f"out{FORMATS[format_name].endings[0]}"
    package = FORMATS[format_name].package
    if package and importlib.util.find_spec(package) is None:
        assert f"[{FORMATS[format_name].extra or package}]" in opened.box.text
        assert not list(tmp_path.iterdir())
        return
    if format_name in ("tracks", "ctc", "geff", "trackmate"):
        assert "not of 2 axes" in opened.box.text
        assert not list(tmp_path.iterdir())
        return
    assert opened.box.text == f"Written to {path}"
    assert path.exists()


def test_what_is_written_is_what_is_known(opened, say_where, tmp_path):
    opened.choose("coco")
    say_where(tmp_path / "cells.json")
    opened.press()
    annotations = json.loads((tmp_path / "cells.json").read_text())["annotations"]
    assert [annotation["area"] for annotation in annotations] == [36, 40]
    opened.choose("csv")
    say_where(tmp_path / "cells.csv")
    opened.press()
    rows = list(csv.DictReader((tmp_path / "cells.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["name"] for row in rows] == ["", "four"]
    assert [row["score"] for row in rows] == ["", "0.5"]
    assert [float(row["area [µm^2]"]) for row in rows] == [36 / 8, 40 / 8]
    assert [float(row["intensity_mean"]) for row in rows] == [2, 8]


def test_names_come_from_the_layer_where_nobody_else_knows_them(opened, tmp_path):
    opened.objects.update()
    opened.box.bind(opened.labels)
    opened.choose("csv")
    opened.box.export(tmp_path / "cells.csv")
    opened.wait()
    rows = list(csv.DictReader((tmp_path / "cells.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["name"] for row in rows] == ["", "four"]
    assert "intensity_mean" not in rows[0]


def test_nothing_is_replaced_unasked(opened, say_where, warnings_shown, tmp_path):
    opened.choose("tiff")
    (tmp_path / "cells.tif").write_text("mine")
    asked = say_where(tmp_path / "cells", replace=False)
    opened.press()
    assert asked == ["cells.tif already exists. Replace it?"]
    assert (tmp_path / "cells.tif").read_text() == "mine"
    opened.box.export(tmp_path / "cells.tif")
    assert "exists" in warnings_shown[-1]
    say_where(tmp_path / "cells", replace=True)
    opened.press()
    np.testing.assert_array_equal(read_labels(tmp_path / "cells.tif"), opened.labels.data)


def test_the_file_of_the_image_is_never_replaced(opened, warnings_shown, tmp_path):
    path = tmp_path / "picture.tif"
    tifffile.imwrite(path, np.zeros((30, 40), np.uint8))
    (opened_again,) = opened.viewer.open(path, plugin="napari")
    opened.box.bind(opened.labels, opened_again, opened.objects)
    opened.choose("tiff")
    before = path.read_bytes()
    opened.box.export(path, overwrite=True)
    opened.wait()
    assert path.read_bytes() == before
    assert len(warnings_shown) == 1
    opened.choose("coco")
    opened.box.export(tmp_path / "objects.json")
    opened.wait()
    assert json.loads((tmp_path / "objects.json").read_text())["images"][0]["file_name"] == "picture.tif"


def test_classes_reach_the_file(opened, tmp_path):
    opened.objects.note(ObjectInfo(4, name="nucleus", source="text", class_name="nucleus"))
    opened.choose("coco")
    opened.box.export(tmp_path / "objects.json")
    opened.wait()
    written = json.loads((tmp_path / "objects.json").read_text())
    names = {one["id"]: one["name"] for one in written["categories"]}
    assert sorted(names[one["category_id"]] for one in written["annotations"]) == ["nucleus", "object"]


@pytest.mark.parametrize(
    ("selection", "kept", "said"),
    [("all", {1, 4}, ""), ("not rejected", {1}, "1 object left out"), ("accepted", {1}, "1 object left out")],
)
def test_rejected_objects_are_left_out_of_labels_and_the_panel_says_so(opened, tmp_path, selection, kept, said):
    opened.objects.note(ObjectInfo(4, state="rejected"))
    opened.box.choose("tiff", selection)
    saved = []
    opened.box.written.connect(saved.append)
    opened.box.export(tmp_path / "objects.tif")
    opened.wait()
    assert set(np.unique(tifffile.imread(tmp_path / "objects.tif")).tolist()) == {0, *kept}
    assert said in opened.box.text
    assert saved == ([] if said else ["tiff"]), "a session whose labels are not all in a file is offered again"


def test_a_dialog_that_is_closed_writes_nothing(opened, say_where, tmp_path):
    say_where("")
    opened.press()
    assert opened.box.text == ""
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_said_in_one_line(opened, say_where, warnings_shown, tmp_path):
    say_where(tmp_path / "nowhere" / "out.json")
    opened.press()
    assert "there is no folder" in opened.box.text
    opened.box.bind(layers.Labels(np.ones((3, 4, 5), int)))
    opened.choose("sa1b")
    say_where(tmp_path / "out.json")
    opened.press()
    assert len(warnings_shown) == 2
    assert opened.box.text == warnings_shown[1]
    assert not (tmp_path / "out.json").exists()


def test_what_is_painted_meanwhile_is_not_in_the_file(opened, tmp_path):
    before, go = opened.labels.data.copy(), threading.Event()
    opened.jobs.run(lambda: go.wait(20), done=lambda _: None, failed=lambda _: None)
    opened.choose("tiff")
    opened.box.export(tmp_path / "out.tif")
    assert opened.box.text == "Writing out.tif …"
    opened.labels.data_setitem((np.array([0]), np.array([0])), 9)
    go.set()
    opened.wait()
    np.testing.assert_array_equal(read_labels(tmp_path / "out.tif"), before)


def test_labels_that_are_not_in_memory(opened, tmp_path):
    data = np.eye(20, dtype=np.uint8)
    opened.box.bind(layers.Labels(da.from_array(data).map_blocks(lambda block: block)))
    opened.choose("tiff")
    opened.box.export(tmp_path / "out.tif")
    opened.wait()
    np.testing.assert_array_equal(read_labels(tmp_path / "out.tif"), data)


def test_without_a_layer_there_is_nothing_to_press(opened):
    opened.box.bind(None)
    assert not opened.box.button.isEnabled()


def test_writing_tells_how_far_it_is_and_can_be_cancelled(opened, tmp_path, monkeypatch):
    opened.choose("coco")
    told, goes_on = [], threading.Event()
    opened.box.progress.connect(lambda done, total: told.append((done, total)))
    opened.box.export(tmp_path / "all.json")
    opened.wait()
    assert told
    assert "Written to" in opened.box.text
    real = module.export_labels

    def slow(*given, report, **options):
        goes_on.wait(20)
        report(0.5, 1.0)
        return real(*given, **options)

    monkeypatch.setattr(module, "export_labels", slow)
    opened.box.export(tmp_path / "never.json")
    opened.jobs.cancel_all()
    opened.box.stop()
    goes_on.set()
    assert opened.box.text == "Cancelled. Nothing was written."
    with opened.hand.qtbot.waitCallback() as done:
        opened.jobs.run(lambda: None, done=done, failed=done)
    assert not (tmp_path / "never.json").exists()


def test_formats_of_single_planes_are_grey_for_stacks(opened):
    items, row = opened.box.formats.model(), opened.box.formats.findData("sa1b")
    assert items.item(row).isEnabled()
    opened.box.bind(opened.viewer.add_labels(np.zeros((3, 30, 40), np.uint8)))
    assert not items.item(row).isEnabled()
    assert items.item(opened.box.formats.findData("coco")).isEnabled()
    opened.box.bind(opened.labels, opened.image, opened.objects)
    assert items.item(row).isEnabled()
