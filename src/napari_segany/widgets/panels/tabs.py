"""The tabs of the dock widget: one for each way to work, with the boxes that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

NARROW = "QTabBar::tab { padding: 3px 2px; }"
"""Of the names: they set the width of the panel, and what is left for the picture."""


@dataclass(frozen=True, eq=False)
class Tab:
    """One tab.

    Parameters
    ----------
    name, tip : str
        Its title, and its tooltip.
    boxes : tuple of QWidget
        From top to bottom.
    grows : bool
        Whether its boxes take all the space; else they stay together at the top.
    """

    name: str
    tip: str
    boxes: tuple[QWidget, ...]
    grows: bool = False


class Tabs(QTabWidget):
    """Shows the boxes of one tab at a time.

    Parameters
    ----------
    tabs : sequence of Tab
        From left to right.
    corner : QWidget
        Stands next to the names.
    """

    def __init__(self, tabs: Sequence[Tab], corner: QWidget) -> None:
        super().__init__()
        # all of them stay visible, also in a narrow panel
        self.setUsesScrollButtons(False)
        self.tabBar().setStyleSheet(NARROW)
        self.setCornerWidget(corner)
        for tab in tabs:
            page = QWidget()
            inner = QVBoxLayout(page)
            for box in tab.boxes:
                inner.addWidget(box)
            if not tab.grows:
                inner.addStretch()
            self.setTabToolTip(self.addTab(page, tab.name), tab.tip)

    def show_box(self, box: QWidget) -> None:
        """Bring the tab to the front that holds a box."""
        for number in range(self.count()):
            page = self.widget(number)
            if page is not None and page.isAncestorOf(box):
                self.setCurrentIndex(number)
