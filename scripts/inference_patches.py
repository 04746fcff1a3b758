"""What each part of the inference of ``tiny`` that corrects its training is worth, for clicks and boxes.

python scripts/inference_patches.py "$SEGANY_DATA/train/axon_sem" "$SEGANY_DATA/train/microglia"

Prints a table: mean IoU of one click and of one box over the objects of all sets, each without one part.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_segany.experiments.benchmark import drawn_targets
from napari_segany.experiments.datasets import labelled_planes
from napari_segany.experiments.simulated_users import box_prompts, click_prompts
from napari_segany.models.loading import load_segmenter
from napari_segany.models.tiny import zoom
from napari_segany.models.tiny.zoom import ZoomSegmenter


@contextmanager
def without(segmenter: ZoomSegmenter, part: str) -> Iterator[None]:
    """Leave out one of ``PARTS``."""
    post, zoomed, sides = segmenter.post, segmenter.zoom, zoom.SIDES
    PARTS[part](segmenter)
    try:
        yield
    finally:
        segmenter.post, segmenter.zoom, zoom.SIDES = post, zoomed, sides


def _postprocess(**changes: object) -> Callable[[ZoomSegmenter], None]:
    def change(segmenter: ZoomSegmenter) -> None:
        segmenter.post = replace(segmenter.post, **changes)  # type: ignore[arg-type]

    return change


def _windows(**changes: object) -> Callable[[ZoomSegmenter], None]:
    def change(segmenter: ZoomSegmenter) -> None:
        segmenter.zoom = replace(segmenter.zoom, **changes)  # type: ignore[arg-type]

    return change


def _no_flips(segmenter: ZoomSegmenter) -> None:
    zoom.SIDES = zoom.SIDES[:1]


PARTS: dict[str, Callable[[ZoomSegmenter], None]] = {
    "nothing (as it ships)": lambda segmenter: None,
    "outward bias": _postprocess(outwards=0.0),
    "mixing of single mask and three masks": _postprocess(leaning=(0.0, 0.0)),
    "penalty beyond the box": _postprocess(beyond_box=0.0),
    "removal of specks": _postprocess(speck=0.0),
    "mirrored and transposed windows of boxes": _no_flips,
    "second window": _windows(looks=1),
    "coarse pass on the plane itself": _windows(glances=()),
}


def measured(segmenter: ZoomSegmenter, folder: Path, images: int, objects: int) -> tuple[list[float], list[float]]:
    """IoU of a click and of a box on some objects of a set."""
    clicks: list[float] = []
    boxes: list[float] = []
    for one, _ in zip(labelled_planes(folder), range(images), strict=False):
        targets = drawn_targets(one.labels, objects)
        if targets:
            embedding = segmenter.embed(one.plane)
            clicks += click_prompts(segmenter, embedding, targets, 1).chosen[:, 0].tolist()
            boxes += box_prompts(segmenter, embedding, targets).chosen[:, 0].tolist()
    return clicks, boxes


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--objects", type=int, default=5)
    given = parser.parse_args()
    segmenter = load_segmenter(given.model, "cpu")
    if not isinstance(segmenter, ZoomSegmenter):
        parser.error(f"{given.model} is not of the architecture `tiny`")
    print("| without | click | box |\n|---|---|---|")
    for part in PARTS:
        with without(segmenter, part):
            found = [measured(segmenter, folder, given.images, given.objects) for folder in given.sets]
        clicks, boxes = (np.mean([np.mean(one[k]) for one in found]) for k in (0, 1))
        print(f"| {part} | {clicks:.3f} | {boxes:.3f} |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
