"""Measurements in a real window: drags in the plot, selection, colours, columns and tables."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from npe2 import PluginManager
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_segany.core.objects import ObjectInfo
from napari_segany.io.formats.measurements import GROUPS
from napari_segany.widgets.measurements_dock import measurements
from napari_segany.widgets.measurements_widget import MeasurementsWidget
from napari_segany.widgets.panels.columns_chooser import USUAL, ColumnsChooser
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Opened, posted, run_command


def drawn() -> np.ndarray:
    """Nine squares of sides 2 to 10, labels 1 to 9."""
    labels = np.zeros((60, 80), np.uint16)
    for number in range(9):
        top, left = 3 + 18 * (number // 3), 4 + 24 * (number % 3)
        labels[top : top + number + 2, left : left + number + 2] = number + 1
    return labels


class Measured(Opened):
    """A window with objects, and the widget Measurements, opened by its button."""

    def __init__(self, hand) -> None:
        super().__init__(hand, drawn().astype(np.float32), FakeSegmenter(radius=8))
        PluginManager.instance().discover()
        self.labels = self.viewer.add_labels(drawn(), name="cells")
        self.widget.layer_box.labels.value = self.labels
        box = self.objects = self.widget.objects_box
        self.widget.tabs.show_box(box)
        box.update_now()
        hand.qtbot.mouseClick(box.buttons["Plot…"], Qt.MouseButton.LeftButton)
        self.measurements = measurements(self.viewer)
        self.dock = self.measurements.parent()
        assert isinstance(self.measurements, MeasurementsWidget)
        self.wait()

    def wait(self) -> None:
        def ready() -> bool:
            # (what is shown follows what was measured)
            return self.measurements.plot is not None and self.measurements.table is not None

        self.hand.qtbot.waitUntil(ready, timeout=60_000)
        self.hand.qtbot.wait(200)

    def choose(self, across: str, up: str = "") -> None:
        panel = self.measurements.panel
        panel.across.setCurrentText(across)
        panel.up.setCurrentText(up or "Number of objects")
        self.hand.qtbot.wait(100)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from data to data of the plot."""
        plot = self.measurements.plot
        plot.canvas.draw()
        ratio = plot.canvas.device_pixel_ratio
        places = [plot._axes.transData.transform(one) / ratio for one in (start, end)]
        first, last = (QPoint(round(x), round(plot.canvas.height() - y)) for x, y in places)
        QTest.mousePress(plot.canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, first)
        for share in (0.4, 0.8, 1.0):
            QTest.mouseMove(plot.canvas, first + (last - first) * share)
            posted(self.hand.qtbot)
        QTest.mouseRelease(plot.canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, last)
        self.hand.qtbot.wait(150)

    def close(self) -> None:
        self.measurements.close_measurements()
        self.measurements.jobs.join(30)
        super().close()


@pytest.fixture
def measured(hand) -> Iterator[Measured]:
    opened = Measured(hand)
    yield opened
    opened.close()


def test_a_drag_over_the_histogram_selects(measured: Measured) -> None:
    measured.choose("area [pixel^2]")
    measured.drag((30, 0.5), (90, 0.5))
    # squares of 6² to 9²
    assert measured.objects.chosen == [5, 6, 7, 8]
    colours = measured.labels.colormap.map(np.arange(1, 10))
    assert (colours[:, 3] < 0.5).tolist() == [True] * 4 + [False] * 4 + [True]
    # a click selects nothing, and the layer has its own colours again
    measured.drag((50, 0.5), (50, 0.5))
    assert measured.objects.chosen == []
    assert (measured.labels.colormap.map(np.arange(1, 10))[:, 3] == 1).all()


def test_a_drag_over_the_scatter_selects_and_esc_drops(measured: Measured) -> None:
    measured.choose("area [pixel^2]", "intensity_mean")
    measured.drag((1, 0.7), (20, 3.5))
    assert measured.objects.chosen == [1, 2, 3]
    QTest.keyClick(measured.measurements, Qt.Key.Key_Escape)
    assert measured.objects.chosen == []


def test_rows_of_the_table_are_marked_in_the_plot(measured: Measured) -> None:
    measured.choose("area [pixel^2]", "roundness")
    measured.objects.choose([2, 4])
    assert measured.measurements.plot._chosen.nonzero()[0].tolist() == [1, 3]


def test_colours_of_a_column_and_back(measured: Measured) -> None:
    panel, own = measured.measurements.panel, measured.labels.colormap
    panel.colour.setCurrentText("pixels")
    measured.hand.qtbot.mouseClick(panel.coloured, Qt.MouseButton.LeftButton, pos=QPoint(8, 8))
    measured.hand.qtbot.wait(100)
    colours = measured.labels.colormap.map(np.arange(1, 10))
    assert len(np.unique(colours, axis=0)) == 9
    assert measured.measurements.plot._scale.name == "pixels"
    measured.hand.qtbot.mouseClick(panel.coloured, Qt.MouseButton.LeftButton, pos=QPoint(8, 8))
    assert measured.labels.colormap is own
    # another colormap ends it
    panel.coloured.setChecked(True)
    measured.labels.new_colormap()
    assert not panel.coloured.isChecked()


