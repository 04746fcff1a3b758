"""Three steps for the first minute, which go once they were done."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QToolButton, QWidget

OPEN, CLICK, KEEP = STEPS = ("Open an image", "Click on an object", "Press K")
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
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.RichText)
        self._text.setToolTip(
            "Drop a file on the window, or choose File > Open Sample > Segment Anything. "
            "Click on an object: its mask appears. K keeps it as a label; then click on the next one."
        )
        close = QToolButton()
        close.setText("×")
        close.setToolTip("Show the first steps no more")
        close.clicked.connect(self.end)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._text, 1)
        layout.addWidget(close)
        self._rest = QTimer(self, singleShot=True, interval=LAST_MS)
        self._rest.timeout.connect(self.end)
        self._show()

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
        self._show()
        if step == KEEP:
            # (what was found without a click is kept, too)
            self._rest.start()

    def _show(self) -> None:
        """Ticks before what was done; what comes next is bold."""
        coming = next((step for step in STEPS if step not in self._done), None)
        parts = [
            f"✓ {step}" if step in self._done else f"{number}. {f'<b>{step}</b>' if step == coming else step}"
            for number, step in enumerate(STEPS, start=1)
        ]
        self._text.setText("&nbsp; ".join(part.replace(" ", "&nbsp;") + " " for part in parts))
