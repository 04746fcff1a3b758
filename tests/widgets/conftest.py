"""A real napari window, and a mouse and keyboard that are as real as the screen."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from napari import Viewer
from napari._app_model import get_app_model
from napari.plugins._npe2 import _register_manifest_actions
from npe2 import PluginManager, PluginManifest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QObject, QPoint, QTimer
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QApplication, QWidget

from napari_segany.core.segmenter import Segmenter
from napari_segany.widgets import commands
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.main import SeganyWidget
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
    PRESSES = (QEvent.Type.KeyPress, QEvent.Type.MouseButtonPress)

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.count = self.presses = self.moves = 0
        QApplication.instance().installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        kind = event.type()
        self.count += kind in self.RELEASES
        self.presses += kind in self.PRESSES
        self.moves += kind == QEvent.Type.MouseMove
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

    def _do_and_see(self, *words: str, ends: str = "count") -> None:
        """Do what ends with a key or a button let go, or held, and wait until the program has seen it."""
        before = getattr(self.arrivals, ends)
        self._do(*words)
        self.qtbot.waitUntil(lambda: getattr(self.arrivals, ends) > before)
        posted(self.qtbot)

    def _move_to(self, y: float, x: float) -> None:
        """Move the pointer to a place of the displayed world, and wait until the program has seen it."""
        column, row = self._on_screen(y, x)
        before = self.arrivals.moves
        if QCursor.pos() == QPoint(int(column), int(row)):
            return
        self._do("mousemove", column, row)
        self.qtbot.waitUntil(lambda: self.arrivals.moves > before)
        posted(self.qtbot)

    def _on_screen(self, y: float, x: float) -> tuple[str, str]:
        """Place on the screen of a place (y, x) in the displayed world."""
        # napari 0.9 moved the camera into a scene
        camera = getattr(self.viewer, "scene", self.viewer).camera
        away = (np.array([y, x]) - np.array(camera.center[-2:])) * camera.zoom
        middle = self.canvas.rect().center()
        place = self.canvas.mapToGlobal(QPoint(round(middle.x() + away[1]), round(middle.y() + away[0])))
        return str(place.x()), str(place.y())

    def click(self, y: float, x: float, *held: str, button: int = 1) -> None:
        """Click with the left button, or with another one, keys held down."""
        self._move_to(y, x)
        self._do_and_see(*(word for key in held for word in ("keydown", key)), "click", str(button))
        if held:
            self._do_and_see(*(word for key in held for word in ("keyup", key)))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the left button."""
        self._move_to(*start)
        self._do_and_see("mousedown", "1", ends="presses")
        for share in (0.3, 0.7, 1.0):
            self._move_to(*(a + share * (b - a) for a, b in zip(start, end, strict=True)))
        self._do_and_see("mouseup", "1")

    def move(self, y: float, x: float) -> None:
        """Move the mouse, in two steps as a hand does."""
        for nearer in (1, 0):
            self._move_to(y - nearer, x - nearer)

    def press(self, key: str) -> None:
        """Press a key with the window in focus."""
        self._do("windowfocus", str(int(self.window.winId())))
        self.qtbot.waitUntil(self.window.isActiveWindow)
        self._do_and_see("key", key)

    def draw(self) -> None:
        """Have the canvas drawn, and wait until it is."""
        with self.qtbot.waitSignal(self.canvas.frameSwapped):
            self.canvas.update()


def posted(qtbot: QtBot) -> None:
    """Wait until events that were posted, and those that they post, have been handled."""
    for _ in range(2):
        with qtbot.waitCallback() as called:
            QTimer.singleShot(0, called)


def settle(qtbot: QtBot, *workers: Jobs) -> None:
    """Wait until workers have done all that they were given, and the window knows of it."""
    for jobs in workers:
        with qtbot.waitCallback(timeout=60_000) as done:
            jobs.run(lambda: None, done=done, failed=done, unseen=True)
    posted(qtbot)


