"""A round of the data engine on the folder of the image: its button, progress and result."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QVBoxLayout

from napari_segany.widgets.panels.run_panel import RunPanel


class FolderPanel(RunPanel):
    """Learns from all images of a folder that were annotated, and segments the others.

    Attributes
    ----------
    started : Signal
        Emitted with the path of the folder for the results.
    """

    started = Signal(str)

    def __init__(self) -> None:
        super().__init__("Learn and segment folder…")
        self._suggested = ""
        self._title = QLabel()
        self._title.setWordWrap(True)
        self._start.setToolTip(
            "Learn from all images of this folder that you annotated, and find the objects of the others. "
            "Then correct the least certain images, and do it again."
        )
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
        self.show_idle("")
        self.show_folder("", "")

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
        self.set_ready(bool(folder))
