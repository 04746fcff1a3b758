"""Labels that are drawn again: which layer, on which slices, and a list of objects with the old or the new mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

SLICES = ("All slices", "This slice")
COLUMNS = ("New", "Object", "Slice", "IoU old/new", "Score")
LONGEST = 24
"""How much of a layer's name is shown on the button at most."""
LISTED = 2000
"""Objects that are listed at most, those that change most first."""


@dataclass(frozen=True, slots=True)
class RefinedRow:
    """A row of the list.

    Parameters
    ----------
    label : int
        Of the object.
    slice_name : str
        Where it is; empty in an image of one slice.
    iou, score : float
        IoU of the old and the new mask, and the IoU with the true one that the model predicts.
    new : bool
        Whether the new mask is shown.
    """

    label: int
    slice_name: str
    iou: float
    score: float
    new: bool


class RefinePanel(QWidget):
    """Button, choice of slices, and the list of objects.

    Attributes
    ----------
    wanted : Signal
        Emitted when the labels are to be drawn again.
    decided : Signal
        Emitted with a row and whether it is to show the new mask.
    all_decided : Signal
        The same for all objects, those that are not listed, too.
    selected : Signal
        Emitted with the row whose object is to be shown.
    """

    wanted = Signal()
    decided = Signal(int, bool)
    all_decided = Signal(bool)
    selected = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._slices = QComboBox()
        self._slices.addItems(SLICES)
        self._refine = QPushButton()
        self._refine.setToolTip(
            "Draw each object again, with the object as prompt. The result is a new layer; this one does not change"
        )
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._table = _table()
        self._all = {True: QPushButton("Use all new masks"), False: QPushButton("Keep all old masks")}
        buttons = QHBoxLayout()
        for new, button in self._all.items():
            buttons.addWidget(button)
            button.clicked.connect(self._use_all if new else self._keep_all)
        form = QFormLayout()
        form.addRow("Slices", self._slices)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addWidget(self._refine)
        layout.addWidget(self._text)
        layout.addWidget(self._table, 1)
        layout.addLayout(buttons)
        self._refine.clicked.connect(self.wanted)
        self._table.itemChanged.connect(self._decide)
        self._table.itemSelectionChanged.connect(self._select)
        self.offer("")
        self.show_rows([])

    @property
    def all_slices(self) -> bool:
        """Whether all slices are wanted, not the shown one alone."""
        return self._slices.currentIndex() == 0

    @property
    def text(self) -> str:
        """The text above the list."""
        return self._text.text()

    def offer(self, name: str, *, several: bool = False) -> None:
        """Name the layer that would be refined, empty for none, and whether there are several slices."""
        shown = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
        self._refine.setText(f"Refine “{shown}”  (Shift+R)" if name else "Refine labels  (Shift+R)")
        self._slices.setEnabled(several)

    def say(self, text: str) -> None:
        """Show a text above the list."""
        self._text.setText(text)

    def show_rows(self, rows: Sequence[RefinedRow]) -> None:
        """List objects; those beyond ``LISTED`` are left out."""
        table = self._table
        table.blockSignals(True)
        table.setRowCount(0)
        table.setRowCount(min(len(rows), LISTED))
        for number, row in enumerate(rows[:LISTED]):
            tick = QTableWidgetItem()
            tick.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsSelectable)
            tick.setCheckState(Qt.CheckState.Checked if row.new else Qt.CheckState.Unchecked)
            tick.setToolTip("Ticked: the new mask. Not ticked: the old one")
            table.setItem(number, 0, tick)
            values = (str(row.label), row.slice_name, f"{row.iou:.2f}", f"{row.score:.2f}")
            for column, value in enumerate(values, start=1):
                table.setItem(number, column, QTableWidgetItem(value))
        table.setColumnHidden(2, not any(row.slice_name for row in rows))
        table.blockSignals(False)
        for button in self._all.values():
            button.setEnabled(bool(rows))

    def tick(self, new: Sequence[bool]) -> None:
        """Show which rows have the new mask."""
        self._table.blockSignals(True)
        for number, state in zip(range(self._table.rowCount()), new, strict=False):
            item = self._table.item(number, 0)
            if item is not None:
                item.setCheckState(Qt.CheckState.Checked if state else Qt.CheckState.Unchecked)
        self._table.blockSignals(False)

    def _use_all(self) -> None:
        self.all_decided.emit(True)

    def _keep_all(self) -> None:
        self.all_decided.emit(False)

    def _decide(self, item: QTableWidgetItem) -> None:
        if item.column() == 0:
            self.decided.emit(item.row(), item.checkState() == Qt.CheckState.Checked)

    def _select(self) -> None:
        rows = {index.row() for index in self._table.selectedIndexes()}
        if len(rows) == 1:
            self.selected.emit(rows.pop())


def _table() -> QTableWidget:
    table = QTableWidget(0, len(COLUMNS))
    table.setHorizontalHeaderLabels(list(COLUMNS))
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setToolTip("Those that change most first. Click a row to see the object: old filled, new as an outline")
    for part in (table.verticalHeader(), table.horizontalHeader()):
        if part is not None and part.orientation() == Qt.Orientation.Vertical:
            part.setVisible(False)
        elif part is not None:
            part.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            part.setStretchLastSection(True)
    return table
