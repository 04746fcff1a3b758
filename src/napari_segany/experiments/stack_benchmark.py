"""``napari-segany bench stack``: objects of stacks, followed from their middle slice."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
from scipy import ndimage

from napari_segany.core.errors import InputError
from napari_segany.core.masks import box_of
from napari_segany.core.metrics import iou
from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Box, Prompt
from napari_segany.core.propagate import Known, propagate
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.simulate import centre_point
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import MIN_PIXELS, LabelledVolume, labelled_volumes
from napari_segany.experiments.scores import Row

LEAST_SLICES = 5
"""Objects on fewer slices are not followed."""
BEYOND = 2
"""Slices beyond each end of an object that are evaluated, so that stopping counts."""
GOAL = 0.8
KEPT = 128
"""Embeddings that are kept, so that methods share them."""
CORRECTIONS = 5
"""Slices of an object that are set right at most."""
EXTENSION, STOP = 0.05, 0.5
"""Of micro-sam's projection by boxes (Archit et al. 2025): how boxes grow, and the IoU below which an object ends."""

Found = Mapping[int, Mapping[int, np.ndarray]]
"""For each plane, and each label on it, its mask (y, x) bool."""
Embed = Callable[[int], ImageEmbedding]


@dataclass(frozen=True, slots=True, eq=False)
class StackObject:
    """An object of a stack, stored as the part of it that it fills on the evaluated slices.

    Parameters
    ----------
    label : int
        Its number in the truth.
    first : int
        The first slice that is evaluated.
    masks : ndarray
        (slices, y, x) bool, of those slices.
    middle : int
        The slice that it is propagated from.
    """

    label: int
    first: int
    masks: np.ndarray
    middle: int

    @property
    def extent(self) -> list[int]:
        """Slices on which it is."""
        return [self.first + int(z) for z in np.flatnonzero(self.masks.any(axis=(1, 2)))]

    def truth(self, z: int) -> np.ndarray:
        """Its true mask (y, x) on an evaluated slice."""
        mask: np.ndarray = self.masks[z - self.first]
        return mask

    def slice_scores(self, found: Found) -> np.ndarray:
        """(slices,) IoU on each evaluated slice."""
        nothing = np.zeros(self.masks.shape[1:], bool)
        slices = enumerate(self.masks, start=self.first)
        return np.array([iou(found.get(z, {}).get(self.label, nothing), mask) for z, mask in slices])

    def score(self, found: Found) -> float:
        """IoU of the object in three dimensions."""
        nothing = np.zeros(self.masks.shape[1:], bool)
        slices = range(self.first, self.first + len(self.masks))
        return iou(np.stack([found.get(z, {}).get(self.label, nothing) for z in slices]), self.masks)


