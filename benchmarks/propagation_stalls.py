"""The longest time that the window does not react while objects are propagated through a stack, and how fast that is.

python benchmarks/propagation_stalls.py [FOLDER] [--slices 50]

Without a folder the stack is synthetic. The slices of a folder with ``images`` and ``labels_bits`` are taken there and
back, as long as is wanted; the objects of the slice in the middle are propagated both ways.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import napari
import numpy as np
import skimage.io
import skimage.measure
from stalls import Pulse, wait

from napari_segany.core.synthetic import synthetic_image
from napari_segany.widgets.main import SeganyWidget

BIT, SMALLEST = 1, 200
"""Which bit of the labels of the folder is an object, and pixels of the smallest one."""


def there_and_back(planes: list[np.ndarray], count: int) -> np.ndarray:
    """(slice, y, x), up and down as often as needed."""
    last = max(len(planes) - 1, 1)
    return np.stack([planes[last - abs(last - k % (2 * last))] for k in range(count)])


def of_folder(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Slices of ``images``, and the objects (y, x) of the middle one from ``labels_bits``."""
    paths = sorted((folder / "images").glob("*.png"))
    bits = [skimage.io.imread(folder / "labels_bits" / path.name) for path in paths]
    middle = there_and_back(bits, count)[count // 2]
    found = skimage.measure.label(middle & BIT > 0)
    return there_and_back([skimage.io.imread(path) for path in paths], count), larger(found)


def larger(labels: np.ndarray) -> np.ndarray:
    """The same without objects below `SMALLEST`, from 1."""
    sizes = np.bincount(labels.ravel())
    fine = [number for number in range(1, len(sizes)) if sizes[number] >= SMALLEST]
    table = np.zeros(len(sizes), np.int32)
    table[fine] = np.arange(1, len(fine) + 1)
    return table[labels]


def synthetic(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Drifting nuclei, and those of the middle slice."""
    made = synthetic_image(np.random.default_rng(0), (768, 768), kind="fluorescence", radius=30)
    planes = np.stack([np.roll(made.image[..., 0], k, axis=1) for k in range(count)])
    return planes, larger(np.roll(made.levels[0], count // 2, axis=1))


def measure(planes: np.ndarray, given: np.ndarray) -> dict[str, float]:
    """Track in a real window, and tell of its heartbeat."""
    viewer = napari.Viewer()
    viewer.window.resize(1280, 720)
    viewer.add_image(planes)
    labels = np.zeros(planes.shape, np.int32)
    labels[len(planes) // 2] = given
    widget = SeganyWidget(viewer)
    viewer.window.add_dock_widget(widget)
    viewer.dims.set_point(0, len(planes) // 2)
    layer = viewer.add_labels(labels)
    widget.layer_box.refresh()
    widget.layer_box.labels.value = layer
    wait(lambda: len(widget.answers.cache) > 0)
    wait(lambda: False, 2.0)
    beats = Pulse()
    wait(lambda: False, 1.0)
    resting = beats.stop()
    pulse, began = Pulse(), time.perf_counter()
    widget.follow()
    wait(lambda: "racked" in widget.stack_box.text, 600)
    seconds, longest = time.perf_counter() - began, pulse.stop()
    found = sum(len(np.unique(plane)) - 1 for plane in layer.data) - int(given.max())
    widget.close_session()
    viewer.close()
    return {
        "slices": len(planes),
        "object_slices": found,
        "seconds": round(seconds, 1),
        "object_slices_per_second": round(found / seconds, 1),
        "resting_ms": round(resting, 1),
        "longest_stall_ms": round(longest, 1),
    }


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--slices", type=int, default=50)
    arguments = parser.parse_args()
    stack = synthetic(arguments.slices) if arguments.folder is None else of_folder(arguments.folder, arguments.slices)
    print(json.dumps(measure(*stack)))


if __name__ == "__main__":
    main()
