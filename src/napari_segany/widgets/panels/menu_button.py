"""A small button that opens a menu."""

from __future__ import annotations

from qtpy.QtWidgets import QMenu, QToolButton


class MenuButton(QToolButton):
    """A button with a menu, and without the arrow that napari's style draws over the text.

    Parameters
    ----------
    text, tip : str
        What is on it, and its tooltip.
    """

    def __init__(self, text: str, tip: str) -> None:
        super().__init__()
        self.setText(text)
        self.setToolTip(tip)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.setMenu(menu)
