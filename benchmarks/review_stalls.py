"""The longest time that the window does not respond with 20,000 objects in the table, and napari's own part of it.

python benchmarks/review_stalls.py [--side 4096] [--objects 20000]

Prints a row of JSON for each action: the longest pause of the event loop, and that of bare napari for what it does
there itself: its features table shows another table of that size, or a layer of that size gets a colormap.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import napari
import numpy as np
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap
from qtpy.QtCore import QItemSelection, QItemSelectionModel, Qt, QTimer
from qtpy.QtWidgets import QApplication, QTableView

from napari_segany.core.objects import ObjectInfo
from napari_segany.layers.feature_columns import MeasuredColumns
from napari_segany.layers.value_colours import ValueColours
from napari_segany.widgets.main import SeganyWidget
from tests.fakes import FakeSegmenter

BEAT_MS = 5


class Heartbeat:
    """Beats in the event loop and remembers the longest pause, without the time between two beats."""

    def __init__(self) -> None:
        self.longest, self._last = 0.0, time.perf_counter()
        self._timer = QTimer(interval=BEAT_MS)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last - BEAT_MS / 1000)
        self._last = now

    def stop(self) -> float:
        """End, and return the longest pause in ms."""
        self._beat()
        self._timer.stop()
        return round(1000 * self.longest, 1)


def wait(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.0005)


def stall(act: Callable[[], object], seconds: float = 2.0) -> float:
    """The longest pause of the event loop, in ms, while something is done and the window comes to rest."""
    wait(0.3)
    beat = Heartbeat()
    QTimer.singleShot(20, act)
    wait(seconds)
    return beat.stop()


def grid(side: int, objects: int) -> np.ndarray:
    """(side, side) int32, squares side by side."""
    labels = np.zeros((side, side), np.int32)
    count = int(np.ceil(np.sqrt(objects)))
    step = side // count
    for label in range(1, objects + 1):
        row, column = divmod(label - 1, count)
        labels[row * step + 3 : row * step + step - 3, column * step + 3 : column * step + step - 3] = label
    return labels


def bare(labels: np.ndarray, objects: int) -> dict[str, float]:
    """What napari alone takes: its features table with as many rows, and colours for as many labels."""
    import pandas as pd

    viewer = napari.Viewer()
    viewer.window.resize(1280, 720)
    layer = viewer.add_labels(labels.copy())
    wait(1)
    viewer.window.add_plugin_dock_widget("napari", "Features table widget")
    wait(1)
    rng = np.random.default_rng(0)
    index = np.arange(1, objects + 1)
    names = ("score", "area", "intensity", "slices", "length", "width", "roundness", "solidity")
    columns = {"index": index, "label": index, "name": [""] * objects, "state": ["automatic"] * objects}
    table = pd.DataFrame({**columns, **{name: rng.random(objects) for name in names}})
    own = layer.colormap
    shades = {int(k): f"#{(255 * own.map(int(k))).astype(np.uint8).tobytes().hex()}" for k in index}
    found = {
        "features": stall(lambda: setattr(layer, "features", table)),
        "colormap": stall(
            lambda: setattr(layer, "colormap", DirectLabelColormap(color_dict={None: "#999999", **shades}))
        ),
        "colormap back": stall(lambda: setattr(layer, "colormap", own)),
        "cyclic colormap": stall(
            lambda: setattr(layer, "colormap", CyclicLabelColormap(colors=rng.random((objects + 1, 4))))
        ),
    }
    # the same actions without our code: a row is selected, or 5,000, and one value of the table changes
    dock = viewer.window.add_plugin_dock_widget("napari", "Features table widget")[1]
    wait(1)
    layer.colormap = own
    found |= bare_table(viewer, layer, dock.table, objects)
    viewer.close()
    return found


def bare_table(viewer: napari.Viewer, layer: napari.layers.Labels, table: QTableView, objects: int) -> dict[str, float]:
    """The parts of our actions that are napari's, one after the other: a cell, a row, another place, 5,000 rows."""

    def one() -> None:
        layer.features.iloc[9, layer.features.columns.get_loc("state")] = "accepted"
        table.viewport().update()
        table.selectRow(10)
        layer.selected_label = 11
        viewer.camera.center = (0, 100, 100)

    def many() -> None:
        model = table.model()
        rows = QItemSelection(model.index(0, 0), model.index(objects // 4 - 1, model.columnCount() - 1))
        table.selectionModel().select(rows, QItemSelectionModel.SelectionFlag.ClearAndSelect)

    def cells() -> None:
        layer.features.iloc[: objects // 4, layer.features.columns.get_loc("name")] = "cell"
        table.viewport().update()

    def erase() -> None:
        layer.data[layer.data == 7] = 0
        layer.features = layer.features.drop(index=6)
        layer.refresh()

    return {"a row": stall(one), "many rows": stall(many), "many cells": stall(cells), "an object": stall(erase, 3)}


def opened(labels: np.ndarray, objects: int) -> tuple[napari.Viewer, SeganyWidget]:
    viewer = napari.Viewer()
    viewer.window.resize(1280, 720)
    viewer.add_image((labels > 0).astype(np.uint8))
    layer = viewer.add_labels(labels)
    widget = SeganyWidget(viewer, load=lambda: FakeSegmenter(radius=4))
    viewer.window.add_dock_widget(widget)
    widget.layer_box.labels.value = layer
    rng = np.random.default_rng(0)
    states = ("automatic", "proposed", "uncertain", "")
    known = {
        k: ObjectInfo(k, score=float(rng.random()), state=states[k % 4], class_name=("", "cell", "debris")[k % 3])
        for k in range(1, objects + 1)
    }
    widget.objects_box.take_over(known)
    wait(4)
    return viewer, widget


def ours(labels: np.ndarray, objects: int) -> dict[str, float]:
    viewer, widget = opened(labels, objects)
    box, classes = widget.objects_box, widget.classes_box
    found = {"open the tab": stall(lambda: widget.tabs.show_box(box), 8)}
    found["filter to check"] = stall(lambda: box.review_box.choose("to check"))
    found["all again"] = stall(lambda: box.review_box.choose("all"))
    found["least certain first"] = stall(lambda: box.review_box.order.setChecked(True))
    found["type a filter"] = stall(lambda: box._filter.setText("debris"))
    found["clear the filter"] = stall(lambda: box._filter.setText(""))
    found["go to the next"] = stall(lambda: widget.act("next_object"))
    found["first accept"] = stall(lambda: widget.act("accept_object"), 4)
    found["accept"] = stall(lambda: widget.act("accept_object"))
    found["reject"] = stall(lambda: widget.act("reject_object"))
    rows = list(range(1, objects // 4 + 1))
    found[f"select {len(rows)} rows"] = stall(lambda: box._rows.choose(rows), 4)
    classes.choose("cell")
    found[f"a class for {len(rows)} rows"] = stall(lambda: classes.buttons["set"].click(), 4)
    found["undo that"] = stall(lambda: widget.binding.undo(), 4)
    debris, shown = classes._tree._rows["debris"], Qt.CheckState
    found["hide a class"] = stall(lambda: debris.setCheckState(3, shown.Unchecked))
    found["show it again"] = stall(lambda: debris.setCheckState(3, shown.Checked))
    box._rows.choose([7])
    found["delete an object"] = stall(lambda: box.buttons["Delete"].click(), 4)
    shown = box.objects
    if shown is not None:
        count = len(shown.present)
        values = {f"measure {k}": np.random.default_rng(k).random(count) for k in range(8)}
        results = MeasuredColumns(np.array(shown.present), shown.total.pixels, values)
        found["measurements arrive"] = stall(lambda: shown.set_measured(results), 4)
        shades, colours = np.random.default_rng(0).random((count, 4)), ValueColours(shown.labels)
        found["colours of values"] = stall(lambda: colours.show(np.array(shown.present), shades))
    widget.close_session()
    viewer.close()
    return found


NAPARIS = {
    "open the tab": "features",
    "measurements arrive": "features",
    "hide a class": "colormap",
    "show it again": "colormap back",
    "colours of values": "cyclic colormap",
    "go to the next": "a row",
    "first accept": "a row",
    "accept": "a row",
    "reject": "a row",
    "delete an object": "an object",
}
"""What bare napari does for the same action; an action that it has not is compared with nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--objects", type=int, default=20_000)
    arguments = parser.parse_args()
    labels = grid(arguments.side, arguments.objects)
    naparis = bare(labels, arguments.objects)
    for action, took in ours(labels, arguments.objects).items():
        first = action.split(" ")[0]
        part = {"select": "many rows", "a": "many cells", "undo": "many cells"}.get(first, NAPARIS.get(action, ""))
        alone = naparis.get(part, 0.0)
        print(json.dumps({"action": action, "ours_ms": took, "napari_ms": alone, "excess_ms": round(took - alone, 1)}))


if __name__ == "__main__":
    main()
