"""Classes of the objects of a label image, from a table of the classes of a few."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.masks import windows_of
from napari_segany.core.object_classes import ClassDescriptors, check_classes, describe_for_classes, learn_classes
from napari_segany.core.planes import LazyPlane
from napari_segany.core.segmenter import Segmenter
from napari_segany.io.class_tables import read_object_classes, write_object_classes
from napari_segany.io.images import FilePlanes, read_image
from napari_segany.io.labels import check_place, read_labels
from napari_segany.io.output_checks import check_apart

AT_ONCE = 64
"""Objects between two reports."""


@dataclass(frozen=True, slots=True)
class LabelledFiles:
    """An image and its label image."""

    image: Path
    labels: Path


@dataclass(frozen=True, slots=True)
class ClassifyJob:
    """What is to be done.

    Parameters
    ----------
    objects : LabelledFiles
        The objects that get classes.
    classes : Path
        Table of the classes of some objects, see :func:`~napari_segany.io.class_tables.read_object_classes`.
    out : Path
        The table to write.
    exemplars : LabelledFiles, optional
        The objects that `classes` names, when they are of another image.
    overwrite : bool
        Whether `out` may be replaced.
    inputs : tuple of Path
        More files that `out` must not replace, such as those of a model.
    """

    objects: LabelledFiles
    classes: Path
    out: Path
    exemplars: LabelledFiles | None = None
    overwrite: bool = False
    inputs: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassifyReport:
    """What was done: how many objects got a class, and how many were learned from."""

    objects: int
    known: int
    classes: tuple[str, ...]


def classify_file(
    job: ClassifyJob, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> ClassifyReport:
    """Write the class of each object of a label image, and its probability.

    An object of several planes is described on the middle one of those that it lies on. Objects that the table names
    keep their class, with a probability of 1.

    Raises
    ------
    InputError
        A file cannot be used, the table names an object that there is not, or there are not two classes; nothing is
        written then.
    """
    exemplars = job.exemplars or job.objects
    files = (*_files(job.objects), *_files(exemplars), job.classes, *job.inputs)
    check_place(job.out, overwrite=job.overwrite)
    check_apart(job.out, files, "the classes")
    known = read_object_classes(job.classes)
    check_classes(known.values())
    segmenter, done = load(), _Counter(progress)
    labels, objects = _described(job.objects, segmenter, done)
    if job.exemplars is None:
        examples, usual = (labels, objects), objects
    else:
        examples = _described(job.exemplars, segmenter, done, known)
        usual = examples[1].joined(objects)
    rows = _rows(examples[0], known, job.classes, exemplars.labels)
    classifier = learn_classes(examples[1].chosen(rows), list(known.values()), usual)
    found = dict(zip(labels, classifier.suggest(objects), strict=True))
    if job.exemplars is None:
        found |= {label: (name, 1.0) for label, name in known.items()}
    write_object_classes(job.out, found)
    return ClassifyReport(len(found), len(known), classifier.names)


def _files(one: LabelledFiles) -> tuple[Path, Path]:
    return one.image, one.labels


def _rows(labels: list[int], known: Iterable[int], table: Path, image: Path) -> list[int]:
    """The places of known objects among all."""
    place = {label: row for row, label in enumerate(labels)}
    missing = [label for label in known if label not in place]
    if missing:
        raise InputError(f"{table} names the object {missing[0]}, and {image} has no such label")
    return [place[label] for label in known]


class _Counter:
    """Counts objects."""

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        self._progress, self._done = progress, 0

    def add(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done)


def _described(
    files: LabelledFiles, segmenter: Segmenter, done: _Counter, only: Iterable[int] | None = None
) -> tuple[list[int], ClassDescriptors]:
    """Labels of objects, all or some, and what classes are told apart by."""
    planes = FilePlanes(files.image, read_image(files.image).stack())
    labels = read_labels(files.labels)
    flat = labels.reshape(-1, *labels.shape[-2:])
    if flat.shape != (len(planes), *planes.plane_shape):
        raise InputError(
            f"{files.labels} has {len(flat)} planes of {flat.shape[1]} x {flat.shape[2]} pixels, "
            f"{files.image} {len(planes)} of {planes.plane_shape[0]} x {planes.plane_shape[1]}"
        )
    wanted = None if only is None else set(only)
    numbers, found = [], ClassDescriptors()
    for number, own in _planes_of(flat).items():
        kept = [label for label in own if wanted is None or label in wanted]
        windows = windows_of(flat[number]) if kept else {}
        for start in range(0, len(kept), AT_ONCE):
            part = kept[start : start + AT_ONCE]
            where, masks = [windows[label][0] for label in part], [windows[label][1] for label in part]
            found = found.joined(describe_for_classes(segmenter, LazyPlane(planes, number), where, masks))
            numbers += part
            done.add(len(part))
    if not numbers and wanted is None:
        raise InputError(f"{files.labels} holds no labelled object")
    return numbers, found


def _planes_of(flat: np.ndarray) -> dict[int, list[int]]:
    """Labels (planes, y, x) by the middle one of the planes that each lies on."""
    places: dict[int, list[int]] = {}
    for number, plane in enumerate(flat):
        for label in np.unique(plane[plane > 0]).tolist():
            places.setdefault(label, []).append(number)
    found: dict[int, list[int]] = {}
    for label, numbers in places.items():
        found.setdefault(numbers[len(numbers) // 2], []).append(label)
    return dict(sorted(found.items()))
