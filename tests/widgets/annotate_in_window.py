"""Commit objects in the real widget without end, and write how many there are after each; to be killed.

Run as ``python -m tests.widgets.annotate_in_window``.
"""

from __future__ import annotations

import itertools
import os
import time

import numpy as np
from napari import Viewer
from qtpy.QtWidgets import QApplication

from napari_segany.widgets.main import SeganyWidget
from tests.fakes import FakeSegmenter


def main() -> None:
    """Open a window, click and commit."""
    viewer = Viewer(show=False)
    viewer.add_image(np.zeros((512, 512), np.uint8))
    widget = SeganyWidget(viewer, load=lambda: FakeSegmenter(radius=4))
    viewer.window.add_dock_widget(widget)
    for number in itertools.count():
        widget.binding.points.add((10 + 12 * (number // 40), 10 + 12 * (number % 40)))
        until = time.monotonic() + 20
        while (widget.session.mask is None or widget.session.waiting) and time.monotonic() < until:
            QApplication.processEvents()
        if widget.binding.keep():
            os.write(1, f"{number + 1}\n".encode())


if __name__ == "__main__":
    main()
