"""What annotation cost, by model, as a table."""

from __future__ import annotations

import math
from collections.abc import Callable

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_segany.engine.session_effort import EffortReport
from napari_segany.session.effort import ORIGINS, ModelEffort
from napari_segany.widgets.controllers.pending_objects import count_of

Measure = tuple[str, Callable[[ModelEffort], str]]


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0%}"


def _share(origin: str) -> Measure:
    return f"from {origin}", lambda one: _percent(one.share(origin))


ROWS: tuple[Measure, ...] = (
    ("seconds per object", lambda one: _number(one.seconds_each)),
    ("clicks per object", lambda one: _number(one.clicks_each)),
    ("objects", lambda one: f"{one.objects:,}"),
    ("masks per image", lambda one: _number(one.masks_each_image)),
    *map(_share, ORIGINS),
)


class EffortPanel(QWidget):
    """A button that reads all sessions, and a table with a column for each model.

    Attributes
    ----------
    wanted : Signal
        Emitted without arguments when the table is to be made.
    """

    wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._measure = QPushButton("Measure my effort")
        self._measure.setToolTip(
            "Seconds and clicks for each object with each model, from all your sessions on this computer. "
            "Pauses of more than a minute do not count."
        )
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.hide()
        self._table = QTableWidget(len(ROWS), 0)
        self._table.setVerticalHeaderLabels([name for name, _ in ROWS])
        self._table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self._table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self._table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self._table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self._table.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (QLabel("<b>Effort</b>"), self._measure, self._table, self._text):
            layout.addWidget(part)
        self._measure.clicked.connect(self.wanted)

    def show_reading(self) -> None:
        """Show that sessions are being read."""
        self._measure.setEnabled(False)
        self._say("Reading your sessions …")

    def show_report(self, report: EffortReport | None) -> None:
        """Show what sessions come to; None where they could not be read."""
        self._measure.setEnabled(True)
        efforts = () if report is None else report.efforts
        self._table.setColumnCount(len(efforts))
        self._table.setHorizontalHeaderLabels([one.model for one in efforts])
        for column, one in enumerate(efforts):
            for row, (_, text) in enumerate(ROWS):
                item = QTableWidgetItem(text(one))
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self._table.setItem(row, column, item)
        self._table.setVisible(bool(efforts))
        self._fit()
        self._say("" if report is None else _summary(report))

    def _fit(self) -> None:
        """As high as all its rows, with the bar that moves the columns."""
        heights = sum(self._table.rowHeight(row) for row in range(len(ROWS)))
        bar = self._table.horizontalScrollBar().sizeHint().height()
        header = self._table.horizontalHeader().sizeHint().height()
        self._table.setFixedHeight(heights + header + bar + 2 * self._table.frameWidth())

    def _say(self, text: str) -> None:
        self._text.setText(text)
        self._text.setVisible(bool(text))


def _summary(report: EffortReport) -> str:
    if not report.efforts and not report.problems:
        return "There is no session with any work yet."
    text = f"From {count_of(report.sessions, 'session')}; pauses of more than a minute do not count."
    if any(math.isnan(one.seconds_each) and one.objects for one in report.efforts):
        text += " Sessions of earlier versions have no times."
    if report.problems:
        text += f" {count_of(len(report.problems), 'session')} could not be read: {report.problems[0]}"
    return text
