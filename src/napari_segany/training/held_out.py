"""What measures fine-tuning: masks that are held out, clicks on them, and the IoU that a model reaches."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from napari_segany.core.metrics import iou
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.simulate import centre_point, random_point
from napari_segany.models.inference_config import tiny_inference_config
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.models.tiny.zoom import ZoomSegmenter
from napari_segany.training.augment import MIN_PIXELS
from napari_segany.training.data import Sample, synthetic_samples
from napari_segany.training.fine_tune_settings import LEAST_HELD_OUT

GAUGE_SEED = 77


@dataclass(frozen=True, slots=True, eq=False)
class ClickTrial:
    """A click on an object whose mask is known.

    Parameters
    ----------
    image : str
        Name of the image.
    plane : ndarray
        (y, x, 3) uint8.
    label : tuple of int
        Level and label of the object.
    truth : ndarray
        (y, x) bool.
    point : Point
        The click.
    """

    image: str
    plane: np.ndarray
    label: tuple[int, int]
    truth: np.ndarray
    point: Point


def count_masks(sample: Sample) -> int:
    """Objects of a sample that are large enough to count."""
    return len(_objects(sample))


def _objects(sample: Sample) -> list[tuple[int, int]]:
    """Level and label of each object."""
    return [
        (number, int(label))
        for number, level in enumerate(sample.levels)
        for label in np.flatnonzero(np.bincount(level.ravel()) >= MIN_PIXELS)
        if label
    ]


def hold_out(samples: Mapping[str, Sample], share: float) -> tuple[dict[str, Sample], dict[str, Sample]]:
    """Divide labelled images into those to train on and those held out, which have at least `share` of the masks.

    Whole groups are held out, drawn with a fixed seed. Where all images are of one group, such as the planes of a
    stack, it is what lies beyond a line across the longer side of all of them; objects on both sides of it belong to
    neither.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(samples):
        groups.setdefault(samples[name].group or name, []).append(name)
    if len(groups) < 2:
        return _divided(samples, share)
    order = np.random.default_rng(len(groups)).permutation(list(groups)).tolist()
    masks = {group: sum(count_masks(samples[name]) for name in names) for group, names in groups.items()}
    wanted = max(share * sum(masks.values()), min(LEAST_HELD_OUT, sum(masks.values()) / 2))
    held: list[str] = []
    while len(held) < len(groups) - 1 and sum(masks[group] for group in held) < wanted:
        held.append(order.pop())
    learned = {name: samples[name] for group in sorted(order) for name in groups[group]}
    return learned, {name: samples[name] for group in held for name in groups[group]}


def _divided(samples: Mapping[str, Sample], share: float) -> tuple[dict[str, Sample], dict[str, Sample]]:
    """The parts of images of one group on both sides of a line."""
    shapes = {sample.image.shape[:2] for sample in samples.values()}
    height, width = (max(lengths) for lengths in zip(*shapes, strict=True)) if shapes else (0, 0)
    axis = int(width > height)
    middles = sorted(
        float(np.nonzero(sample.levels[k] == label)[axis].mean())
        for sample in samples.values()
        for k, label in _objects(sample)
    )
    count = len(middles)
    if count < 2:
        return dict(samples), {}
    first = count - max(round(share * count), min(LEAST_HELD_OUT, count // 2), 1)
    line = max(round((middles[first - 1] + middles[first]) / 2), 1)
    before, beyond = slice(0, line), slice(line, None)
    left, right = (set().union(*(_there(one, side, axis) for one in samples.values())) for side in (before, beyond))
    parts: list[dict[str, Sample]] = []
    for side in (before, beyond):
        cut = (side, slice(None)) if axis == 0 else (slice(None), side)
        made = {name: _part(sample, cut, left & right) for name, sample in samples.items()}
        parts.append({name: part for name, part in made.items() if count_masks(part)})
    return parts[0], parts[1]


def _there(sample: Sample, side: slice, axis: int) -> set[tuple[int, int]]:
    """Level and label of all that a sample has on one side of a line."""
    cut = (side, slice(None)) if axis == 0 else (slice(None), side)
    return {(k, int(label)) for k, level in enumerate(sample.levels) for label in np.unique(level[cut]) if label}


def _part(sample: Sample, cut: tuple[slice, slice], left_out: set[tuple[int, int]]) -> Sample:
    """A part of a sample without some of its objects, of which their ground is unknown then."""
    levels = [
        np.where(np.isin(level, [label for number, label in left_out if number == k]), 0, level)[cut]
        for k, level in enumerate(sample.levels)
    ]
    return replace(sample, image=np.ascontiguousarray(sample.image[cut]), levels=tuple(levels), complete=False)


def click_trials(samples: Mapping[str, Sample], seed: int, objects: int = 24) -> list[ClickTrial]:
    """A click in the middle and two at random of each object, of so many objects of at most 12 images."""
    rng = np.random.default_rng(seed)
    known = [(name, label) for name in list(samples)[:12] for label in _objects(samples[name])]
    drawn = [known[k] for k in sorted(rng.permutation(len(known))[:objects])]
    trials = []
    for name, (level, label) in drawn:
        truth = samples[name].levels[level] == label
        points = [centre_point(truth), random_point(truth, rng), random_point(truth, rng)]
        trials += [ClickTrial(name, samples[name].image, (level, label), truth, point) for point in points]
    return trials


def gauge_trials() -> list[ClickTrial]:
    """Clicks on synthetic images of several kinds: what a model must not forget."""
    samples = {f"gauge {k}": sample for k, sample in enumerate(synthetic_samples(8, GAUGE_SEED))}
    return click_trials(samples, GAUGE_SEED, objects=20)


def click_scores(model: TinySam, trials: list[ClickTrial]) -> np.ndarray:
    """IoU (n,) of the mask that is shown for each click."""
    return np.array([iou(mask, trial.truth) for mask, trial in zip(click_masks(model, trials), trials, strict=True)])


def click_masks(model: TinySam, trials: list[ClickTrial]) -> list[np.ndarray]:
    """The mask (y, x) bool that is shown for each click."""
    segmenter = ZoomSegmenter(copy.deepcopy(model), "measured", config=model.inference or tiny_inference_config())
    shown: dict[int, np.ndarray] = {}
    for image in dict.fromkeys(trial.image for trial in trials):
        here = [k for k, trial in enumerate(trials) if trial.image == image]
        embedding = segmenter.embed(trials[here[0]].plane)
        answers = segmenter.segment(embedding, [Prompt((trials[k].point,)) for k in here])
        shown |= {k: masks[0].pixels for k, masks in zip(here, answers, strict=True)}
    return [shown[k] for k in range(len(trials))]
