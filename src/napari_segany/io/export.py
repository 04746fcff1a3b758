"""Label images, and what is known of their objects, in the formats of other programs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_segany.core.arguments import as_path, check_each
from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.review import EVERYTHING, SELECTIONS, left_out
from napari_segany.io.formats.coco import write_coco
from napari_segany.io.formats.geojson import write_geojson
from napari_segany.io.formats.imagej_rois import write_rois
from napari_segany.io.formats.labelled_image import LabelledImage, by_label
from napari_segany.io.formats.lineages import lineage_of, write_geff, write_trackmate
from napari_segany.io.formats.mask_statistics import write_statistics
from napari_segany.io.formats.rle import from_rle, to_rle
from napari_segany.io.formats.sa1b import write_sa1b
from napari_segany.io.formats.tables import object_columns, write_parquet, write_table
from napari_segany.io.formats.tracks import write_ctc, write_tracks
from napari_segany.io.labels import (
    TIFF,
    ZARR,
    check_axes,
    check_output,
    check_place,
    compact,
    is_zarr_place,
    replacing,
    write_labels,
)
from napari_segany.io.output_checks import check_apart, check_replaceable
from napari_segany.io.spacing import Calibration, unit_word

__all__ = [
    "FORMATS",
    "ExportFormat",
    "ObjectInfo",
    "axes_for_export",
    "check_export",
    "export_labels",
    "from_rle",
    "table_of_objects",
    "to_rle",
]

Writer = Callable[[LabelledImage, Path], None]
TZYX = "tzyx"
"""Axes that objects are separated on, in their order."""


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A kind of file that objects are exported to.

    Parameters
    ----------
    title : str
        What it is called in the window and in the documentation.
    about : str
        What it is for, in a line.
    endings : tuple of str
        Of its files; the first is the one that is suggested.
    write : callable, optional
        Writes the objects to a path; None where :func:`~napari_segany.io.labels.write_labels` does.
    is_folder : bool
        Whether a folder is written.
    measures_intensity : bool
        Whether the intensities of the image go into it.
    package : str
        An optional package that writes it.
    extra : str
        Of this package, which installs it; by default it is called like the package.
    planes_only : bool
        Whether it takes (y, x) labels alone.
    """

    title: str
    about: str
    endings: tuple[str, ...]
    write: Writer | None = None
    is_folder: bool = False
    measures_intensity: bool = False
    package: str = ""
    extra: str = ""
    planes_only: bool = False

    @property
    def holds_all_labels(self) -> bool:
        """Whether it is the label image itself, from which all pixels can be read again."""
        return self.write is None


FORMATS: Mapping[str, ExportFormat] = {
    "coco": ExportFormat(
        "COCO",
        "Each object of each slice with its outline as exact RLE, for training and for annotation tools",
        (".json",),
        write_coco,
    ),
    "sa1b": ExportFormat(
        "SA-1B",
        "The format of Segment Anything's own data set: one 2D picture, masks as RLE",
        (".json",),
        write_sa1b,
        planes_only=True,
    ),
    "imagej": ExportFormat(
        "ImageJ ROIs", "A zip of ROIs for the ROI Manager of ImageJ and Fiji", (".zip",), write_rois
    ),
    "geojson": ExportFormat("GeoJSON", "Outlines for QuPath and geographic tools", (".geojson",), write_geojson),
    "csv": ExportFormat(
        "Table",
        "Sizes, places and intensities for a spreadsheet, a row for each object",
        (".csv",),
        write_table,
        measures_intensity=True,
    ),
    "parquet": ExportFormat(
        "Parquet table",
        "The same table for pandas, R and other programs, with numbers as they are; needs the package pyarrow",
        (".parquet",),
        write_parquet,
        measures_intensity=True,
        package="pyarrow",
        extra="parquet",
    ),
    "tracks": ExportFormat(
        "Tracks",
        "Where each object is at each time or slice, as napari's Tracks layer takes it; divisions have a column",
        (".csv",),
        lambda image, path: write_tracks(path, lineage_of(image)),
    ),
    "ctc": ExportFormat(
        "Cell Tracking Challenge",
        "A folder with a label image for each time, and which track came from which, for programs that judge tracking",
        (".ctc",),
        lambda image, path: write_ctc(path, image.labels, lineage_of(image)),
        is_folder=True,
    ),
    "geff": ExportFormat(
        "GEFF",
        "Tracks with divisions as a graph, for motile, tracksdata and other tracking programs",
        (".geff",),
        write_geff,
        is_folder=True,
        package="geff",
    ),
    "trackmate": ExportFormat(
        "TrackMate", "Tracks with divisions as an XML file that TrackMate of Fiji opens", (".xml",), write_trackmate
    ),
    "statistics": ExportFormat(
        "Statistics",
        "A picture: sizes, concavity and places of the masks, as of Segment Anything's data set",
        (".svg",),
        write_statistics,
    ),
    "tiff": ExportFormat("TIFF label image", "The labels as they are; names and scores are not in it", TIFF),
    "ome-zarr": ExportFormat(
        "OME-Zarr label image", "The labels with their scale; names and scores are not in it", ZARR, is_folder=True
    ),
}
"""The one table of formats. Where two share a file extension, the first is the default.

Window, command line and settings read it; manifest and documentation are written from it by
``python scripts/write_tables.py``.
"""


