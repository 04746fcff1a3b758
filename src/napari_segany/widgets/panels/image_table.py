"""The list of the images of a project: their states, who marked them, and what was found in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QGridLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableView,
    QWidget,
)

from napari_segany.batch.project import FINISHED, IMAGE_STATES, FoundInImage, ImageRecord, Project
from napari_segany.widgets.controllers.pending_objects import count_of

COLUMNS = ("Image", "State", "Objects", "Certainty", "By", "When")
NAME, STATE, OBJECTS, CERTAINTY, BY, WHEN = range(len(COLUMNS))
TIPS = {
    OBJECTS: "How many objects the last batch run found",
    CERTAINTY: "One in ten of the objects that were found has a lower score; click to see the least certain first",
    BY: "Who marked the image last",
    WHEN: "When that was, in the time of this computer",
}
MEASURED_ROWS = 50
"""Rows whose contents decide how wide a column is."""
TICKS = (
    "QTableView::indicator { width: 12px; height: 12px; border: 1px solid gray; border-radius: 2px; }"
    "QTableView::indicator:checked { background: #4a76d8; }"
)
"""napari's style draws no border around the boxes of tables."""
UNREADABLE = "cannot be read"
UNFINISHED, TICKED = "not finished", "ticked"
FILTERS = ("all images", UNFINISHED, *IMAGE_STATES, TICKED)
KEYS = {"uncertain": "U", "done": "D", "accepted": "A", "rejected": "R", "": "N"}
"""Keys of the list that mark the selected images; with one selected, the next one is selected then."""
NO_RECORD = ImageRecord()
Index = QModelIndex | QPersistentModelIndex


@dataclass
class _Rows:
    """What the rows show."""

    names: tuple[str, ...] = ()
    records: Mapping[str, ImageRecord] = field(default_factory=dict)
    found: Mapping[str, FoundInImage] = field(default_factory=dict)
    current: str = ""
    ticked: set[str] = field(default_factory=set)
    unreadable: frozenset[str] = frozenset()

    def cell(self, name: str, column: int) -> Any:
        """The value of a cell, for sorting; None where there is none."""
        record, found = self.records.get(name, NO_RECORD), self.found.get(name)
        values = (
            name,
            record.state or (UNREADABLE if name in self.unreadable else ""),
            found.objects if found else None,
            found.certainty if found else None,
            record.by,
            record.when,
        )
        return values[column]


class ImageRows(QAbstractTableModel):
    """The rows of the table; the tick of a row chooses its image for what is done with several.

    Rows are filtered and sorted here: a proxy would call Python for each comparison.

    Attributes
    ----------
    shown : list of str
        Names of the images that are shown, in the order of the table.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows = _Rows()
        self.shown: list[str] = []
        self._kind, self._text = FILTERS[0], ""
        self._sorted = NAME, False

    def show(self, rows: _Rows) -> None:
        """Show other rows, or other values of the same ones."""
        self.rows = rows
        self._arrange()

    def filter(self, kind: str, text: str) -> None:
        """Show only images of a kind, one of ``FILTERS``, that have a text in their names."""
        self._kind, self._text = kind, text.lower()
        self._arrange()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Put the rows in the order of a column."""
        wanted = column, order == Qt.SortOrder.DescendingOrder
        if wanted != self._sorted:
            self._sorted = wanted
            self._arrange()

    def _arrange(self) -> None:
        """Filter and sort the rows; selected images stay selected, as far as they are shown."""
        column, descending = self._sorted
        values = {name: self._sort_value(name, column) for name in self.rows.names if self._accepts(name)}
        new = sorted(values, key=values.__getitem__, reverse=descending)
        if new == self.shown:
            if new:
                self.dataChanged.emit(self.index(0, 0), self.index(len(new) - 1, len(COLUMNS) - 1))
            return
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        places = [(self.shown[index.row()], index.column()) for index in before]
        self.shown = new
        rows = {name: row for row, name in enumerate(new)}
        after = [self.index(rows[name], at) if name in rows else QModelIndex() for name, at in places]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _accepts(self, name: str) -> bool:
        if self._text not in name.lower():
            return False
        if self._kind == FILTERS[0]:
            return True
        if self._kind == TICKED:
            return name in self.rows.ticked
        state = self.rows.cell(name, STATE)
        return state not in FINISHED if self._kind == UNFINISHED else state == self._kind

    def _sort_value(self, name: str, column: int) -> Any:
        """The value of a cell; images without one come last."""
        value = self.rows.cell(name, column)
        return {OBJECTS: -1, CERTAINTY: 2.0}.get(column, "") if value is None else value

    def rowCount(self, parent: Index | None = None) -> int:
        """How many images there are."""
        return 0 if parent is not None and parent.isValid() else len(self.shown)

    def columnCount(self, parent: Index | None = None) -> int:
        """How many columns there are."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Names of the columns, and what they mean."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.ToolTipRole:
            return TIPS.get(section)
        return COLUMNS[section] if role == Qt.ItemDataRole.DisplayRole else None

    def flags(self, index: Index) -> Qt.ItemFlag:
        """The first column has a tick."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.column() == NAME else flags

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text and tick of a cell."""
        name, column = self.shown[index.row()], index.column()
        if role == Qt.ItemDataRole.CheckStateRole and column == NAME:
            return Qt.CheckState.Checked if name in self.rows.ticked else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.DisplayRole:
            return self._words(self.rows.cell(name, column), name, column)
        return None

    def _words(self, value: Any, name: str, column: int) -> str:
        if value is None:
            return ""
        if column == CERTAINTY:
            return f"{value:.2f}"
        if column == WHEN:
            return local_time(value)
        return f"▸ {value}" if column == NAME and name == self.rows.current else str(value)

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Tick an image, or take the tick away."""
        if role != Qt.ItemDataRole.CheckStateRole or index.column() != NAME:
            return False
        self.tick([self.shown[index.row()]], on=Qt.CheckState(value) == Qt.CheckState.Checked)
        return True

    def tick(self, names: Sequence[str], *, on: bool) -> None:
        """Tick images, or take their ticks away."""
        (self.rows.ticked.update if on else self.rows.ticked.difference_update)(names)
        if self._kind == TICKED:
            self._arrange()
        elif self.shown:
            self.dataChanged.emit(self.index(0, NAME), self.index(len(self.shown) - 1, NAME))