def test_classes_have_their_colours(measured: Measured) -> None:
    measured.objects.objects.note(ObjectInfo(3, class_name="nucleus"))
    measured.objects.objects.note(ObjectInfo(4, class_name="cell"))
    measured.measurements.measuring.measure()
    measured.hand.qtbot.waitUntil(
        lambda: "class" in measured.measurements.table.columns and any(measured.measurements.table.columns["class"]),
        timeout=20_000,
    )
    measured.measurements.panel.colour.setCurrentText("class")
    measured.measurements.panel.coloured.setChecked(True)
    colours = measured.labels.colormap.map(np.array([3, 4]))
    given = measured.objects.class_colours
    np.testing.assert_allclose(colours, [to_rgba(given[name]) for name in ("nucleus", "cell")], atol=1e-6)
    measured.hand.qtbot.wait(100)
    assert set(measured.measurements.plot._scale.words) == {"nucleus", "cell"}


def test_colours_of_classes_come_back(measured: Measured) -> None:
    measured.objects.objects.note(ObjectInfo(3, class_name="nucleus"))
    measured.objects.update_now()
    measured.objects.colour_by_class()
    before = measured.labels.colormap.map(np.arange(1, 10))
    panel = measured.measurements.panel
    for other in ("pixels", "roundness"):
        panel.colour.setCurrentText(other)
        panel.coloured.setChecked(True)
        assert measured.objects.colouring == ""
        assert not np.array_equal(measured.labels.colormap.map(np.arange(1, 10)), before)
    panel.coloured.setChecked(False)
    assert measured.objects.colouring == "class"
    np.testing.assert_array_equal(measured.labels.colormap.map(np.arange(1, 10)), before)
    # colours that were chosen meanwhile stay
    panel.coloured.setChecked(True)
    measured.objects.colour_by_class()
    assert not panel.coloured.isChecked()
    assert measured.objects.colouring == "class"


@pytest.mark.parametrize("up", ["", "intensity_mean"])
def test_esc_after_a_drag_drops_selection_and_marks(measured: Measured, up: str) -> None:
    measured.choose("area [pixel^2]", up)
    measured.drag((1, 0.7), (20, 3.5))
    plot = measured.measurements.plot
    assert plot._chosen.any()
    assert plot.canvas.window().focusWidget() is plot.canvas
    QTest.keyClick(plot.canvas, Qt.Key.Key_Escape)
    assert measured.objects.chosen == []
    assert not plot._chosen.any()
    marks = plot._marks.get_data()
    assert not np.any(marks[0])
    # and with the focus elsewhere in the dock
    measured.drag((1, 0.7), (20, 3.5))
    measured.measurements.panel.across.setFocus()
    QTest.keyClick(measured.measurements.panel.across, Qt.Key.Key_Escape)
    assert measured.objects.chosen == []
    assert not plot._chosen.any()


def test_points_have_the_colours_of_their_objects(measured: Measured) -> None:
    panel, plot = measured.measurements.panel, measured.measurements.plot
    measured.choose("area [pixel^2]", "intensity_mean")
    panel.colour.setCurrentText("pixels")
    panel.coloured.setChecked(True)
    measured.hand.qtbot.wait(100)
    (points,) = plot._axes.collections[:1]
    shown = measured.labels.colormap.map(np.arange(1, 10))
    np.testing.assert_allclose(points.get_facecolors(), shown, atol=0.01)
    panel.coloured.setChecked(False)
    measured.hand.qtbot.wait(100)
    assert not [one for one in plot._axes.collections if len(one.get_offsets()) == 9]


def test_no_word_of_the_plot_is_cut(measured: Measured) -> None:
    widget = measured.measurements
    widget.table.numbers["a wide column [µm^2]"] = np.arange(9) * 1e-6 + 123456.0
    widget.table.columns["kind"] = ["automatic", "by a long way"] * 4 + [None]
    widget.panel.offer(["a wide column [µm^2]", "pixels"], ["kind"])
    measured.choose("pixels", "a wide column [µm^2]")
    for colour in ("kind", "a wide column [µm^2]"):
        widget.panel.colour.setCurrentText(colour)
        widget.panel.coloured.setChecked(True)
        measured.hand.qtbot.wait(100)
        plot = widget.plot
        plot.canvas.draw()
        whole = plot._figure.bbox
        for part in (plot._axes.yaxis, plot._bar_axes):
            box = part.get_tightbbox(plot.canvas.get_renderer())
            assert whole.x0 <= box.x0
            assert box.x1 <= whole.x1
        assert plot._axes.get_window_extent().x1 < plot._bar_axes.get_window_extent().x0