def stack_objects(labels: np.ndarray, per_image: int | None = None) -> list[StackObject]:
    """The objects of a stack (planes, y, x) that lie on enough slices; with `per_image` some, drawn by chance."""
    found = []
    for label, part in enumerate(ndimage.find_objects(labels.astype(np.int64)), start=1):
        if part is None:
            continue
        there = [z for z in range(part[0].start, part[0].stop) if (labels[z][part[1:]] == label).any()]
        middle = there[len(there) // 2]
        if len(there) < LEAST_SLICES or np.count_nonzero(labels[middle] == label) < MIN_PIXELS:
            continue
        first, last = max(there[0] - BEYOND, 0), min(there[-1] + BEYOND, len(labels) - 1)
        found.append(StackObject(label, first, labels[first : last + 1] == label, middle))
    if per_image is None or len(found) <= per_image:
        return found
    chosen = np.random.default_rng(0).choice(len(found), per_image, replace=False)
    return [found[i] for i in sorted(chosen)]


@dataclass(slots=True, eq=False)
class StackEncoder:
    """Embeddings of a stack's planes, each made once for all methods, and the seconds that each took."""

    segmenter: Segmenter
    stack: Stack
    requested: set[int] = field(default_factory=set)
    seconds: dict[int, float] = field(default_factory=dict)
    spent: float = 0.0
    _kept: OrderedDict[int, ImageEmbedding] = field(default_factory=OrderedDict)

    def __call__(self, z: int) -> ImageEmbedding:
        """The embedding of a plane."""
        self.requested.add(z)
        if z not in self._kept:
            started = time.perf_counter()
            self._kept[z] = self.segmenter.embed(self.stack.plane(z))
            self.seconds[z] = time.perf_counter() - started
            self.spent += self.seconds[z]
        self._kept.move_to_end(z)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[z]

    def timed(self, work: Callable[[], Found]) -> tuple[Found, float]:
        """Return the result of some work, and its seconds as if it had encoded each requested plane itself, once."""
        self.requested, self.spent = set(), 0.0
        started = time.perf_counter()
        found = work()
        own = time.perf_counter() - started - self.spent
        return found, own + sum(self.seconds[z] for z in self.requested)


@dataclass(frozen=True, slots=True, eq=False)
class StackTask:
    """What each method is given: a model, a stack with its embeddings, and the planes to go through, ascending."""

    segmenter: Segmenter
    stack: Stack
    embed: Embed
    numbers: range


def propagated_masks(task: StackTask, known: Known) -> Found:
    """Ours."""
    found: dict[int, dict[int, np.ndarray]] = {plane: dict(masks) for plane, masks in known.items()}
    for plane, masks, _ in propagate(task.segmenter, task.stack, known, task.numbers, embed=task.embed):
        found.setdefault(plane, {}).update({label: mask.pixels for label, mask in masks.items()})
    return found


def boxed_masks(task: StackTask, known: Known) -> Found:
    """The box of each mask is the prompt of the next slice, until a mask has little to do with the one before it."""
    found: dict[int, dict[int, np.ndarray]] = {plane: dict(masks) for plane, masks in known.items()}
    for way in (1, -1):
        active: dict[int, np.ndarray] = {}
        for z in task.numbers[::way]:
            active = {label: mask for label, mask in active.items() if label not in known.get(z, {})}
            if active:
                prompts = [Prompt(box=_grown(mask)) for mask in active.values()]
                answers = task.segmenter.segment(task.embed(z), prompts, candidates=1)
                pairs = zip(active.items(), answers, strict=True)
                active = {k: masks[0].pixels for (k, old), masks in pairs if iou(masks[0].pixels, old) >= STOP}
                # what came from the other given slice first stays
                found.setdefault(z, {}).update({k: m for k, m in active.items() if k not in found.get(z, {})})
            active |= {label: mask for label, mask in known.get(z, {}).items() if mask.any()}
    return found


def copied_masks(task: StackTask, known: Known) -> Found:
    """The nearest mask that was given is that of all slices."""
    found: dict[int, dict[int, np.ndarray]] = {z: {} for z in task.numbers}
    for label in {label for masks in known.values() for label in masks}:
        given = [z for z, masks in known.items() if label in masks]
        for z in task.numbers:
            found[z][label] = known[min(given, key=lambda at, z=z: abs(at - z))][label]  # type: ignore[misc]
    return found


METHODS: dict[str, Callable[[StackTask, Known], Found]] = {
    "segany": propagated_masks,
    "box": boxed_masks,
    "copy": copied_masks,
}


def _grown(mask: np.ndarray) -> Box:
    box = box_of(mask)
    if box is None:
        raise ValueError("an empty mask has no box")
    up, left = (EXTENSION * (high - low + 1) for low, high in ((box.y0, box.y1), (box.x0, box.x1)))
    return Box(box.y0 - up, box.x0 - left, box.y1 + up, box.x1 + left)


def first_masks(segmenter: Segmenter, embed: Embed, objects: Sequence[StackObject], first: str) -> Known:
    """The truth of each object's middle slice, or what one click in its middle gives."""
    known: dict[int, dict[int, np.ndarray]] = {}
    for z in sorted({one.middle for one in objects}):
        here = [one for one in objects if one.middle == z]
        if first == "truth":
            known[z] = {one.label: one.truth(z) for one in here}
        else:
            answers = segmenter.segment(embed(z), [Prompt((centre_point(one.truth(z)),)) for one in here])
            known[z] = {one.label: masks[0].pixels for one, masks in zip(here, answers, strict=True)}
    return known


def _until_good(
    one: StackObject, known: Known, found: Found, follow: Callable[[Known, range], Found], most: int
) -> int:
    """How many slices of an object are set right until it is good enough, each time the worst; `most` + 1 for never.

    Only slices up to the next ones that are given hang on one that is set right, and are followed again.
    """
    given = {z: masks[one.label] for z, masks in known.items() if one.label in masks}
    masks = {z: each[one.label] for z, each in found.items() if one.label in each}
    for count in range(most + 1):
        now = {z: {one.label: mask} for z, mask in masks.items()}
        if one.score(now) >= GOAL:
            return count
        worst = one.first + int(np.argmin(one.slice_scores(now)))
        given[worst] = one.truth(worst)
        low = max((z for z in given if z < worst), default=one.first)
        high = min((z for z in given if z > worst), default=one.first + len(one.masks) - 1)
        numbers = range(low, high + 1)
        there = {z: {one.label: mask} for z, mask in given.items() if z in numbers}
        some = any(mask.any() for each in there.values() for mask in each.values())
        again = follow(there, numbers) if some else {}
        masks = {z: mask for z, mask in masks.items() if z not in numbers}
        masks |= {z: each[one.label] for z, each in again.items() if one.label in each} | given
    return most + 1


def rows_of_stacks(
    data: Path,
    load: Callable[[], Segmenter],
    limit: int | None = None,
    per_image: int | None = None,
    corrections: int = CORRECTIONS,
    progress: Callable[[int], None] | None = None,
) -> list[Row]:
    """Measure how objects are propagated from their middle slice, in both directions.

    Parameters
    ----------
    data : Path
        Folder of a set, see :func:`~napari_segany.experiments.datasets.labelled_volumes`.
    load : callable
        Makes the segmenter.
    limit : int, optional
        Take the first stacks only.
    per_image : int, optional
        Take so many objects of each stack, drawn with a fixed seed.
    corrections : int
        Slices that are corrected at most for ``corrections80``, one more standing for objects that are never good
        enough; 0 omits it.
    progress : callable, optional
        Called with the number of stacks done.

    Returns
    -------
    list of dict
        A row for each ``method`` ("segany", "box", "copy") and ``first`` mask ("truth", "click"): ``miou`` (IoU in
        three dimensions over the extent of an object and two slices beyond each end, mean over objects), ``slice_iou``
        (mean over the slices of the extent), ``share50`` (share of objects with ``miou`` of at least 0.5),
        ``extent_iou`` (``miou`` with the true extent given), ``corrections80``, ``slices_per_second`` (all objects at
        once, encoding included), ``n``, ``stacks``, and the columns of all benches.

    Raises
    ------
    InputError
        When the data cannot be used, or contain no object that counts.
    ModelError
        From `load`.
    """
    volumes = islice(labelled_volumes(data), limit)
    segmenter = load()
    rows, speeds = _gathered(segmenter, volumes, (per_image, corrections), progress)
    if not any(rows.values()):
        raise InputError(f"{data} holds no object on {LEAST_SLICES} slices")
    common = {"bench": "stack", "set": set_name(data), "model": segmenter.name}
    common |= {"device": segmenter.capabilities.device, "commit": commit()}
    return [
        {**common, "method": method, "first": first, **_means(rows[method, first])}
        | {"slices_per_second": float(np.mean(speeds[method, first])), "stacks": len(speeds[method, first])}
        for method, first in rows
    ]


Key = tuple[str, str]
"""Method and first mask."""


def _gathered(
    segmenter: Segmenter,
    volumes: Iterable[LabelledVolume],
    limits: tuple[int | None, int],
    progress: Callable[[int], None] | None,
) -> tuple[dict[Key, list[dict[str, float]]], dict[Key, list[float]]]:
    """Figures of all objects and slices per second of all stacks; `limits` are objects a stack, and corrections."""
    per_image, corrections = limits
    rows: dict[Key, list[dict[str, float]]] = {}
    speeds: dict[Key, list[float]] = {}
    for done, volume in enumerate(volumes, start=1):
        objects = stack_objects(volume.labels, per_image)
        for key, figures, seconds in _measured(segmenter, volume, objects, corrections):
            rows.setdefault(key, []).extend(figures)
            speeds.setdefault(key, []).append(len(volume.stack) / seconds)
        if progress is not None:
            progress(done)
    return rows, speeds


def _measured(
    segmenter: Segmenter, volume: LabelledVolume, objects: Sequence[StackObject], corrections: int
) -> Iterator[tuple[tuple[str, str], list[dict[str, float]], float]]:
    """Each method on one stack: figures of each object, and seconds."""
    if not objects:
        return
    embed = StackEncoder(segmenter, volume.stack)
    whole = StackTask(segmenter, volume.stack, embed, range(len(volume.stack)))
    for first in ("truth", "click"):
        known = first_masks(segmenter, embed, objects, first)
        for name, method in METHODS.items():
            found, seconds = embed.timed(lambda method=method, known=known: method(whole, known))  # type: ignore[misc]
            figures = [_figures(one, found) for one in objects]
            if corrections:

                def follow(given: Known, numbers: range, method=method) -> Found:  # type: ignore[no-untyped-def]
                    return method(replace(whole, numbers=numbers), given)

                for one, row in zip(objects, figures, strict=True):
                    row["corrections80"] = _until_good(one, known, found, follow, corrections)
            yield (name, first), figures, seconds


def _figures(one: StackObject, found: Found) -> dict[str, float]:
    slices, score = one.slice_scores(found), one.score(found)
    cut = {z: masks for z, masks in found.items() if z in one.extent}
    inside = [z - one.first for z in one.extent]
    return {
        "miou": score,
        "slice_iou": float(slices[inside].mean()),
        "share50": float(score >= 0.5),
        "extent_iou": one.score(cut),
    }


def _means(figures: Sequence[dict[str, float]]) -> Row:
    return {name: float(np.mean([one[name] for one in figures])) for name in figures[0]} | {"n": len(figures)}
