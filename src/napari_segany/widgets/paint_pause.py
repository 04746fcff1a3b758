"""A window that does not draw itself for a moment, since it will have more to draw right away.

Drawing takes the interpreter from the worker, for tens of milliseconds where no graphics card helps. A click is
answered sooner, and point and mask are drawn once, together, when the drawing waits; everything else goes on.
"""

from __future__ import annotations

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QWidget

LONGEST_MS = 100
"""After so long the window is drawn without the mask."""


class PaintPause(QObject):
    """Puts off what is to be drawn in the window of a widget.

    Parameters
    ----------
    widget : QWidget
        Any widget of the window.
    """

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._window: QWidget | None = None
        self._timer = QTimer(self, singleShot=True, interval=LONGEST_MS)
        self._timer.timeout.connect(self.end)

    def begin(self) -> None:
        """Draw nothing until :meth:`end`, or until ``LONGEST_MS`` have passed."""
        if self._window is None:
            widget = self.parent()
            if not isinstance(widget, QWidget):
                return
            self._window = widget.window()
            self._window.setUpdatesEnabled(False)
            self._timer.start()

    def end(self) -> None:
        """Draw everything that has changed meanwhile."""
        self._timer.stop()
        if self._window is not None:
            self._window.setUpdatesEnabled(True)
            self._window = None
