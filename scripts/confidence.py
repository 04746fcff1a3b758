"""Fit the confidence of slices that nobody looked at: the ``calibration`` of ``models/tiny/zoom.py``.

python scripts/confidence.py "$SEGANY_DATA/train/flyem"

Objects of the set and of the sample stack of nuclei are followed from their true middle slice and beyond their ends,
none taken for lost, and what is seen of each mask is compared with its true IoU, which is 0 where the object is no
more. Never give it a set that figures are reported of.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from napari_segany.core.confidence import Gates
from napari_segany.core.metrics import iou
from napari_segany.core.planes import Stack
from napari_segany.core.propagate import propagate
from napari_segany.core.segmenter import Segmenter
from napari_segany.engine.prediction import load_default
from napari_segany.experiments.datasets import LabelledVolume, labelled_volumes
from napari_segany.experiments.stack_benchmark import stack_objects
from napari_segany.sample_data import nuclei_stack

OBJECTS, REACH, BEYOND = 14, 12, 4
OPEN = Gates(confidence=0.0, score=-1.0, smallest=1, score_power=20)


def volumes(folder: Path) -> Iterator[LabelledVolume]:
    """The sample stack, and the middle slices of each stack of a set."""
    image, labels = nuclei_stack()
    yield LabelledVolume("nuclei", Stack(image[0]), labels[0])
    for one in labelled_volumes(folder):
        # neighbouring objects share slices, and so their embeddings
        middle = len(one.labels) // 2
        part = slice(max(middle - 15, 0), middle + 15)
        planes = np.stack([one.stack.plane(z) for z in range(len(one.stack))[part]])
        yield LabelledVolume(folder.name, Stack(planes, rgb=True), one.labels[part])


def seen(segmenter: Segmenter, volume: LabelledVolume) -> tuple[np.ndarray, np.ndarray]:
    """What is seen of each mask, (n, 6), and its true IoU, (n,)."""
    embed = lru_cache(None)(lambda z: segmenter.embed(volume.stack.plane(z)))
    rows, truth = [], []
    for one in stack_objects(volume.labels, OBJECTS):
        last = one.first + len(one.masks)
        low, high = max(one.first - BEYOND, 0), min(last + BEYOND, len(volume.labels))
        numbers = range(max(low, one.middle - REACH), min(high, one.middle + REACH + 1))
        known = {one.middle: {1: one.truth(one.middle)}}
        for z, masks, verdicts in propagate(segmenter, volume.stack, known, numbers, OPEN, embed):
            signs = verdicts[1].signs
            if 1 in masks and signs is not None:
                rows.append(signs.features)
                there = one.first <= z < last
                truth.append(iou(masks[1].pixels, one.truth(z)) if there else 0.0)
    return np.array(rows), np.array(truth)


def main() -> None:
    """Fit, and tell how well it fits."""
    segmenter = load_default()
    parts = {one.name: seen(segmenter, one) for one in volumes(Path(sys.argv[1]))}

    def loss(weights: np.ndarray) -> float:
        total = 0.0
        for values, truth in parts.values():
            sure = np.clip(expit(values @ weights), 1e-9, 1 - 1e-9)
            total -= float((truth * np.log(sure) + (1 - truth) * np.log(1 - sure)).mean()) / len(parts)
        return total + 1e-3 * float((weights**2).sum())

    weights = minimize(loss, np.zeros(6)).x
    print("weights", np.round(weights, 2).tolist())
    for name, (values, truth) in parts.items():
        sure = expit(values @ weights)
        correlation, error = np.corrcoef(sure, truth)[0, 1], np.abs(sure - truth).mean()
        print(f"{name}: {len(truth)} masks, correlation {correlation:.2f}, mean error {error:.2f}")


if __name__ == "__main__":
    main()
