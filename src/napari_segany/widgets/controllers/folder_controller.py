"""Rounds of the data engine on the folder of the image, in a separate process."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from napari_segany.core.errors import InputError
from napari_segany.layers.binding import Binding
from napari_segany.widgets.command_process import CommandProcess
from napari_segany.widgets.jobs import Job, Jobs
from napari_segany.widgets.panels.folder_panel import FolderPanel


class FolderController(QObject):
    """Between the panel, the image that is open, and the process that learns and segments.

    Parameters
    ----------
    panel : FolderPanel
        Starts the work and shows it; owns this object.
    flush : callable
        Waits until what was done so far is in the session file, from which the process reads it.
    jobs : Jobs
        A worker on which no click waits; it flushes.

    Attributes
    ----------
    failed : Signal
        Emitted with the exception of work that failed.
    learned : Signal
        Emitted without arguments when a round ended, and there may be a new model.
    """

    failed = Signal(object)
    learned = Signal()

    def __init__(self, panel: FolderPanel, flush: Callable[[], object], jobs: Jobs) -> None:
        super().__init__(panel)
        self._panel, self._flush, self._jobs = panel, flush, jobs
        self._flushing: Job | None = None
        self._folder: Path | None = None
        self._process = CommandProcess("the folder", self)
        self._process.progressed.connect(panel.show_progress)
        self._process.ended.connect(self._end)
        self._process.failed.connect(self._refuse)
        panel.started.connect(self.start)
        panel.stopped.connect(self.stop)

    def bind(self, binding: Binding | None) -> None:
        """Be about the folder of another image; a round that runs goes on."""
        path = "" if binding is None else str(binding.image.source.path or "")
        image = Path(path) if path else None
        self._folder = None if image is None or not image.exists() else image.parent
        if self._folder is None:
            self._panel.show_folder("", "")
        else:
            self._panel.show_folder(self._folder.name, str(self._folder.parent))

    def start(self, out: str) -> None:
        """Learn from the annotated images of the folder, and segment the others into `out`."""
        folder = self._folder
        if folder is None or self._process.running or self._flushing is not None:
            return
        if Path(out).resolve() == folder.resolve():
            self._refuse(InputError(f"{out} is the folder of the images themselves; choose another for the results"))
            return
        command = ["engine", str(folder), "-o", out, "--name", model_name(folder.name)]
        self._panel.show_progress("reading", 0, 1, None)
        # (unseen: it goes on when another image is opened)
        self._flushing = self._jobs.run(
            self._flush, done=lambda _: self._run(command), failed=self._refuse, instead_of="folder", unseen=True
        )

    def _run(self, command: list[str]) -> None:
        self._flushing = None
        self._process.start(command)

    def stop(self) -> None:
        """End the round; images that are done stay done, and the next round goes on with them."""
        if self._flushing is not None:
            self._jobs.cancel(self._flushing)
        elif not self._process.running:
            return
        self._flushing = None
        self._process.stop()
        self._panel.show_idle("Cancelled. The images that are done stay done.")

    def _end(self, lines: list[str]) -> None:
        self._panel.show_idle("\n".join(lines))
        self.learned.emit()

    def _refuse(self, error: Exception) -> None:
        self._flushing = None
        self._panel.show_idle("")
        self.failed.emit(error)


def model_name(folder: str) -> str:
    """What models of a folder are called: its name, less what no name of a model may have."""
    return re.sub(r"[^\w .+-]", "-", folder).lstrip(" .+-") or "folder"
