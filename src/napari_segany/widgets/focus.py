"""Gives the keyboard back to the picture, so that the keys work after something was typed or chosen in the panel."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QLineEdit, QWidget


def focus_canvas(widget: QWidget) -> None:
    """Give the focus to the canvas of the window that a widget is in."""
    for canvas in widget.window().findChildren(QOpenGLWidget):
        canvas.setFocus()


def return_focus(panel: QWidget, done: Callable[..., None]) -> None:
    """Have a method of a panel called whenever something in it was typed or chosen."""
    for chooser in panel.findChildren(QComboBox):
        chooser.activated.connect(done)
    for line in panel.findChildren(QLineEdit):
        if not isinstance(line.parent(), QComboBox):
            line.returnPressed.connect(done)
    for spin in panel.findChildren(QAbstractSpinBox):
        spin.editingFinished.connect(done)
