"""Classes: the current one, what gives them, and what is suggested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QCheckBox,
    QColorDialog,
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QMenu,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_segany.layers.class_list import ClassList
from napari_segany.widgets.panels.class_tree import NONE, ClassTree

__all__ = ["NONE", "ClassesPanel"]
KEYS_TIP = (
    "Point at an object and press 1 to 9 to give it the class of that key; 0 takes its class away. "
    "While this is off, the digits do what napari has them do."
)
TABLE = "Classes (*.csv)"


class ClassesPanel(QWidget):
    """Shows the classes, and emits what the user wants.

    Attributes
    ----------
    chosen : Signal
        Emitted with the name of the class that new objects are to get; empty for none.
    given : Signal
        Emitted without arguments when the selected objects are to get the current class.
    keys_switched : Signal
        Emitted with whether digits are to give classes.
    suggest_wanted : Signal
        Emitted without arguments.
    accepted : Signal
        Emitted with whether the suggestions of selected rows only are accepted.
    added, removed : Signal
        Emitted with the name of a class.
    renamed, recoloured, keyed : Signal
        Emitted with the name of a class, and its new name, colour or key.
    hidden_changed : Signal
        Emitted with the names of the classes whose objects are hidden; empty for objects without a class.
    file_read, file_written : Signal
        Emitted with the path of a table of classes.
    """

    chosen = Signal(str)
    given = Signal()
    keys_switched = Signal(bool)
    suggest_wanted = Signal()
    accepted = Signal(bool)
    added = Signal(str)
    removed = Signal(str)
    renamed = Signal(str, str)
    recoloured = Signal(str, str)
    keyed = Signal(str, int)
    hidden_changed = Signal(object)
    file_read = Signal(object)
    file_written = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._classes = ClassList()
        self._rows_selected = False
        self._fold = QToolButton()
        self._fold.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._fold.setCheckable(True)
        self._fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._fold.setAutoRaise(True)
        self._tree = ClassTree()
        self._more = self._button("Edit", "")
        self._more.setToolTip("Add, rename, colour and remove classes; read and save a table of classes")
        self._keys = QCheckBox("Class keys 1–9")
        self._keys.setToolTip(KEYS_TIP)
        self.buttons = {
            "set": self._button("Set", "Give the selected rows the current class"),
            "suggest": self._button(
                "Suggest classes", "Learn from the objects that have a class, and suggest one for each of the others"
            ),
            "all": self._button("Accept all", "Give all objects their suggested class, in one step of undo"),
            "rows": self._button("Accept selected", "Give the selected rows their suggested class"),
        }
        self._make_menu()
        self._lay_out()
        self._connect()
        self.show_classes(ClassList())
        self.count({}, (), ())
        self.unfold(False)

    def _connect(self) -> None:
        self._fold.toggled.connect(self.unfold)
        self._tree.chosen.connect(self._choose)
        # the tree is filled again, which it must not be while it closes its editor
        self._tree.renamed.connect(self.renamed, Qt.ConnectionType.QueuedConnection)
        self._tree.hidden_changed.connect(self.hidden_changed)
        self._tree.menu_wanted.connect(self._menu.popup)
        self._keys.toggled.connect(self._switch_keys)
        for name, signal in (("set", self.given), ("suggest", self.suggest_wanted)):
            self.buttons[name].clicked.connect(lambda _=False, signal=signal: signal.emit())
        self.buttons["all"].clicked.connect(lambda: self.accepted.emit(False))
        self.buttons["rows"].clicked.connect(lambda: self.accepted.emit(True))

    @staticmethod
    def _button(text: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        return button

    def _make_menu(self) -> None:
        self._menu = menu = QMenu(self._more)
        menu.addAction("Add a class…").triggered.connect(self._add)
        self._below = menu.addAction("Add a class below…")
        self._below.triggered.connect(self._add_below)
        self._of_current = [menu.addAction(text) for text in ("Rename", "Colour…", "Key…", "Remove")]
        acts = (self._rename, self._recolour, self._choose_key, self._remove)
        for action, act in zip(self._of_current, acts, strict=True):
            action.triggered.connect(act)
        menu.addSeparator()
        menu.addAction("Read classes.csv…").triggered.connect(self._read)
        menu.addAction("Save classes.csv…").triggered.connect(self._write)
        self._more.setMenu(menu)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        title = QHBoxLayout()
        title.addWidget(self._fold, 1)
        title.addWidget(self._keys)
        layout.addLayout(title)
        self._inside = QWidget()
        inside = QVBoxLayout(self._inside)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(4)
        inside.addWidget(self._tree)
        buttons = self.buttons
        for row in ((buttons["set"], self._more, buttons["suggest"]), (buttons["all"], buttons["rows"])):
            line = QHBoxLayout()
            line.setSpacing(4)
            for part in row:
                line.addWidget(part)
            inside.addLayout(line)
        layout.addWidget(self._inside)

    def unfold(self, on: bool) -> None:
        """Show the classes, or their title alone, so that the table of objects has the space."""
        self._inside.setVisible(on)
        self._fold.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)
        self._fold.setChecked(on)
        self._tell()

    @property
    def current(self) -> str:
        """The name of the class that new objects get; empty for none."""
        return self._tree.current

    def choose(self, name: str) -> None:
        """Make a class the current one, as a click on it does; an empty name: none."""
        self._tree.choose(name)

    @property
    def hidden(self) -> frozenset[str]:
        """Names of the classes whose objects are hidden; the empty one stands for objects without a class."""
        return self._tree.hidden

    @property
    def text(self) -> str:
        """The title with the current class."""
        return self._fold.text()

    def show_classes(self, classes: ClassList, current: str = "") -> None:
        """Show these classes, one of which is current."""
        self._classes = classes
        self._tree.show_classes(classes, current)
        self._allow()
        self._tell()

    def count(self, classes: Mapping[int, str], suggested: Collection[int], selected: Collection[int]) -> None:
        """Show how many objects each class has.

        Parameters
        ----------
        classes : mapping of int to str
            The class of each object, by label; empty for none.
        suggested, selected : collection of int
            Labels of objects with a suggested class, and of selected rows.
        """
        self._tree.count(Counter(classes.values()))
        self._rows_selected = any(label in classes for label in selected)
        self.buttons["all"].setText(f"Accept all ({len(suggested)})" if suggested else "Accept all")
        self.buttons["all"].setEnabled(bool(suggested))
        self.buttons["rows"].setEnabled(any(label in suggested for label in selected))
        for name in ("all", "rows"):
            self.buttons[name].setVisible(bool(suggested))
        self._allow()

    def switch_keys(self, on: bool) -> None:
        """Tick whether digits give classes."""
        self._keys.setChecked(on)

    def _switch_keys(self, on: bool) -> None:
        if on:
            self.unfold(True)
        self.keys_switched.emit(on)

    def _tell(self) -> None:
        now = f": {self.current}" if self.current else f" ({len(self._classes)})"
        self._fold.setText(f"Classes{now}")
        self._fold.setToolTip(f"Show or hide the classes. New objects get {self.current or 'no class'}.")

    def _allow(self) -> None:
        self.buttons["set"].setEnabled(self._rows_selected)
        for action in self._of_current:
            action.setEnabled(bool(self.current))
        self._below.setEnabled(bool(self.current) and not self._parent_of_current)

    @property
    def _parent_of_current(self) -> str:
        known = self._classes.of_name(self.current)
        return known.parent if known is not None else ""

    def _choose(self) -> None:
        self._allow()
        self._tell()
        self.chosen.emit(self.current)

    def _add(self) -> None:
        name, confirmed = QInputDialog.getText(self, "Add a class", "Name of the class")
        if confirmed:
            self.unfold(True)
            self.added.emit(name.strip())

    def _add_below(self) -> None:
        name, confirmed = QInputDialog.getText(self, "Add a class", f"Name of the class below {self.current!r}")
        if confirmed:
            self.unfold(True)
            self.added.emit(f"{self.current}/{name.strip()}")

    def _rename(self) -> None:
        self._tree.edit_current()

    def _choose_key(self) -> None:
        known = self._classes.of_name(self.current)
        before = known.key if known is not None else 0
        key, confirmed = QInputDialog.getInt(
            self, "Key", f"Digit that gives {self.current!r}; 0 for none", before, 0, 9
        )
        if confirmed:
            self.keyed.emit(self.current, key)

    def _recolour(self) -> None:
        known = self._classes.of_name(self.current)
        colour = QColorDialog.getColor(QColor(known.colour if known is not None else "#ffffff"), self, "Colour")
        if colour.isValid():
            self.recoloured.emit(self.current, colour.name())

    def _remove(self) -> None:
        self.removed.emit(self.current)

    def _read(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Read classes", "", TABLE)
        if name:
            self.unfold(True)
            self.file_read.emit(Path(name))

    def _write(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save classes", "classes.csv", TABLE)
        if name:
            path = Path(name)
            self.file_written.emit(path if path.suffix else path.with_suffix(".csv"))
