"""From a label image and its image to labels that a model drew again, object by object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.label_refinement import LEAST, RefinedObject, refine_labels, repainted
from napari_segany.core.planes import LazyPlane
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.tiles import is_large
from napari_segany.io.change_tables import ObjectChange, write_changes
from napari_segany.io.images import FilePlanes, ImageFile, read_image, reading
from napari_segany.io.labels import check_axes, check_output, check_place, compact, owner_of, read_labels, write_labels
from napari_segany.io.output_checks import check_apart


@dataclass(frozen=True, slots=True)
class RefineJob:
    """What is to be done.

    Parameters
    ----------
    labels, image : Path
        A label image of any origin, and the image that it belongs to.
    out : Path
        The labels to write; the table of changes is written next to them, see :func:`changes_path`.
    least : float
        IoU of the old and the new mask below which the old one stays, 0..1.
    overwrite : bool
        Whether existing results may be replaced.
    inputs : tuple of Path
        More files that no output may replace, such as those of a model.
    """

    labels: Path
    image: Path
    out: Path
    least: float = LEAST
    overwrite: bool = False
    inputs: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class RefineReport:
    """What was done.

    Parameters
    ----------
    changes : tuple of ObjectChange
        One for each object of each plane.
    table : Path
        Where they were written.
    """

    changes: tuple[ObjectChange, ...]
    table: Path


def changes_path(labels: Path) -> Path:
    """Where the table of changes of a label file goes; not into OME-Zarr images, which hold no tables."""
    return (owner_of(labels) or labels).with_name(f"{labels.stem}_changes.csv")


def refine_file(
    job: RefineJob, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> RefineReport:
    """Draw all objects of a label image again, plane by plane, and write them to another file.

    Parameters
    ----------
    job : RefineJob
        Files and settings.
    load : callable
        Makes the segmenter; called after everything else is checked.
    progress : callable, optional
        Called with the number of planes that are done.

    Raises
    ------
    InputError
        A file cannot be read, the two do not fit each other, there is no object, or the output cannot be written;
        nothing is written then.
    ModelError
        From `load`.
    """
    table = changes_path(job.out)
    _check_outputs(job, table)
    image, labels = read_image(job.image), compact(read_labels(job.labels))
    with reading(job.image):
        planes = FilePlanes(job.image, image.stack())
    flat = labels.reshape(-1, *labels.shape[-2:])
    _check_fit(job, flat, planes)
    axes = check_axes(job.out, labels.ndim, _axes(image, labels.ndim))
    segmenter, new = load(), flat.copy()
    changes: list[ObjectChange] = []
    for number, plane in enumerate(flat):
        found = _refined(segmenter, planes, number, plane)
        accepted = {one.label for one in found if one.iou >= job.least}
        new[number] = repainted(plane, found, accepted)
        changes += [_change(one, number, one.label in accepted) for one in found]
        if progress is not None:
            progress(number + 1)
    calibration = image.label_calibration if len(image.label_axes) == labels.ndim else None
    write_labels(job.out, new.reshape(labels.shape), axes=axes, calibration=calibration, overwrite=job.overwrite)
    write_changes(table, changes)
    return RefineReport(tuple(changes), table)


def _check_outputs(job: RefineJob, table: Path) -> None:
    inputs = (job.labels, job.image, *job.inputs)
    check_output(job.out, overwrite=job.overwrite, inputs=inputs)
    check_place(table, overwrite=job.overwrite)
    check_apart(table, inputs, "the table of changes")


def _check_fit(job: RefineJob, flat: np.ndarray, planes: FilePlanes) -> None:
    if flat.shape != (len(planes), *planes.plane_shape):
        raise InputError(
            f"{job.labels} has {len(flat)} planes of {flat.shape[1]} x {flat.shape[2]} pixels, "
            f"{job.image} {len(planes)} of {planes.plane_shape[0]} x {planes.plane_shape[1]}"
        )
    if not flat.any():
        raise InputError(f"{job.labels} holds no labelled object")


def _axes(image: ImageFile, ndim: int) -> str | None:
    """Letters of the axes where labels have those of the image, and files have names for them."""
    return image.label_axes if len(image.label_axes) == ndim and set(image.label_axes) <= set("tzyx") else None


def _refined(segmenter: Segmenter, planes: FilePlanes, number: int, labels: np.ndarray) -> list[RefinedObject]:
    if not labels.any():
        return []
    whole = not is_large(planes.plane_shape)
    return refine_labels(segmenter, planes.plane(number) if whole else LazyPlane(planes, number), labels)


def _change(one: RefinedObject, plane: int, used: bool) -> ObjectChange:
    sizes = int(np.count_nonzero(one.before)), int(np.count_nonzero(one.after))
    return ObjectChange(one.label, plane, one.iou, one.score, *sizes, used)
