"""Objects in the colours of a column of their measurements, and those brought out that were selected in a plot."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgba
from qtpy.QtCore import QObject, QTimer, Signal

from napari_segany.core.errors import SeganyError
from napari_segany.layers.colours import colours_of
from napari_segany.layers.layer_measurements import ObjectTable
from napari_segany.layers.object_features import ObjectFeatures
from napari_segany.layers.value_colours import UNKNOWN, ValueColours
from napari_segany.widgets.panels.measurement_plot import ColourScale, PlotColumn

EDGES = (1, 99)
"""Percentiles that have the colours of the ends: one odd object must not take all contrast."""
MOST_WORDS = 30
"""Of a column that can be plotted."""


class ColumnColours(QObject):
    """Colours the layer of a table.

    Parameters
    ----------
    parent : QObject
        Owns this object.

    Attributes
    ----------
    replaced : Signal
        Emitted without arguments when the layer got other colours from elsewhere.
    failed : Signal
        Emitted with the exception when objects cannot be coloured.
    """

    replaced = Signal()
    failed = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._objects: ObjectFeatures | None = None
        self._colours: ValueColours | None = None
        self._table: ObjectTable | None = None
        self._column: PlotColumn | None = None
        self._scale: ColourScale | None = None
        self._chosen = np.zeros(0, np.int64)
        self._busy = False
        self._later = QTimer(self, singleShot=True, interval=50)
        self._later.timeout.connect(self._show)

    def bind(self, objects: ObjectFeatures | None) -> None:
        """Colour another layer; the one before has its own colours again."""
        if objects is self._objects:
            return
        self.clear()
        if self._objects is not None:
            self._objects.labels.events.colormap.disconnect(self._look)
            self._objects.viewer.dims.events.current_step.disconnect(self._moved)
        self._objects, self._table, self._colours = objects, None, None
        if objects is not None:
            self._colours = ValueColours(objects.labels)
            objects.labels.events.colormap.connect(self._look)
            objects.viewer.dims.events.current_step.connect(self._moved)

    def show(self, table: ObjectTable, column: PlotColumn | None, classes: dict[str, str]) -> ColourScale | None:
        """Colour objects by a column, or by none; what the colours stand for.

        Parameters
        ----------
        table : ObjectTable
            The objects.
        column : PlotColumn, optional
            A row for each of the table's.
        classes : dict of str to str
            Colours of words; others have ours.
        """
        self._table, self._column = table, column
        self._scale = None if column is None else scale_of(column, classes)
        self._show()
        return self._scale

    def of_rows(self) -> np.ndarray | None:
        """(rows, 4) the colours of the rows of the table; None where objects are not coloured by a column."""
        return None if self._column is None else self._of(self._column, np.arange(len(self._column.values)))

    def choose(self, labels: np.ndarray) -> None:
        """Bring objects out; none: all are as before."""
        if not np.array_equal(labels, self._chosen):
            self._chosen = labels
            self._later.start()

    def keep(self, labels: np.ndarray) -> None:
        """Bring no objects out any more, if others are selected now."""
        if len(self._chosen) and not np.isin(labels, self._chosen).all():
            self.choose(np.zeros(0, np.int64))

    def clear(self) -> None:
        """Give the layer its own colours."""
        self._later.stop()
        self._column, self._chosen = None, np.zeros(0, np.int64)
        if self._colours is not None:
            self._busy = True
            try:
                self._colours.clear()
            finally:
                self._busy = False

    def _show(self) -> None:
        if self._colours is None or self._table is None:
            return
        if self._column is None and not len(self._chosen):
            self.clear()
            return
        labels, rows = self._rows(self._table)
        colours = None if self._column is None else self._of(self._column, rows)
        self._busy = True
        try:
            self._colours.show(labels, colours, np.isin(labels, self._chosen) if len(self._chosen) else None)
        except SeganyError as error:
            self.failed.emit(error)
        finally:
            self._busy = False

    def _rows(self, table: ObjectTable) -> tuple[np.ndarray, np.ndarray]:
        """The objects, each once, and the row of each: in a movie the one of the time that is shown, else the first."""
        labels, times = table.labels, table.time
        order = np.arange(len(labels))
        if times is not None and self._objects is not None:
            dims = self._objects.viewer.dims
            now = dims.current_step[dims.ndim - self._objects.labels.ndim]
            order = np.argsort(np.abs(times - now), kind="stable")
        found, first = np.unique(labels[order], return_index=True)
        return found, order[first]

    def _of(self, column: PlotColumn, rows: np.ndarray) -> np.ndarray:
        """(n, 4) colours of the values of rows."""
        values, scale = column.values[rows], self._scale
        known = np.isfinite(values)
        colours = np.tile(np.array(UNKNOWN, np.float32), (len(values), 1))
        if scale is None:
            return colours
        if scale.words is not None:
            table = np.array([to_rgba(scale.words[word]) for word in column.words]).reshape(-1, 4)
            colours[known] = table[values[known].astype(int)]
            return colours
        spread = scale.highest - scale.lowest
        share = (values[known] - scale.lowest) / spread if spread else np.full(int(known.sum()), 0.5)
        colours[known] = mpl.colormaps["viridis"](np.clip(share, 0, 1))
        return colours

    def _moved(self, event: object = None) -> None:
        if self._column is not None and self._table is not None and self._table.time is not None:
            self._later.start()

    def _look(self, event: object = None) -> None:
        """Another colormap was chosen: it stays."""
        if not self._busy and self._colours is not None and not self._colours.shown and self._column is not None:
            self._column = None
            self.replaced.emit()


def scale_of(column: PlotColumn, classes: dict[str, str]) -> ColourScale:
    """What the colours of a column stand for."""
    if column.words:
        colours = colours_of(column.words) | {word: classes[word] for word in column.words if word in classes}
        return ColourScale(column.name, words={word: colours[word] for word in column.words})
    values = column.values[np.isfinite(column.values)]
    if not len(values):
        return ColourScale(column.name)
    low, high = np.percentile(values, EDGES)
    return ColourScale(column.name, float(low), float(high))


def plot_column(table: ObjectTable, name: str) -> PlotColumn | None:
    """A column of a table as it is plotted; None for one that there is not, or of too many different words."""
    if name in table.numbers:
        return PlotColumn(name, table.numbers[name])
    values = table.columns.get(name)
    words = words_of(table, name)
    if values is None or not words:
        return None
    code = {word: float(number) for number, word in enumerate(words)}
    return PlotColumn(name, np.array([code.get(str(value), np.nan) for value in values]), words)


def words_of(table: ObjectTable, name: str) -> tuple[str, ...]:
    """The different words of a column, sorted; none where there are too many to be shown."""
    found = sorted({value for value in table.columns.get(name, []) if isinstance(value, str) and value})
    return tuple(found) if len(found) <= MOST_WORDS else ()
