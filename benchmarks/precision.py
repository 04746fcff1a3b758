"""How well masks of `tiny` agree when its encoder computes in bfloat16 and in float32: one click on each object.

python benchmarks/precision.py "$SEGANY_DATA/dev/dsb2018" [--objects 6]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from napari_segany.core.metrics import iou
from napari_segany.core.prompts import Prompt
from napari_segany.core.simulate import centre_point
from napari_segany.experiments.datasets import labelled_planes
from napari_segany.models.loading import load_segmenter

MIN_PIXELS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--objects", type=int, default=6, help="objects of each plane, drawn by chance")
    arguments = parser.parse_args()
    segmenters = [load_segmenter("tiny", "cpu", precision=name) for name in ("float32", "bfloat16")]
    rng = np.random.default_rng(0)
    overlaps = []
    for one in labelled_planes(arguments.data):
        labels = [n for n in np.unique(one.labels) if n and (one.labels == n).sum() >= MIN_PIXELS]
        prompts = [
            Prompt((centre_point(one.labels == n),)) for n in rng.permutation(labels)[: arguments.objects] if labels
        ]
        answers = [each.segment(each.embed(one.plane), prompts, candidates=1) for each in segmenters]
        overlaps += [iou(first[0].pixels, second[0].pixels) for first, second in zip(*answers, strict=True)]
    print(json.dumps({"clicks": len(overlaps), "mean_iou": round(float(np.mean(overlaps)), 4)}))


if __name__ == "__main__":
    main()
