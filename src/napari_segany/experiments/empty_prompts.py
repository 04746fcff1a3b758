"""Prompts for what is not there: their score must be lower than that of prompts for objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_segany.core.metrics import auroc
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.simulate import inner_distance
from napari_segany.experiments.datasets import Target
from napari_segany.experiments.scores import Row
from napari_segany.experiments.simulated_users import TOGETHER

CLEAR = 5.0
"""Pixels from an empty place to the nearest object, at least."""


def empty_prompts(labels: np.ndarray, count: int, kind: str, rng: np.random.Generator) -> list[Prompt]:
    """Clicks on, or boxes around, places of a label image (y, x) where nothing is; fewer where there is no room."""
    free = inner_distance(labels == 0)
    places = np.flatnonzero(free > CLEAR)
    chosen = rng.choice(places, min(count, len(places)), replace=False)
    prompts = []
    for y, x in zip(*np.unravel_index(chosen, labels.shape), strict=True):
        half = min(float(free[y, x]) / np.sqrt(2) - 1, 20.0)
        prompt = (
            Prompt((Point(float(y), float(x)),))
            if kind == "click"
            else Prompt(box=Box(y - half, x - half, y + half, x + half))
        )
        prompts.append(prompt)
    return prompts


def score_empty_prompts(
    segmenter: Segmenter, embedding: ImageEmbedding, labels: np.ndarray, targets: Sequence[Target], kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the masks shown for prompts for objects, and of as many for empty places: two (n,) float."""
    there = [Prompt((t.point,)) if kind == "click" else Prompt(box=t.box) for t in targets]
    absent = empty_prompts(labels, len(there), kind, np.random.default_rng(0))
    scores = []
    for prompts in (there, absent):
        answers: list[float] = []
        for start in range(0, len(prompts), TOGETHER):
            found = segmenter.segment(embedding, prompts[start : start + TOGETHER])
            answers += [masks[0].score for masks in found]
        scores.append(np.array(answers))
    return scores[0], scores[1]


def figures(results: Sequence[tuple[np.ndarray, np.ndarray]]) -> Row:
    """Measure how well the score separates objects from empty places."""
    there, absent = (np.concatenate([result[i] for result in results]) for i in (0, 1))
    return {
        "auroc": auroc(there, absent),
        "score_object": float(there.mean()),
        "score_empty": float(absent.mean()) if len(absent) else float("nan"),
        "n": len(there),
        "n_empty": len(absent),
        "images": len(results),
    }
