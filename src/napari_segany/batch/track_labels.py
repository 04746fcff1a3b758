"""Label images of any origin through time: linked, with divisions, and exported as any format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.link import Association, Linker, relabel_planes
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.review import EVERYTHING
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.track_graph import found_divisions
from napari_segany.io.channels import file_channels
from napari_segany.io.export import FORMATS, TZYX, axes_for_export, check_export, export_labels, selected
from napari_segany.io.images import FilePlanes, ImageFile, read_image, reading
from napari_segany.io.labels import compact, read_labels
from napari_segany.io.object_tables import objects_of_labels
from napari_segany.io.spacing import unit_shown


@dataclass(frozen=True, slots=True)
class TrackJob:
    """A label image to link or to export.

    Parameters
    ----------
    labels : Path
        TIFF, PNG or OME-Zarr; to link, the first of its three or four axes is time.
    out : Path
        Where the result goes.
    format : str, optional
        One of :data:`~napari_segany.io.export.FORMATS`; by default that of the extension.
    image : Path, optional
        The image of the labels: objects are linked by what is seen and not by overlap alone, and tables have the
        intensities of its channels.
    overwrite : bool
        Whether `out` may be replaced.
    selection : str
        Which objects are exported, one of :data:`~napari_segany.core.review.SELECTIONS`.
    """

    labels: Path
    out: Path
    format: str | None = None
    image: Path | None = None
    overwrite: bool = False
    selection: str = EVERYTHING


@dataclass(frozen=True, slots=True)
class TrackReport:
    """What was written.

    Parameters
    ----------
    out : Path
        The file or folder.
    objects, divisions : int
        How many there are.
    """

    out: Path
    objects: int
    divisions: int


def export_file(job: TrackJob) -> TrackReport:
    """Export a label image as it is, with what the table next to it tells of its objects.

    Raises
    ------
    InputError
        When a file cannot be read, or the output cannot be written; nothing is written then.
    """
    inputs = [job.labels, job.image]
    chosen = check_export(job.out, format=job.format, overwrite=job.overwrite, inputs=inputs)
    if job.image is not None and not FORMATS[chosen].measures_intensity:
        raise InputError(f"intensities go into tables, not into {job.out.name}: leave out {job.image}")
    file, labels = _read(job.labels)
    labels, objects = selected(labels, tuple(objects_of_labels(job.labels).values()), job.selection)
    axes, channels = None, None
    if job.image is not None:
        pictures = read_image(job.image)
        channels = file_channels(job.image, pictures, labels.shape)
        axes = known_axes(file, pictures, labels.ndim)
    return _written(replace(job, format=chosen), file, labels, objects, axes, channels)


def known_axes(labels: ImageFile, image: ImageFile, ndim: int) -> str | None:
    """The axes of labels as their file or that of their image calls them; None where neither does."""
    found = [axes_for_export(one.label_axes) for one in (labels, image) if len(one.label_axes) == ndim]
    known = [one for one in found if one is not None]
    return min(known, key=lambda axes: axes.count("q"), default=None)


def link_file(
    job: TrackJob, load: Callable[[], Segmenter] | None = None, progress: Callable[[int], None] | None = None
) -> TrackReport:
    """Link the objects of a label image through time, and export them with their divisions.

    Parameters
    ----------
    job : TrackJob
        What to do.
    load : callable, optional
        Makes the segmenter whose features tell objects apart; called when there is an image, else objects are linked
        by overlap.
    progress : callable, optional
        Called with the number of frames that are done.

    Raises
    ------
    InputError
        When a file cannot be read, the two do not fit each other, the labels have no time, or the output cannot be
        written; nothing is written then.
    ModelError
        From `load`, or its features are not those that identities were learned from.
    """
    inputs = [job.labels, job.image]
    chosen = check_export(job.out, format=job.format, overwrite=job.overwrite, inputs=inputs)
    file, labels = _read(job.labels)
    if labels.ndim not in (3, 4):
        raise InputError(f"{job.labels} has {labels.ndim} axes: objects are linked in (t, y, x) or (t, z, y, x)")
    planes = None if job.image is None else _planes(job.image, labels)
    seen = None if planes is None or load is None else load()
    linker = Linker(association=None if seen is None else _identity(seen))
    for number, frame in enumerate(labels):
        linker.add(frame, None if seen is None or planes is None else seen.embed(planes.plane(number)))
        if progress is not None:
            progress(number + 1)
    linked = np.stack([relabel_planes(one, numbers) for one, numbers in zip(labels, linker.numbers(), strict=True)])
    mothers = linker.mothers() if linker.association is not None else found_divisions(linked)
    objects = [ObjectInfo(int(one), parent=mothers.get(int(one), 0)) for one in np.unique(linked[linked > 0])]
    axes = "tyx" if labels.ndim == 3 else "tzyx"
    return _written(replace(job, format=chosen), file, linked, tuple(objects), axes)


def _read(path: Path) -> tuple[ImageFile, np.ndarray]:
    return read_image(path, raw=True), compact(read_labels(path))


def _planes(path: Path, labels: np.ndarray) -> FilePlanes:
    """The planes of an image, which has those of the labels."""
    file = read_image(path)
    with reading(path):
        planes = FilePlanes(path, file.stack())
    if labels.ndim != 3:
        raise InputError(f"volumes are linked by overlap alone: leave out {path}")
    if labels.shape != (len(planes), *planes.plane_shape):
        raise InputError(
            f"{path} has {len(planes)} frames of {planes.plane_shape[0]} x {planes.plane_shape[1]} pixels, "
            f"the labels {len(labels)} of {labels.shape[1]} x {labels.shape[2]}"
        )
    return planes


def _identity(segmenter: Segmenter) -> Association:
    from napari_segany.models.mask2former.identity_queries import identity_for

    found = identity_for(segmenter)
    if found is None:
        raise ModelError(
            f"identities were learned from the features of tiny, and {segmenter.name} has others; without an image "
            "objects are linked by overlap"
        )
    return found


def _written(
    job: TrackJob,
    file: ImageFile,
    labels: np.ndarray,
    objects: tuple[ObjectInfo, ...],
    axes: str | None = None,
    channels: Mapping[str, Any] | None = None,
) -> TrackReport:
    """Export labels, with distances as far as the file of the labels tells them."""
    fits = len(file.label_axes) == labels.ndim
    axes = axes or (axes_for_export(file.label_axes) if fits else None)
    options: dict[str, Any] = place_of(file, axes) if fits else {}
    export_labels(
        labels,
        job.out,
        format=job.format,
        objects=objects,
        axes=axes,
        intensity=channels,
        image_name=job.labels.name,
        overwrite=job.overwrite,
        **options,
    )
    divisions = {(one.parent, _first(labels, one.label)) for one in objects if one.parent}
    return TrackReport(job.out, len(np.unique(labels[labels > 0])), len(divisions))


def place_of(file: ImageFile, axes: str | None) -> dict[str, Any]:
    """The distances of the pixels of an image without its channels, and their unit, as tables name it."""
    placed = file.label_calibration
    if set(file.label_axes) <= set(TZYX):
        placed = placed.metric(file.label_axes)
    return {"scale": placed.scale, "unit": unit_shown(placed, axes)}


def _first(labels: np.ndarray, label: int) -> int:
    """The first frame of an object."""
    return next((time for time, frame in enumerate(labels) if (frame == label).any()), -1)
