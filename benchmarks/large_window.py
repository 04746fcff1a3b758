"""Seconds and memory for a plane of 20,000 x 20,000 pixels, and a stack of 2,000 slices, worked on in a real window.

python benchmarks/large_window.py [--side 20000] [--slices 2000] [--folder FOLDER]

Each in a separate process, which tells the largest memory of the window's process and of the model's. Two regions far
from each other are opened, and in each of them objects are clicked on and kept; in the stack they are followed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dask.array as da
import napari
import psutil
import zarr
from click_to_pixels import spin_until
from large import DEPTH, PART, make_plane, make_stack
from napari.layers._source import layer_source
from qtpy.QtWidgets import QApplication

from napari_segany.widgets.main import SeganyWidget

CLICKS, REACH = 3, 10
FAR = 0.25, 0.75
"""Where the regions are, as shares of the length."""


def peak(pid: int) -> float:
    """GiB that a process has held at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


class Desk:
    """A window with a large image and the dock widget."""

    def __init__(self, path: Path) -> None:
        group = zarr.open_group(path, mode="r")
        levels = [da.from_zarr(group[name]) for name in sorted(group.array_keys())]
        several = len(levels) > 1
        self.viewer = napari.Viewer()
        with layer_source(path=str(path)):
            self.viewer.add_image(levels if several else levels[0], multiscale=several, contrast_limits=(0, 51000))
        self.widget = SeganyWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.widget)
        QApplication.processEvents()

    def enter(self, y: float, x: float, z: int | None = None) -> float:
        """Open the region around a place, and wait until it can be clicked on; the seconds that took."""
        if z is not None:
            self.viewer.dims.set_point(0, z)
        camera = getattr(self.viewer, "scene", self.viewer).camera
        camera.center, camera.zoom = (0, y, x), 0.5
        before, started = self.widget.large.region, time.perf_counter()
        self.widget.regions.work_here()
        spin_until(lambda: self.widget.large.region not in (None, before) and self._ready(), 120)
        return time.perf_counter() - started

    def _ready(self) -> bool:
        binding = self.widget.binding
        view = binding.planes.view() if binding is not None else None
        return binding is not None and view is not None and self.widget.answers.ready(*binding.planes.stack(view))

    def keep(self, y: int, x: int) -> float:
        """Click on a place and keep the mask; the seconds until it is shown."""
        session, binding, window = self.widget.session, self.widget.binding, self.widget.large.region.window
        started = time.perf_counter()
        position = binding.planes.view().position[:-2]
        binding.points.add([*position, y - window[-2].start, x - window[-1].start])
        spin_until(lambda: session.result is not None and not session.waiting)
        seconds = time.perf_counter() - started
        self.widget.keep()
        return seconds

    def follow(self) -> float:
        """Follow what was kept to the next slices; the seconds that took."""
        started = time.perf_counter()
        self.widget.stack_box._reach.setValue(REACH)
        self.widget.follow()
        spin_until(lambda: "ollowed" in self.widget.stack_box.text, 120)
        return time.perf_counter() - started


def work(path: Path, places: list[tuple[int, int]], shape: tuple[int, ...]) -> dict[str, object]:
    """Keep and follow objects in two regions; what it took."""
    desk = Desk(path)
    entered, clicked, followed = [], [], []
    for share in FAR:
        deep = len(shape) > 2
        y0, x0 = (0, 0) if deep else (int(n * share) // PART * PART for n in shape[-2:])
        z = int(shape[0] * share) if deep else None
        entered.append(desk.enter(y0 + places[0][0], x0 + places[0][1], z))
        clicked += [desk.keep(y0 + y, x0 + x) for y, x in places[:CLICKS]]
        followed += [desk.follow()] if deep else []
    workers = [child.pid for child in psutil.Process().children()]
    found = {
        "what": " x ".join(map(str, shape)),
        "regions_s": [round(one, 1) for one in entered],
        "click_ms": round(1000 * sorted(clicked)[len(clicked) // 2]),
        "follow_s": [round(one, 1) for one in followed],
        "labels": int(desk.widget.large.region.file.highest),
        "window_gib": round(peak(psutil.Process().pid), 2),
        "model_gib": round(max(peak(pid) for pid in workers), 2),
    }
    desk.widget.close_session()
    desk.viewer.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20000)
    parser.add_argument("--slices", type=int, default=2000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--kind", choices=("plane", "stack"), help="one of them, in this process")
    given = parser.parse_args()
    if given.kind is None:
        options = ["--side", str(given.side), "--slices", str(given.slices)]
        options += [] if given.folder is None else ["--folder", str(given.folder)]
        for kind in ("plane", "stack"):
            subprocess.run([sys.executable, __file__, *options, "--kind", kind], check=True)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        if given.kind == "plane":
            path, places = make_plane(Path(folder), given.side)
            print(json.dumps(work(path, places, (given.side, given.side))), flush=True)
        else:
            path, places = make_stack(Path(folder), given.slices)
            print(json.dumps(work(path, places, (given.slices, DEPTH, DEPTH))), flush=True)


if __name__ == "__main__":
    main()
