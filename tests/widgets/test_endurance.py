"""Used all day: nothing is left behind by closing, and nothing grows by clicking."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import psutil
from napari import Viewer
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_segany.widgets.main import SeganyWidget
from tests.fakes import FakeSegmenter
from tests.layers.desk import Desk
from tests.widgets.conftest import own_threads, posted

OPENINGS, CLICKS = 50, 1000


def callbacks(viewer: ViewerModel) -> int:
    """How many listeners the viewer and its layers have."""
    groups = [viewer.events, viewer.dims.events, viewer.layers.events, *(layer.events for layer in viewer.layers)]
    return sum(len(emitter.callbacks) for group in groups for emitter in group.emitters.values())


def test_nothing_is_left_of_fifty_openings(make_napari_viewer: Callable[..., Viewer], qtbot: QtBot) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(np.zeros((40, 50), np.uint8))
    heard, threads, kept = callbacks(viewer), own_threads(), []
    for _ in range(OPENINGS):
        widget = SeganyWidget(viewer, load=FakeSegmenter)
        viewer.window.add_dock_widget(widget)
        posted(qtbot)
        kept += [weakref.ref(widget.session), weakref.ref(widget.binding)]
        jobs, lookups = widget.jobs, widget.resuming.lookups
        viewer.window.remove_dock_widget(widget)
        jobs.join(20)
        lookups.join(20)
        del widget, jobs, lookups
    posted(qtbot)
    gc.collect()
    assert callbacks(viewer) == heard
    qtbot.waitUntil(lambda: own_threads() <= threads, timeout=10_000)
    assert len(viewer.layers) == 1
    assert sum(one() is not None for one in kept) <= 2, "the last one may still be on its way out"


def test_memory_stays_flat_over_a_thousand_clicks() -> None:
    desk = Desk(np.zeros((30, 30), np.uint8))
    process, rng = psutil.Process(), np.random.default_rng(0)
    before = 0
    for number in range(CLICKS):
        if number == CLICKS // 5:
            gc.collect()
            before = process.memory_info().rss
        # what the tests remember of it is not the plugin's
        desk.asked.clear()
        desk.events.clear()
        desk.click(*rng.uniform(3, 25, 2))
        if number % 3 == 2:
            desk.binding.output.overwrite = True
            desk.binding.keep()
    gc.collect()
    assert process.memory_info().rss - before < 40e6
