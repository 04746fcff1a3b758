"""Time of automatic masks on crowded planes: milliseconds for each object that is found.

python benchmarks/crowded.py --sides 512 1024

A synthetic plane of 512 x 512 pixels with some 240 nuclei is repeated to fill larger ones.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from napari_segany.core.query import query_for
from napari_segany.core.synthetic import synthetic_image
from napari_segany.models.loading import load_segmenter

TILE = 512


def main() -> None:
    """Measure, and print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024], help="multiples of 512")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="tiny")
    given = parser.parse_args()
    picture = synthetic_image(np.random.default_rng(0), (TILE, TILE), kind="fluorescence", radius=9).image
    segmenter = load_segmenter(given.model)
    query = query_for(segmenter)
    print("| side | objects | seconds | ms per object |\n|---|---|---|---|")
    for side in given.sides:
        plane = np.tile(picture, (side // TILE, side // TILE, 1))
        seconds = []
        for _ in range(given.repeats):
            started = time.perf_counter()
            found = query.select(query.candidates(segmenter, plane), np.zeros(plane.shape[:2], bool)).objects
            seconds.append(time.perf_counter() - started)
        median = float(np.median(seconds))
        print(f"| {side} | {len(found)} | {median:.1f} | {1000 * median / max(len(found), 1):.1f} |", flush=True)


if __name__ == "__main__":
    main()