@pytest.fixture
def hand(make_napari_viewer: Callable[..., Viewer], qtbot: QtBot) -> Iterator[Hand]:
    """A shown napari window of 1360 x 720 pixels and a hand to use it."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1360, 720)
    viewer.window._qt_window.move(0, 0)
    qtbot.waitExposed(viewer.window._qt_window)
    hand = Hand(viewer, qtbot)
    yield hand
    # pytest keeps fixtures longer than the viewer, whose own fixture looks for leaks
    vars(hand).clear()


DOORS = ("constructor", "npe2", "menu", "plugin dock widget", "command palette")
"""Ways in which the widget comes into a window; through all but the first it gets a proxy of the viewer."""


def enter(viewer: Viewer, door: str, load: Callable[[], Segmenter] | None = None) -> SeganyWidget:
    """Open the widget through one of ``DOORS``."""
    if door == "constructor":
        widget = SeganyWidget(viewer, **({} if load is None else {"load": load}))
        viewer.window.add_dock_widget(widget, name="Segment Anything")
        return widget
    PluginManager.instance().discover()
    before = SeganyWidget.__init__.__defaults__
    SeganyWidget.__init__.__defaults__ = before if load is None else (load,)
    try:
        if door == "plugin dock widget":
            return viewer.window.add_plugin_dock_widget("napari-segany")[1]
        if door == "npe2":
            # as a program does that asks npe2 for the widget and docks it itself
            (contribution,) = PluginManifest.from_distribution("napari-segany").contributions.widgets
            widget = contribution.get_callable()(viewer)
            viewer.window.add_dock_widget(widget, name=contribution.display_name)
            return widget
        if door == "menu":
            choose_in_menu(viewer)
            return commands.docked(viewer)
        run_command("toggle_sign")
        widget = commands.docked(viewer)
        widget.act("toggle_sign")
        return widget
    finally:
        SeganyWidget.__init__.__defaults__ = before


def register_commands() -> None:
    """Have napari know our commands and menus: the fixture of the window knows no plugin."""
    if "napari-segany.toggle_sign" not in get_app_model().commands:
        _register_manifest_actions(PluginManifest.from_distribution("napari-segany"))


def choose_in_menu(viewer: Viewer) -> None:
    """Choose the widget in the menu Layers > Segment."""
    register_commands()
    (segment,) = (action.menu() for action in viewer.window.layers_menu.actions() if action.text() == "Segment")
    (ours,) = (action for action in segment.actions() if action.text().startswith("Segment Anything"))
    ours.trigger()


def run_command(name: str) -> None:
    """Run one of our commands as napari's command palette does."""
    register_commands()
    get_app_model().commands.execute_command(f"napari-segany.{name}").result()


class Opened:
    """A window with an image and the dock widget."""

    def __init__(
        self,
        hand: Hand,
        image: np.ndarray,
        segmenter: Segmenter | None = None,
        door: str = "constructor",
        **options: object,
    ) -> None:
        self.hand, self.viewer = hand, hand.viewer
        self.image = hand.viewer.add_image(image, **options)
        self.widget = enter(hand.viewer, door, None if segmenter is None else lambda: segmenter)
        # an earlier session is looked for meanwhile, which nothing waits for
        settle(hand.qtbot, self.widget.jobs)
        hand.draw()

    def settle(self) -> None:
        """Wait until all workers rest."""
        settle(self.hand.qtbot, self.widget.jobs, self.widget.resuming.lookups)

    def close(self) -> None:
        self.widget.close_session()
        self.widget.jobs.join(30)
        self.widget.resuming.lookups.join(30)
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


@pytest.fixture(params=DOORS)
def through(hand: Hand, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """The same as `opened`, through each of the doors."""
    opened = Opened(hand, np.zeros((60, 80), np.uint8), FakeSegmenter(radius=8), request.param)
    yield opened
    opened.close()
