"""How much of the gap to the best of three masks committed objects close: the table of the measurement log.

python scripts/ranking.py "$SEGANY_DATA/dev/rbc_flow" "$SEGANY_DATA/dev/wbc" …

Each object of a set is clicked once. Others, drawn from the whole set, are committed before with their true masks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from napari_segany.core.metrics import iou
from napari_segany.core.prompts import Prompt
from napari_segany.core.ranking import CommittedObject, RankingConfig, RankingPrior, choose, mask_features
from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments.benchmark import set_name
from napari_segany.experiments.datasets import labelled_planes, parts_of, targets
from napari_segany.models.loading import load_segmenter

IMAGES, OBJECTS, LARGEST, DRAWS = 12, 16, 1500, 2
COUNTS = (1, 3, 10)


def observed(segmenter: Segmenter, folder: Path) -> Iterator[CommittedObject]:
    """Each object with its true features, and the masks of a click on it."""
    for one in islice(labelled_planes(folder), IMAGES):
        objects = targets(one.labels)
        drawn = sorted(np.random.default_rng(0).permutation(len(objects))[:OBJECTS])
        if not objects or max(one.plane.shape) > LARGEST:
            continue
        chosen = [objects[k] for k in drawn]
        answers = segmenter.segment(
            segmenter.embed(one.plane), [Prompt((target.point,)) for target in chosen], candidates=3
        )
        for target, masks in zip(chosen, answers, strict=True):
            truth = np.zeros(one.labels.shape, bool)
            truth[target.window] = target.mask
            features = mask_features(one.plane, truth)
            if features is not None:
                candidates = [(mask_features(one.plane, m.pixels), m.score, iou(m.pixels, truth)) for m in masks]
                yield CommittedObject(features, candidates)


def reached(objects: list[CommittedObject], count: int, config: RankingConfig) -> float:
    """Mean IoU of the masks that are shown after so many committed objects."""
    values = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        for number, one in enumerate(objects):
            others = objects[:number] + objects[number + 1 :]
            prior = RankingPrior(config)
            prior.objects = [others[k] for k in rng.permutation(len(others))[:count]]
            best = choose([candidate[:2] for candidate in one.candidates], prior.objects, prior.weight, config)
            values.append(one.candidates[best][2])
    return float(np.mean(values))


def main() -> None:
    """A row for each set."""
    segmenter = load_segmenter("tiny")
    shares: list[list[float]] = []
    for part in (part for folder in sys.argv[1:] for part in parts_of(Path(folder))):
        objects = list(observed(segmenter, part))
        shown = float(np.mean([one.candidates[0][2] for one in objects]))
        best = float(np.mean([max(candidate[2] for candidate in one.candidates) for one in objects]))
        after = [reached(objects, count, segmenter.capabilities.ranking) for count in COUNTS]
        if best - shown >= 0.04:
            shares.append([(value - shown) / (best - shown) for value in after])
        figures = " | ".join(f"{value:.3f}" for value in (shown, best, *after))
        print(f"| {set_name(part)} | {len(objects)} | {figures} |", flush=True)
    if shares:
        print("share of the gap closed, sets with a gap of .04 or more:", np.mean(shares, axis=0).round(2).tolist())


if __name__ == "__main__":
    main()
