"""What following objects costs in stacks of 10 to 1,000 slices: seconds for each slice, and memory.

python benchmarks/stack_length.py

The middle slices of the sample stack of nuclei, there and back again, as long as is wanted; the same nuclei, from their
true masks on the first slice. Each length is measured in a separate process, whose largest memory is told.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

from napari_segany.core.confidence import Gates
from napari_segany.core.planes import Stack
from napari_segany.core.propagate import propagate
from napari_segany.engine.prediction import load_default
from napari_segany.sample_data import nuclei_stack

FIRST, LAST = 10, 14
"""Slices of the sample that are shown, over and over."""


OPEN = Gates(confidence=0.0, score=-1.0, smallest=1, score_power=20)
"""Nothing is lost, so that all lengths have as much to do."""


class ThereAndBack:
    """A lazy array (slices, y, x) of a few planes, up and down."""

    def __init__(self, planes: np.ndarray, length: int) -> None:
        self._planes = planes
        self.shape, self.dtype = (length, *planes.shape[1:]), planes.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        last = len(self._planes) - 1
        return self._planes[(last - abs(last - key[0] % (2 * last)), *key[1:])]


def measured(length: int, objects: int) -> dict[str, float]:
    """One length, in this process."""
    image, labels = nuclei_stack()
    planes, truth = image[0][FIRST : LAST + 1], labels[0][FIRST : LAST + 1]
    stack = Stack(ThereAndBack(planes, length))
    everywhere = [n for n in range(1, int(truth.max()) + 1) if (truth == n).sum(axis=(1, 2)).min() > 50][:objects]
    known = {0: {label: truth[0] == label for label in everywhere}}
    segmenter = load_default()
    list(propagate(segmenter, stack, known, range(3), OPEN))
    started, computed, found = time.perf_counter(), time.process_time(), 0
    for _, masks, _ in propagate(segmenter, stack, known, gates=OPEN):
        found += len(masks)
    seconds, computed = time.perf_counter() - started, time.process_time() - computed
    return {
        "slices": length,
        "objects": len(everywhere),
        "followed": found / (length - 1),
        "slices_per_second": (length - 1) / seconds,
        "object_slices_per_second": found / seconds,
        "cpu_seconds_per_slice": computed / (length - 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--slices", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--alone", action="store_true", help="measure the first length only, in this process")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(measured(given.slices[0], given.objects)))
        return
    for length in given.slices:
        command = [sys.executable, __file__, "--alone", "--slices", str(length), "--objects", str(given.objects)]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
