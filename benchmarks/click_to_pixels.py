"""How long a user waits from a click to the painted mask, in a real window, with the model that ships.

Before it, in a window without our widget, what napari itself needs from the press of the mouse to a brush stroke.

python benchmarks/click_to_pixels.py [--side 512] [--clicks 40]
"""

from __future__ import annotations

import argparse
import json
import time

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_segany.core.synthetic import synthetic_image
from napari_segany.widgets.main import SeganyWidget


def spin_until(ready, limit: float = 60.0) -> None:
    end = time.perf_counter() + limit
    while not ready():
        # sleeps until something happens, as a window does, and leaves the interpreter to the worker
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
        if time.perf_counter() > end:
            raise TimeoutError


def opened(picture: np.ndarray) -> tuple[napari.Viewer, list[float]]:
    """A window with a picture, and the times at which it is drawn from now on."""
    viewer = napari.Viewer()
    viewer.window.resize(1280, 720)
    viewer.add_image(picture)
    drawn: list[float] = []
    canvas = viewer.window._qt_viewer.canvas
    canvas._scene_canvas.events.draw.connect(lambda event: drawn.append(time.perf_counter()), position="last")
    return viewer, drawn


def strokes(picture: np.ndarray, count: int) -> list[float]:
    """Milliseconds from press to pixels of dabs of the brush on a Labels layer of bare napari."""
    rng = np.random.default_rng(1)
    viewer, drawn = opened(picture)
    layer = viewer.add_labels(np.zeros(picture.shape[:2], np.int32))
    layer.mode, layer.selected_label, layer.brush_size = "paint", 1, 20
    canvas = viewer.window._qt_viewer.canvas.native
    waits = []
    for _ in range(count):
        middle = canvas.rect().center()
        place = QPoint(middle.x() + int(rng.integers(-200, 200)), middle.y() + int(rng.integers(-200, 200)))
        QTest.mouseMove(canvas, place)
        QApplication.processEvents()
        start = time.perf_counter()
        QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=place)
        painted = time.perf_counter()
        canvas.update()
        spin_until(lambda painted=painted: drawn and drawn[-1] > painted)
        waits.append(1000 * (drawn[-1] - start))
    viewer.close()
    return waits


def measure(side: int, clicks: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    picture = synthetic_image(rng, (side, side), kind="fluorescence", radius=side / 25).image
    bare = strokes(picture, clicks)
    viewer, drawn = opened(picture)
    canvas = viewer.window._qt_viewer.canvas
    widget = SeganyWidget(viewer)
    viewer.window.add_dock_widget(widget)
    started = time.perf_counter()
    spin_until(lambda: len(widget.answers.cache) > 0)
    first = time.perf_counter() - started
    waits = []
    for _ in range(clicks):
        middle = canvas.native.rect().center()
        place = QPoint(middle.x() + int(rng.integers(-200, 200)), middle.y() + int(rng.integers(-200, 200)))
        QTest.mouseMove(canvas.native, place)
        QApplication.processEvents()
        start = time.perf_counter()
        QTest.mouseClick(canvas.native, Qt.MouseButton.LeftButton, pos=place)
        spin_until(lambda: widget.session.result is not None and not widget.session.waiting)
        answered = time.perf_counter()
        canvas.native.update()
        spin_until(lambda answered=answered: drawn and drawn[-1] > answered)
        waits.append(1000 * (drawn[-1] - start))
        widget.discard()
        QApplication.processEvents()
    widget.close_session()
    viewer.close()
    return {
        "side": side,
        "clicks": clicks,
        "ready_s": round(first, 2),
        "median_ms": round(float(np.median(waits)), 1),
        "p95_ms": round(float(np.percentile(waits, 95)), 1),
        "stroke_median_ms": round(float(np.median(bare)), 1),
        "stroke_p95_ms": round(float(np.percentile(bare, 95)), 1),
        "p95_beyond_ms": round(float(np.percentile(waits, 95) - np.percentile(bare, 95)), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--clicks", type=int, default=40)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.side, arguments.clicks)))


if __name__ == "__main__":
    main()
