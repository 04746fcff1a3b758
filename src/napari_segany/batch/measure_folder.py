"""Measurements of the objects of all images of a folder, in one table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_segany.batch.project import LABELS
from napari_segany.batch.segment_folder import images_of
from napari_segany.batch.session_labels import session_of
from napari_segany.batch.track_labels import known_axes, place_of
from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.review import NOT_REJECTED
from napari_segany.io.channels import file_channels
from napari_segany.io.export import check_export, table_of_objects
from napari_segany.io.formats.tables import save_csv, save_parquet
from napari_segany.io.images import ImageFile, read_image
from napari_segany.io.labels import compact, read_labels, replacing
from napari_segany.io.object_tables import objects_of_labels
from napari_segany.io.ome_zarr import is_zarr
from napari_segany.io.output_checks import named

ENDINGS = ("_labels.tif", " labels.tif", "_labels.tiff", " labels.tiff", "_labels.png", " labels.png")
"""How the labels of the image NAME are called, those of batch runs first, then those that the window suggests."""
SAVERS: Mapping[str, Callable[[dict[str, list[Any]], Path], None]] = {"csv": save_csv, "parquet": save_parquet}


@dataclass(frozen=True, slots=True)
class MeasureJob:
    """Images to measure, and where the table goes.

    Parameters
    ----------
    source : Path
        A folder of images, one image, or a folder that a batch run wrote into ``segany-labels``.
    out : Path
        The table, .csv or .parquet.
    labels : Path, optional
        The folder of the labels; by default those of the latest session of an image of a project, else those next to
        the image, else those of the last batch run.
    columns : tuple of str
        Columns that are written; all where there is none.
    overwrite : bool
        Whether `out` may be replaced.
    """

    source: Path
    out: Path
    labels: Path | None = None
    columns: tuple[str, ...] = ()
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class MeasuredImage:
    """What became of one image.

    Parameters
    ----------
    image : Path
        The image.
    objects : int
        How many rows it has in the table; -1 where it has no labels.
    problem : str
        Why it was left out; empty where it was measured.
    from_session : bool
        Whether its objects are those of a session.
    """

    image: Path
    objects: int
    problem: str = ""
    from_session: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ImageLabels:
    """Labels of an image.

    Parameters
    ----------
    array : ndarray
        Integers of the shape of the image without its channels.
    objects : tuple of ObjectInfo
        Known facts about the objects.
    file : ImageFile, optional
        The label file as it is stored; None for labels of a session.
    """

    array: np.ndarray
    objects: tuple[ObjectInfo, ...] = ()
    file: ImageFile | None = None


@dataclass(slots=True)
class FolderTable:
    """Columns of several images, one below the other; what an image has no column for is None."""

    columns: dict[str, list[Any]] = field(default_factory=dict)
    rows: int = 0

    def add(self, image: str, columns: Mapping[str, list[Any]]) -> int:
        """Append the rows of an image, and return how many there are."""
        count = len(next(iter(columns.values())))
        named_columns = {"image": [image] * count, **columns}
        for name, values in named_columns.items():
            self.columns.setdefault(name, [None] * self.rows).extend(values)
        self.rows += count
        for values in self.columns.values():
            values.extend([None] * (self.rows - len(values)))
        return count


def measure_folder(job: MeasureJob) -> Iterator[MeasuredImage]:
    """Measure the objects of all images of a folder, with the intensities of all channels, into one table.

    The columns are those of :func:`~napari_segany.io.export.table_of_objects`, with the file name of the image before
    them. An image that cannot be read is reported, and the next one follows; the table is written at the end, if any
    image was measured.

    Yields
    ------
    MeasuredImage
        One for each image, when it is done.

    Raises
    ------
    InputError
        There is no image, no image has labels, or the table cannot be written.
    """
    source, folder = _source(job)
    images = images_to_measure(source)
    found = {image: labels_of(image, name, folder) for image, name in images.items()}
    kind = check_export(job.out, overwrite=job.overwrite, inputs=[*found, *filter(None, found.values())])
    if kind not in SAVERS:
        raise InputError(f"measurements are written to .csv or .parquet, not to {job.out.name}")
    table, bare, measured = FolderTable(), 0, False
    for image, file in found.items():
        try:
            labels = _labels(image, file, sessions=folder is None)
            if labels is None:
                # an image that cannot be read is no image without labels
                read_image(image)
                bare += 1
                yield MeasuredImage(image, -1)
                continue
            count = table.add(image.name, measured_image(image, labels, job.columns))
        except InputError as error:
            yield MeasuredImage(image, 0, str(error))
            continue
        measured = True
        yield MeasuredImage(image, count, from_session=labels.file is None)
    if bare == len(found):
        raise InputError(f"no image of {source} has labels; they are called NAME{ENDINGS[0]} or NAME{ENDINGS[1]}")
    if measured:
        with replacing(job.out) as temporary:
            SAVERS[kind](table.columns, temporary)


def _labels(image: Path, file: Path | None, *, sessions: bool) -> ImageLabels | None:
    """The labels of a session of an image, else those of a file; None where there are none."""
    session = session_of(image) if sessions else None
    if session is not None and session.labels is not None:
        return ImageLabels(compact(session.labels), tuple(session.state.described.values()))
    if file is None:
        return None
    return ImageLabels(compact(read_labels(file)), tuple(objects_of_labels(file).values()), read_image(file, raw=True))


def measured_image(image: Path, labels: ImageLabels, columns: Collection[str] = ()) -> dict[str, list[Any]]:
    """The table of the objects of one image, without rejected ones.

    Parameters
    ----------
    image : Path
        A file of the same shape as the labels, channels aside.
    labels : ImageLabels
        The objects.
    columns : collection of str
        Columns that are wanted; all where there is none.

    Raises
    ------
    InputError
        The image cannot be read, or the labels do not fit it.
    """
    array, picture = labels.array, read_image(image)
    told = labels.file or picture
    channels = file_channels(image, picture, array.shape)
    # the image knows its distances; labels of other programs often do not
    placed = [one for one in (told, picture) if len(one.label_axes) == array.ndim]
    source = next((one for one in placed if one.label_calibration.known), picture)
    axes = known_axes(told, picture, array.ndim)
    return table_of_objects(
        array,
        objects=labels.objects,
        selection=NOT_REJECTED,
        axes=axes,
        intensity=channels,
        columns=columns,
        **place_of(source, axes),
    )


def images_to_measure(source: Path) -> dict[Path, str]:
    """Images, and the names that their results have; labels that other programs wrote next to them do not count."""
    with named(source):
        images = images_of(source)
    labels = {f"{stem}{ending}" for path in images for stem in stems_of(path, path.stem) for ending in ENDINGS}
    return {path: name for path, name in images.items() if path.name not in labels}


def stems_of(image: Path, name: str) -> tuple[str, ...]:
    """What names of the labels of an image may begin with."""
    return tuple(dict.fromkeys((name, image.stem, image.stem.removesuffix("_image"))))


def labels_of(image: Path, name: str, folder: Path | None) -> Path | None:
    """The labels of an image in a folder, else next to it, else of the last batch run; None where there are none."""
    stems = stems_of(image, name)
    if folder is not None:
        places = [folder / f"{stem}{ending}" for stem in stems for ending in ENDINGS]
        return next((place for place in (*places, folder / image.name) if place.exists() and place != image), None)
    near = [image.parent / f"{stem}{ending}" for stem in stems for ending in (*ENDINGS[1:], ENDINGS[0])]
    runs = [path for run in (image.parent / LABELS).glob("*/") for path in [run / f"{name}{ENDINGS[0]}"]]
    latest = sorted((path for path in runs if path.exists()), key=lambda path: path.stat().st_mtime, reverse=True)
    own = [image] if is_zarr(image) and (image / "labels").is_dir() else []
    return next((place for place in (*near, *own, *latest) if place.exists()), None)


def _source(job: MeasureJob) -> tuple[Path, Path | None]:
    """Where the images are, and their labels."""
    if job.labels is not None and not job.labels.is_dir():
        raise InputError(f"there is no folder {job.labels}")
    run = job.source.absolute()
    if job.labels is None and run.parent.name == LABELS:
        return run.parent.parent, run
    return job.source, job.labels
