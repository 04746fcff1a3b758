"""What the keys do, on a sheet that can stay open next to the picture."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_segany.widgets.actions import key_titles

MARGIN, HIGHEST = 30, 0.85
"""Pixels around the list, and how much of the screen it takes at most; the rest is scrolled to."""


class KeySheet(QDialog):
    """A list of keys and what they do."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Tool)
        self.setWindowTitle("Segment Anything: keys")
        sheet = QWidget()
        layout = QGridLayout(sheet)
        for row, (key, title) in enumerate(key_titles().items()):
            name = QLabel(f"<b>{key}</b>")
            name.setAlignment(Qt.AlignmentFlag.AlignRight)
            layout.addWidget(name, row, 0)
            layout.addWidget(QLabel(title), row, 1)
        layout.setColumnStretch(1, 1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(sheet)
        QVBoxLayout(self).addWidget(area)
        size, screen = sheet.sizeHint(), self.screen().availableGeometry()
        bar = area.verticalScrollBar().sizeHint().width()
        self.resize(size.width() + 2 * bar + MARGIN, min(size.height() + MARGIN, int(HIGHEST * screen.height())))
