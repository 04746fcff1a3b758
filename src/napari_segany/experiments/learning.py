"""``napari-segany bench learn``: what fine-tuning on a few masks of a set gains on other images of the set."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.metrics import clicks_needed, instance_scores
from napari_segany.core.query import query_for
from napari_segany.core.segmenter import Segmenter
from napari_segany.engine.crop_ranking import find
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import MIN_PIXELS, LabelledPlane, labelled_planes, targets
from napari_segany.experiments.scores import Row
from napari_segany.experiments.simulated_users import click_prompts
from napari_segany.models.loading import load_segmenter
from napari_segany.training.data import Sample
from napari_segany.training.fine_tune import FineTuneConfig, fine_tune
from napari_segany.training.fine_tune_report import FineTuneReport

ROUNDS = 8
"""Clicks on an object, at most."""
WORTH = 0.85
"""IoU that the clicks are counted to."""


@dataclass(frozen=True, slots=True)
class LearnConfig:
    """What is measured.

    Parameters
    ----------
    data : Path
        Folder of a set.
    masks : tuple of int
        How many masks are learned from.
    seeds : int
        Draws of the masks.
    test_images, test_objects : int
        Images that are measured on, at most, and objects of each.
    spoil : float
        Share of the masks that are spoiled before training: shifted, merged with a neighbour, or removed.
    """

    data: Path
    masks: tuple[int, ...] = (10, 25, 50)
    seeds: int = 5
    test_images: int = 20
    test_objects: int = 10
    spoil: float = 0.0


def rows_of_learning(config: LearnConfig, progress: Callable[[int], None] | None = None) -> Iterator[Row]:
    """Fine-tune on masks of half of a set's images, and measure on the other half.

    Yields
    ------
    dict
        ``bench``, ``set``, ``masks``, ``seed``, ``minutes``, ``miou_before`` and ``miou_after`` (one click), ``low``
        (lower end of the 95 % bootstrap interval over images of the gain, paired), ``noc85_before`` and
        ``noc85_after`` (clicks to IoU .85, 8 at most), ``msa_before``, ``msa_after``, ``ap50_before`` and
        ``ap50_after`` (automatic masks), ``alpha``, ``gauge_before``, ``gauge_after``, ``images`` and ``commit``.

    Raises
    ------
    InputError
        The set cannot be used, or has fewer than two images.
    """
    planes = list(labelled_planes(config.data))
    if len(planes) < 2:
        raise InputError(f"{config.data} has {len(planes)} images; half of them are learned from, the others measured")
    done = 0
    for seed in range(config.seeds):
        order = np.random.default_rng(seed).permutation(len(planes)).tolist()
        half = (len(planes) + 1) // 2
        pool, tested = ([planes[k] for k in part] for part in (order[:half], order[half:]))
        before = _measured(load_segmenter("tiny"), tested[: config.test_images], config)
        for masks in config.masks:
            yield _row(config, seed, masks, pool, tested[: config.test_images], before)
            done += 1
            if progress is not None:
                progress(done)


@dataclass(frozen=True, slots=True, eq=False)
class _Figures:
    """Per image: IoU of one click (objects,), clicks to ``WORTH`` (objects,), and scores of automatic masks."""

    clicks: list[np.ndarray]
    needed: list[np.ndarray]
    automatic: np.ndarray


def _measured(segmenter: Segmenter, planes: Sequence[LabelledPlane], config: LearnConfig) -> _Figures:
    clicks, needed, automatic = [], [], []
    for one in planes:
        objects = targets(one.labels)
        if not objects:
            continue
        drawn = np.random.default_rng(0).permutation(len(objects))[: config.test_objects]
        chosen = click_prompts(segmenter, segmenter.embed(one.plane), [objects[k] for k in drawn], ROUNDS).chosen
        clicks.append(chosen[:, 0])
        needed.append(clicks_needed(chosen, WORTH))
        labels = find(segmenter, query_for(segmenter), one.plane).labels
        automatic.append(instance_scores(labels, one.labels, smallest=MIN_PIXELS))
    return _Figures(clicks, needed, np.array(automatic))


def _row(
    config: LearnConfig,
    seed: int,
    masks: int,
    pool: Sequence[LabelledPlane],
    tested: Sequence[LabelledPlane],
    before: _Figures,
) -> Row:
    rng = np.random.default_rng((seed, masks))
    samples = {one.name: sample for one, sample in drawn_masks(pool, masks, rng, config.spoil)}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "learned.safetensors"
        report = _report(samples, out, seed)
        minutes = (time.perf_counter() - started) / 60
        after = _measured(load_segmenter(out), tested, config) if report.accepted else before
    gains = np.array([b.mean() - a.mean() for a, b in zip(before.clicks, after.clicks, strict=True)])
    means = np.random.default_rng(0).choice(gains, (2000, len(gains))).mean(axis=1)
    return {
        "bench": "learn",
        "set": set_name(config.data),
        "masks": masks,
        "seed": seed,
        "minutes": minutes,
        "miou_before": float(np.concatenate(before.clicks).mean()),
        "miou_after": float(np.concatenate(after.clicks).mean()),
        "low": float(np.percentile(means, 2.5)),
        "noc85_before": float(np.concatenate(before.needed).mean()),
        "noc85_after": float(np.concatenate(after.needed).mean()),
        "msa_before": float(before.automatic.mean()),
        "msa_after": float(after.automatic.mean()),
        "ap50_before": float(before.automatic[:, 0].mean()),
        "ap50_after": float(after.automatic[:, 0].mean()),
        "alpha": report.alpha,
        "gauge_before": report.gauge_before,
        "gauge_after": report.gauge_after,
        "images": len(before.clicks),
        "commit": commit(),
    }


def _report(samples: dict[str, Sample], out: Path, seed: int) -> FineTuneReport:
    *_, last = fine_tune(samples, out, FineTuneConfig(seed=seed))
    if last.report is None:
        raise RuntimeError("fine-tuning ended without a report")
    return last.report


def drawn_masks(
    pool: Sequence[LabelledPlane], count: int, rng: np.random.Generator, spoil: float
) -> Iterator[tuple[LabelledPlane, Sample]]:
    """So many objects of the images, as evenly spread over them as can be; what else is there has no label."""
    left = {k: rng.permutation(_labels(one.labels)).tolist() for k, one in enumerate(pool)}
    chosen: dict[int, list[int]] = {k: [] for k in left}
    while count > 0 and any(left.values()):
        for k in left:
            if left[k] and count > 0:
                chosen[k].append(left[k].pop())
                count -= 1
    for k, one in enumerate(pool):
        if chosen[k]:
            labels = np.where(np.isin(one.labels, chosen[k]), one.labels, 0).astype(np.int32)
            yield one, Sample(one.plane, (spoiled(labels, spoil, rng),), complete=False)


def _labels(labels: np.ndarray) -> np.ndarray:
    found, counts = np.unique(labels[labels > 0], return_counts=True)
    large: np.ndarray = found[counts >= MIN_PIXELS]
    return large


def spoiled(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Labels (y, x) some of whose objects are shifted by half their size, merged with another one, or missing."""
    made = labels.copy()
    for label in np.unique(labels)[1:]:
        if rng.random() >= share:
            continue
        mask = labels == label
        made[mask] = 0
        kind = rng.integers(3)
        if kind == 0:
            reach = max(round(float(np.sqrt(mask.sum())) / 2), 1)
            made[np.roll(mask, tuple(rng.choice([-reach, reach], 2)), (0, 1)) & (made == 0)] = label
        elif kind == 1:
            made[mask] = rng.choice(np.unique(labels)[1:])
    return made
