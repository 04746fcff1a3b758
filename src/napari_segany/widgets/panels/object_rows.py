"""napari's own features table, shown the objects of one layer.

The table follows whatever layers are selected in the viewer, and takes the number of a row for its label. While
somebody clicks, the selected layer is that of the clicks; and labels have gaps. So it is given a viewer in which one
layer is selected, always ours, whose data are the rows: those that are filtered in, in the order that is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from napari.utils.events import EmitterGroup, Event, Selection
from npe2 import PluginManager
from psygnal import Signal
from qtpy.QtCore import (
    QAbstractItemModel,
    QEvent,
    QItemSelection,
    QItemSelectionModel,
    QItemSelectionRange,
    QModelIndex,
    QObject,
    Qt,
    QTimer,
)
from qtpy.QtCore import Signal as QtSignal
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import QApplication, QLineEdit, QShortcut, QStyledItemDelegate, QTableView, QWidget

from napari_segany.core.review import ALL, FILTERS
from napari_segany.layers.compat import present_parts
from napari_segany.layers.object_features import ObjectFeatures
from napari_segany.widgets.focus import focus_canvas

COMMAND = "napari.widgets.features_table"
ROW_PADDING = 4
"""Pixels of a row above and below its text, together."""
MEASURED_ROWS = 30
"""Columns are made as wide as these many rows need."""
_MOVES = ("Up", "Down", "Left", "Right", "PageUp", "PageDown", "Home", "End", "Tab", "Backtab")
_OTHERS = ("Delete", "Backspace", "Shift", "Control", "Alt", "Meta")
KEPT_KEYS = frozenset(getattr(Qt.Key, f"Key_{name}") for name in (*_MOVES, *_OTHERS))
"""Keys that a table uses."""
TITLES = {
    "class_name": "class",
    "class_probability": "class (probability)",
    "suggested": "class (model's suggestion)",
    "probability": "suggestion (probability)",
    "how": "made by",
    "reviewed_by": "reviewed by",
    "reviewed_at": "reviewed at",
}
"""Headers of columns whose names are written for programs."""
GIVEN = ("name", "class_name", "state")
"""Columns whose values change by what the user does in the table."""
WIDEN_MS = 50
"""How long after a change columns are made wide enough."""
FILTERED = ("name", "class_name", "suggested", "state", "how", "flags")
"""Columns that the filter searches, next to the label."""


class ObjectRows:
    """Objects as napari's table sees a layer: a name, features, and the numbers of the rows that are selected.

    Parameters
    ----------
    objects : ObjectFeatures
        What is shown.

    Attributes
    ----------
    chosen_changed : Signal
        Emitted without arguments when other objects are chosen, here or in the layer.
    picked : Signal
        Emitted with the label of a row that the user clicked.
    renewed : Signal
        Emitted with whether the rows and columns are the same, when there are other rows, columns or values.
    marked : Signal
        Emitted without arguments when the table is to mark other rows as selected.
    states : frozenset of str
        The states of the objects that are shown.
    """

    chosen_changed = Signal()
    picked = Signal(int)
    renewed = Signal(bool)
    marked = Signal()

    def __init__(self, objects: ObjectFeatures) -> None:
        self._objects = objects
        self.name = objects.labels.name
        self.events = EmitterGroup(source=self, features=Event)
        self._selection: set[int] = set()
        self._text, self._order = "", ("", False)
        self._least_certain = False
        self.states = FILTERS[ALL]
        self._chosen: set[int] = set()
        # (napari selects a label at first, which is no choice of the user)
        self._picked_label = int(objects.labels.selected_label)
        self._frame = self._shown()
        self._features = self._with_titles()
        objects.changed.connect(self.refresh)
        objects.labels.events.selected_label.connect(self._follow)

    def close(self) -> None:
        """Disconnect everything."""
        self._objects.changed.disconnect(self.refresh)
        self._objects.labels.events.selected_label.disconnect(self._follow)

    @property
    def features(self) -> Any:
        """The rows (DataFrame) that are filtered in, by label, under their headers; what is not known is empty."""
        return self._features

    @property
    def columns(self) -> list[str]:
        """Names of the columns, as they are written to files."""
        return [str(name) for name in self._frame.columns]

    def write(self, path: Path) -> None:
        """Write the rows that are filtered in to a CSV file.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        self._frame.to_csv(path)

    def _with_titles(self) -> Any:
        frame = self._frame.copy()
        for name in frame.columns[frame.isna().any()]:
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "")
        taken = set(frame.columns)
        return frame.rename(columns={name: title for name, title in TITLES.items() if title not in taken})

    @property
    def selected_data(self) -> set[int]:
        """Numbers of the rows that are selected; the table sets them when a row is clicked.

        The set has no events: napari would select each row in the table again, one by one and twice.
        """
        return self._selection

    @selected_data.setter
    def selected_data(self, rows: Iterable[int]) -> None:
        labels = self._frame.index
        self._selection = {int(row) for row in rows}
        before, self._chosen = self._chosen, set(labels[sorted(self._selection)].tolist())
        new = self._chosen if len(self._chosen) == 1 else self._chosen - before
        if new:
            self.picked.emit(max(new))
        self.chosen_changed.emit()

    @property
    def chosen(self) -> list[int]:
        """Labels of the objects whose rows are selected."""
        return sorted(self._frame.index[sorted(self._selection)].tolist())

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self._frame)

    def choose(self, labels: Iterable[int]) -> None:
        """Select the rows of objects."""
        self._chosen = set(labels)
        self._select()
        self.chosen_changed.emit()

    def neighbour(self, by: int) -> int:
        """The label `by` rows below the chosen one, around the ends; the first where none is chosen, 0 without rows."""
        if not len(self._frame):
            return 0
        row = max(self._selection) + by if self._selection else 0
        return int(self._frame.index[row % len(self._frame)])

    def filter(self, text: str) -> None:
        """Show only objects whose label is a text, or whose name, flags or making have it in them."""
        self._text = text.strip().lower()
        self.refresh()

    def sort(self, column: str, *, descending: bool) -> None:
        """Put rows in the order of a column; an empty name or that of the labels: of the labels."""
        self._order, self._least_certain = (column, descending), False
        self.refresh()

    def review(self, states: frozenset[str], *, least_certain: bool) -> None:
        """Show only objects in some states; with `least_certain` in the order of their certainty."""
        self.states, self._least_certain = states, least_certain
        self.refresh()

    def after(self, labels: Iterable[int]) -> int:
        """The label of the row below the last one of some objects, around the end, that is none of theirs.

        The first one's where none of them has a row; 0 where there is no other row.
        """
        shown, mine = self._frame.index.tolist(), set(labels)
        last = max((row for row, label in enumerate(shown) if label in mine), default=-1)
        rest = (label for label in (*shown[last + 1 :], *shown[: max(last, 0)]) if label not in mine)
        return int(next(rest, 0))

    def refresh(self) -> None:
        """Show the current values of the layer's features."""
        before, self._frame = self._frame, self._shown()
        self._features = self._with_titles()
        same = before.index.equals(self._frame.index) and list(before.columns) == list(self._frame.columns)
        selected, self._selection = self._selection, self._rows_of_chosen()
        self.renewed.emit(same)
        if not same or selected != self._selection:
            # with new rows the table forgets them
            self.marked.emit()
        self.chosen_changed.emit()

    def _shown(self) -> Any:
        frame = self._objects.table()
        if self._text:
            found = frame.index == self._number()
            for name in (name for name in FILTERED if name in frame):
                found |= _holds(frame[name], self._text)
            frame = frame[found]
        if self.states != FILTERS[ALL]:
            states = self._objects.states
            frame = frame[[states.get(label, "") in self.states for label in frame.index.tolist()]]
        if self._least_certain:
            there = set(frame.index.tolist())
            return frame.loc[[label for label in self._objects.least_certain_first() if label in there]]
        column, descending = self._order
        if column not in frame:
            return frame.sort_index(ascending=not descending)
        try:
            return frame.sort_values(column, ascending=not descending, kind="stable")
        except TypeError:  # a column of the user's, of values that have no order
            return frame.sort_values(column, ascending=not descending, key=lambda values: values.astype(str))

    def _number(self) -> int:
        return int(self._text) if self._text.isascii() and self._text.isdigit() else 0

    def _follow(self, event: Any = None) -> None:
        """A label was picked in the layer."""
        label = int(self._objects.labels.selected_label)
        # (with other colours of the layer napari tells of the same one again)
        before, self._picked_label = self._picked_label, label
        if label != before and label not in self._chosen:
            self.choose([label])

    def _select(self) -> None:
        rows = self._rows_of_chosen()
        if rows != self._selection:
            self._selection = rows
            self.marked.emit()

    def _rows_of_chosen(self) -> set[int]:
        rows = self._frame.index.get_indexer(sorted(self._chosen)) if len(self._frame) else np.zeros(0, int)
        return set(rows[rows >= 0].tolist())


