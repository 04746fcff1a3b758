"""Fine-tuning on committed objects: their number, progress, and the result."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QLineEdit, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_segany.training.fine_tune_settings import FEWEST, expected_minutes


class LearnPanel(QWidget):
    """Starts fine-tuning, and offers its result.

    Attributes
    ----------
    started : Signal
        Emitted with the name of the new model, and whether all objects of the labelled planes are labelled.
    stopped : Signal
        Emitted without arguments when the work is to end.
    shown : Signal
        Emitted without arguments when the panel comes into sight.
    used, reverted : Signal
        Emitted without arguments when the new model, or the one before, is to be used.
    """

    started = Signal(str, bool)
    stopped = Signal()
    shown = Signal()
    used = Signal()
    reverted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._masks = QLabel()
        self._masks.setWordWrap(True)
        self._name = QLineEdit("my-model")
        self._name.setToolTip("The name under which the model is listed")
        self._complete = QCheckBox("All objects of these slices are labelled")
        self._complete.setToolTip("On: the rest is background. Off: the rest is not used")
        self._start = QPushButton("Learn")
        self._stop = QPushButton("Cancel")
        self._bar = QProgressBar()
        self._result = QLabel()
        self._result.setWordWrap(True)
        self._use = QPushButton("Use")
        self._use.setToolTip("Use the new model; it is listed with the others")
        self._revert = QPushButton("Revert")
        self._revert.setToolTip("Use the earlier model again; the new one stays listed")
        self._lay_out()
        self._start.clicked.connect(lambda: self.started.emit(self._name.text().strip(), self._complete.isChecked()))
        self._stop.clicked.connect(self.stopped)
        self._use.clicked.connect(self.used)
        self._revert.clicked.connect(self.reverted)
        self.count(0)
        self.show_idle("")

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._masks)
        for row in ((QLabel("Name"), self._name), (self._start, self._stop), (self._use, self._revert)):
            line = QHBoxLayout()
            for part in row:
                line.addWidget(part)
            layout.addLayout(line)
            if row[0] is self._start:
                layout.addWidget(self._complete)
                layout.addWidget(self._bar)
                layout.addWidget(self._result)

    def showEvent(self, event: QShowEvent) -> None:
        """Request the number of objects."""
        super().showEvent(event)
        self.shown.emit()

    def count(self, masks: int) -> None:
        """Show how many committed objects there are to learn from."""
        self._enough = masks > FEWEST
        if self._enough:
            minutes = expected_minutes(masks)
            text = f"{masks} objects; about {minutes:.0f} min. "
            text += "Some of them only measure whether the model got better."
        else:
            text = f"{masks} of the {FEWEST + 1} objects that are needed; keep some more, or correct some by hand."
        self._masks.setText(text)
        self._start.setEnabled(self._enough and not self._stop.isEnabled())

    def show_progress(self, stage: str, done: int, total: int, seconds_left: float | None) -> None:
        """Show where the work is."""
        self._start.setEnabled(False)
        self._stop.setEnabled(True)
        self._bar.setVisible(True)
        self._bar.setRange(0, total)
        self._bar.setValue(done)
        left = "" if seconds_left is None else f", {seconds_left:.0f} s left"
        self._bar.setFormat(f"{stage} {done} of {total}{left}")

    def show_idle(self, result: str, *, usable: bool = False) -> None:
        """Show the result, and whether there is a new model."""
        self._stop.setEnabled(False)
        self._start.setEnabled(self._enough)
        self._bar.setVisible(False)
        self._result.setText(result)
        self._result.setVisible(bool(result))
        self._use.setEnabled(usable)
        self._revert.setEnabled(False)

    def show_used(self, *, used: bool) -> None:
        """Show whether the new model is in use."""
        self._use.setEnabled(not used)
        self._revert.setEnabled(used)