def check_export(
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002
    overwrite: bool = False,
    inputs: Iterable[str | Path | None] = (),
) -> str:
    """Check before the work starts whether :func:`export_labels` can write to a path, and return the format.

    Parameters
    ----------
    path : str or Path
        Path of the file.
    format : str, optional
        One of :data:`FORMATS`; by default the one of the file's extension, for ``.json`` it is "coco".
    overwrite : bool
        Whether existing files may be replaced; a folder only if this program wrote all its files.
    inputs : iterable of str, Path or None
        Files that the labels are made from, above all the image: an export never replaces them.

    Returns
    -------
    str
        The format.

    Raises
    ------
    InputError
        When there is no such format, or the file's name, its folder, or an existing file does not allow it.
    """
    path = as_path(path, "path")
    if format is not None and format not in FORMATS:
        raise InputError(f"there is no format {format}; there are {', '.join(FORMATS)}")
    fitting = ["ome-zarr"] if is_zarr_place(path) else _formats_of(path)
    if not fitting:
        raise InputError(f"labels are exported to {', '.join(_endings())}, not to {path.name}")
    if format is not None and format not in fitting:
        raise InputError(f"{format} is written to {' or '.join(FORMATS[format].endings)}, not to {path.name}")
    chosen = format or fitting[0]
    package = FORMATS[chosen].package
    if package and importlib.util.find_spec(package) is None:
        raise InputError(
            f"{FORMATS[chosen].title} is written by the package {package}: "
            f'pip install "napari-segany[{FORMATS[chosen].extra or package}]"'
        )
    if FORMATS[chosen].write is None:
        check_output(path, overwrite=overwrite, inputs=inputs)
        return chosen
    check_place(path, overwrite=overwrite)
    if path.is_dir() and not FORMATS[chosen].is_folder:
        raise InputError(f"{path} is a folder, and not a file that could be replaced")
    check_apart(path, inputs)
    check_replaceable(path)
    return chosen


def export_labels(  # noqa: PLR0913  each parameter is something that a file may say
    labels: np.ndarray,
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002
    objects: Iterable[ObjectInfo] = (),
    selection: str = EVERYTHING,
    axes: str | None = None,
    scale: tuple[float, ...] | None = None,
    unit: str = "pixel",
    intensity: np.ndarray | Mapping[str, Any] | None = None,
    image_name: str = "",
    columns: Collection[str] | None = None,
    overwrite: bool = False,
    report: Callable[[float, float], None] | None = None,
    inputs: Iterable[str | Path | None] = (),
) -> Path:
    """Write a label image, or a table of its objects, under a temporary name, then move it to its place.

    Parameters
    ----------
    labels : ndarray
        (y, x), (z, y, x), (t, y, x) or (t, z, y, x) integers, 0 is background. "tiff" and "ome-zarr" take more axes.
    path : str or Path
        Path of the file.
    format : str, optional
        One of :data:`FORMATS`, see :func:`check_export`. "sa1b" takes (y, x) only.
    objects : iterable of ObjectInfo
        Known facts about the objects; objects without pixels are not written. "tiff" and "ome-zarr" do not store them.
    selection : str
        One of ``SELECTIONS``; "accepted" are those that the user made or corrected, too. Tables measure all of them.
    axes : str, optional
        Letter of each axis; by default the last ones of "tzyx". One without a name, "q", is "axis-0" in tables.
    scale : tuple of float, optional
        Distance of neighbouring pixels along each axis, by default 1. Stored by "ome-zarr" and "tiff", and used for
        measurements by "csv" and "parquet"; the others count in pixels.
    unit : str
        Of `scale`, along y, x and z; the columns of "csv" and "parquet" name it.
    intensity : ndarray or mapping of str to array, optional
        Numbers, of the labels' shape, or several such channels by their names; "csv" and "parquet" measure them.
    image_name : str
        Name of the picture in "coco" and "sa1b"; by default that of the file, without its ending.
    columns : collection of str, optional
        Columns of "csv" and "parquet" or groups of them (``GROUPS`` of the module measurements); by default all.
    overwrite : bool
        Replace existing files.
    report : callable, optional
        Called with the amount that is written, and the total, but not for "tiff" and "ome-zarr"; it may raise to stop.
    inputs : iterable of str, Path or None
        See :func:`check_export`.

    Returns
    -------
    Path
        Path of the written file.

    Raises
    ------
    InputError
        When `labels` are no label image, something does not fit them or the format, or as for :func:`check_export`;
        nothing is written then.
    """
    path = as_path(path, "path")
    objects = tuple(objects) if isinstance(objects, Iterable) else objects
    check_each(objects, ObjectInfo, "objects")
    chosen = check_export(path, format=format, overwrite=overwrite, inputs=inputs)
    scale = None if scale is None else tuple(float(step) for step in scale)
    gone = _left_out(objects, selection) if FORMATS[chosen].measures_intensity else frozenset()
    if not gone:
        labels, objects = selected(labels, objects, selection)
    write = FORMATS[chosen].write
    if write is None:
        place = _placed(path, labels, axes, scale, unit)
        named = None if axes and "q" in axes else axes
        return write_labels(path, labels, axes=named, calibration=place, overwrite=overwrite)
    image = replace(_labelled_image(path, labels, axes, scale), about=by_label(objects), unit=unit, columns=columns)
    image = replace(image, left_out=gone, channels=_by_name(intensity), name=image_name or path.stem)
    with replacing(path) as temporary:
        write(image if report is None else replace(image, report=report), temporary)
    return path


