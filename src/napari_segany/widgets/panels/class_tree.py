"""The classes as a tree of two levels: colour, key, count of objects, and whether they are shown."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QPoint, QSize, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTreeWidget, QTreeWidgetItem

from napari_segany.core.objects import ObjectClass
from napari_segany.layers.class_list import ClassList

NONE = "no class"
NAME, KEY, COUNT, SHOWN = range(4)
"""Columns."""
ROWS, FEWEST = 6, 4
"""Rows that the tree is high, and on a small screen."""
_CLASS = Qt.ItemDataRole.UserRole


class ClassTree(QTreeWidget):
    """Shows classes; the selected row is the current class.

    Attributes
    ----------
    chosen : Signal
        Emitted with the name of the class that the user selected; empty for none.
    renamed : Signal
        Emitted with the name of a class, and its new name, after it was edited in place.
    hidden_changed : Signal
        Emitted with the names, as a frozenset, of the classes whose objects are not to be seen.
    menu_wanted : Signal
        Emitted with a place on the screen.
    """

    chosen = Signal(str)
    renamed = Signal(str, str)
    hidden_changed = Signal(object)
    menu_wanted = Signal(QPoint)

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, QTreeWidgetItem] = {}
        self._classes = ClassList()
        self._counts: dict[str, int] = {}
        self._hidden: frozenset[str] = frozenset()
        self._filling = False
        self.setHeaderLabels(["class", "key", "objects", "shown"])
        self.setToolTip(
            "Click a class to make it the current one, double-click to rename it; right-click for more. "
            "The tick shows or hides its objects in the picture; their pixels stay."
        )
        self.setUniformRowHeights(True)
        # an empty box, too, is to be seen in both themes
        self.setStyleSheet("QTreeView::indicator:unchecked { border: 1px solid #888888; border-radius: 2px; }")
        self.setIndentation(14)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.header()
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(20)
        for column in range(4):
            stretch = QHeaderView.ResizeMode.Stretch
            header.setSectionResizeMode(column, stretch if column == NAME else QHeaderView.ResizeMode.ResizeToContents)
        self.itemSelectionChanged.connect(self._select)
        self.itemDoubleClicked.connect(self._edit)
        self.itemChanged.connect(self._edited)
        self.customContextMenuRequested.connect(self._open_menu)

    def sizeHint(self) -> QSize:
        """As high as a few rows."""
        return QSize(200, self.header().sizeHint().height() + ROWS * self._row_height + 2)

    def minimumSizeHint(self) -> QSize:
        """As high as fewer rows, so that the panel fits a small screen."""
        return QSize(120, self.header().sizeHint().height() + FEWEST * self._row_height + 2)

    @property
    def _row_height(self) -> int:
        return int(self.fontMetrics().height()) + 5

    @property
    def current(self) -> str:
        """The name of the current class; empty for none."""
        return next((str(item.data(NAME, _CLASS)) for item in self.selectedItems()), "")

    @property
    def hidden(self) -> frozenset[str]:
        """Names of the classes whose objects are hidden; the empty one stands for objects without a class."""
        return self._hidden

    def show_classes(self, classes: ClassList, current: str) -> None:
        """Show these classes, one of which is current."""
        self._filling = True
        self._classes = classes
        self._hidden &= {*classes.names, ""}
        self.clear()
        self._rows = {"": self._row(self.invisibleRootItem(), ObjectClass("", 0, ""))}
        for one in classes.below(""):
            self._rows[one.name] = self._row(self.invisibleRootItem(), one)
            for child in classes.below(one.name):
                self._rows[child.name] = self._row(self._rows[one.name], child)
        self.expandAll()
        self._rows.get(current, self._rows[""]).setSelected(True)
        self._write_counts()
        self._filling = False

    def choose(self, name: str) -> None:
        """Make a class the current one, as a click does."""
        self.setCurrentItem(self._rows[name])

    def count(self, counts: Mapping[str, int]) -> None:
        """Show how many objects have each class, by its name; a parent has those below it, too."""
        counts = {name: count for name, count in counts.items() if count}
        if counts != self._counts:
            self._counts = counts
            self._filling = True
            self._write_counts()
            self._filling = False

    def _row(self, parent: QTreeWidgetItem, one: ObjectClass) -> QTreeWidgetItem:
        item = QTreeWidgetItem(parent, [one.own_name or NONE, str(one.key or ""), "", ""])
        item.setData(NAME, _CLASS, one.name)
        item.setSizeHint(NAME, QSize(0, self._row_height))
        item.setTextAlignment(COUNT, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if one.colour:
            picture = QPixmap(12, 12)
            picture.fill(QColor(one.colour))
            item.setIcon(NAME, QIcon(picture))
        else:
            item.setForeground(NAME, QBrush(QColor("#888888")))
        shown = Qt.CheckState.Unchecked if one.name in self._hidden else Qt.CheckState.Checked
        item.setCheckState(SHOWN, shown)
        return item

    def _write_counts(self) -> None:
        for name, item in self._rows.items():
            count = sum(self._counts.get(member, 0) for member in self._classes.family(name))
            item.setText(COUNT, str(count) if count else "")

    def _select(self) -> None:
        if not self._filling and self.selectedItems():
            self.chosen.emit(self.current)

    def edit_current(self) -> None:
        """Have the name of the current class edited in place."""
        self._edit(self._rows[self.current], NAME)

    def _edit(self, item: QTreeWidgetItem, column: int) -> None:
        if column == SHOWN or not item.data(NAME, _CLASS):
            return
        self._filling = True
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
        self._filling = False
        self.editItem(item, NAME)

    def _edited(self, item: QTreeWidgetItem, column: int) -> None:
        if self._filling:
            return
        if column == SHOWN:
            self._switch(item)
        elif column == NAME:
            before, text = str(item.data(NAME, _CLASS)), item.text(NAME).strip()
            known = self._classes.of_name(before)
            if known is not None and text != known.own_name:
                new = f"{known.parent}/{text}" if known.parent and "/" not in text else text
                self._filling = True
                item.setText(NAME, known.own_name)
                self._filling = False
                self.renamed.emit(before, new)

    def _switch(self, item: QTreeWidgetItem) -> None:
        """Show or hide a class, and those below it."""
        names = frozenset(self._classes.family(str(item.data(NAME, _CLASS))))
        shown = item.checkState(SHOWN) == Qt.CheckState.Checked
        self._hidden = self._hidden - names if shown else self._hidden | names
        self._filling = True
        for name in names:
            self._rows[name].setCheckState(SHOWN, item.checkState(SHOWN))
        self._filling = False
        self.hidden_changed.emit(self._hidden)

    def _open_menu(self, place: QPoint) -> None:
        self.menu_wanted.emit(self.viewport().mapToGlobal(place))
