"""The dock widget Measurements: plots of the objects in the table Objects, their colours, and tables of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_warning
from napari.utils.theme import get_theme
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QKeyEvent, QResizeEvent
from qtpy.QtWidgets import QBoxLayout, QDockWidget, QMainWindow, QWidget

from napari_segany.core.errors import SeganyError
from napari_segany.core.plurals import count_of
from napari_segany.layers.layer_measurements import ObjectTable
from napari_segany.layers.proxies import unwrapped
from napari_segany.layers.write import fits_shape
from napari_segany.widgets.commands import docked
from napari_segany.widgets.controllers.measuring_controller import MeasuringController
from napari_segany.widgets.controllers.table_controller import TableController
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.panels.columns_chooser import ColumnsChooser, columns_of
from napari_segany.widgets.panels.measurements_panel import MeasurementsPanel

if TYPE_CHECKING:
    from napari_segany.widgets.controllers.column_colours import ColumnColours
    from napari_segany.widgets.panels.measurement_plot import ColourScale, MeasurementPlot

WIDE, HEIGHT = 460, 230
"""Width in pixels from which the plot stands next to the choosers, and height at first."""
CHOOSERS = 275
"""Width of the choosers then."""
HINT = "Drag over the plot to select."
NO_LABELS = "Choose an image and its Labels layer in Segment Anything."


class MeasurementsWidget(QWidget):
    """Measures the objects that Segment Anything lists, which is opened where it is not.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Given by napari.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._closed = False
        self._choosing = False
        self.viewer = unwrapped(napari_viewer)
        # (Segment Anything adds layers, and selects them)
        self._first_labels = self._labels_in_view()
        self.main = docked(self.viewer)
        # (where napari docks a widget first, the window grows)
        self._window_size = self.main.window().size()
        self.jobs = Jobs(self)
        self.panel = MeasurementsPanel()
        self.plot: MeasurementPlot | None = None
        self.colours: ColumnColours | None = None
        self._scale: ColourScale | None = None
        self._colours_before = ""
        self.measuring = MeasuringController(self.main.objects_box, self.jobs, self)
        self.tables = TableController(self, self.jobs, self._columns)
        self._box = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._box.addWidget(self.panel)
        self._connect()
        # matplotlib takes a second to import, the first time much longer: it looks through all fonts
        self.panel.say("Loading the plots …")
        self.jobs.run(_import_plots, done=self._make_plot, failed=self._fail)
        # (drawn apart from what else a change brings, which takes its time with many objects)
        self._drawing = QTimer(self, singleShot=True, interval=20)
        self._drawing.timeout.connect(self._draw)
        QTimer.singleShot(0, self._settle)

    def _connect(self) -> None:
        panel, measuring, tables = self.panel, self.measuring, self.tables
        panel.plot_changed.connect(self._draw)
        panel.colours_changed.connect(self._recolour)
        panel.stopped.connect(self._stop)
        panel.menu.addAction("Save table…").triggered.connect(self._save)
        panel.menu.addAction("Choose columns…").triggered.connect(self._choose_columns)
        panel.menu.addSeparator()
        panel.menu.addAction("Measure all images of a folder…").triggered.connect(self._measure_folder)
        measuring.began.connect(self._begin)
        measuring.progress.connect(self._show_measuring)
        measuring.measured.connect(self._take)
        measuring.failed.connect(self._fail)
        tables.message.connect(self._say)
        tables.progressed.connect(self._show_folder)
        tables.failed.connect(self._fail)
        self.main.objects_box.listed.connect(self._follow_rows)
        self.viewer.events.theme.connect(self._wear)

    @property
    def table(self) -> ObjectTable | None:
        """The latest measurements."""
        return self.measuring.table

    def _columns(self) -> tuple[str, ...]:
        return columns_of(self.main.settings.get("columns"))

    def _make_plot(self, _: object) -> None:
        from napari_segany.widgets.controllers.column_colours import ColumnColours
        from napari_segany.widgets.panels.measurement_plot import MeasurementPlot

        self.panel.say("")
        self.plot, self.colours = MeasurementPlot(), ColumnColours(self)
        self._box.addWidget(self.plot, 1)
        self.plot.picked.connect(self._pick)
        self.plot.dropped.connect(self._drop)
        self.colours.replaced.connect(self._lose_colours)
        self.colours.failed.connect(self._fail)
        self._wear()
        self._use_labels()
        self.measuring.follow()
        self._take()

    def _labels_in_view(self) -> Labels | None:
        """The Labels layer that is selected, else the one on top."""
        labels = [layer for layer in self.viewer.layers if type(layer) is Labels]
        active = self.viewer.layers.selection.active
        return active if active in labels else labels[-1] if labels else None

    def _use_labels(self) -> None:
        """Have Segment Anything use a Labels layer, where it uses none yet and it fits."""
        labels, self._first_labels = self._first_labels, None
        binding = self.main.binding
        if labels is None or binding is None or binding.labels is not None:
            return
        if labels in self.viewer.layers and fits_shape(labels, binding.image):
            self.main.layer_box.labels.value = labels

    def _settle(self) -> None:
        """Move the dock below the picture: plots are wide."""
        dock = self.parent()
        while dock is not None and not isinstance(dock, QDockWidget):
            dock = dock.parent()
        window = None if dock is None else dock.parent()
        if isinstance(dock, QDockWidget) and isinstance(window, QMainWindow) and not self._closed:
            # the panels at the sides need the whole height
            window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
            window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
            window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)
            window.resizeDocks([dock], [HEIGHT], Qt.Orientation.Vertical)
            QTimer.singleShot(0, self._shrink)

    def _shrink(self) -> None:
        """Give the window the size that it had."""
        window = self.window()
        if not self._closed and not window.isMaximized() and not window.isFullScreen():
            window.resize(self._window_size)

    def _begin(self) -> None:
        self.panel.show_progress("measuring", 0, 1)

    def _show_measuring(self, done: float, total: float) -> None:
        if not self._closed:
            self.panel.show_progress("measuring", done, total)

    def _show_folder(self, done: float, total: float) -> None:
        self.panel.show_progress("images", done, total)

    def _say(self, text: str) -> None:
        self.panel.show_idle()
        self.panel.say(text)

    def _stop(self) -> None:
        self.tables.stop()
        self.measuring.stop()
        self.panel.show_idle()
        self.panel.say("Cancelled.")

    def _fail(self, error: Exception) -> None:
        self.panel.show_idle()
        if not isinstance(error, SeganyError):
            raise error
        self.panel.say(str(error))
        show_warning(str(error))

    def _take(self) -> None:
        """There are other measurements."""
        if not self.tables.running:
            self.panel.show_idle()
        if self.plot is None or self.colours is None:
            return
        from napari_segany.widgets.controllers.column_colours import words_of

        objects, table = self.measuring.objects, self.table
        self.colours.bind(objects)
        source = None if objects is None or objects.image is None else objects.image.source.path
        if source:
            from pathlib import Path

            self.tables.folder = Path(source).parent
        if table is None or not len(table.labels):
            self.panel.offer((), ())
            empty = "There are no objects yet." if table is not None else " "
            self.plot.show_message(NO_LABELS if objects is None else empty)
            return
        words = [name for name in table.columns if name not in table.numbers and words_of(table, name)]
        self.panel.offer([name for name in table.numbers if _is_plotted(name, table)], words)
        self.measuring.show_columns(self._columns())
        self._recolour()
        rows, different = len(table.labels), len(np.unique(table.labels))
        counted = count_of(different, "object")
        times = f", {rows} rows: one for each time" if rows > different else ""
        self.panel.say(f"{counted}{times}. {HINT}")

    def _draw(self) -> None:
        """Plot the columns that are chosen."""
        if self.plot is None or self.table is None:
            return
        from napari_segany.widgets.controllers.column_colours import plot_column

        across, up = self.panel.columns
        x, y = plot_column(self.table, across), plot_column(self.table, up) if up else None
        if x is None or (up and y is None):
            self.plot.show_message("Choose a column.")
            return
        colours = None if self.colours is None or y is None else self.colours.of_rows()
        self.plot.show_columns(x, y, self._scale, colours)
        self._follow_rows()

    def _recolour(self) -> None:
        """Colour the objects by the column that is chosen, if one is."""
        if self.colours is None or self.table is None:
            return
        from napari_segany.widgets.controllers.column_colours import plot_column

        name = self.panel.colouring
        column = plot_column(self.table, name) if name else None
        objects = self.main.objects_box
        if column is not None:
            self._colours_before = objects.colouring or self._colours_before
            objects.use_colours()
        self._scale = self.colours.show(self.table, column, objects.class_colours)
        if not name:
            self._restore_colours()
        self._drawing.start()

    def _restore_colours(self) -> None:
        """Show the colours of names or classes again that a column replaced."""
        before, self._colours_before = self._colours_before, ""
        if before:
            self.main.objects_box.use_colours(before)

    def _lose_colours(self) -> None:
        self._colours_before = ""
        self.panel.coloured.setChecked(False)

    def _pick(self, rows: np.ndarray) -> None:
        """Select the objects of rows of the plot in the table, and bring them out in the picture."""
        if self.table is None or self.colours is None:
            return
        labels = np.unique(self.table.labels[rows])
        self._choosing = True
        try:
            self.main.objects_box.choose(labels.tolist())
        finally:
            self._choosing = False
        self.colours.choose(labels)
        self.panel.say(f"{count_of(len(labels), 'object')} selected" if len(labels) else HINT)

    def _follow_rows(self) -> None:
        """Mark what is selected in the table."""
        if self._choosing or self._closed or self.plot is None or self.table is None or self.colours is None:
            return
        chosen = np.array(self.main.objects_box.chosen, np.int64)
        rows = np.isin(self.table.labels, chosen)
        self.plot.choose(rows)
        self.colours.keep(chosen)

    def _save(self) -> None:
        if self.table is None or self.measuring.objects is None:
            self.panel.say(NO_LABELS)
            return
        self.tables.save(self.table, self.measuring.objects.labels.name)

    def _measure_folder(self) -> None:
        self.tables.measure_folder()

    def _choose_columns(self) -> None:
        dialog = ColumnsChooser(self._columns(), self)
        if dialog.exec():
            self.use_columns(dialog.chosen)

    def use_columns(self, groups: tuple[str, ...]) -> None:
        """Have tables hold these groups of columns; the usual ones where there is none."""
        self.main.settings.set("columns", "\n".join(groups))
        self.main.export_box.columns = self._columns()
        self.measuring.show_columns(self._columns())

    def _wear(self, event: Any = None) -> None:
        """Use the colours of napari's theme."""
        if self.plot is not None:
            theme = get_theme(self.viewer.theme)
            self.plot.set_colours(*(colour.as_hex() for colour in (theme.background, theme.text, theme.current)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put the plot next to the choosers, or below them where there is little room."""
        super().resizeEvent(event)
        wide = self.width() >= WIDE
        self._box.setDirection(QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom)
        self.panel.setMaximumWidth(CHOOSERS if wide else 10_000)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Drop the selection on Esc."""
        if event.key() == Qt.Key.Key_Escape and self.table is not None:
            self._drop()
            return
        super().keyPressEvent(event)

    def _drop(self) -> None:
        """Select nothing, in the plot, the table and the picture."""
        if self.table is None or self.plot is None:
            return
        nothing = np.zeros(len(self.table.labels), bool)
        self.plot.choose(nothing)
        self._pick(nothing)

    def event(self, event: QEvent) -> bool:
        """Let go of the layer when napari takes the widget out of its dock, which it does when the dock is closed."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.close_measurements()
        return super().event(event)

    def close_measurements(self) -> None:
        """Give the layer its colours back, and end the work; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self.viewer.events.theme.disconnect(self._wear)
        if self.colours is not None:
            self.colours.bind(None)
            self._restore_colours()
        self.tables.stop()
        self.measuring.close()
        self.jobs.close()


def _is_plotted(name: str, table: ObjectTable) -> bool:
    """Whether a column is offered: not the numbers of objects, nor corners of their boxes, nor one without values."""
    return name != "label" and not name.endswith(("_min", "_max")) and bool(np.isfinite(table.numbers[name]).any())


def _import_plots() -> None:
    """Runs in the worker: what of matplotlib needs no Qt."""
    import matplotlib.figure
    import matplotlib.font_manager  # noqa: F401
