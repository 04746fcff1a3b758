"""A plot of measurements by matplotlib: histogram or scatter, in which a drag selects objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backend_bases import MouseButton
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.widgets import RectangleSelector, SpanSelector
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QVBoxLayout, QWidget

LEFT, BOTTOM, TOP, RIGHT, BAR = 54, 42, 12, 14, 54
"""Margins of the plot in pixels, and what a colour bar takes on the right; more where words or numbers are wide."""
EDGE, GAP = 4, 12
"""Pixels between words and the border of the canvas, and between the plot and its colour bar."""
TICK = 90
"""Pixels of width for each number along the lower axis."""
FEW, MOST = 10, 60
"""Bars of a histogram."""
CHOSEN = "#ff8c1a"
"""Colour of selected objects, legible in both themes."""


@dataclass(frozen=True, slots=True, eq=False)
class PlotColumn:
    """A column that is plotted.

    Parameters
    ----------
    name : str
        What its axis is called.
    values : ndarray
        (n,) float; NaN for objects that have none.
    words : tuple of str
        Of a column of words, what the numbers from 0 stand for.
    """

    name: str
    values: np.ndarray
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ColourScale:
    """What colours stand for.

    Parameters
    ----------
    name : str
        Of the column.
    lowest, highest : float
        Values of the ends of the bar.
    words : mapping of str to str
        Colours of words, where it is a column of words.
    """

    name: str
    lowest: float = 0.0
    highest: float = 1.0
    words: Mapping[str, str] | None = None


class MeasurementPlot(QWidget):
    """Draws columns, and tells which rows were selected in it.

    Attributes
    ----------
    picked : Signal
        Emitted with (n,) bool, which rows a drag selected; none after a click.
    dropped : Signal
        Emitted without arguments when the selection is to be dropped by Esc.
    """

    picked = Signal(object)
    dropped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._figure = Figure(dpi=self.logicalDpiX())
        self.canvas = FigureCanvasQTAgg(self._figure)
        self.canvas.setMinimumSize(120, 110)
        # (a click is followed by Esc)
        self.canvas.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.canvas.mpl_connect("key_press_event", self._press_key)
        self.canvas.setToolTip("Drag to select the objects of a range; click to drop the selection")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.canvas)
        self._axes: Any = None
        self._columns: tuple[PlotColumn, PlotColumn | None] | None = None
        self._chosen = np.zeros(0, bool)
        self._marks: Any = None
        self._selector: Any = None
        self._scale: ColourScale | None = None
        self._point_colours: np.ndarray | None = None
        self._colours = {"back": "#262930", "text": "#f0f1f2", "bars": "#7aa2d6"}
        self.message = ""

    def set_colours(self, back: str, text: str, bars: str) -> None:
        """Use the colours of a theme."""
        self._colours = {"back": back, "text": text, "bars": bars}
        self._draw()

    def show_columns(
        self,
        x: PlotColumn,
        y: PlotColumn | None = None,
        scale: ColourScale | None = None,
        colours: np.ndarray | None = None,
    ) -> None:
        """Draw the histogram of a column, or two columns against each other; and a colour bar.

        Parameters
        ----------
        x, y : PlotColumn
            The columns; without `y` a histogram is drawn.
        scale : ColourScale, optional
            What the colour bar shows.
        colours : ndarray, optional
            (n, 4) RGBA from 0 to 1 of the points of two columns.
        """
        self._columns, self._scale, self._point_colours = (x, y), scale, colours
        self._chosen = np.zeros(len(x.values), bool)
        self._draw()

    def show_message(self, text: str) -> None:
        """Show a line instead of a plot."""
        self._columns = None
        self._draw(text)

    def choose(self, rows: np.ndarray) -> None:
        """Mark rows, (n,) bool."""
        # (the plot of another table is drawn a moment later)
        if self._columns is None or rows.shape != self._chosen.shape or np.array_equal(rows, self._chosen):
            return
        self._chosen = rows
        if self._marks is not None:
            self._mark()
            self.canvas.draw_idle()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the margins."""
        super().resizeEvent(event)
        self._place()

    def _draw(self, message: str = "") -> None:
        self._figure.clear()
        self._figure.set_facecolor(self._colours["back"])
        if self._selector is not None:
            self._selector.disconnect_events()
        self._axes = self._marks = self._selector = None
        self.message = message or self._problem()
        if self.message:
            self._figure.text(0.5, 0.5, self.message, ha="center", va="center", color=self._colours["text"], wrap=True)
        elif self._columns is not None:
            self._plot(*self._columns)
        self.canvas.draw_idle()

    def _problem(self) -> str:
        """A line where there is nothing to plot."""
        if self._columns is None:
            return " "
        for column in filter(None, self._columns):
            if not np.isfinite(column.values).any():
                return f"No object has a value of “{column.name}”."
        x, y = self._columns
        if y is not None and not (np.isfinite(x.values) & np.isfinite(y.values)).any():
            return "No object has values of both columns."
        return ""

    def _plot(self, x: PlotColumn, y: PlotColumn | None) -> None:
        self._axes = self._figure.add_subplot()
        style = {"facecolor": CHOSEN, "alpha": 0.25}
        if y is None:
            self._histogram(x)
            self._selector = SpanSelector(
                self._axes, self._spanned, "horizontal", useblit=True, props=style, button=MouseButton.LEFT
            )
        else:
            self._scatter(x, y)
            self._selector = RectangleSelector(
                self._axes, self._framed, useblit=True, props=style, button=MouseButton.LEFT
            )
        self._label(self._axes, x, y)
        if self._scale is not None:
            self._bar(self._scale)
        self._place()
        self._mark()

    def _histogram(self, x: PlotColumn) -> None:
        values = x.values[np.isfinite(x.values)]
        if x.words:
            self._edges = np.arange(len(x.words) + 1) - 0.5
        else:
            whole = bool((values == np.round(values)).all())
            bins = int(np.clip(np.sqrt(len(values)), FEW, MOST))
            spread = float(np.ptp(values))
            if whole and spread < bins:
                self._edges = np.arange(values.min(), values.max() + 2) - 0.5
            else:
                self._edges = np.histogram_bin_edges(values, bins)
        counts = np.histogram(values, self._edges)[0]
        self._axes.stairs(counts, self._edges, fill=True, color=self._colours["bars"])
        self._marks = self._axes.stairs(np.zeros_like(counts), self._edges, fill=True, color=CHOSEN)
        self._axes.set_ylim(0, max(int(counts.max()), 1) * 1.05)

    def _scatter(self, x: PlotColumn, y: PlotColumn) -> None:
        size = 4 if len(x.values) < 2000 else 2
        common = {"marker": "o", "markersize": size, "linestyle": "none", "markeredgewidth": 0}
        if self._point_colours is None:
            self._axes.plot(x.values, y.values, color=self._colours["bars"], **common)
        else:
            self._axes.scatter(x.values, y.values, s=size**2, c=self._point_colours, linewidths=0)
        (self._marks,) = self._axes.plot([], [], color=CHOSEN, **{**common, "markersize": size + 2})
        # (what the selector draws must not count)
        self._axes.set(xlim=self._axes.get_xlim(), ylim=self._axes.get_ylim())

    def _label(self, axes: Any, x: PlotColumn, y: PlotColumn | None) -> None:
        text = self._colours["text"]
        axes.set_facecolor(self._colours["back"])
        for side, spine in axes.spines.items():
            spine.set_color(text)
            spine.set_visible(side in ("left", "bottom"))
        axes.tick_params(colors=text, labelsize=8)
        axes.set_xlabel(x.name, color=text, fontsize=9)
        axes.set_ylabel("Number of objects" if y is None else y.name, color=text, fontsize=9)
        for column, axis in ((x, axes.xaxis), (y, axes.yaxis)):
            if column is not None and column.words:
                axis.set_ticks(range(len(column.words)), [_short(word) for word in column.words])
        if not x.words:
            axes.xaxis.set_major_locator(MaxNLocator(int(np.clip(self.canvas.width() / TICK, 2, 8))))

    def _bar(self, scale: ColourScale) -> None:
        self._bar_axes = self._figure.add_axes((0.9, 0.2, 0.02, 0.7))
        if scale.words is None:
            norm = Normalize(scale.lowest, scale.highest)
            mapped = ScalarMappable(norm, mpl.colormaps["viridis"])
            bar = self._figure.colorbar(mapped, cax=self._bar_axes)
        else:
            colours = list(scale.words.values())
            mapped = ScalarMappable(Normalize(-0.5, len(colours) - 0.5), ListedColormap(colours))
            bar = self._figure.colorbar(mapped, cax=self._bar_axes)
            bar.set_ticks(range(len(colours)), labels=[_short(word or "none") for word in scale.words])
        bar.ax.tick_params(colors=self._colours["text"], labelsize=8)
        bar.outline.set_visible(False)
        bar.ax.set_title(
            _short(scale.name.partition(" [")[0].removeprefix("intensity_")),
            color=self._colours["text"],
            fontsize=8,
            loc="left",
        )

    def _place(self) -> None:
        """Give the axes margins in pixels, whatever the size."""
        width, height = max(self.canvas.width(), 1), max(self.canvas.height(), 1)
        if self._axes is None:
            return
        high = max(height - BOTTOM - TOP, 30)
        self._axes.set_position((LEFT / width, BOTTOM / height, 0.5, high / height))
        left = min(max(LEFT, self._extent(self._axes.yaxis) + EDGE), width / 2)
        right = RIGHT
        if self._scale is not None:
            bar = (BOTTOM / height, 10 / width, max(high - 14, 20) / height)
            self._bar_axes.set_position((0.5, *bar))
            right = GAP + min(max(BAR, self._extent(self._bar_axes) + EDGE), width / 3)
            self._bar_axes.set_position((1 - (right - GAP) / width, *bar))
        wide = max(width - left - right, 30)
        self._axes.set_position((left / width, BOTTOM / height, wide / width, high / height))

    def _extent(self, part: Any) -> float:
        """The width in pixels of a part of the plot, with all its words."""
        box = part.get_tightbbox(self.canvas.get_renderer())
        return 0.0 if box is None else float(box.width) / float(self.canvas.device_pixel_ratio)

    def _mark(self) -> None:
        if self._columns is None or self._marks is None:
            return
        x, y = self._columns
        rows = self._chosen
        if y is None:
            values = x.values[rows & np.isfinite(x.values)]
            self._marks.set_data(np.histogram(values, self._edges)[0])
        else:
            self._marks.set_data(x.values[rows], y.values[rows])

    def _press_key(self, event: Any) -> None:
        if event.key == "escape":
            self.dropped.emit()

    def _spanned(self, low: float, high: float) -> None:
        if self._columns is None:
            return
        values = self._columns[0].values
        # (a click is a span of no width)
        rows = (values >= low) & (values <= high) if high > low else np.zeros(len(values), bool)
        self._pick(rows)

    def _framed(self, press: Any, release: Any) -> None:
        if self._columns is None or self._columns[1] is None:
            return
        rows = np.ones(len(self._chosen), bool)
        ends = ((press.xdata, release.xdata), (press.ydata, release.ydata))
        for column, (low, high) in zip(self._columns, map(sorted, ends), strict=True):
            rows &= (column.values >= low) & (column.values <= high) & (high > low)  # type: ignore[union-attr]
        self._selector.set_visible(False)
        self._pick(rows)

    def _pick(self, rows: np.ndarray) -> None:
        self._chosen = rows
        self._mark()
        if self._selector is not None and self._columns is not None and self._columns[1] is None:
            self._selector.set_visible(False)
        self.canvas.draw_idle()
        self.picked.emit(rows)


def _short(word: str, most: int = 12) -> str:
    return word if len(word) <= most else f"{word[: most - 1]}…"
