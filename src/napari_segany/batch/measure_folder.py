"""Measurements of the objects of all images of a folder, in one table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_segany.batch.project import LABELS
from napari_segany.batch.segment_folder import images_of
from napari_segany.batch.track_labels import known_axes, place_of
from napari_segany.core.errors import InputError
from napari_segany.io.channels import file_channels
from napari_segany.io.export import check_export, table_of_objects
from napari_segany.io.formats.tables import save_csv, save_parquet
from napari_segany.io.images import read_image
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
        The folder of the labels; by default those next to an image, else those of the last batch run.
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
    """What became of one image: how many objects it has; -1 where it has no labels; or why it was left out."""

    image: Path
    objects: int
    problem: str = ""


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
    inputs = [*found, *filter(None, found.values())]
    kind = check_export(job.out, overwrite=job.overwrite, inputs=inputs)
    if kind not in SAVERS:
        raise InputError(f"measurements are written to .csv or .parquet, not to {job.out.name}")
    if not any(found.values()):
        raise InputError(f"no image of {source} has labels; they are called NAME{ENDINGS[0]} or NAME{ENDINGS[1]}")
    table, measured = FolderTable(), False
    for image, labels in found.items():
        if labels is None:
            yield MeasuredImage(image, -1)
            continue
        try:
            count = table.add(image.name, measured_file(image, labels, job.columns))
        except InputError as error:
            yield MeasuredImage(image, 0, str(error))
            continue
        measured = True
        yield MeasuredImage(image, count)
    if measured:
        with replacing(job.out) as temporary:
            SAVERS[kind](table.columns, temporary)


def measured_file(image: Path, labels: Path, columns: Collection[str] = ()) -> dict[str, list[Any]]:
    """The table of the objects of one image.

    Parameters
    ----------
    image, labels : Path
        Files of the same shape, channels aside.
    columns : collection of str
        Columns that are wanted; all where there is none.

    Raises
    ------
    InputError
        A file cannot be read, or they do not fit each other.
    """
    array, told, picture = compact(read_labels(labels)), read_image(labels, raw=True), read_image(image)
    channels = file_channels(image, picture, array.shape)
    # the image knows its distances; labels of other programs often do not
    placed = [one for one in (told, picture) if len(one.label_axes) == array.ndim]
    source = next((one for one in placed if one.label_calibration.known), picture)
    axes = known_axes(told, picture, array.ndim)
    objects = objects_of_labels(labels).values()
    return table_of_objects(
        array, objects=objects, axes=axes, intensity=channels, columns=columns, **place_of(source, axes)
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
