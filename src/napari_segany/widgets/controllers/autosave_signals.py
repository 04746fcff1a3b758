"""Messages about the session's file, on the window's thread; the file is written in another thread."""

from __future__ import annotations

import contextlib

from qtpy.QtCore import QObject, Qt, Signal

from napari_segany.engine.autosave import Autosave


class AutosaveSignals(QObject):
    """The signals of a session's file, for a window.

    Parameters
    ----------
    keeper : Keeper
        Writes the file.
    parent : QObject
        Owns this object.

    Attributes
    ----------
    behind : bool
        Whether what was done last could not be written.
    problem, caught_up : Signal
        Emitted with a line of text; see :class:`~napari_segany.engine.autosave.Autosave`.
    """

    problem = Signal(str)
    caught_up = Signal(str)
    _told = Signal(str)

    def __init__(self, keeper: Autosave, parent: QObject) -> None:
        super().__init__(parent)
        self.behind = False
        self._told.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        keeper.problem.connect(self._tell)
        keeper.caught_up.connect(self._caught_up)

    def _caught_up(self) -> None:
        self._tell("")

    def _tell(self, problem: str) -> None:
        """Runs in the thread that writes."""
        # a RuntimeError here: the window is closed, and nobody can receive the signal
        with contextlib.suppress(RuntimeError):
            self._told.emit(problem)

    def _deliver(self, problem: str) -> None:
        self.behind = bool(problem)
        if problem:
            self.problem.emit(problem)
        else:
            self.caught_up.emit("This session is kept on the disk again.")