@pytest.mark.parametrize("column", ["nothing", "constant", "empty"])
def test_strange_columns_are_one_line(measured: Measured, column: str) -> None:
    widget = measured.measurements
    values = {"constant": np.ones(9), "empty": np.full(9, np.nan), "nothing": np.array([np.nan] * 8 + [1.0])}[column]
    widget.table.numbers["made up"] = values
    widget.panel.offer(["made up", "pixels"], [])
    for up in ("", "made up", "pixels"):
        measured.choose("made up", up)
        widget.panel.plot_changed.emit()
        widget.plot.canvas.draw()
        assert bool(widget.plot.message) == (column == "empty")
    widget.panel.colour.setCurrentText("made up")
    widget.panel.coloured.setChecked(True)
    measured.hand.qtbot.wait(100)
    widget.plot.canvas.draw()


def test_changes_are_measured_again(measured: Measured) -> None:
    measured.objects.delete([9])
    measured.hand.qtbot.waitUntil(lambda: len(measured.measurements.table.labels) == 8, timeout=20_000)
    measured.objects.delete(list(range(1, 9)))
    measured.hand.qtbot.waitUntil(lambda: len(measured.measurements.table.labels) == 0, timeout=20_000)
    assert measured.measurements.plot.message == "There are no objects yet."


def test_columns_are_chosen_and_remembered(measured: Measured, tmp_path: Path) -> None:
    assert "roundness" in measured.labels.features
    assert measured.widget.export_box.columns == USUAL, "table Objects and files agree"
    measured.measurements.use_columns(("size", "solidity"))
    measured.hand.qtbot.waitUntil(lambda: "solidity" in measured.labels.features, timeout=5_000)
    assert "roundness" not in measured.labels.features
    assert measured.widget.settings.get("columns") == "size\nsolidity"
    path = tmp_path / "a.csv"
    measured.measurements.tables.save_to(measured.measurements.table, path)
    measured.hand.qtbot.waitUntil(path.exists, timeout=20_000)
    with path.open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == ["label", "name", "class", "area [pixel^2]", "solidity"]


def test_columns_in_use_are_ticked_and_the_usual_ones_come_back(measured: Measured) -> None:
    dialog = ColumnsChooser(measured.measurements._columns(), measured.measurements)
    assert dialog.chosen == tuple(name for name in GROUPS if name in USUAL)
    measured.measurements.use_columns(("solidity",))
    dialog = ColumnsChooser(measured.measurements._columns(), measured.measurements)
    assert dialog.chosen == ("solidity",)
    dialog.show()
    measured.hand.qtbot.mouseClick(dialog.usual, Qt.MouseButton.LeftButton)
    assert dialog.isVisible(), "the choice can go on"
    assert set(dialog.chosen) == set(USUAL)
    for row in range(dialog.list.count()):
        dialog.list.item(row).setCheckState(Qt.CheckState.Unchecked)
    measured.measurements.use_columns(dialog.chosen)
    assert not set(ColumnsChooser(measured.measurements._columns(), measured.measurements).chosen) & set(USUAL)
    measured.hand.qtbot.waitUntil(lambda: "roundness" not in measured.labels.features, timeout=5_000)
    dialog.close()


def test_a_folder_is_measured(measured: Measured, tmp_path: Path) -> None:
    import tifffile

    folder = tmp_path / "images"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", drawn())
    tifffile.imwrite(folder / "a_labels.tif", drawn())
    measured.measurements.tables.measure_to(folder, tmp_path / "all.csv")
    measured.hand.qtbot.waitUntil(lambda: not measured.measurements.tables.running, timeout=120_000)
    assert "9 objects of 1 image," in measured.measurements.panel.text
    assert (tmp_path / "all.csv").exists()


def test_closing_gives_the_colours_back(measured: Measured) -> None:
    own = measured.labels.colormap
    measured.measurements.panel.coloured.setChecked(True)
    assert measured.labels.colormap is not own
    measured.viewer.window.remove_dock_widget(measured.dock)
    assert measured.labels.colormap is own


def test_labels_in_view_are_used_and_measuring_does_not_stop_the_plots(hand) -> None:
    opened = Opened(hand, drawn().astype(np.float32), FakeSegmenter(radius=8))
    opened.viewer.add_labels(drawn(), name="cells")
    measurements = MeasurementsWidget(opened.viewer)
    # (the rows are listed while matplotlib is imported)
    measurements.measuring.follow()
    hand.qtbot.waitUntil(lambda: measurements.plot is not None and measurements.table is not None, timeout=60_000)
    measurements.close_measurements()
    measurements.jobs.join(30)
    measurements.deleteLater()
    opened.close()


def test_the_command_of_the_menu_shows_the_same_widget(measured: Measured) -> None:
    measured.dock.hide()
    run_command("measurements")
    assert measured.dock.isVisible()
    assert measurements(measured.viewer) is measured.measurements
