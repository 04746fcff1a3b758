"""A real napari window, and a mouse and keyboard that are as real as the screen."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from napari import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QObject, QPoint
from qtpy.QtWidgets import QApplication, QWidget

from napari_segany.core.segmenter import Segmenter
from napari_segany.widgets.segany import SeganyWidget
from tests.fakes import FakeSegmenter


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Have no window draw itself any more when its test is over.

    vispy leaves vertex arrays switched on whose buffers went with their layers; Mesa's software renderer reads them all
    the same in the next drawing of a window that is being taken apart, and crashes.
    """
    _hide_windows()
    return (yield)


def _hide_windows() -> None:
    # in a function of its own: nothing may hold a window while its fixture looks for leaks
    for window in QApplication.topLevelWidgets():
        window.hide()


def own_threads() -> set[threading.Thread]:
    """Threads of this program; those of Qt that have called Python once are known as dummies, and are not ours."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("Dummy-")}


class Arrivals(QObject):
    """Counts what comes from the X server, which takes its time where the machine is busy."""

    RELEASES = (QEvent.Type.KeyRelease, QEvent.Type.MouseButtonRelease)

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.count = 0
        QApplication.instance().installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in self.RELEASES:
            self.count += 1
        return False


class Hand:
    """Moves the mouse of the X server and presses its keys, by xdotool."""

    def __init__(self, viewer: Viewer, qtbot: QtBot) -> None:
        if shutil.which("xdotool") is None:
            pytest.fail("tests of the window need xdotool: run scripts/system-packages.sh")
        self.viewer, self.qtbot = viewer, qtbot
        self.window: QWidget = viewer.window._qt_window
        self.canvas: QWidget = viewer.window._qt_viewer.canvas.native
        self.arrivals = Arrivals(self.window)

    def _do(self, *words: str) -> None:
        subprocess.run(["xdotool", *words], check=True, timeout=20)
        self.qtbot.wait(60)

    def _do_and_see(self, *words: str) -> None:
        """Do what ends with a key or a button let go, and wait until the program has seen it."""
        before = self.arrivals.count
        self._do(*words)
        self.qtbot.waitUntil(lambda: self.arrivals.count > before)

    def _on_screen(self, y: float, x: float) -> tuple[str, str]:
        """Place on the screen of a place (y, x) in the displayed world."""
        # napari 0.9 moved the camera into a scene
        camera = getattr(self.viewer, "scene", self.viewer).camera
        away = (np.array([y, x]) - np.array(camera.center[-2:])) * camera.zoom
        middle = self.canvas.rect().center()
        place = self.canvas.mapToGlobal(QPoint(round(middle.x() + away[1]), round(middle.y() + away[0])))
        return str(place.x()), str(place.y())

    def click(self, y: float, x: float, *held: str) -> None:
        """Click with the left button, keys held down."""
        self._do("mousemove", *self._on_screen(y, x))
        self._do_and_see(*(word for key in held for word in ("keydown", key)), "click", "1")
        if held:
            self._do_and_see(*(word for key in held for word in ("keyup", key)))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the left button."""
        self._do("mousemove", *self._on_screen(*start))
        self._do("mousedown", "1")
        for share in (0.3, 0.7, 1.0):
            self._do("mousemove", *self._on_screen(*(a + share * (b - a) for a, b in zip(start, end, strict=True))))
        self._do_and_see("mouseup", "1")

    def move(self, y: float, x: float) -> None:
        """Move the mouse, in two steps as a hand does."""
        for nearer in (1, 0):
            self._do("mousemove", *self._on_screen(y - nearer, x - nearer))

    def press(self, key: str) -> None:
        """Press a key with the window in focus."""
        self._do("windowfocus", str(int(self.window.winId())))
        self._do_and_see("key", key)


@pytest.fixture
def hand(make_napari_viewer: Callable[..., Viewer], qtbot: QtBot) -> Iterator[Hand]:
    """A shown napari window of 1280 x 720 pixels and a hand to use it."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 720)
    viewer.window._qt_window.move(0, 0)
    qtbot.waitExposed(viewer.window._qt_window)
    hand = Hand(viewer, qtbot)
    yield hand
    # pytest keeps fixtures longer than the viewer, whose own fixture looks for leaks
    vars(hand).clear()


class Opened:
    """A window with an image and the dock widget."""

    def __init__(self, hand: Hand, image: np.ndarray, segmenter: Segmenter | None = None, **options: object) -> None:
        self.hand, self.viewer = hand, hand.viewer
        self.image = hand.viewer.add_image(image, **options)
        load = {} if segmenter is None else {"load": lambda: segmenter}
        self.widget = SeganyWidget(hand.viewer, **load)
        hand.viewer.window.add_dock_widget(self.widget, name="Segment Anything")
        hand.qtbot.wait(300)

    def close(self) -> None:
        self.widget.close_session()
        self.widget.jobs.join(30)
        vars(self).clear()

    def wait_for_mask(self) -> None:
        self.hand.qtbot.waitUntil(
            lambda: self.widget.session.result is not None and not self.widget.session.waiting, timeout=60_000
        )

    @property
    def text(self) -> str:
        return self.widget.status_box.text


@pytest.fixture
def opened(hand: Hand) -> Iterator[Opened]:
    opened = Opened(hand, np.zeros((60, 80), np.uint8), FakeSegmenter(radius=8))
    yield opened
    opened.close()
