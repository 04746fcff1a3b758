"""What panels of long work have in common: start, cancel, progress and result."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QProgressBar, QPushButton, QWidget


class RunPanel(QWidget):
    """The parts, which a subclass lays out.

    Parameters
    ----------
    start : str
        Text of the button that starts the work.

    Attributes
    ----------
    stopped : Signal
        Emitted without arguments when the work is to end.
    """

    stopped = Signal()

    def __init__(self, start: str) -> None:
        super().__init__()
        self._ready = False
        self._start = QPushButton(start)
        self._stop = QPushButton("Cancel")
        self._bar = QProgressBar()
        self._result = QLabel()
        self._result.setWordWrap(True)
        self._stop.clicked.connect(self.stopped)

    def set_ready(self, ready: bool) -> None:
        """Tell whether the work could start; while it runs it cannot."""
        self._ready = ready
        self._start.setEnabled(ready and not self._stop.isEnabled())

    def show_progress(self, stage: str, done: int, total: int, seconds_left: float | None) -> None:
        """Show where the work is."""
        self._start.setEnabled(False)
        self._stop.setEnabled(True)
        self._bar.setVisible(True)
        self._bar.setRange(0, total)
        self._bar.setValue(done)
        left = "" if seconds_left is None else f", {seconds_left:.0f} s left"
        self._bar.setFormat(f"{stage} {done} of {total}{left}")

    def show_idle(self, result: str) -> None:
        """Show the result; no work runs any more."""
        self._stop.setEnabled(False)
        self._start.setEnabled(self._ready)
        self._bar.setVisible(False)
        self._result.setText(result)
        self._result.setVisible(bool(result))
