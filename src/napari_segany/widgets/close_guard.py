"""Asks before napari's window is closed while work runs that would be lost."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakMethod

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMessageBox, QWidget


class CloseGuard(QObject):
    """Watches the window that a widget is docked in.

    Parameters
    ----------
    widget : QWidget
        Of the dock; owns this object.
    running : callable
        A method that tells what runs, a phrase for each, as "training"; empty where nothing would be lost.
    """

    def __init__(self, widget: QWidget, running: Callable[[], list[str]]) -> None:
        super().__init__(widget)
        self._running = WeakMethod(running)
        self._window: QWidget | None = None

    def watch(self, window: QWidget | None) -> None:
        """Watch another window, or none."""
        if self._window is not None:
            self._window.removeEventFilter(self)
        self._window = window
        if window is not None:
            window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stop the event that closes the window, unless nothing runs or the user agrees."""
        if event.type() != QEvent.Type.Close or watched is not self._window:
            return False
        running = self._running()
        phrases = running() if running is not None and self._window.isVisible() else []
        if not phrases or self._agreed(phrases):
            return False
        event.ignore()
        return True

    def _agreed(self, phrases: list[str]) -> bool:
        text = f"Still running: {', '.join(phrases)}.\nIt ends when napari is closed. Objects that were kept are saved."
        box = QMessageBox(QMessageBox.Icon.Question, "Close napari?", text, parent=self._window)
        close = box.addButton("Close napari", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(box.addButton("Go on working", QMessageBox.ButtonRole.RejectRole))
        box.exec()
        return box.clickedButton() is close
