"""Asks before napari's window is closed while work runs that would be lost."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

from napari_segany.widgets.command_process import CommandProcess
from napari_segany.widgets.controllers.autosave_signals import AutosaveSignals
from napari_segany.widgets.jobs import Jobs

LONG_WORK = 3.0
"""Seconds that work lasts until it is worth a question."""


class CloseGuard(QObject):
    """Watches the window that a widget is docked in.

    Parameters
    ----------
    widget : QWidget
        Of the dock; owns this object. Its commands in other processes end with it.
    jobs : Jobs
        Its worker.
    autosaving : AutosaveSignals
        Knows whether the session is on the disk.

    Attributes
    ----------
    window_changed : Signal
        Emitted with the window that is watched from here on, or None.
    """

    window_changed = Signal(object)

    def __init__(self, widget: QWidget, jobs: Jobs, autosaving: AutosaveSignals) -> None:
        super().__init__(widget)
        self._widget, self._jobs, self._autosaving = widget, jobs, autosaving
        self._window: QWidget | None = None
        widget.installEventFilter(self)

    def end(self) -> None:
        """Watch no window any more."""
        self._widget.removeEventFilter(self)
        self._watch(None)

    def running(self) -> list[str]:
        """What would be lost if the window were closed now, a phrase for each."""
        found = [process.what for process in self._widget.findChildren(CommandProcess) if process.running]
        found += ["the work at the bottom of the panel"] if self._jobs.busy_seconds > LONG_WORK else []
        return found + (["saving: the last steps are not on the disk yet"] if self._autosaving.behind else [])

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stop the event that closes the window, unless nothing runs or the user agrees."""
        if watched is self._widget and event.type() == QEvent.Type.Show:
            # docks may be moved, and float in windows that are closed on their own
            self._watch(self._main_window())
        if watched is not self._window or event.type() != QEvent.Type.Close:
            return False
        phrases = self.running() if self._window.isVisible() else []
        if not phrases or self._agreed(phrases):
            return False
        event.ignore()
        return True

    def _main_window(self) -> QMainWindow | None:
        parent: QObject | None = self._widget
        while parent is not None and not isinstance(parent, QMainWindow):
            parent = parent.parent()
        return parent

    def _watch(self, window: QWidget | None) -> None:
        if window is self._window:
            return
        if self._window is not None:
            self._window.removeEventFilter(self)
        self._window = window
        if window is not None:
            window.installEventFilter(self)
        self.window_changed.emit(window)

    def _agreed(self, phrases: list[str]) -> bool:
        text = (
            f"Still running: {', '.join(phrases)}.\nIt ends when napari is closed. Objects that were kept are saved, "
            "and so are the results of images that are done: the next run goes on with the others."
        )
        box = QMessageBox(QMessageBox.Icon.Question, "Close napari?", text, parent=self._window)
        close = box.addButton("Close napari", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(box.addButton("Go on working", QMessageBox.ButtonRole.RejectRole))
        box.exec()
        return box.clickedButton() is close
