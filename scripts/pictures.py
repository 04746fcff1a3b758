"""Make the pictures of the docs: the demo, played in a real window.

xvfb-run -a -s "-screen 0 1280x800x24" python scripts/pictures.py
"""

from __future__ import annotations

import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from napari_segany.demo import open_demo, place, play, script

PICTURES = Path(__file__).parents[1] / "docs" / "images"


def spin(seconds: float) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def main() -> None:
    """Play the demo and take the picture."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer()
    viewer.window.resize(1280, 760)
    widget = open_demo(viewer)
    spin(2)
    for _ in play(viewer, widget):
        spin(0.2)
    # one more, not kept yet, so that a click and the preview are seen
    truth, labels = viewer.layers["Truth"].data, widget.binding.labels.data
    free = np.setdiff1d(truth, truth[labels > 0])
    place(widget.binding, next(p for p in script(np.where(np.isin(truth, free), truth, 0)) if p.click is not None))
    while widget.session.waiting:
        spin(0.1)
    spin(1)
    viewer.screenshot(str(PICTURES / "demo.png"), canvas_only=False)
    widget.close_session()
    viewer.close()


if __name__ == "__main__":
    main()