def _holds(column: Any, text: str) -> np.ndarray:
    """(rows,) bool, in which cells of a column a text in lower case is; equal cells are searched once."""
    codes, values = column.astype(str).factorize()
    found = np.array([text in str(value).lower() for value in values], bool)
    return np.append(found, False)[codes]


def _runs(rows: Iterable[int]) -> list[tuple[int, int]]:
    """The first and the last of numbers that follow each other."""
    numbers = np.array(sorted(rows), int)
    gaps = np.flatnonzero(np.diff(numbers) != 1)
    first, last = np.concatenate([[0], gaps + 1]), np.concatenate([gaps, [len(numbers) - 1]])
    return list(zip(numbers[first].tolist(), numbers[last].tolist(), strict=True)) if len(numbers) else []


class TableKeys(QObject):
    """Hands the keys that a table has no use for to the picture, so that one can go on there after a click on a row.

    Parameters
    ----------
    table : QTableView
        Owns this object.
    """

    def __init__(self, table: QTableView) -> None:
        super().__init__(table)
        self._table = table
        table.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """See Qt."""
        if event.type() != QEvent.Type.KeyPress or not isinstance(event, QKeyEvent) or event.key() in KEPT_KEYS:
            return False
        focus_canvas(self._table)
        canvas = QApplication.focusWidget()
        if canvas is None or canvas is self._table:
            return False
        QApplication.sendEvent(canvas, event)
        return True


