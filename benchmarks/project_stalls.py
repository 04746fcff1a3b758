"""The longest time that the window does not respond with a folder of 2,000 images.

python benchmarks/project_stalls.py [--images 2000]

Makes small images with the results of a batch run in a temporary folder, and prints a row of JSON for each action: the
longest pause of the event loop, and that of bare napari for the same layers where an image is opened or replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import napari
import numpy as np
import tifffile
from qtpy.QtCore import Qt
from review_stalls import stall, wait

from napari_segany.io.object_tables import LABELS, OBJECTS
from napari_segany.widgets.main import SeganyWidget
from tests.fakes import FakeSegmenter

SIDE = 64


def make_folder(folder: Path, images: int) -> None:
    """Images of noise, and for each one the labels and the table of a batch run."""
    rng = np.random.default_rng(0)
    run = folder / "segany-labels" / "all objects"
    run.mkdir(parents=True)
    for number in range(images):
        name = f"well {number:05d}"
        tifffile.imwrite(folder / f"{name}.tif", rng.integers(0, 255, (SIDE, SIDE), np.uint8))
        labels = np.zeros((SIDE, SIDE), np.uint16)
        labels[8:16, 8:16], labels[30:40, 30:44] = 1, 2
        path = run / f"{name}{LABELS}"
        tifffile.imwrite(path, labels)
        rows = [f"{label},,,{rng.random():.3f},,text,9,automatic" for label in (1, 2)]
        (run / f"{name}{OBJECTS}").write_text("\n".join(["label,name,class,score,stability,how,pixels,state", *rows]))


def add_layers(viewer: napari.Viewer, path: Path) -> None:
    """What the panel shows of an image: the picture, its labels, a preview, clicks and shapes."""
    viewer.open(str(path), plugin="napari")
    for name in ("labels", "preview"):
        viewer.add_labels(np.ones((SIDE, SIDE), np.int32), name=name)
    viewer.add_points(ndim=2)
    viewer.add_shapes(ndim=2)


def bare(folder: Path) -> tuple[float, float]:
    """napari alone: the layers of an image are added, and then replaced by those of the next image."""
    first, second, third = sorted(folder.glob("*.tif"))[:3]
    viewer = napari.Viewer()
    viewer.window.resize(1280, 720)
    # (the first image of a process takes longer)
    viewer.open(str(first), plugin="napari")
    viewer.layers.clear()
    wait(1)
    opening = stall(lambda: add_layers(viewer, second))

    def exchange() -> None:
        before = list(viewer.layers)
        add_layers(viewer, third)
        for layer in before:
            viewer.layers.remove(layer)
        viewer.reset_view()

    replacing = stall(exchange, 4)
    viewer.close()
    return opening, replacing


def ours(folder: Path) -> dict[str, float]:
    viewer = napari.Viewer()
    viewer.window.resize(1280, 720)
    widget = SeganyWidget(viewer, load=lambda: FakeSegmenter(radius=4))
    viewer.window.add_dock_widget(widget)
    wait(2)
    project = widget.project
    table = project.table
    found = {"open the folder": stall(lambda: project.open_folder(str(folder)), 5)}
    found["open the list"] = stall(project.show_table, 5)
    found["least certain first"] = stall(table.sort_by_certainty)
    found["type a filter"] = stall(lambda: table._text.setText("1"))
    found["clear the filter"] = stall(lambda: table._text.setText(""))
    found["not finished"] = stall(lambda: table._kind.setCurrentText("not finished"))
    found["all images"] = stall(lambda: table._kind.setCurrentText("all images"))
    names = list(project.project.names[:500]) if project.project is not None else []
    found["mark 500 images"] = stall(lambda: table.marked.emit(names, "accepted"), 4)
    found["mark one image"] = stall(lambda: table.marked.emit(names[:1], "uncertain"))
    found["tick all"] = stall(table._tick_shown)
    found["untick all"] = stall(table._untick)
    table.table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    for number in range(1, 4):
        found[f"next image, {number}"] = stall(lambda: project.step(1), 3)
    widget.close_session()
    viewer.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, other = Path(name) / "plate", Path(name) / "sessions"
        os.environ.setdefault("SEGANY_SESSIONS", str(other))
        make_folder(folder, arguments.images)
        opening, replacing = bare(folder)
        for action, took in ours(folder).items():
            part = replacing if action.startswith("next") else opening if action == "open the folder" else 0.0
            row = {"action": action, "ours_ms": took, "napari_ms": part, "excess_ms": round(took - part, 1)}
            print(json.dumps(row))


if __name__ == "__main__":
    main()
