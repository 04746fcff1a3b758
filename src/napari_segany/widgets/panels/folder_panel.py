"""A round of the data engine on the folder of the image: its button, progress and result."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget


class FolderPanel(QWidget):
    """Learns from all images of a folder that were annotated, and segments the others.

    Attributes
    ----------
    started : Signal
        Emitted with the path of the folder for the results.
    stopped : Signal
        Emitted without arguments when the work is to end.
    """

    started = Signal(str)
    stopped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._suggested = ""
        self._title = QLabel()
        self._title.setWordWrap(True)
        self._start = QPushButton("Learn and segment folder…")
        self._start.setToolTip(
            "Learn from all images of this folder that you annotated, and find the objects of the others. "
            "Then correct the least certain images, and do it again."
        )
        self._stop = QPushButton("Cancel")
        self._bar = QProgressBar()
        self._result = QLabel()
        self._result.setWordWrap(True)
        line = QHBoxLayout()
        line.addWidget(self._start)
        line.addWidget(self._stop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._title)
        layout.addLayout(line)
        layout.addWidget(self._bar)
        layout.addWidget(self._result)
        self._start.clicked.connect(self._choose)
        self._stop.clicked.connect(self.stopped)
        self.show_folder("", "")
        self.show_idle("")

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder for the labels", self._suggested)
        if chosen:
            self.started.emit(chosen)

    def show_folder(self, folder: str, suggested: str) -> None:
        """Show which folder would be learned from; empty where the image is not in a file.

        Parameters
        ----------
        folder : str
            Name of the folder of the image.
        suggested : str
            Where the dialog for the results begins.
        """
        self._suggested = suggested
        told = f"Whole folder: {escape(folder)}" if folder else "Whole folder: open an image from a file"
        self._title.setText(f"<b>{told}</b>")
        self._start.setEnabled(bool(folder) and not self._stop.isEnabled())
        self._known = bool(folder)

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
        self._start.setEnabled(self._known)
        self._bar.setVisible(False)
        self._result.setText(result)
        self._result.setVisible(bool(result))
