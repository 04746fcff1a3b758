"""What the keys do, on a sheet that can stay open next to the picture."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QWidget

from napari_segany.widgets.actions import key_titles


class KeySheet(QDialog):
    """A list of keys and what they do."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Tool)
        self.setWindowTitle("Segment Anything: keys")
        layout = QGridLayout(self)
        for row, (key, title) in enumerate(key_titles().items()):
            name = QLabel(f"<b>{key}</b>")
            name.setAlignment(Qt.AlignmentFlag.AlignRight)
            layout.addWidget(name, row, 0)
            layout.addWidget(QLabel(title), row, 1)
        layout.setColumnStretch(1, 1)
