"""``napari-segany bench names``: how often a model names an object right without examples, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.known_classes import OTHER
from napari_segany.core.metrics import calibration_error
from napari_segany.core.object_classes import NamesObjects
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.terms import is_kind_of
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import LabelledPlane, labelled_planes, parts_of, targets
from napari_segany.experiments.named_sets import text_cases
from napari_segany.experiments.scores import Row

KNOWN_OBJECTS: Mapping[str, str] = {
    "dsb2018": "nucleus",
    "usiigaci": "cell",
    "wbc_nucleus": "nucleus",
    "wbc_cell": "cell",
    "epfl6": "mitochondrion",
    "isbi2012_em": "neuron",
    "livecell_one": "cell",
    "rbc_flow": "cell",
    "calcium_neurons": "cell",
    "neurons_fluocells": "cell",
    "glomeruli": OTHER,
    "colonies_plate": OTHER,
    "coco128": OTHER,
}
"""What the objects of a set are. Sets that are not here need a name; ``plant3d`` shows cells and nuclei by volume."""
BY_PLANE: Mapping[str, Mapping[str, str]] = {
    "plant3d": {"1135_mini": "nucleus", "1136_mini": "nucleus", "sample_": "cell"},
}
"""The same by the beginning of the name of a plane."""


@dataclass(frozen=True, slots=True)
class NameBenchConfig:
    """What is measured.

    Parameters
    ----------
    data : tuple of Path
        Sets.
    name : str
        What the objects are, where that is not known of a set.
    per_image : int, optional
        Objects of a plane, drawn by chance; all by default.
    limit : int, optional
        The first planes of a set alone.
    """

    data: tuple[Path, ...]
    name: str = ""
    per_image: int | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NamedSet:
    """What a model says of the objects of a set: the true name, found names and probabilities, and which are given."""

    name: str
    truth: tuple[str, ...]
    found: tuple[str, ...]
    told: np.ndarray
    least: float

    @property
    def right(self) -> np.ndarray:
        """(n,) bool; a kind of what is true is right: a yeast is a cell."""
        return np.array([is_kind_of(one, what) for one, what in zip(self.found, self.truth, strict=True)], bool)


def rows_of_names(
    config: NameBenchConfig, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> Iterator[Row]:
    """Name the labelled objects of sets.

    Yields
    ------
    dict
        For each set and name, and for all together: ``bench``, ``set``, ``name``, ``model``, ``objects``, ``top1``,
        ``told`` (mean probability), ``ece`` (expected calibration error), ``named`` (share of objects that are sure
        enough for a name), ``right_named`` (share of right names among these), ``most`` (the most frequent wrong name)
        and ``commit``.

    Raises
    ------
    InputError
        A set cannot be used, or it is not known what its objects are.
    ModelError
        The model knows no names.
    """
    sets = [part for folder in config.data for part in parts_of(folder)]
    for folder in sets:
        _name_of(folder, "", config.name)
    segmenter = load()
    if segmenter.capabilities.known_classes is None:
        raise ModelError(f"the model {segmenter.name!r} knows no names of objects")
    every: list[NamedSet] = []
    for folder in sets:
        for one in _named(folder, config, cast("NamesObjects", segmenter), progress):
            every.append(one)
            yield _row(one, segmenter.name)
    if len(every) > 1:
        truth, found = (sum((getattr(one, part) for one in every), ()) for part in ("truth", "found"))
        told = np.concatenate([one.told for one in every])
        whole = NamedSet("all objects", truth, found, told, every[0].least)
        yield _row(whole, segmenter.name)
        rows = [_row(one, segmenter.name) for one in every]
        means = {key: float(np.mean([row[key] for row in rows])) for key in ("top1", "told", "ece", "named")}
        yield {**_row(whole, segmenter.name), "set": "mean of sets", "most": "", "right_named": "", **means}


def _name_of(folder: Path, plane: str, given: str) -> str:
    """What the objects of a plane of a set are."""
    name = set_name(folder)
    for start, what in BY_PLANE.get(name, {}).items():
        if plane.startswith(start):
            return what
    if not given and name not in KNOWN_OBJECTS and name not in BY_PLANE:
        raise InputError(f"it is not known what the objects of {name} are; give it with --name")
    return given or KNOWN_OBJECTS.get(name, "")


def _named(
    folder: Path, config: NameBenchConfig, segmenter: NamesObjects, progress: Callable[[int], None] | None
) -> Iterator[NamedSet]:
    known = segmenter.capabilities.known_classes
    if known is None:
        return
    parts: dict[str, list[tuple[str, float]]] = {}
    for number, one in enumerate(_planes(folder, config.limit), start=1):
        own = targets(one.labels) if one.labels.any() else []
        chosen = [own[k] for k in _drawn(len(own), config.per_image, number)]
        vectors = segmenter.class_vectors(one.plane, [each.window for each in chosen], [each.mask for each in chosen])
        rows = known.probabilities(vectors)
        named = [(known.names[int(row.argmax())], float(row.max())) for row in rows]
        parts.setdefault(_name_of(folder, one.name, config.name), []).extend(named)
        if progress is not None:
            progress(number)
    for what, objects in parts.items():
        if objects:
            found, told = zip(*objects, strict=True)
            yield NamedSet(set_name(folder), (what,) * len(found), found, np.array(told), known.least)


def _planes(folder: Path, limit: int | None) -> Iterator[LabelledPlane]:
    return islice(_photographs(folder) if set_name(folder) == "coco128" else labelled_planes(folder), limit)


def _photographs(folder: Path) -> Iterator[LabelledPlane]:
    """Photographs with polygons, a plane for each name, as objects overlap."""
    for one in text_cases(folder):
        for name, labels in one.labels.items():
            yield LabelledPlane(f"{one.name} {name}", one.plane, labels)


def _drawn(count: int, most: int | None, seed: int) -> list[int]:
    """At most so many of the numbers below `count`, drawn by chance."""
    order = np.random.default_rng(seed).permutation(count)
    return sorted(order[:most].tolist())


def _row(one: NamedSet, model: str) -> Row:
    right, given = one.right, one.told >= one.least
    wrong = [name for name, good in zip(one.found, right, strict=True) if not good]
    return {
        "bench": "names",
        "set": one.name,
        "name": ", ".join(dict.fromkeys(one.truth)),
        "model": model,
        "objects": len(right),
        "top1": float(right.mean()),
        "told": float(one.told.mean()),
        "ece": calibration_error(one.told, right),
        "named": float(given.mean()),
        "right_named": float(right[given].mean()) if given.any() else "",
        "most": _most(wrong),
        "commit": commit(),
    }


def _most(names: Sequence[str]) -> str:
    return max(sorted(set(names)), key=names.count) if names else ""
