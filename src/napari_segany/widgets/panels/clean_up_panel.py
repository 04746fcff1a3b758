"""Corrections of the shapes of objects: which, how much, and for which objects."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLabel, QPushButton, QSpinBox, QWidget

from napari_segany.core.clean_up import LARGEST_RADIUS, CleanUp, cleaned
from napari_segany.widgets.tooltip_pictures import disc, drawing, with_pictures

TIPS = {
    CleanUp.FILL: "On each slice, what an object encloses becomes part of it; other objects in it stay",
    CleanUp.SMOOTH: "On each slice, thin corners and notches go: the median in a disc",
    CleanUp.LARGEST: "Of an object in several pieces on a slice, the largest one stays",
    CleanUp.SMALL: "Objects of fewer pixels, on all slices together, are removed",
}
AMOUNTS = {CleanUp.SMOOTH: ("Radius", 3, LARGEST_RADIUS), CleanUp.SMALL: ("Pixels", 20, 10**9)}
"""What is chosen next to a correction: its name, what it is at first, and at most."""
UNDO = "One step of undo (Ctrl+Z)"


def tip_of(how: CleanUp) -> str:
    """What a correction does, with an object before it and after it, as the correction makes it."""
    body = disc(20, 18, 13)
    before = {
        CleanUp.FILL: body & ~disc(18, 20, 5),
        CleanUp.SMOOTH: body | (disc(20, 30, 9) & (np.indices(body.shape)[0] % 20 == 0)),
        CleanUp.LARGEST: body | disc(6, 35, 3),
        CleanUp.SMALL: disc(32, 34, 2),
    }[how]
    after = cleaned(before, how, AMOUNTS[how][1] if how in AMOUNTS else 0)
    large = disc(14, 14, 11) if how is CleanUp.SMALL else before & False
    return with_pictures(TIPS[how], [drawing(one, large) for one in (before, after)], ["before", "after"])


class CleanUpPanel(QWidget):
    """A list of corrections, a preview, and buttons.

    Attributes
    ----------
    wanted : Signal
        Emitted with True when all objects are to be corrected, False for the selected ones.
    cut_wanted, join_wanted : Signal
        Emitted without arguments when objects are to be cut along the strokes of the slice, or merged under them.
    previewed : Signal
        Emitted with whether the preview is on, also when something else is to be previewed.
    """

    wanted = Signal(bool)
    cut_wanted = Signal()
    join_wanted = Signal()
    previewed = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._how = QComboBox()
        for how in CleanUp:
            self._how.addItem(how.value, how)
        self._amount_name = QLabel()
        self._amount = QSpinBox()
        # (the highest number would make the panel wider)
        self._amount.setMaximumWidth(90)
        self._slices = QComboBox()
        self._slices.addItems(("All slices", "This slice"))
        self._scope = QComboBox()
        self._scope.addItems(("All objects", "Selected objects"))
        self._scope.setToolTip("Objects are selected in the table Objects, or by a click on them")
        self.preview = QCheckBox("Preview")
        self.preview.setToolTip(
            "Show on this slice what would be added (green) and removed (orange); labels change with Apply only. "
            "Esc ends it."
        )
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._note.hide()
        self._lay_out()
        self._how.currentIndexChanged.connect(self._choose)
        self.preview.toggled.connect(self._preview)
        for chooser in (self._slices, self._scope, self._how):
            chooser.currentIndexChanged.connect(self._preview)
        self._amount.valueChanged.connect(self._preview)
        self._choose()

    def _lay_out(self) -> None:
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("<b>Clean up</b>"), 0, 0)
        layout.addWidget(self._slices, 0, 1)
        layout.addWidget(self._how, 1, 0)
        amount = QGridLayout()
        amount.addWidget(self._amount_name, 0, 0)
        amount.addWidget(self._amount, 0, 1)
        layout.addLayout(amount, 1, 1)
        layout.addWidget(self._scope, 2, 0)
        layout.addWidget(self.preview, 2, 1)
        layout.addWidget(self._note, 3, 0, 1, 2)
        stroke = "Draw a scribble"
        buttons = {
            "Apply": (self._emit, f"Correct these objects. {UNDO}", (4, 0, 1, 2)),
            "Cut  (Shift+C)": (
                self._cut,
                f"{stroke} across an object, then press this: the object is cut there. {UNDO}",
                (5, 0, 1, 1),
            ),
            "Merge  (Shift+M)": (
                self._join,
                f"{stroke} over several objects, then press this: they become one. {UNDO}",
                (5, 1, 1, 1),
            ),
        }
        self.buttons = {}
        for text, (act, tip, place) in buttons.items():
            button = self.buttons[text] = QPushButton(text)
            button.setToolTip(tip)
            button.clicked.connect(act)
            layout.addWidget(button, *place)

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

    @property
    def all_objects(self) -> bool:
        """Whether all objects are corrected, not the selected ones alone."""
        return self._scope.currentIndex() == 0

    @property
    def text(self) -> str:
        """What the preview tells."""
        return self._note.text()

    def offer(self, *, several: bool) -> None:
        """Offer the choice of slices where there are several."""
        self._slices.setVisible(several)

    def choose(self, how: CleanUp) -> None:
        """Choose a correction."""
        self._how.setCurrentText(how.value)

    def choose_scope(self, *, everything: bool) -> None:
        """Correct all objects, or the selected ones."""
        self._scope.setCurrentIndex(0 if everything else 1)

    def tell(self, text: str) -> None:
        """Show what a correction would do; nothing with an empty text."""
        self._note.setText(text)
        self._note.setVisible(bool(text))

    def hideEvent(self, event: QHideEvent) -> None:
        """End the preview."""
        super().hideEvent(event)
        self.preview.setChecked(False)

    def _choose(self) -> None:
        name, first, most = AMOUNTS.get(self.how, ("", 0, 0))
        self._amount_name.setText(name)
        self._amount.setVisible(bool(name))
        self._amount.setRange(1 if name else 0, most)
        self._amount.setValue(first)
        self._how.setToolTip(tip_of(self.how))

    def _preview(self) -> None:
        self.previewed.emit(self.preview.isChecked())

    def _emit(self) -> None:
        self.wanted.emit(self.all_objects)

    def _cut(self) -> None:
        self.cut_wanted.emit()

    def _join(self) -> None:
        self.join_wanted.emit()
