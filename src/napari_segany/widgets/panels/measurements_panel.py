"""What is plotted and coloured, and the buttons of measurements."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_segany.io.formats.measurements import group_of

LIST = 260
"""Width of the lists of columns in pixels."""
COUNT = "Number of objects"
"""The choice of the upright axis that makes a histogram."""


class MeasurementsPanel(QWidget):
    """Choosers of columns, a switch for colours, a menu of tables, progress, and a line of text.

    Attributes
    ----------
    plot_changed : Signal
        Emitted without arguments when other columns are to be plotted.
    colours_changed : Signal
        Emitted without arguments when the objects are to have other colours.
    stopped : Signal
        Emitted without arguments when the work that runs is to end.
    """

    plot_changed = Signal()
    colours_changed = Signal()
    stopped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.across, self.up, self.colour = QComboBox(), QComboBox(), QComboBox()
        for chooser in (self.across, self.up, self.colour):
            chooser.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            chooser.setMinimumContentsLength(12)
            chooser.view().setMinimumWidth(LIST)
            chooser.currentTextChanged.connect(chooser.setToolTip)
        self.up.addItem(COUNT)
        self.coloured = QCheckBox("Colour by")
        self.coloured.setToolTip("Show the objects in colours of their values; off: in those of the layer")
        self.tables = QPushButton("Tables")
        self.tables.setToolTip("Save measurements, choose columns, measure a folder")
        self.menu = QMenu(self.tables)
        self.tables.setMenu(self.menu)
        self._stop = QPushButton("Cancel")
        self._stop.clicked.connect(self.stopped)
        self._bar = QProgressBar()
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._lay_out()
        self.across.currentIndexChanged.connect(self._plot)
        self.up.currentIndexChanged.connect(self._plot)
        self.colour.currentIndexChanged.connect(self._colour)
        self.coloured.toggled.connect(self._colour)
        self.show_idle()

    def _lay_out(self) -> None:
        choosers = QGridLayout()
        choosers.addWidget(QLabel("Across"), 0, 0)
        choosers.addWidget(self.across, 0, 1)
        choosers.addWidget(QLabel("Up"), 1, 0)
        choosers.addWidget(self.up, 1, 1)
        choosers.addWidget(self.coloured, 2, 0)
        choosers.addWidget(self.colour, 2, 1)
        choosers.addWidget(self.tables, 3, 0)
        choosers.addWidget(self._stop, 3, 1)
        choosers.addWidget(self._bar, 4, 0, 1, 2)
        choosers.setColumnStretch(1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(choosers)
        layout.addWidget(self._note)
        layout.addStretch(1)

    def offer(self, numbers: Sequence[str], words: Sequence[str]) -> None:
        """Offer columns; those that are chosen stay chosen, where they are still there."""
        size = next((name for name in numbers if group_of(name) == "size"), "")
        for chooser in (self.across, self.up, self.colour):
            with QSignalBlocker(chooser):
                before = chooser.currentText() or size
                chooser.clear()
                chooser.addItems([*([COUNT] if chooser is self.up else []), *numbers, *words])
                chooser.setCurrentIndex(max(chooser.findText(before), 0))

    @property
    def columns(self) -> tuple[str, str]:
        """What is plotted across and up; the latter empty for a histogram."""
        up = self.up.currentText()
        return self.across.currentText(), "" if up == COUNT else up

    @property
    def colouring(self) -> str:
        """The column by which objects are coloured; empty for none."""
        return self.colour.currentText() if self.coloured.isChecked() else ""

    @property
    def text(self) -> str:
        """The line of text."""
        return self._note.text()

    def say(self, text: str) -> None:
        """Show a line of text."""
        self._note.setText(text)

    def show_progress(self, what: str, done: float, total: float) -> None:
        """Show how much of some work is done."""
        self._bar.setVisible(True)
        self._stop.setVisible(True)
        self._bar.setRange(0, 1000)
        self._bar.setValue(round(1000 * done / total) if total else 0)
        self._bar.setFormat(f"{what} %p %")

    def show_idle(self) -> None:
        """No work runs."""
        self._bar.setVisible(False)
        self._stop.setVisible(False)

    def _plot(self) -> None:
        self.plot_changed.emit()

    def _colour(self) -> None:
        self.colours_changed.emit()
