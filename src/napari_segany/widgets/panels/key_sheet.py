"""What the keys do, on a sheet that can stay open beside the picture."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QWidget

from napari_segany.widgets.actions import ACTIONS

MORE = {
    "Shift+click": "A click off the object while clicks are on it, and the other way round",
    "Ctrl+Z": "Take the last step back, in the clicks, shapes, preview and labels layers",
    "Ctrl+Shift+Z": "Do it again",
    "Enter": "End a scribble",
}
"""Keys that are napari's or the mouse's, and what they do here."""


class KeySheet(QDialog):
    """A list of keys and what they do."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Tool)
        self.setWindowTitle("Segment Anything: keys")
        layout = QGridLayout(self)
        rows = {action.key: action.title for action in ACTIONS.values()} | MORE
        for row, (key, title) in enumerate(rows.items()):
            name = QLabel(f"<b>{key}</b>")
            name.setAlignment(Qt.AlignmentFlag.AlignRight)
            layout.addWidget(name, row, 0)
            layout.addWidget(QLabel(title), row, 1)
        layout.setColumnStretch(1, 1)
