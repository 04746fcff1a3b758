"""``napari-segany bench classes``: how often the class of an object is known from a few objects of each class."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.masks import windows_of
from napari_segany.core.metrics import RESAMPLES
from napari_segany.core.object_classes import ClassDescriptors, describe_for_classes, learn_classes
from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import labelled_planes
from napari_segany.experiments.scores import Row

TABLE = "class_labels.csv"
"""The file of a set that gives the class of the cell of each image: the number in the image's name, and the class."""
LEAST_LEFT = 3
"""Objects of a class that must be left to be classified."""


@dataclass(frozen=True, slots=True)
class ClassBenchConfig:
    """What is measured.

    Parameters
    ----------
    data : Path
        Folder with ``images/``, ``labels_class/`` and ``class_labels.csv``.
    of_each : tuple of int
        How many objects of each class are known.
    seeds : int
        Draws of the known objects.
    """

    data: Path
    of_each: tuple[int, ...] = (3, 5, 10)
    seeds: int = 10


def rows_of_classes(
    config: ClassBenchConfig, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> Iterator[Row]:
    """Classify the cells of a set from a few of each class. Classes with too few cells are left out.

    Yields
    ------
    dict
        ``bench``, ``set``, ``model``, ``method`` (classes, the same without the vectors of the
        class branch, mask features alone, chance), ``of_each``, ``classes``,
        ``objects`` (classified ones in each draw), ``accuracy`` (mean over classes), ``low`` and ``high`` (95 %
        bootstrap interval over draws and objects), ``told`` (mean probability of the suggested classes), ``right``
        (share of them that are right), ``seeds`` and ``commit``.

    Raises
    ------
    InputError
        The set cannot be used.
    """
    truth = _classes(config.data / TABLE)
    segmenter = load()
    objects, names = _described(config.data, segmenter, truth, progress)
    for count in config.of_each:
        enough = {name for name, there in Counter(names).items() if there >= count + LEAST_LEFT}
        if len(enough) < 2:
            raise InputError(f"{config.data} has no two classes with {count + LEAST_LEFT} objects each")
        rows = [row for row, name in enumerate(names) if name in enough]
        kept, kinds = objects.chosen(rows), [names[row] for row in rows]
        for method, described in _methods(kept).items():
            scores = _scores(described, kinds, count, config.seeds)
            yield {
                "bench": "classes",
                "set": set_name(config.data),
                "model": segmenter.name,
                "method": method,
                "of_each": count,
                "classes": len(enough),
                **scores,
                "seeds": config.seeds,
                "commit": commit(),
            }


def _classes(path: Path) -> dict[int, str]:
    """The class of the image of each number."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            _, *rows = csv.reader(file)
        return {int(row[0]): row[1].strip() for row in rows if row}
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path} is no table of an image's number and its class") from error


def _described(
    data: Path, segmenter: Segmenter, truth: dict[int, str], progress: Callable[[int], None] | None
) -> tuple[ClassDescriptors, list[str]]:
    found, names = ClassDescriptors(), []
    for done, one in enumerate(labelled_planes(data / "cell"), start=1):
        if not one.name.isdigit() or int(one.name) not in truth:
            raise InputError(f"{data / TABLE} has no class for the image {one.name}")
        objects = windows_of(one.labels)
        windows, masks = [window for window, _ in objects.values()], [mask for _, mask in objects.values()]
        found = found.joined(describe_for_classes(segmenter, one.plane, windows, masks))
        names += [truth[int(one.name)]] * len(objects)
        if progress is not None:
            progress(done)
    return found, names


def _methods(objects: ClassDescriptors) -> dict[str, ClassDescriptors | None]:
    """What each method knows of objects; None for chance."""
    unnamed = replace(objects, named=objects.named[:, :0])
    alone = replace(unnamed, appearance=np.zeros_like(objects.appearance), vectors=objects.vectors[:, :0])
    branch = {"without class branch": unnamed} if objects.named.shape[1] else {}
    return {"classes": objects, **branch, "mask features alone": alone, "chance": None}


def _scores(objects: ClassDescriptors | None, names: Sequence[str], count: int, seeds: int) -> Row:
    """Scores over draws of `count` known objects of each class."""
    kinds, classes = np.array(names), sorted(set(names))
    if objects is None:
        mean = 1 / len(classes)
        return {"objects": len(names) - count * len(classes), "accuracy": mean}
    right, told = np.full((2, seeds, len(names)), np.nan)
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(names))
        known = np.concatenate([order[kinds[order] == name][:count] for name in classes])
        rest = np.setdiff1d(order, known)
        found = learn_classes(objects.chosen(known), kinds[known].tolist(), objects).suggest(objects.chosen(rest))
        right[seed, rest] = [name == kinds[row] for row, (name, _) in zip(rest, found, strict=True)]
        told[seed, rest] = [probability for _, probability in found]
    low, high = _interval(right, kinds)
    return {
        "objects": len(names) - count * len(classes),
        "accuracy": _balanced(right, kinds),
        "low": low,
        "high": high,
        "told": float(np.nanmean(told)),
        "right": float(np.nanmean(right)),
    }


def _balanced(right: np.ndarray, kinds: np.ndarray) -> float:
    """Share of right suggestions (seeds, objects), NaN where an object was known, as a mean over classes."""
    return float(np.mean([np.nanmean(right[:, kinds == name]) for name in np.unique(kinds)]))


def _interval(right: np.ndarray, kinds: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the balanced share when draws, and objects within each class, are drawn again."""
    rng, places = np.random.default_rng(0), [np.flatnonzero(kinds == name) for name in np.unique(kinds)]
    means = []
    for _ in range(RESAMPLES):
        seeds = rng.integers(0, len(right), len(right))
        drawn = [right[np.ix_(seeds, own[rng.integers(0, len(own), len(own))])] for own in places]
        means.append(np.mean([np.nanmean(one) for one in drawn if not np.isnan(one).all()]))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
