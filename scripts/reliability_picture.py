"""Draw how well the predicted IoU of clicks and boxes tells the true one (a reliability diagram); print a table.

python scripts/reliability_picture.py docs/images/reliability.svg "$SEGANY_DATA"/dev/dsb2018 "$SEGANY_DATA"/dev/spores
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from svg_lines import Axes, panel, picture, place_of

from napari_segany.core.metrics import auroc
from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments.benchmark import drawn_targets, set_name
from napari_segany.experiments.datasets import labelled_planes
from napari_segany.experiments.empty_prompts import score_empty_prompts
from napari_segany.experiments.simulated_users import box_prompts, click_prompts
from napari_segany.models.loading import load_segmenter

COLOURS = {"all sets": "#0072b2", "each set": "#bbbbbb", "predicted = true": "#000000"}
BINS = np.linspace(0, 1, 11)
TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1)
Pairs = tuple[np.ndarray, np.ndarray]


def pairs_of(segmenter: Segmenter, folder: Path, images: int, objects: int) -> tuple[dict[str, Pairs], float]:
    """Predicted and true IoU of clicks and boxes on a set, and the AUROC of clicks on objects against empty places."""
    found: dict[str, list[Pairs]] = {"one click": [], "one box": []}
    scores: list[Pairs] = []
    for one in islice(labelled_planes(folder), images):
        targets = drawn_targets(one.labels, objects)
        if not targets:
            continue
        embedding = segmenter.embed(one.plane)
        for kind, result in (
            ("one click", click_prompts(segmenter, embedding, targets, 1)),
            ("one box", box_prompts(segmenter, embedding, targets)),
        ):
            found[kind].append((np.asarray(result.predicted), result.chosen[:, 0]))
        scores.append(score_empty_prompts(segmenter, embedding, one.labels, targets, "click"))
    there, absent = (np.concatenate([pair[k] for pair in scores]) for k in (0, 1))
    return {kind: joined(parts) for kind, parts in found.items()}, auroc(there, absent)


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Pairs of several planes or sets as those of one."""
    predicted, true = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    return predicted, true


def figures(pairs: Pairs) -> tuple[float, float, float]:
    """Mean true IoU, and the correlation and mean distance of the predicted IoU."""
    predicted, true = pairs
    return float(true.mean()), float(np.corrcoef(predicted, true)[0, 1]), float(np.abs(predicted - true).mean())


def curve(pairs: Pairs, least: int) -> list[tuple[float, float]]:
    """Mean predicted and mean true IoU of each tenth of the predicted IoU in which there are `least` objects."""
    predicted, true = pairs
    number = np.clip(np.digitize(predicted, BINS) - 1, 0, len(BINS) - 2)
    kept = [number == k for k in range(len(BINS) - 1) if np.count_nonzero(number == k) >= least]
    return [(float(predicted[one].mean()), float(true[one].mean())) for one in kept]


def main() -> None:
    """Measure, print the table, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--objects", type=int, default=8)
    given = parser.parse_args()
    segmenter = load_segmenter(given.model, "cpu")
    measured: list[dict[str, Pairs]] = []
    print("| set | objects | click: IoU, correlation, error | box: the same | nothing there: AUROC |")
    print("|---|---|---|---|---|")
    for folder in given.sets:
        pairs, empty = pairs_of(segmenter, folder, given.images, given.objects)
        measured.append(pairs)
        told = [", ".join(f"{value:.2f}" for value in figures(pair)) for pair in pairs.values()]
        row = (set_name(folder), str(len(pairs["one click"][0])), *told, f"{empty:.3f}")
        print(f"| {' | '.join(row)} |", flush=True)
    axes, panels = Axes("predicted IoU", "true IoU", TICKS, TICKS, 1.0), []
    for number, kind in enumerate(("one click", "one box")):
        part = panel(kind, {"predicted = true": [(0, 0), (1, 1)]}, axes, place_of(number), COLOURS)
        for one in measured:
            part += panel("", {"each set": curve(one[kind], 5)}, axes, place_of(number), COLOURS)
        lines = {"all sets": curve(joined([one[kind] for one in measured]), 10)}
        panels.append(part + panel("", lines, axes, place_of(number), COLOURS))
    given.picture.write_text(picture(panels, "true IoU", COLOURS), encoding="utf-8")


if __name__ == "__main__":
    main()
