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

from napari.utils.events import EmitterGroup, Event, Selection
from npe2 import PluginManager
from psygnal import Signal
from qtpy.QtCore import QAbstractItemModel, QEvent, QModelIndex, QObject, Qt
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
        Emitted with whether the rows are the same, when there are other rows or values in the same columns.
    states : frozenset of str
        The states of the objects that are shown.
    """

    chosen_changed = Signal()
    picked = Signal(int)
    renewed = Signal(bool)

    def __init__(self, objects: ObjectFeatures) -> None:
        self._objects = objects
        self.name = objects.labels.name
        self.events = EmitterGroup(source=self, features=Event)
        self._selection: Selection[int] = Selection()
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
    def selected_data(self) -> Selection[int]:
        """Numbers of the rows that are selected; the table sets them when a row is clicked."""
        return self._selection

    @selected_data.setter
    def selected_data(self, rows: Iterable[int]) -> None:
        labels = self._frame.index
        before, self._chosen = self._chosen, {int(labels[row]) for row in rows}
        self._select()
        new = self._chosen if len(self._chosen) == 1 else self._chosen - before
        if new:
            self.picked.emit(max(new))
        self.chosen_changed.emit()

    @property
    def chosen(self) -> list[int]:
        """Labels of the objects whose rows are selected."""
        return sorted(int(self._frame.index[row]) for row in self._selection)

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
        same_rows = before.index.equals(self._frame.index)
        self._select()
        if list(before.columns) == list(self._frame.columns):
            self.renewed.emit(same_rows)
        else:
            self.events.features()
            same_rows = False
        if not same_rows:
            self._mark()
        self.chosen_changed.emit()

    def _mark(self) -> None:
        """Have the table mark the selected rows again: with new rows it forgets them."""
        rows = set(self._selection)
        self._selection.clear()
        self._selection.update(rows)

    def _shown(self) -> Any:
        frame = self._objects.table()
        if self._text:
            found = frame.index == self._number()
            for name in (name for name in FILTERED if name in frame):
                found |= frame[name].astype(str).str.lower().str.contains(self._text, regex=False).to_numpy(bool)
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
        rows = {row for row, label in enumerate(self._frame.index) if label in self._chosen}
        others = rows ^ set(self._selection)
        if others:
            # the table selects all rows again when it is told
            self._selection.symmetric_difference_update(others)


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
        self._selected.clear()
        if rows is not None:
            self._selected.add(rows)
            rows.renewed.connect(self._renew)
        self._hide_switches()

    def _renew(self, same_rows: bool) -> None:
        """Show other rows or values in the same columns; napari would measure all columns again, which takes longer."""
        if self.rows is None:
            return
        sorter: Any = self._table.model()
        if same_rows:
            sorter.sourceModel().df = self.rows.features
            self._table.viewport().update()
            self._widen()
            return
        # Qt would look after each selected cell, and the rows are selected again
        selection = self._table.selectionModel()
        before = selection.blockSignals(True)
        selection.clear()
        selection.blockSignals(before)
        sorter.sourceModel().replace_data(self.rows.features)
        self._widen()

    def _widen(self) -> None:
        """Have names and classes that were given since fit their columns."""
        if self.rows is not None:
            for section, name in enumerate(self.rows.columns, start=1):
                wanted = self._table.sizeHintForColumn(section) if name in GIVEN else 0
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
