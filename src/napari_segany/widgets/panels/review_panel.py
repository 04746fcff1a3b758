"""Review of objects: which are shown, the buttons that decide, and how far it is."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget

from napari_segany.core.objects import ACCEPTED, REJECTED, UNCERTAIN
from napari_segany.core.review import ALL, FILTERS, TO_CHECK

TITLES = {ALL: "All objects", TO_CHECK: "To check", UNCERTAIN: "Uncertain", REJECTED: "Rejected", ACCEPTED: "Accepted"}
TIPS = {
    ALL: "Show all objects",
    TO_CHECK: "Show what has not been checked yet: automatic, proposed and uncertain objects",
    UNCERTAIN: "Show objects that are marked uncertain",
    REJECTED: "Show rejected objects; they stay in the labels, and exports leave them out",
    ACCEPTED: "Show accepted objects",
}
AROUND_TEXT = 12
"""Pixels of a button next to its text, at least."""
UNDO = "One step of undo (Ctrl+Z)."
DECISIONS = {
    ACCEPTED: ("Accept", "Accept", f"Accept the selected objects and go to the next one. Key: Shift+Y. {UNDO}"),
    REJECTED: (
        "Reject",
        "Reject",
        f"Reject the selected objects and go to the next one; they get a red cross. Key: Shift+B. {UNDO}",
    ),
    UNCERTAIN: (
        "Uncertain",
        "Uncertain",
        f"Mark the selected objects uncertain and go to the next one. Key: Shift+U. {UNDO}",
    ),
}
"""Sign, name and tooltip of each button, by the state that it sets."""


class ReviewPanel(QWidget):
    """A row with what is shown, and how objects are decided on.

    Attributes
    ----------
    order : QAction
        Switches on that the least certain objects come first; it is for a menu.
    decided : Signal
        Emitted with the state that the selected objects are to get.
    wanted : Signal
        Emitted with one of ``FILTERS``, and whether the least certain objects come first.
    """

    decided = Signal(str)
    wanted = Signal(str, bool)

    def __init__(self) -> None:
        super().__init__()
        self._filters = QComboBox()
        self._filters.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._filters.setMinimumContentsLength(8)
        for name in FILTERS:
            self._filters.addItem(TITLES[name], name)
        self.order = QAction("Least certain first", self)
        self.order.setCheckable(True)
        self.order.setToolTip("The lower of score and confidence; objects of which neither is known come last")
        self.buttons = {name: self._button(state) for state, (_, name, _) in DECISIONS.items()}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._filters, 1)
        for button in self.buttons.values():
            layout.addWidget(button)
        self._filters.currentIndexChanged.connect(self._filtered)
        self.order.toggled.connect(self._emit)
        self._explain()

    def _button(self, state: str) -> QPushButton:
        sign, name, tip = DECISIONS[state]
        button = QPushButton(sign)
        button.setAccessibleName(name)
        button.setMinimumWidth(button.fontMetrics().horizontalAdvance(sign) + AROUND_TEXT)
        button.setToolTip(tip)
        button.clicked.connect(lambda _=False: self.decided.emit(state))
        return button

    @property
    def filter(self) -> str:
        """What is shown, one of ``FILTERS``."""
        return str(self._filters.currentData())

    @property
    def least_certain(self) -> bool:
        """Whether the least certain objects come first."""
        return self.order.isChecked()

    def choose(self, name: str) -> None:
        """Show what is in a filter."""
        self._filters.setCurrentIndex(self._filters.findData(name))

    def forget_order(self) -> None:
        """Another order was chosen in the table."""
        self._set_order(False)

    def _set_order(self, on: bool) -> None:
        self.order.blockSignals(True)
        self.order.setChecked(on)
        self.order.blockSignals(False)

    def _filtered(self) -> None:
        self._explain()
        self._set_order(self.filter != ALL)
        self._emit()

    def _emit(self) -> None:
        self.wanted.emit(self.filter, self.least_certain)

    def _explain(self) -> None:
        self._filters.setToolTip(f"Review. {TIPS[self.filter]}")
