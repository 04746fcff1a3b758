"""What each part of the inference of ``tiny`` that corrects its training is worth, for clicks and boxes.

python scripts/inference_patches.py "$SEGANY_DATA/train"

Prints a table: mean IoU of one click and of one box on what was held out of each training source, each without one
part.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from held_out import held_out_planes, measured

from napari_segany.models.loading import load_segmenter
from napari_segany.models.tiny.zoom import ZoomSegmenter


@contextmanager
def without(segmenter: ZoomSegmenter, part: str) -> Iterator[None]:
    """Leave out one of ``PARTS``."""
    post, zoomed = segmenter.post, segmenter.zoom
    PARTS[part](segmenter)
    try:
        yield
    finally:
        segmenter.post, segmenter.zoom = post, zoomed


def _postprocess(**changes: object) -> Callable[[ZoomSegmenter], None]:
    def change(segmenter: ZoomSegmenter) -> None:
        segmenter.post = replace(segmenter.post, **changes)  # type: ignore[arg-type]

    return change


def _windows(**changes: object) -> Callable[[ZoomSegmenter], None]:
    def change(segmenter: ZoomSegmenter) -> None:
        segmenter.zoom = replace(segmenter.zoom, **changes)  # type: ignore[arg-type]

    return change


PARTS: dict[str, Callable[[ZoomSegmenter], None]] = {
    "nothing (as it ships)": lambda segmenter: None,
    "outward bias": _postprocess(outwards=0.0),
    "mixing of single mask and three masks": _postprocess(leaning=(0.0, 0.0)),
    "penalty beyond the box": _postprocess(beyond_box=0.0),
    "removal of specks": _postprocess(speck=0.0),
    "second window": _windows(looks=1),
    "coarse pass on the plane itself": _windows(glances=()),
}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the training sources")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--objects", type=int, default=5)
    given = parser.parse_args()
    segmenter = load_segmenter(given.model, "cpu")
    if not isinstance(segmenter, ZoomSegmenter):
        parser.error(f"{given.model} is not of the architecture `tiny`")
    sources = held_out_planes(given.data).values()
    print("| without | click | box |\n|---|---|---|")
    for part in PARTS:
        with without(segmenter, part):
            found = [measured(segmenter, planes, given.images, given.objects) for planes in sources]
        click, _, box = np.mean([one.mean(axis=1) for one in found if one.size], axis=0)
        print(f"| {part} | {click:.3f} | {box:.3f} |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
