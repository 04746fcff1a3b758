"""Simulated users: one click or box on each object of a plane, and corrections where the answer is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_segany.core.masks import Mask, box_of
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.simulate import correction_point
from napari_segany.experiments.datasets import Target
from napari_segany.experiments.scores import Scores, joined

TOGETHER = 64
"""Objects that are predicted at once: three masks for each, of the plane's size, must fit into memory."""


def box_prompts(segmenter: Segmenter, embedding: ImageEmbedding, targets: Sequence[Target]) -> Scores:
    """The one mask that answers each object's exact box."""
    reached, predicted = [], []
    for group in _groups(targets):
        answers = segmenter.segment(embedding, [Prompt(box=target.box) for target in group], candidates=1)
        reached += [target.iou(masks[0].pixels) for target, masks in zip(group, answers, strict=True)]
        predicted += [masks[0].score for masks in answers]
    return Scores(np.array(reached)[:, None], np.array(reached), predicted=np.array(predicted))


def click_prompts(
    segmenter: Segmenter, embedding: ImageEmbedding, targets: Sequence[Target], rounds: int = 1
) -> Scores:
    """Click on each object, and again where the answer is wrong.

    The first click lies in the middle of the object and is answered by three candidates, of which the most confident is
    chosen. Each further one lies in the middle of the largest error region of the mask chosen last, which goes back to
    the model with all clicks so far.

    Parameters
    ----------
    segmenter : Segmenter
        What answers.
    embedding : ImageEmbedding
        Of the plane.
    targets : sequence of Target
        Objects of the plane.
    rounds : int
        Clicks on each object.
    """
    return joined([_clicked(segmenter, embedding, group, rounds) for group in _groups(targets)])


def _clicked(segmenter: Segmenter, embedding: ImageEmbedding, targets: Sequence[Target], rounds: int) -> Scores:
    prompts = [Prompt((target.point,)) for target in targets]
    answers = segmenter.segment(embedding, prompts, candidates=3)
    oracle = np.array([max(t.iou(mask.pixels) for mask in masks) for t, masks in zip(targets, answers, strict=True)])
    last = [masks[0] for masks in answers]
    predicted = np.array([mask.score for mask in last])
    chosen = np.zeros((len(targets), rounds))
    chosen[:, 0] = [target.iou(mask.pixels) for target, mask in zip(targets, last, strict=True)]
    for number in range(1, rounds):
        chosen[:, number] = chosen[:, number - 1]
        wanted = {i: p for i, t in enumerate(targets) if (p := corrective_clicks(prompts[i], t, last[i])) is not None}
        if not wanted:
            continue
        for i, masks in zip(wanted, segmenter.segment(embedding, list(wanted.values())), strict=True):
            prompts[i], last[i] = wanted[i], masks[0]
            chosen[i, number] = targets[i].iou(masks[0].pixels)
    return Scores(chosen, oracle, predicted=predicted)


@dataclass(frozen=True, slots=True, eq=False)
class ClickedObject:
    """What clicks on one object came to.

    Parameters
    ----------
    clicks : int
        How many there were.
    reached : bool
        Whether the last mask is good enough.
    pixels : ndarray
        (y, x) bool, the last mask.
    candidates : sequence of Mask
        What the first click might have meant, the most confident first.
    """

    clicks: int
    reached: bool
    pixels: np.ndarray
    candidates: Sequence[Mask]


def click_until(
    segmenter: Segmenter,
    embedding: ImageEmbedding,
    target: Target,
    goal: float,
    rounds: int,
    choose: Callable[[Sequence[Mask]], int] = lambda masks: 0,
) -> ClickedObject:
    """Click on one object until its mask is good enough, as :func:`click_prompts` does.

    Parameters
    ----------
    segmenter : Segmenter
        What answers.
    embedding : ImageEmbedding
        Of the plane.
    target : Target
        The object.
    goal : float
        IoU from which on a mask is good enough.
    rounds : int
        Clicks, at most.
    choose : callable
        Index of the mask that is shown of those that the first click may mean; the most confident by default.
    """
    prompt = Prompt((target.point,))
    first = segmenter.segment(embedding, [prompt], candidates=3)[0]
    last = first[choose(first)]
    for clicks in range(1, rounds):
        if target.iou(last.pixels) >= goal:
            return ClickedObject(clicks, True, last.pixels, first)
        further = corrective_clicks(prompt, target, last)
        if further is not None:
            prompt, last = further, segmenter.segment(embedding, [further])[0][0]
    return ClickedObject(rounds, target.iou(last.pixels) >= goal, last.pixels, first)


def corrective_clicks(prompt: Prompt, target: Target, mask: Mask) -> Prompt | None:
    """Return the next prompt of a user: one more click, and the mask's logits; None when the mask is right."""
    rows, columns = target.window
    found = box_of(mask.pixels)
    if found is not None:
        # errors lie where either mask is; only that part of the plane is compared
        rows = slice(min(rows.start, int(found.y0)), max(rows.stop, int(found.y1) + 1))
        columns = slice(min(columns.start, int(found.x0)), max(columns.stop, int(found.x1) + 1))
    truth = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
    top, left = target.window[0].start - rows.start, target.window[1].start - columns.start
    truth[top : top + target.mask.shape[0], left : left + target.mask.shape[1]] = target.mask
    point = correction_point(truth, mask.pixels[rows, columns])
    if point is None:
        return None
    placed = Point(point.y + rows.start, point.x + columns.start, point.positive)
    return replace(prompt, points=(*prompt.points, placed), mask=mask.logits)


def _groups(targets: Sequence[Target]) -> list[Sequence[Target]]:
    return [targets[start : start + TOGETHER] for start in range(0, len(targets), TOGETHER)]
