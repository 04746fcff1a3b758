"""Classes: the current one, what gives them, and what is suggested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QColorDialog,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_segany.layers.class_list import ClassList

NONE = "no class"
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
    renamed, recoloured : Signal
        Emitted with the name of a class, and its new name or colour.
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
    file_read = Signal(object)
    file_written = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._classes = ClassList()
        self._rows_selected = False
        self._current = QComboBox()
        self._current.setToolTip("The class that new objects get, and that “Set” gives to the selected rows")
        self._current.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._current.setMinimumContentsLength(8)
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
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._make_menu()
        self._lay_out()
        self._current.activated.connect(self._choose)
        self._keys.toggled.connect(self.keys_switched)
        for name, signal in (("set", self.given), ("suggest", self.suggest_wanted)):
            self.buttons[name].clicked.connect(lambda _=False, signal=signal: signal.emit())
        self.buttons["all"].clicked.connect(lambda: self.accepted.emit(False))
        self.buttons["rows"].clicked.connect(lambda: self.accepted.emit(True))
        self.show_classes(ClassList())
        self.count({}, (), ())

    @staticmethod
    def _button(text: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        return button

    def _make_menu(self) -> None:
        menu = QMenu(self._more)
        menu.addAction("Add a class…").triggered.connect(self._add)
        self._of_current = [menu.addAction(text) for text in ("Rename…", "Colour…", "Remove")]
        for action, act in zip(self._of_current, (self._rename, self._recolour, self._remove), strict=True):
            action.triggered.connect(act)
        menu.addSeparator()
        menu.addAction("Read classes.csv…").triggered.connect(self._read)
        menu.addAction("Save classes.csv…").triggered.connect(self._write)
        self._more.setMenu(menu)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        buttons = self.buttons
        rows: tuple[tuple[QWidget, ...], ...] = (
            (QLabel("Class"), self._current, buttons["set"], self._more),
            (self._keys, buttons["suggest"]),
            (buttons["all"], buttons["rows"]),
        )
        for row in rows:
            line = QHBoxLayout()
            for part in row:
                line.addWidget(part, 1 if part is self._current else 0)
            layout.addLayout(line)
        layout.addWidget(self._note)

    @property
    def current(self) -> str:
        """The name of the class that new objects get; empty for none."""
        return str(self._current.currentData() or "")

    @property
    def text(self) -> str:
        """The counts below the buttons."""
        return self._note.text()

    def show_classes(self, classes: ClassList, current: str = "") -> None:
        """Show these classes, one of which is current."""
        self._classes = classes
        self._current.clear()
        self._current.addItem(NONE, "")
        for one in classes:
            picture = QPixmap(12, 12)
            picture.fill(QColor(one.colour))
            self._current.addItem(QIcon(picture), f"{one.key}  {one.name}" if one.key else one.name, one.name)
        self._current.setCurrentIndex(max(self._current.findData(current), 0))
        self._allow()

    def count(self, classes: Mapping[int, str], suggested: Iterable[int], selected: Iterable[int]) -> None:
        """Show how many objects each class has.

        Parameters
        ----------
        classes : mapping of int to str
            The class of each object, by label; empty for none.
        suggested, selected : iterable of int
            Labels of objects with a suggested class, and of selected rows.
        """
        counts = Counter(classes.values())
        parts = [f"{one.name} {counts[one.name]}" for one in self._classes]
        waiting, rows = set(suggested), set(selected)
        parts += [f"{NONE} {counts['']}"] if counts[""] and parts else []
        self._note.setText(", ".join(parts) or "Add classes, or switch the class keys on.")
        self._rows_selected = bool(rows & set(classes))
        self.buttons["all"].setText(f"Accept all ({len(waiting)})" if waiting else "Accept all")
        self.buttons["all"].setEnabled(bool(waiting))
        self.buttons["rows"].setEnabled(bool(waiting & rows))
        self._allow()

    def switch_keys(self, on: bool) -> None:
        """Tick whether digits give classes."""
        self._keys.setChecked(on)

    def _allow(self) -> None:
        self.buttons["set"].setEnabled(self._rows_selected)
        for action in self._of_current:
            action.setEnabled(bool(self.current))

    def _choose(self) -> None:
        self._allow()
        self.chosen.emit(self.current)

    def _add(self) -> None:
        name, confirmed = QInputDialog.getText(self, "Add a class", "Name of the class")
        if confirmed:
            self.added.emit(name.strip())

    def _rename(self) -> None:
        name, confirmed = QInputDialog.getText(self, "Rename", f"New name of {self.current!r}", text=self.current)
        if confirmed:
            self.renamed.emit(self.current, name.strip())

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
            self.file_read.emit(Path(name))

    def _write(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save classes", "classes.csv", TABLE)
        if name:
            path = Path(name)
            self.file_written.emit(path if path.suffix else path.with_suffix(".csv"))
