"""A hand that uses a real napari window: mouse and keys of the X server, by xdotool, from a thread of its own.

So dialogs and menus, in which the window's thread waits, are used like everything else.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from napari import Viewer
from qtpy.QtCore import QObject, QPoint, Qt, Signal
from qtpy.QtWidgets import QAbstractButton, QApplication, QComboBox, QMenu, QWidget

T = TypeVar("T")
PAUSE = 0.05
"""Seconds between one action and the next."""


class Hand(QObject):
    """Clicks and presses keys, and counts them.

    Parameters
    ----------
    viewer : Viewer
        Of a window that is shown.

    Attributes
    ----------
    clicks, keys, texts : int
        Clicks and drags of the mouse, keys with what is held down, and texts that were typed (a path, a name).
    """

    _wanted = Signal(object)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.window: QWidget = viewer.window._qt_window
        self.canvas: QWidget = viewer.window._qt_viewer.canvas.native
        self.clicks = self.keys = self.texts = 0
        self._wanted.connect(self._answer, Qt.ConnectionType.QueuedConnection)

    def ask(self, read: Callable[[], T]) -> T:
        """Have a function run in the window's thread, also while a dialog is open, and return its result."""
        found: list[Any] = []
        done = threading.Event()
        self._wanted.emit((read, found, done))
        done.wait()
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    @staticmethod
    def _answer(wanted: tuple[Callable[[], Any], list[Any], threading.Event]) -> None:
        read, found, done = wanted
        try:
            found.append(read())
        except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
            found.append(error)
        done.set()

    def wait(self, ready: Callable[[], object], seconds: float = 40) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not self.ask(ready):
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds} s in vain")
            time.sleep(PAUSE)

    @staticmethod
    def _do(*words: str) -> None:
        subprocess.run(["xdotool", *words], check=True, timeout=20)
        time.sleep(PAUSE)

    def _place(self, y: float, x: float) -> QPoint:
        camera = getattr(self.viewer, "scene", self.viewer).camera
        away = (np.array([y, x]) - np.array(camera.center[-2:])) * camera.zoom
        middle = self.canvas.rect().center()
        return self.canvas.mapToGlobal(QPoint(round(middle.x() + away[1]), round(middle.y() + away[0])))

    def _go(self, place: QPoint) -> None:
        self._do("mousemove", str(place.x() - 1), str(place.y() - 1))
        self._do("mousemove", str(place.x()), str(place.y()))

    def move(self, y: float, x: float) -> None:
        """Move the mouse to a place of the picture, in world coordinates."""
        self._go(self.ask(lambda: self._place(y, x)))

    def click(self, y: float, x: float, button: int = 1) -> None:
        """Click on a place of the picture."""
        self.move(y, x)
        self._press_button(button)

    def drag(self, *places: tuple[float, float]) -> None:
        """Drag along places of the picture."""
        self.move(*places[0])
        self._do("mousedown", "1")
        for place in places[1:]:
            self.move(*place)
        self._do("mouseup", "1")
        self.clicks += 1

    def _press_button(self, button: int = 1, times: int = 1) -> None:
        for _ in range(times):
            self._do("click", str(button))
        self.clicks += times

    def click_on(self, widget: QWidget, at: Callable[[], QPoint] | None = None, times: int = 1) -> None:
        """Click on a widget, in its middle or at a place in it."""
        place = self.ask(lambda: widget.mapToGlobal(at() if at is not None else widget.rect().center()))
        self._go(place)
        self._press_button(times=times)

    def drag_on(self, widget: QWidget, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from one place of a widget, (x, y) in its pixels, to another."""
        ends = [self.ask(lambda at=at: widget.mapToGlobal(QPoint(round(at[0]), round(at[1])))) for at in (start, end)]
        self._go(ends[0])
        self._do("mousedown", "1")
        for share in (0.3, 0.7, 1.0):
            self._go(ends[0] + (ends[1] - ends[0]) * share)
        self._do("mouseup", "1")
        self.clicks += 1

    def button(self, text: str, within: QWidget | None = None) -> QAbstractButton:
        """The visible button whose text begins so."""

        def find() -> QAbstractButton | None:
            roots = [within] if within is not None else QApplication.topLevelWidgets()
            buttons = (one for root in roots for one in root.findChildren(QAbstractButton))
            return next((one for one in buttons if one.isVisible() and one.text().startswith(text)), None)

        self.wait(lambda: find() is not None, 20)
        return cast(QAbstractButton, self.ask(find))

    def push(self, text: str, within: QWidget | None = None) -> None:
        """Click on a button by its text."""
        button = self.button(text, within)
        self.wait(button.isEnabled, 60)
        # the tick of a box is at its left end
        self.click_on(button, lambda: QPoint(min(10, button.width() // 2), button.height() // 2))

    def tab(self, tabs: Any, name: str) -> None:
        """Click on a tab."""
        bar = self.ask(tabs.tabBar)

        def at() -> QPoint:
            number = next(n for n in range(bar.count()) if bar.tabText(n) == name)
            return bar.tabRect(number).center()

        self.click_on(bar, at)

    def choose(self, chooser: QComboBox, text: str) -> None:
        """Open a combo box and click on an entry."""
        self.click_on(chooser)
        view = self.ask(chooser.view)
        self.wait(view.isVisible, 10)

        def at() -> QPoint:
            row = next(n for n in range(chooser.count()) if text in chooser.itemText(n))
            return view.visualRect(chooser.model().index(row, 0)).center()

        self.click_on(self.ask(view.viewport), at)

    def menu(self, button: QWidget, *texts: str) -> None:
        """Open the menu of a button, and click on an entry, or on one of a submenu."""
        self.click_on(button)
        for text in texts:
            self.wait(lambda: isinstance(QApplication.activePopupWidget(), QMenu), 10)
            menu, action = self.ask(lambda text=text: _action(text))
            self.click_on(menu, lambda menu=menu, action=action: menu.actionGeometry(action).center())

    def press(self, key: str, times: int = 1) -> None:
        """Press a key, as xdotool names it, in the window that is active."""
        self._focus()
        for _ in range(times):
            self._do("key", key)
        self.keys += times

    def type(self, text: str) -> None:
        """Type a text and Enter."""
        self._focus()
        self._do("type", "--delay", "5", text)
        self._do("key", "Return")
        self.texts += 1

    def _focus(self) -> None:
        top = self.ask(lambda: QApplication.activeModalWidget() or QApplication.activeWindow() or self.window)
        self._do("windowfocus", str(self.ask(lambda: int(top.winId()))))


def _action(text: str) -> tuple[QMenu, Any]:
    menus = [one for one in QApplication.topLevelWidgets() if isinstance(one, QMenu) and one.isVisible()]
    for menu in menus[::-1]:
        for action in menu.actions():
            if action.text().startswith(text):
                return menu, action
    raise LookupError(f"no entry {text!r} in {[[a.text() for a in menu.actions()] for menu in menus]}")
