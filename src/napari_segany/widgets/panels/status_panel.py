"""One line of plain words about what is going on, and a way to stop it."""

from __future__ import annotations

import time

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

PATIENCE_MS = 250
"""Work that takes less is not worth a flicker of the progress bar."""
READING_SECONDS = 4.0
"""How long a warning stays at least, though all is well again."""


class StatusPanel(QWidget):
    """Text, progress and a button to cancel.

    Attributes
    ----------
    cancelled : Signal
        Emitted when the user wants the running work stopped.
    """

    cancelled = Signal()

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = QLabel(text)
        self._text.setWordWrap(True)
        # a long name must not decide how much of the window is left for the picture
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._message = text
        self._since = time.monotonic()
        self._warned = -READING_SECONDS
        self._progress = QProgressBar()
        self._progress.setRange(0, 0)
        cancel = QPushButton("Cancel")
        cancel.clicked.connect(self.cancelled)
        self._row = QWidget()
        row = QHBoxLayout(self._row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._progress)
        row.addWidget(cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._text)
        layout.addWidget(self._row)
        self._row.hide()
        self._timer = QTimer(self, singleShot=True, interval=PATIENCE_MS)
        self._timer.timeout.connect(self._row.show)
        self._expected = 0.0
        self._tick = QTimer(self, interval=PATIENCE_MS)
        self._tick.timeout.connect(self._advance)

    @property
    def text(self) -> str:
        """What is shown."""
        return self._text.text()

    def say(self, text: str) -> None:
        """Show a message."""
        self._message = text
        self._write(text, "")

    def rest(self, text: str) -> None:
        """Show the default message; a warning that is too recent to have been read stays."""
        if time.monotonic() - self._warned > READING_SECONDS:
            self.say(text)
        else:
            self._message = text

    def _write(self, text: str, style: str) -> None:
        self._text.setText(text)
        # a style that is set again is worked out again, which takes as long as drawing the mask
        if self._text.styleSheet() != style:
            self._text.setStyleSheet(style)

    def warn(self, text: str) -> None:
        """Show a warning."""
        self._warned = time.monotonic()
        self._write(text, "color: #e8a33d;")

    def take_back(self, text: str) -> None:
        """Remove this warning; another one stays."""
        if text and self._text.text() == text:
            self.say(self._message)

    def set_busy(self, busy: bool) -> None:
        """Show or hide the progress bar."""
        if busy:
            self._since = time.monotonic()
            self._timer.start()
        else:
            self._timer.stop()
            self._tick.stop()
            self._row.hide()
            self._progress.setRange(0, 0)
            self._progress.resetFormat()

    def expect(self, seconds: float) -> None:
        """Show how long the work that begins will take, as measured the last time."""
        self._expected = seconds
        self._tick.start()

    def _advance(self) -> None:
        gone = time.monotonic() - self._since
        if gone < self._expected:
            self.set_share(gone, self._expected)
        else:
            self._tick.stop()
            self._progress.setRange(0, 0)
            self._progress.resetFormat()

    def set_share(self, done: float, total: float) -> None:
        """Show how much of the work is done; late reports of cancelled work are ignored."""
        if not self._row.isHidden() or self._timer.isActive():
            self._progress.setRange(0, 1000)
            self._progress.setValue(int(1000 * done / total))
            left = (time.monotonic() - self._since) * (total - done) / max(done, 1e-3)
            self._progress.setFormat(f"%p%, {left:.0f} s left" if left >= 1 else "%p%")

    def set_progress(self, done: float, total: float) -> None:
        """Show how many bytes are downloaded, of how many; a total of 0 is unknown.

        Late reports of cancelled work are ignored.
        """
        if self._row.isHidden() and not self._timer.isActive():
            return
        self._progress.setRange(0, 1000 if total else 0)
        if total:
            self._progress.setValue(int(1000 * done / total))
        self.say(f"Downloading: {done / 1e6:.0f} MB" + (f" of {total / 1e6:.0f} MB" if total else ""))
