"""``napari-segany bench points``: masks from one to nine points on several sets (Kirillov et al. 2023, section 7.1).

What differs from the paper: the sets are microscopy, the interactive methods compared with are those of
:mod:`~napari_segany.experiments.click_baselines`, and a random first point is drawn evenly from the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.metrics import summarise
from napari_segany.core.prompts import Point
from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments.benchmark import commit, drawn_targets, set_name
from napari_segany.experiments.click_baselines import CLICK_BASELINES
from napari_segany.experiments.datasets import LabelledPlane, Target, labelled_planes
from napari_segany.experiments.scores import Row, Scores
from napari_segany.experiments.simulated_users import click_prompts

STARTS = ("centre", "random")
"""Where the first point lies: farthest from the boundary, as in the paper's table, or anywhere on the object."""
POINTS = (1, 2, 3, 5, 9)


@dataclass(frozen=True, slots=True)
class PointsConfig:
    """What is measured.

    Parameters
    ----------
    data : tuple of Path
        Folders of sets.
    points : tuple of int
        Numbers of points after which is measured.
    starts : tuple of str
        Which of ``STARTS``.
    baselines : bool
        Whether the interactive methods without learning are measured too.
    limit, per_image : int, optional
        Take the first images of each set only, and so many objects of each, drawn by chance.
    """

    data: tuple[Path, ...]
    points: tuple[int, ...] = POINTS
    starts: tuple[str, ...] = STARTS
    baselines: bool = True
    limit: int | None = None
    per_image: int | None = None


def measured_points(
    config: PointsConfig, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> Iterator[Row]:
    """Yield the rows of each set when it is done.

    Further points lie in the middle of the largest error. ``oracle`` is the best of the three masks of the first.

    Yields
    ------
    dict
        ``bench``, ``set``, ``model``, ``start``, ``points``, ``miou`` (mean over objects), ``low`` and ``high`` (95 %
        bootstrap interval over images), ``oracle`` (of one point; NaN of more), ``n`` (objects), ``images`` and
        ``commit``.

    Raises
    ------
    InputError
        A set cannot be used or holds no object that counts, or a number of points or a start is unknown.
    ModelError
        From `load`.
    """
    unknown = sorted(set(config.starts) - set(STARTS))
    if unknown or not config.points or min(config.points) < 1:
        raise InputError(f"points are counted from 1 and start at the {' or '.join(STARTS)}; got {config}")
    sets = [(folder, labelled_planes(folder)) for folder in config.data]
    methods: list[Segmenter] = [load(), *(make() for make in CLICK_BASELINES.values() if config.baselines)]
    done = 0
    for folder, planes in sets:
        found: dict[tuple[str, str], list[Scores]] = {}
        for one in islice(planes, config.limit):
            for key, scores in _scores(config, methods, one):
                found.setdefault(key, []).append(scores)
            done += 1
            if progress is not None:
                progress(done)
        if not found:
            raise InputError(f"{folder} holds no object that is large enough to count")
        for (model, start), results in found.items():
            for row in _rows(results, config.points):
                yield {
                    "bench": "points",
                    "set": set_name(folder),
                    "model": model,
                    "start": start,
                    **row,
                    "commit": commit(),
                }


@dataclass(frozen=True, slots=True, eq=False)
class _Started(Target):
    """An object whose first point is given."""

    first: Point

    @property
    def point(self) -> Point:
        """See :class:`Target`."""
        return self.first


def _scores(
    config: PointsConfig, methods: Sequence[Segmenter], one: LabelledPlane
) -> Iterator[tuple[tuple[str, str], Scores]]:
    objects = drawn_targets(one.labels, config.per_image)
    if not objects:
        return
    for method in methods:
        embedding = method.embed(one.plane)
        for start in config.starts:
            rng = np.random.default_rng(0)
            begun = objects if start == "centre" else [_anywhere(target, rng) for target in objects]
            yield (method.name, start), click_prompts(method, embedding, begun, max(config.points))


def _anywhere(target: Target, rng: np.random.Generator) -> Target:
    y, x = np.argwhere(target.mask)[rng.integers(np.count_nonzero(target.mask))]
    place = Point(float(y + target.window[0].start), float(x + target.window[1].start))
    return _Started(target.window, target.mask, place)


def _rows(results: Sequence[Scores], points: Sequence[int]) -> Iterator[Row]:
    for number in points:
        summary = summarise([one.chosen[:, number - 1] for one in results])
        oracle = float(np.concatenate([one.oracle for one in results]).mean()) if number == 1 else float("nan")
        yield {
            "points": number,
            "miou": summary.mean,
            "low": summary.low,
            "high": summary.high,
            "oracle": oracle,
            "n": summary.n,
            "images": len(results),
        }
