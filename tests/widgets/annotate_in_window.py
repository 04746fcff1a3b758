"""Commit objects in the real widget without end, and tell of each mask that is shown; to be killed.

Run as ``python -m tests.widgets.annotate_in_window [SECONDS]``; the disk takes so long for each record.
"""

from __future__ import annotations

import itertools
import os
import sys
import time

import numpy as np
from napari import Viewer
from qtpy.QtWidgets import QApplication

from napari_segany.widgets.main import SeganyWidget
from tests.fakes import FakeSegmenter


def slow_disk(seconds: float) -> None:
    """Have the disk take its time."""
    sync = os.fsync

    def slow(handle: int) -> None:
        time.sleep(seconds)
        sync(handle)

    os.fsync = slow


def main() -> None:
    """Open a window, click, and commit; tell of each mask, when it is shown, how many objects were committed before."""
    slow_disk(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)
    viewer = Viewer(show=False)
    viewer.add_image(np.zeros((512, 512), np.uint8))
    widget = SeganyWidget(viewer, load=lambda: FakeSegmenter(radius=4))
    viewer.window.add_dock_widget(widget)
    for number in itertools.count():
        widget.binding.points.add((10 + 12 * (number // 40), 10 + 12 * (number % 40)))
        until = time.monotonic() + 20
        while (widget.session.mask is None or widget.session.waiting) and time.monotonic() < until:
            QApplication.processEvents()
        os.write(1, f"{number}\n".encode())
        widget.binding.keep()


if __name__ == "__main__":
    main()
