"""How long a user waits from a click to the painted mask, in a real window, with the model that ships.

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
from napari_segany.widgets.segany import SeganyWidget


def spin_until(ready, limit: float = 60.0) -> None:
    end = time.perf_counter() + limit
    while not ready():
        # sleeps until something happens, as a window does, and leaves the interpreter to the worker
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
        if time.perf_counter() > end:
            raise TimeoutError


def measure(side: int, clicks: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    picture = synthetic_image(rng, (side, side), kind="fluorescence", radius=side / 25).image
    viewer = napari.Viewer()
    viewer.window.resize(1280, 720)
    viewer.add_image(picture)
    widget = SeganyWidget(viewer)
    viewer.window.add_dock_widget(widget)
    canvas = viewer.window._qt_viewer.canvas
    drawn = []
    canvas._scene_canvas.events.draw.connect(lambda event: drawn.append(time.perf_counter()), position="last")
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
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--clicks", type=int, default=40)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.side, arguments.clicks)))


if __name__ == "__main__":
    main()
