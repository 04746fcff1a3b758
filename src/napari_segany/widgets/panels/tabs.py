"""The tabs of the dock widget: one for each way to work, with the boxes that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QTabWidget, QVBoxLayout, QWidget

NARROW = "QTabBar::tab { padding: 3px 2px; }"
"""Of the names: they set the width of the panel, and what is left for the picture."""
MARGIN = 6
"""Pixels around what is in a tab."""
LOWEST = 160
"""Pixels of a tab's height at least: what has no room then is scrolled to, as with large fonts on small screens."""


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
        self.setElideMode(Qt.TextElideMode.ElideRight)
        self.tabBar().setStyleSheet(NARROW)
        self.setCornerWidget(corner)
        for tab in tabs:
            page = _Inside()
            inner = QVBoxLayout(page)
            inner.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
            for box in tab.boxes:
                inner.addWidget(box)
            if not tab.grows:
                inner.addStretch()
            self.setTabToolTip(self.addTab(_Page(page), tab.name), tab.tip)

    def show_box(self, box: QWidget) -> None:
        """Bring the tab to the front that holds a box."""
        for number in range(self.count()):
            page = self.widget(number)
            if page is not None and page.isAncestorOf(box):
                self.setCurrentIndex(number)


class _Inside(QWidget):
    """What is scrolled: only where even its least height has no room, so tables become lower first."""

    def heightForWidth(self, width: int) -> int:
        """The least height; the area around it asks for this where texts are wrapped."""
        layout = self.layout()
        return layout.minimumHeightForWidth(width) if layout is not None else -1


class _Page(QScrollArea):
    """A page that is as wide as what is on it needs, and is scrolled where the window is too low."""

    def __init__(self, page: QWidget) -> None:
        super().__init__()
        self._page = page
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidgetResizable(True)
        self.setWidget(page)

    def minimumSizeHint(self) -> QSize:
        """As wide as the page with the bar."""
        page = self._page.minimumSizeHint()
        # (always with the bar: the panel must not become wider when it comes)
        return QSize(page.width() + self.verticalScrollBar().sizeHint().width(), min(page.height(), LOWEST))

    def sizeHint(self) -> QSize:
        """As narrow as the page may be, which leaves more for the picture, and as high as it is."""
        return QSize(self.minimumSizeHint().width(), self._page.sizeHint().height())
