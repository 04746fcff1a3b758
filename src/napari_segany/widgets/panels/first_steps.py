"""Three steps for the first minute, which go once they were done."""

from __future__ import annotations

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QToolButton, QWidget

OPEN, CLICK, KEEP = STEPS = (
    "Open an image: drop a file on the window, or File > Open Sample",
    "Click on an object in the picture",
    "Press K to keep it. Done: click on the next one",
)
LAST_MS = 4000
"""How long the steps stay once all are done."""


class FirstSteps(QWidget):
    """The steps, with a tick before each that was done.

    Attributes
    ----------
    ended : Signal
        Emitted without arguments when all were done, or the user closes them.
    """

    ended = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._done: set[str] = set()
        self._marks = {step: QLabel("○") for step in STEPS}
        close = QToolButton()
        close.setText("×")
        close.setToolTip("Show the first steps no more")
        close.clicked.connect(self.end)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for row, (step, mark) in enumerate(self._marks.items()):
            text = QLabel(f"{row + 1}. {step}")
            text.setWordWrap(True)
            layout.addWidget(mark, row, 0)
            layout.addWidget(text, row, 1)
        layout.addWidget(close, 0, 2)
        layout.setColumnStretch(1, 1)
        self._rest = QTimer(self, singleShot=True, interval=LAST_MS)
        self._rest.timeout.connect(self.end)

    @property
    def done(self) -> frozenset[str]:
        """The steps that were done."""
        return frozenset(self._done)

    def opened(self) -> None:
        """An image is open."""
        self._tick(OPEN)

    def clicked(self) -> None:
        """A mask was predicted."""
        self._tick(CLICK)

    def kept(self) -> None:
        """An object was committed."""
        self._tick(KEEP)

    def end(self) -> None:
        """Show the steps no more."""
        self._rest.stop()
        if not self.isHidden():
            self.hide()
            self.ended.emit()

    def _tick(self, step: str) -> None:
        if step in self._done or self.isHidden():
            return
        self._done.add(step)
        self._marks[step].setText("✓")
        if len(self._done) == len(STEPS):
            self._rest.start()
