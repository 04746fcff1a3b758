"""Label images, and what is known of their objects, in the formats of other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_segany.core.arguments import as_path, check_each
from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.io.formats.annotations import write_coco, write_geojson, write_sa1b
from napari_segany.io.formats.imagej_rois import write_rois
from napari_segany.io.formats.labelled_image import LabelledImage, by_label
from napari_segany.io.formats.rle import from_rle, to_rle
from napari_segany.io.formats.tables import write_table
from napari_segany.io.formats.tracks import is_time_series, track_table, write_ctc, write_tracks
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

__all__ = ["FORMATS", "ObjectInfo", "check_export", "export_labels", "from_rle", "to_rle"]

FORMATS: Mapping[str, tuple[str, ...]] = {
    "coco": (".json",),
    "sa1b": (".json",),
    "imagej": (".zip",),
    "geojson": (".geojson",),
    "csv": (".csv",),
    "tracks": (".csv",),
    "ctc": (".ctc",),
    "tiff": TIFF,
    "ome-zarr": ZARR,
}
"""The formats, with the endings of their files. Where two share one, the first is meant unless it is said; "ctc" is a
folder."""

_WRITERS: Mapping[str, Callable[[LabelledImage, Path], None]] = {
    "coco": write_coco,
    "sa1b": write_sa1b,
    "imagej": write_rois,
    "geojson": write_geojson,
    "csv": write_table,
    "tracks": lambda image, path: write_tracks(path, track_table(is_time_series(image.labels))),
    "ctc": lambda image, path: write_ctc(path, is_time_series(image.labels)),
}


def check_export(
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002
    overwrite: bool = False,
    inputs: Iterable[str | Path | None] = (),
) -> str:
    """Say before the work starts whether :func:`export_labels` could write to a path, and in which format.

    Parameters
    ----------
    path : str or Path
        Where the file is to go.
    format : str, optional
        One of :data:`FORMATS`; by default the one that the file's name ends with.
    overwrite : bool
        Whether what is there may be replaced; a folder only if this program wrote all that it holds.
    inputs : iterable of str, Path or None
        What the labels are made from, above all the image: an export never replaces it.

    Returns
    -------
    str
        The format.

    Raises
    ------
    InputError
        When there is no such format, or the file's name, its folder, or what is there already does not allow it.
    """
    path = as_path(path, "path")
    if format is not None and format not in FORMATS:
        raise InputError(f"there is no format {format}; there are {', '.join(FORMATS)}")
    fitting = ["ome-zarr"] if is_zarr_place(path) else _formats_of(path)
    if not fitting:
        raise InputError(f"labels are exported to {', '.join(_endings())}, not to {path.name}")
    if format is not None and format not in fitting:
        raise InputError(f"{format} is written to {' or '.join(FORMATS[format])}, not to {path.name}")
    chosen = format or fitting[0]
    if chosen not in _WRITERS:
        check_output(path, overwrite=overwrite, inputs=inputs)
        return chosen
    check_place(path, overwrite=overwrite)
    if path.is_dir() and chosen != "ctc":
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
    axes: str | None = None,
    scale: tuple[float, ...] | None = None,
    unit: str = "pixel",
    intensity: np.ndarray | None = None,
    image_name: str = "",
    overwrite: bool = False,
    report: Callable[[float, float], None] | None = None,
    inputs: Iterable[str | Path | None] = (),
) -> Path:
    """Write a label image, or what can be said of its objects, under a temporary name, then move it to its place.

    Parameters
    ----------
    labels : ndarray
        (y, x), (z, y, x), (t, y, x) or (t, z, y, x) integers, 0 is background. "tiff" and "ome-zarr" take more axes.
    path : str or Path
        Where to.
    format : str, optional
        One of :data:`FORMATS`; by default the one that the file's name ends with, of ``.json`` it is "coco". "sa1b"
        takes (y, x) only.
    objects : iterable of ObjectInfo
        What is known of the objects; those that have no pixels are not written. "tiff" and "ome-zarr" hold none of it.
    axes : str, optional
        Letter of each axis; by default the last ones of "tzyx".
    scale : tuple of float, optional
        Distance of neighbouring pixels along each axis, by default 1. Kept by "ome-zarr" and "tiff", and measured with
        by "csv"; the others count in pixels.
    unit : str
        Of `scale`, along y, x and z; the columns of "csv" name it.
    intensity : ndarray, optional
        Numbers, of the labels' shape; "csv" measures them.
    image_name : str
        Name of the picture in "coco" and "sa1b"; by default that of the file, without its ending.
    overwrite : bool
        Replace what is there.
    report : callable, optional
        Told how much is written, and how much there is, as it goes, but for "tiff" and "ome-zarr"; when it raises, the
        writing stops and nothing is left of it.
    inputs : iterable of str, Path or None
        See :func:`check_export`.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    InputError
        When `labels` are no label image, something does not fit them or the format, or as :func:`check_export` says;
        then nothing is written.
    """
    path = as_path(path, "path")
    objects = tuple(objects) if isinstance(objects, Iterable) else objects
    check_each(objects, ObjectInfo, "objects")
    chosen = check_export(path, format=format, overwrite=overwrite, inputs=inputs)
    scale = None if scale is None else tuple(float(step) for step in scale)
    if chosen not in _WRITERS:
        letters = check_axes(path, np.ndim(labels), axes)
        units = tuple(unit_word("" if axis == "t" else unit, axis) for axis in letters)
        placed = Calibration(scale or (1.0,) * np.ndim(labels), (), units if any(units) else ())
        return write_labels(path, labels, axes=axes, calibration=placed, overwrite=overwrite)
    # an axis that is flipped has the same distances
    scale = None if scale is None else tuple(abs(step) for step in scale)
    labels = compact(labels)
    image = LabelledImage(
        labels,
        check_axes(path, labels.ndim, axes),
        by_label(objects),
        scale or (1.0,) * labels.ndim,
        unit,
        None if intensity is None else np.asarray(intensity),
        image_name or path.stem,
    )
    image = image if report is None else replace(image, report=report)
    with replacing(path) as temporary:
        _WRITERS[chosen](image, temporary)
    return path


def _formats_of(path: Path) -> list[str]:
    return [name for name, endings in FORMATS.items() if path.suffix.lower() in endings]


def _endings() -> list[str]:
    return list(dict.fromkeys(ending for endings in FORMATS.values() for ending in endings))