class NameEditor(QStyledItemDelegate):
    """Edits cells, and says what was typed instead of writing it into the table.

    Attributes
    ----------
    typed : Signal
        Emitted with the row and the text.
    """

    typed = QtSignal(int, str)

    def setModelData(self, editor: QWidget, model: QAbstractItemModel, index: Any) -> None:
        """See Qt."""
        if isinstance(editor, QLineEdit):
            self.typed.emit(index.row(), editor.text())


class FeaturesView:
    """napari's table widget, and the layer that it is to show.

    Attributes
    ----------
    widget : QWidget
        To be put into a layout.
    delete_wanted : Signal
        Emitted without arguments when the Delete key is pressed in the table.
    renamed : Signal
        Emitted with the label of an object, and the name that was typed into its row after a double click.
    sorted : Signal
        Emitted without arguments when the rows were put in the order of a column.
    """

    delete_wanted = Signal()
    renamed = Signal(int, str)
    sorted = Signal()

    def __init__(self) -> None:
        self._selected: Selection[ObjectRows] = Selection()
        layers = SimpleNamespace(selection=self._selected, events=EmitterGroup(source=self, renamed=Event))
        self.widget: QWidget = PluginManager.instance().commands.execute(
            COMMAND, args=(SimpleNamespace(layers=layers),)
        )
        self.widget.layout().setContentsMargins(0, 0, 0, 0)
        self._table: QTableView = self.widget.table
        self._table.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        self._table.setMinimumHeight(70)
        self._table.setWordWrap(False)
        rows = self._table.verticalHeader()
        rows.setMinimumSectionSize(0)
        rows.setDefaultSectionSize(self._table.fontMetrics().height() + ROW_PADDING)
        header = self._table.horizontalHeader()
        header.setResizeContentsPrecision(MEASURED_ROWS)
        # sorted by its proxy, two thousand rows take half a second, each time one is added
        self._table.setSortingEnabled(False)
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.sortIndicatorChanged.connect(self._sort)
        self._keys = TableKeys(self._table)
        # all other ways to edit would write into rows that are made again
        self._table.setEditTriggers(QTableView.EditTrigger.NoEditTriggers)
        self._table.doubleClicked.connect(self._edit_name)
        self._names = NameEditor(self._table)
        self._names.typed.connect(self._take_name)
        self._table.setItemDelegate(self._names)
        for key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            shortcut = QShortcut(QKeySequence(key), self._table, context=Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(self.delete_wanted.emit)
        self._titles: list[str] = []
        self._seen: dict[str, Any] = {}
        self._new: set[str] = set()
        self._later = QTimer(self.widget, singleShot=True, interval=WIDEN_MS)
        self._later.timeout.connect(self._widen)
        self._hide_switches()

    @property
    def rows(self) -> ObjectRows | None:
        """What is shown."""
        return next(iter(self._selected), None)

    def show_rows(self, rows: ObjectRows | None) -> None:
        """Show other objects, or none; what is not shown costs nothing."""
        if rows is self.rows:
            return
        if self.rows is not None:
            self.rows.renewed.disconnect(self._renew)
            self.rows.marked.disconnect(self._mark)
        self._selected.clear()
        if rows is not None:
            self._selected.add(rows)
            rows.renewed.connect(self._renew)
            rows.marked.connect(self._mark)
            self._titles = [str(name) for name in rows.features.columns]
            self._mark()
        self._hide_switches()

    def _renew(self, same: bool) -> None:
        """Show other rows, columns or values; napari would measure all columns again, which takes longer."""
        if self.rows is None:
            return
        sorter: Any = self._table.model()
        if same:
            sorter.sourceModel().df = self.rows.features
            self._table.viewport().update()
        else:
            self._clear_marks()
            titles, before = [str(name) for name in self.rows.features.columns], self._titles
            widths = {name: self._table.columnWidth(at) for at, name in enumerate(before, 1)}
            sorter.sourceModel().replace_data(self.rows.features)
            self._titles = titles
            for section, name in enumerate(titles, 1) if titles != before else ():
                self._table.setColumnWidth(section, widths[name] if name in widths else self._header_width(section))
                self._new |= {name} - widths.keys()
        self._later.start()

    def _header_width(self, section: int) -> int:
        return self._table.horizontalHeader().sectionSizeHint(section)

    def _clear_marks(self) -> None:
        """Forget which rows are selected: Qt would search for each selected cell in the new rows."""
        selection = self._table.selectionModel()
        before = selection.blockSignals(True)
        selection.clear()
        selection.blockSignals(before)

    def _mark(self) -> None:
        """Mark the selected rows, those that follow each other at once."""
        selection, model = self._table.selectionModel(), self._table.model()
        found, last = QItemSelection(), model.columnCount() - 1
        for start, stop in _runs(self.rows.selected_data) if self.rows is not None else ():
            found.append(QItemSelectionRange(model.index(start, 0), model.index(stop, last)))
        before = selection.blockSignals(True)
        # one after the other: Qt would compare each range with each that was selected
        selection.select(QItemSelection(), QItemSelectionModel.SelectionFlag.Clear)
        selection.select(found, QItemSelectionModel.SelectionFlag.Select)
        selection.blockSignals(before)
        self._table.viewport().update()

    def _widen(self) -> None:
        """Have names and classes that were given since fit their columns, and new columns their values."""
        if self.rows is None:
            return
        new, self._new = self._new, set()
        for section, (name, title) in enumerate(zip(self.rows.columns, self.rows.features, strict=True), start=1):
            column = self.rows.features[title]
            known = name not in GIVEN or (name in self._seen and column.equals(self._seen[name]))
            if known and title not in new:
                continue
            self._seen[name] = column
            wanted = self._table.sizeHintForColumn(section)
            if wanted > self._table.columnWidth(section):
                self._table.setColumnWidth(section, wanted)

    def _edit_name(self, index: QModelIndex) -> None:
        """Have the name in a row edited in place."""
        if self.rows is None or "name" not in self.rows.columns:
            return
        sorter: Any = self._table.model()
        columns, model = self.rows.columns, sorter.sourceModel()
        model.set_immutable_columns([str(one) for one in self.rows.features.columns if one != "name"])
        model.editable = True
        self._table.edit(sorter.index(index.row(), columns.index("name") + 1))

    def _take_name(self, row: int, name: str) -> None:
        if self.rows is not None:
            self.renamed.emit(int(self.rows.features.index[row]), name.strip())

    def scroll(self) -> None:
        """Bring the first of the selected rows into view."""
        if self.rows is not None and self.rows.selected_data:
            self._table.scrollTo(self._table.model().index(min(self.rows.selected_data), 0))

    def _sort(self, section: int, order: Qt.SortOrder) -> None:
        if self.rows is not None:
            names = ["", *self.rows.columns]
            column = names[section] if 0 <= section < len(names) else ""
            self.rows.sort(column, descending=order == Qt.SortOrder.DescendingOrder)
            self.sorted.emit()

    def _hide_switches(self) -> None:
        # what is edited in the table would be written again from the pixels; names and files have their buttons
        for switch in present_parts(self.widget, ("info", "toggle", "join_toggle", "save")):
            switch.hide()