def selected(
    labels: np.ndarray, objects: tuple[ObjectInfo, ...], selection: str
) -> tuple[np.ndarray, tuple[ObjectInfo, ...]]:
    """Return labels, and what is known of their objects, without the objects that a selection leaves out.

    A daughter of an object that is left out has no mother. The array is the same where none is left out.

    Raises
    ------
    InputError
        When there is no such selection.
    """
    gone = _left_out(objects, selection)
    if not gone:
        return labels, objects
    there = (one for one in objects if one.label not in gone)
    about = tuple(replace(one, parent=0) if one.parent in gone else one for one in there)
    return np.where(np.isin(labels, sorted(gone)), 0, labels).astype(np.asarray(labels).dtype), about


def _left_out(objects: Iterable[ObjectInfo], selection: str) -> frozenset[int]:
    """The labels that a selection leaves out; InputError where there is no such selection."""
    if selection not in SELECTIONS:
        raise InputError(f"there is no selection {selection!r}; there are {', '.join(SELECTIONS)}")
    return frozenset(left_out(objects, selection))


def _labelled_image(path: Path, labels: np.ndarray, axes: str | None, scale: tuple[float, ...] | None) -> LabelledImage:
    """Labels with their axes and distances; nothing is known of their objects yet."""
    labels = compact(labels)
    # an axis that is flipped has the same distances
    distances = (1.0,) * labels.ndim if scale is None else tuple(abs(step) for step in scale)
    letters, nameless = named_axes(axes, labels.ndim)
    return LabelledImage(labels, check_axes(path, labels.ndim, letters), {}, distances, nameless=nameless)


def table_of_objects(  # noqa: PLR0913  as of export_labels
    labels: np.ndarray,
    *,
    objects: Iterable[ObjectInfo] = (),
    selection: str = EVERYTHING,
    axes: str | None = None,
    scale: tuple[float, ...] | None = None,
    unit: str = "pixel",
    intensity: np.ndarray | Mapping[str, Any] | None = None,
    columns: Collection[str] | None = None,
    report: Callable[[float, float], None] | None = None,
) -> dict[str, list[Any]]:
    """The columns that :func:`export_labels` writes to a table, with the same parameters; None for unknown values.

    Raises
    ------
    InputError
        When `labels` are no label image, or something does not fit them.
    """
    image = _labelled_image(Path(), labels, axes, scale)
    about = tuple(objects)
    image = replace(image, about=by_label(about), left_out=_left_out(about, selection), unit=unit, columns=columns)
    image = replace(image, channels=_by_name(intensity))
    return object_columns(image if report is None else replace(image, report=report))


def _by_name(intensity: np.ndarray | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Channels by their names; that of a single array is empty."""
    if isinstance(intensity, Mapping):
        return intensity
    return {} if intensity is None else {"": np.asarray(intensity)}


def named_axes(axes: str | None, ndim: int) -> tuple[str | None, tuple[str, ...]]:
    """Letters of axes, those without a name ("q") as by default, and which of them have none."""
    if axes is None or "q" not in axes or len(axes) != ndim or ndim > len(TZYX):
        return axes, ()
    usual = TZYX[-ndim:]
    letters = "".join(default if axis == "q" else axis for axis, default in zip(axes, usual, strict=True))
    return letters, tuple(default for axis, default in zip(axes, usual, strict=True) if axis == "q")


def axes_for_export(axes: str) -> str | None:
    """Letters of the axes of a file as :func:`export_labels` takes them; None where it has others than (t)(z)yx.

    Letters that it does not know become "q".
    """
    letters = "".join(axis if axis in TZYX else "q" for axis in axes)
    known = named_axes(letters, len(letters))[0]
    return letters if known in ("yx", "zyx", "tyx", "tzyx") else None


def _placed(
    path: Path, labels: np.ndarray, axes: str | None, scale: tuple[float, ...] | None, unit: str
) -> Calibration:
    """Where the pixels of a label image lie, for a file of them."""
    letters = check_axes(path, np.ndim(labels), None if axes and "q" in axes else axes)
    units = tuple(unit_word("" if axis == "t" else unit, axis) for axis in letters)
    return Calibration(scale or (1.0,) * np.ndim(labels), (), units if any(units) else ())


def _formats_of(path: Path) -> list[str]:
    return [name for name, one in FORMATS.items() if path.suffix.lower() in one.endings]


def _endings() -> list[str]:
    return list(dict.fromkeys(ending for one in FORMATS.values() for ending in one.endings))
