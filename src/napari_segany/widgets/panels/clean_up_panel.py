"""Corrections of the shapes of objects: which, how much, and for which objects."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QPushButton, QSpinBox, QWidget

from napari_segany.core.clean_up import LARGEST_RADIUS, CleanUp

TIPS = {
    CleanUp.FILL: "On each slice, what an object encloses becomes part of it; other objects in it stay",
    CleanUp.SMOOTH: "On each slice, thin corners and notches go: the median in a disc",
    CleanUp.LARGEST: "Of an object in several pieces on a slice, the largest one stays",
    CleanUp.SMALL: "Objects of fewer pixels, on all slices together, are removed",
}
AMOUNTS = {CleanUp.SMOOTH: ("Radius", 3, LARGEST_RADIUS), CleanUp.SMALL: ("Pixels", 20, 10**9)}
"""What is chosen next to a correction: its name, what it is at first, and at most."""
UNDO = "One step of undo (Ctrl+Z)"


class CleanUpPanel(QWidget):
    """A list of corrections, and buttons.

    Attributes
    ----------
    wanted : Signal
        Emitted with True when all objects are to be corrected, False for the selected ones.
    cut_wanted, join_wanted : Signal
        Emitted without arguments when objects are to be cut along the strokes of the slice, or merged under them.
    """

    wanted = Signal(bool)
    cut_wanted = Signal()
    join_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._how = QComboBox()
        for how in CleanUp:
            self._how.addItem(how.value, how)
        self._amount_name = QLabel()
        self._amount = QSpinBox()
        self._slices = QComboBox()
        self._slices.addItems(("All slices", "This slice"))
        buttons = {
            "All objects": (partial(self._emit, True), f"Correct all objects of the layer. {UNDO}"),
            "Selected": (partial(self._emit, False), f"Correct the objects selected in the table. {UNDO}"),
            "Cut  (Shift+C)": (
                self._cut,
                f"Draw a scribble across an object, then press this: the object is cut there. {UNDO}",
            ),
            "Merge  (Shift+M)": (
                self._join,
                f"Draw a scribble over several objects, then press this: they become one. {UNDO}",
            ),
        }
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("<b>Clean up</b>"), 0, 0)
        layout.addWidget(self._slices, 0, 1)
        layout.addWidget(self._how, 1, 0)
        amount = QGridLayout()
        amount.addWidget(self._amount_name, 0, 0)
        amount.addWidget(self._amount, 0, 1)
        layout.addLayout(amount, 1, 1)
        for number, (text, (act, tip)) in enumerate(buttons.items()):
            button = QPushButton(text)
            button.setToolTip(tip)
            button.clicked.connect(act)
            layout.addWidget(button, 2 + number // 2, number % 2)
        self._how.currentIndexChanged.connect(self._choose)
        self._choose()

    @property
    def how(self) -> CleanUp:
        """The correction that is chosen."""
        return CleanUp(self._how.currentText())

    @property
    def amount(self) -> int:
        """How much of it."""
        return self._amount.value()

    @property
    def all_slices(self) -> bool:
        """Whether all slices are corrected, not the shown one alone."""
        return self._slices.currentIndex() == 0

    def offer(self, *, several: bool) -> None:
        """Offer the choice of slices where there are several."""
        self._slices.setVisible(several)

    def choose(self, how: CleanUp) -> None:
        """Choose a correction."""
        self._how.setCurrentText(how.value)

    def _choose(self) -> None:
        name, first, most = AMOUNTS.get(self.how, ("", 0, 0))
        self._amount_name.setText(name)
        self._amount.setVisible(bool(name))
        self._amount.setRange(1 if name else 0, most)
        self._amount.setValue(first)
        self._how.setToolTip(TIPS[self.how])

    def _emit(self, everything: bool, _checked: bool = False) -> None:
        self.wanted.emit(everything)

    def _cut(self) -> None:
        self.cut_wanted.emit()

    def _join(self) -> None:
        self.join_wanted.emit()