def local_time(when: str) -> str:
    """A time in ISO 8601 as date, hours and minutes of this computer's time zone; what is none stays as it is."""
    from datetime import datetime

    try:
        return f"{datetime.fromisoformat(when).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return when


class _Table(QTableView):
    """A table whose letters mark images, and whose Enter opens one."""

    pressed_key = Signal(str)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Take the keys of the list; all others stay what they are."""
        key = event.text().upper()
        if key in (*KEYS.values(), "\r", "\n"):
            self.pressed_key.emit(key)
            event.accept()
            return
        super().keyPressEvent(event)


class ImageTable(QWidget):
    """A window with a row for each image of the project.

    While it is open, the next and the previous image are those of its order.

    Attributes
    ----------
    opened : Signal
        Emitted with the name of an image that is to be opened.
    marked : Signal
        Emitted with a list of names and the state that they are to have.
    batch_wanted : Signal
        Emitted without arguments when images are to be segmented.
    shown : Signal
        Emitted without arguments when the window opens.
    """

    opened = Signal(str)
    marked = Signal(object, str)
    batch_wanted = Signal()
    shown = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Images")
        self._model = ImageRows()
        self._kind = QComboBox()
        self._kind.addItems(FILTERS)
        self._kind.setToolTip("Which images are shown")
        self._text = QLineEdit()
        self._text.setPlaceholderText("Filter by name")
        self._text.setClearButtonEnabled(True)
        self.table = _Table()
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._kind.currentTextChanged.connect(self._filter)
        self._text.textChanged.connect(self._filter)
        self.table.doubleClicked.connect(self._open)
        self.table.pressed_key.connect(self._press)
        self._model.dataChanged.connect(self._tell)
        self._model.layoutChanged.connect(self._tell)
        self._make_table()
        self._lay_out()
        self.resize(620, 420)

    def _make_table(self) -> None:
        table = self.table
        table.setModel(self._model)
        table.setSortingEnabled(True)
        table.sortByColumn(NAME, Qt.SortOrder.AscendingOrder)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.verticalHeader().hide()
        header = table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setResizeContentsPrecision(MEASURED_ROWS)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        table.setStyleSheet(TICKS)
        table.setToolTip("Double-click or Enter opens an image; D done, U uncertain, A accepted, R rejected, N none")

    def _lay_out(self) -> None:
        layout = QGridLayout(self)
        layout.addWidget(self._kind, 0, 0)
        layout.addWidget(self._text, 0, 1, 1, 4)
        layout.addWidget(self.table, 1, 0, 1, 5)
        marks = {"Done (D)": "done", "Uncertain (U)": "uncertain", "Accept (A)": "accepted", "Reject (R)": "rejected"}
        for column, (text, state) in enumerate({**marks, "No state (N)": ""}.items()):
            button = self._button(text, "Mark the selected images so")
            button.setProperty("state", state)
            button.clicked.connect(self._mark_by_button)
            layout.addWidget(button, 2, column)
        tick = self._button("Tick shown", "Tick all images that the filter shows")
        untick = self._button("Untick all", "Take all ticks away")
        batch = self._button("Segment images…", "Find objects in the ticked images, or in others")
        for column, (button, act) in enumerate(
            ((tick, self._tick_shown), (untick, self._untick), (batch, self.batch_wanted.emit))
        ):
            button.clicked.connect(act)
            layout.addWidget(button, 3, column)
        layout.addWidget(self._note, 4, 0, 1, 5)

    @staticmethod
    def _button(text: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        return button

    @property
    def text(self) -> str:
        """The counts below the table."""
        return self._note.text()

    @property
    def ticked(self) -> tuple[str, ...]:
        """Names of the ticked images, in the order of the folder."""
        rows = self._model.rows
        return tuple(name for name in rows.names if name in rows.ticked)

    @property
    def order(self) -> tuple[str, ...]:
        """Names of the images that are shown, in the order of the table."""
        return tuple(self._model.shown)

    @property
    def selected(self) -> tuple[str, ...]:
        """Names of the images whose rows are selected."""
        return tuple(self._name_at(index) for index in self.table.selectionModel().selectedRows(NAME))

    def _name_at(self, index: Index) -> str:
        return self._model.shown[index.row()]

    def show_project(
        self,
        project: Project | None,
        current: str,
        found: Mapping[str, FoundInImage],
        unreadable: frozenset[str] = frozenset(),
    ) -> None:
        """Show the images of a project; one of them is open, and some could not be read."""
        names, records = ((), {}) if project is None else (project.names, project.records)
        ticked = self._model.rows.ticked & set(names)
        rows = _Rows(names, records, found, current, ticked, unreadable)
        if rows != self._model.rows:
            self._model.show(rows)
            self._tell()

    def sort_by_certainty(self) -> None:
        """Show the least certain images first."""
        self.table.sortByColumn(CERTAINTY, Qt.SortOrder.AscendingOrder)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc closes the window."""
        if event.key() == Qt.Key.Key_Escape:
            self.close()
            return
        super().keyPressEvent(event)

    def showEvent(self, event: Any) -> None:
        """Have the values of the rows read again."""
        super().showEvent(event)
        self.shown.emit()

    def _tell(self) -> None:
        rows = self._model.rows
        states = Counter(rows.cell(name, STATE) for name in rows.names)
        counts = [f"{states[state]} {state}" for state in IMAGE_STATES if states[state]]
        counts += [f"{len(rows.ticked)} ticked"] if rows.ticked else []
        shown = self._model.rowCount()
        total = count_of(len(rows.names), "image")
        self._note.setText(", ".join([total if shown == len(rows.names) else f"{shown} of {total}", *counts]))

    def _filter(self) -> None:
        self._model.filter(self._kind.currentText(), self._text.text().strip())
        self._tell()

    def _open(self, index: Index) -> None:
        self.opened.emit(self._name_at(index))

    def _press(self, key: str) -> None:
        if key in "\r\n":
            if self.selected:
                self.opened.emit(self.selected[0])
            return
        self._mark(next(state for state, letter in KEYS.items() if letter == key))

    def _mark_by_button(self) -> None:
        self._mark(self.sender().property("state"))

    def _mark(self, state: str) -> None:
        """Mark the selected images; a single one is followed by the next."""
        names = self.selected
        if not names:
            return
        row = self.table.currentIndex().row()
        self.marked.emit(list(names), state)
        if len(names) == 1:
            # where the filter has taken the row away, the next one is in its place
            at = next((place for place, name in enumerate(self.order) if name == names[0]), row - 1)
            self.table.selectRow(min(at + 1, self._model.rowCount() - 1))

    def _tick_shown(self) -> None:
        self._model.tick(self.order, on=True)

    def _untick(self) -> None:
        self._model.tick(self._model.rows.names, on=False)
