"""How often the mask under a moving cursor is drawn, in a real window, with the model that ships.

python benchmarks/hover.py [--side 512] [--seconds 5]
"""

from __future__ import annotations

import argparse
import json
import time

import napari
import numpy as np
from qtpy.QtCore import QPoint
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_segany.core.synthetic import synthetic_image
from napari_segany.widgets.main import SeganyWidget


def measure(side: int, seconds: float) -> dict[str, float]:
    rng = np.random.default_rng(0)
    viewer = napari.Viewer()
    viewer.window.resize(1280, 720)
    viewer.add_image(synthetic_image(rng, (side, side), kind="fluorescence", radius=side / 25).image)
    widget = SeganyWidget(viewer)
    viewer.window.add_dock_widget(widget)
    while not len(widget.answers.cache):
        QApplication.processEvents()
    drawn: list[float] = []
    canvas = viewer.window._qt_viewer.canvas
    canvas._scene_canvas.events.draw.connect(lambda event: drawn.append(time.perf_counter()), position="last")
    asked: list[float] = []
    widget.binding.preview.layer.events.set_data.connect(lambda event: asked.append(time.perf_counter()))
    place = np.array([0.0, 0.0])
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        # a cursor that wanders over the picture, 60 times a second
        place = np.clip(place + rng.normal(0, 6, 2), -200, 200)
        middle = canvas.native.rect().center()
        QTest.mouseMove(canvas.native, QPoint(middle.x() + int(place[0]), middle.y() + int(place[1])))
        end = time.perf_counter() + 1 / 60
        while time.perf_counter() < end:
            QApplication.processEvents()
            time.sleep(0.001)
    widget.close_session()
    viewer.close()
    return {
        "side": side,
        "hints_per_second": round(len(asked) / seconds, 1),
        "frames_per_second": round(len(drawn) / seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.side, arguments.seconds)))


if __name__ == "__main__":
    main()
