"""Other kinds of prompts: box and click, a rough mask, a scribble."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.simulate import inner_distance
from napari_segany.experiments.datasets import Target
from napari_segany.experiments.scores import Scores
from napari_segany.experiments.simulated_users import TOGETHER

STROKE = 5
"""Clicks along a scribble."""


def box_and_click(target: Target, shape: tuple[int, int], rng: np.random.Generator) -> Prompt:
    """The exact box, and a click in the middle."""
    return Prompt((target.point,), target.box)


def rough_mask(target: Target, shape: tuple[int, int], rng: np.random.Generator) -> Prompt:
    """What a hasty brush leaves: moved by a tenth of the object's size, grown or shrunk by as much, corners lost."""
    size = float(np.sqrt(np.count_nonzero(target.mask)))
    margin = int(size) + 4
    mask = np.pad(target.mask, margin)
    depth = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    moved = ndimage.shift(
        ndimage.gaussian_filter(depth, 0.1 * size), rng.normal(0, 0.1 * size, 2), order=1, mode="nearest"
    )
    found = moved > min(rng.normal(0, 0.1) * size, moved.max() - 1)
    whole = np.zeros((shape[0] + 2 * margin, shape[1] + 2 * margin), bool)
    rows, columns = (slice(span.start, span.stop + 2 * margin) for span in target.window)
    whole[rows, columns] = found
    return Prompt(mask=whole[margin:-margin, margin:-margin])


def scribble(target: Target, shape: tuple[int, int], rng: np.random.Generator) -> Prompt:
    """A stroke along the object, as the widget reads it: clicks along the deepest line between its far ends."""
    rows, columns = np.nonzero(target.mask)
    places = np.stack([rows, columns], axis=1).astype(float)
    centred = places - places.mean(axis=0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    depth = inner_distance(target.mask)[rows, columns]
    stops = np.quantile(along, np.linspace(0.15, 0.85, STROKE))
    width = (along.max() - along.min()) / (2 * STROKE) + 1
    points = []
    for stop in stops:
        near = np.flatnonzero(np.abs(along - stop) <= width)
        y, x = places[near[depth[near].argmax()]]
        points.append(Point(y + target.window[0].start, x + target.window[1].start))
    return Prompt(tuple(dict.fromkeys(points)))


PROMPTS: dict[str, Callable[[Target, tuple[int, int], np.random.Generator], Prompt]] = {
    "box and click": box_and_click,
    "rough mask": rough_mask,
    "scribble": scribble,
}


def prompted(segmenter: Segmenter, embedding: ImageEmbedding, targets: Sequence[Target], kind: str) -> Scores:
    """One prompt of a kind for each object, one mask each.

    For rough masks the first round of the scores is the rough mask itself, so that it shows what refining it brings.
    """
    chosen, predicted = [], []
    for start in range(0, len(targets), TOGETHER):
        group = targets[start : start + TOGETHER]
        prompts = [PROMPTS[kind](t, embedding.shape, np.random.default_rng((start, i))) for i, t in enumerate(group)]
        answers = segmenter.segment(embedding, prompts, candidates=1)
        for target, prompt, (mask,) in zip(group, prompts, answers, strict=True):
            before = [] if prompt.mask is None else [target.iou(prompt.mask)]
            chosen.append([*before, target.iou(mask.pixels)])
            predicted.append(mask.score)
    reached = np.array(chosen)
    return Scores(reached, reached[:, -1], 0.0, None if kind == "rough mask" else np.array(predicted))
