"""What crashed the graphics driver, each in a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

START = """
import numpy as np, napari
from qtpy.QtTest import QTest
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import enter

viewer = napari.Viewer(show=True)
image = viewer.add_image(np.zeros((60, 80), np.uint8), name="image")
widget = enter(viewer, "constructor", lambda: FakeSegmenter())
draw = lambda: QTest.qWait(400)
draw()
widget.prompt_box.take("Brush")
if {erase}:
    widget.act("toggle_sign")
assert widget.binding.mask_preview.painting
draw()
"""
END = """
draw()
viewer.layers.clear()
draw()
viewer.add_image(np.ones((60, 80), np.uint8))
draw()
widget.close_session()
widget.jobs.join(10)
viewer.close()
print("alive")
"""
WAYS = {
    "another image": """
other = viewer.add_image(np.ones((60, 80), np.uint8))
draw()
widget.layer_box.image.value = other
""",
    "another image at once": """
other = viewer.add_image(np.ones((60, 80), np.uint8))
widget.layer_box.image.value = other
""",
    "renamed": "image.name = 'renamed'",
    "image removed": "viewer.layers.remove(image)",
    "preview removed": "viewer.layers.remove(widget.binding.preview.layer)",
    "clicks removed": "viewer.layers.remove(widget.binding.points)",
    "labels added": "viewer.add_labels(np.zeros((60, 80), np.int32))",
    "kept": """
widget.binding.points.add([30, 40])
draw()
widget.keep()
""",
    "closed": "widget.close_session()",
}


@pytest.mark.parametrize(("way", "erase"), [*((way, False) for way in WAYS), ("renamed", True)])
def test_layers_come_and_go_while_the_brush_is_in_use(way: str, erase: bool) -> None:
    code = START.format(erase=erase) + WAYS[way] + END
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=os.environ, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.endswith("alive\n"), done.stderr[-2000:]
