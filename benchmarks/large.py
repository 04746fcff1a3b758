"""Seconds and memory for a plane of 20,000 x 20,000 pixels, and for a stack of 2,000 slices, as OME-Zarr files.

python benchmarks/large.py [--side 20000] [--slices 2000] [--folder FOLDER] [--everything]

Both are made of synthetic nuclei, over and over. The commands are those that a user would type, each in a process of
its own, whose largest memory is told: clicks on the plane, an object followed through the stack, and, where that is
asked for, all objects of the plane.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

from napari_segany.core.synthetic import synthetic_image
from napari_segany.io.ome_zarr import LabelFile, Layout, create_labels

PART, DEPTH = 1000, 512


def sample(side: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """A picture of nuclei (side, side) uint16, and places in the middle of some of them."""
    made = synthetic_image(np.random.default_rng(5), (side, side), kind="fluorescence", radius=16)
    gray = made.image if made.image.ndim == 2 else made.image.mean(axis=-1)
    middles = [np.argwhere(made.levels[0] == label).mean(axis=0) for label in range(1, int(made.levels[0].max()) + 1)]
    places = [(int(y), int(x)) for y, x in middles if 60 < y < side - 60 and 60 < x < side - 60]
    return (gray * 200).astype(np.uint16), [p for p in places if made.levels[0][p]][:5]


def image(folder: Path, shape: tuple[int, ...], axes: str) -> LabelFile:
    """A new OME-Zarr image; those of labels and of pictures differ in nothing that is read."""
    return create_labels(folder, Layout(shape, np.dtype(np.uint16), axes, (1.0,) * len(axes)), version="0.4")


def run(name: str, command: list[str]) -> None:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "napari_segany", "segment", *command], check=True, stdout=subprocess.DEVNULL)
    seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(json.dumps({"what": name, "seconds": round(seconds, 1), "peak_gib_so_far": round(peak, 2)}), flush=True)


def make_plane(folder: Path, side: int) -> tuple[Path, list[tuple[int, int]]]:
    """A plane with its pyramid, and places of nuclei in its first ``PART`` rows and columns; all others are alike."""
    part, places = sample(PART)
    array = image(folder / "plane.zarr", (side, side), "yx")
    for y in range(0, side, PART):
        for x in range(0, side, PART):
            array[y : y + PART, x : x + PART] = part[: side - y, : side - x]
    array.finish()
    return folder / "plane.zarr", places


def make_stack(folder: Path, slices: int) -> tuple[Path, list[tuple[int, int]]]:
    """A stack of one slice over and over, and places of nuclei in it."""
    part, places = sample(DEPTH)
    array = image(folder / "stack.zarr", (slices, DEPTH, DEPTH), "zyx")
    for z in range(slices):
        array[z] = part
    return folder / "stack.zarr", places


def plane(folder: Path, side: int, *, everything: bool) -> None:
    path, places = make_plane(folder, side)
    middle = side // 2 // PART * PART
    clicks = [word for y, x in places for word in ("--point", f"{y + middle},{x + middle}")]
    run(f"{len(places)} clicks on {side} x {side}", [str(path), *clicks, "-o", str(folder / "a.zarr")])
    if everything:
        run(f"all objects of {side} x {side}", [str(path), "--everything", "-o", str(folder / "all")])


def stack(folder: Path, slices: int) -> None:
    path, places = make_stack(folder, slices)
    (y, x), middle = places[0], slices // 2
    command = [str(path), "--point", f"{middle},{y},{x}", "--propagate"]
    run(f"an object through {slices} slices of {DEPTH} x {DEPTH}", [*command, "-o", str(folder / "b.zarr")])
    labels = zarr.open_array(folder / "b.zarr" / "0", mode="r")
    found = [int(np.asarray(labels[z]).any()) for z in range(slices)]
    print(json.dumps({"what": "slices with the object", "count": sum(found)}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=20000)
    parser.add_argument("--slices", type=int, default=2000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--everything", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        plane(Path(folder), given.side, everything=given.everything)
        stack(Path(folder), given.slices)


if __name__ == "__main__":
    main()
