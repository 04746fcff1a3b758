"""The longest time that the window does not answer: napari alone, and while slices are encoded and clicks answered.

python benchmarks/stalls.py [--side 1024] [--rounds 3]

Both windows get the same gestures at the same moments: clicks into a Points layer, pans, zooms, steps through a stack.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator

import napari
import numpy as np
from napari.layers import Points
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_segany.core.synthetic import synthetic_image
from napari_segany.widgets.main import SeganyWidget

BEAT_MS = 1


class Pulse:
    """Beats in the event loop and remembers the longest pause."""

    def __init__(self) -> None:
        self.longest, self._last = 0.0, time.perf_counter()
        self._timer = QTimer(interval=BEAT_MS)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now

    def stop(self) -> float:
        self._timer.stop()
        return 1000 * self.longest


def stack(side: int, planes: int = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    plane = synthetic_image(rng, (side, side), kind="fluorescence", radius=side / 25).image[..., 0]
    return np.stack([np.roll(plane, 9 * z, axis=1) for z in range(planes)])


def gestures(viewer: napari.Viewer, rng: np.random.Generator) -> Iterator[Callable[[], object]]:
    """What a busy hand does; the same for the same generator."""
    native = viewer.window._qt_viewer.canvas.native
    camera = getattr(viewer, "scene", viewer).camera
    for number in range(40):
        middle = native.rect().center()
        place = QPoint(middle.x() + int(rng.integers(-150, 150)), middle.y() + int(rng.integers(-150, 150)))
        yield lambda place=place: QTest.mouseClick(native, Qt.MouseButton.LeftButton, pos=place)
        yield lambda: setattr(camera, "center", tuple(np.add(camera.center, (0, 3, -3))))
        yield lambda number=number: setattr(camera, "zoom", camera.zoom * (1.1 if number % 2 else 1 / 1.1))
        if number % 4 == 3:
            yield lambda number=number: viewer.dims.set_current_step(0, (number // 4) % 12)


def longest_stall(side: int, with_widget: bool) -> float:
    viewer = napari.Viewer()
    viewer.window.resize(1280, 720)
    viewer.add_image(stack(side))
    widget = None
    if with_widget:
        widget = SeganyWidget(viewer)
        viewer.window.add_dock_widget(widget)
        wait(lambda: len(widget.answers.cache) > 0)
    else:
        layer = viewer.add_layer(Points(np.zeros((0, 3)), ndim=3))
        layer.mode = "add"
    wait(lambda: False, 0.5)
    pulse = Pulse()
    for gesture in gestures(viewer, np.random.default_rng(1)):
        gesture()
        wait(lambda: False, 0.03)
    longest = pulse.stop()
    if widget is not None:
        widget.close_session()
    viewer.close()
    return longest


def wait(ready: Callable[[], bool], seconds: float = 60) -> None:
    end = time.perf_counter() + seconds
    while not ready() and time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.0005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    bare, ours = zip(
        *[(longest_stall(arguments.side, False), longest_stall(arguments.side, True)) for _ in range(arguments.rounds)],
        strict=True,
    )
    row = {
        "side": arguments.side,
        "bare_ms": [round(one, 1) for one in bare],
        "ours_ms": [round(one, 1) for one in ours],
        "excess_ms": round(float(np.median(ours) - np.median(bare)), 1),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
