"""Label image files: TIFF and OME-Zarr, written whole or not at all, and never over a file that is there unasked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_segany.core.arguments import as_path
from napari_segany.core.errors import InputError
from napari_segany.io import ome_zarr
from napari_segany.io.images import read_image, reading
from napari_segany.io.output_checks import check_apart, check_replaceable, named
from napari_segany.io.spacing import Calibration
from napari_segany.io.temporary_files import REPLACED, temporary_folder
from napari_segany.io.tiff_writer import write_tiff

TIFF, ZARR = (".tif", ".tiff"), (".zarr",)


def read_labels(path: str | Path) -> np.ndarray:
    """Read a label image.

    Parameters
    ----------
    path : str or Path
        TIFF or PNG; the folder of an OME-Zarr label image; or that of an OME-Zarr image that holds one label image.

    Returns
    -------
    ndarray
        (..., y, x) integers as they are in the file, 0 is background; bool becomes uint8.

    Raises
    ------
    InputError
        When the file cannot be read or does not hold integers without channels.
    """
    path = as_path(path, "path")
    if ome_zarr.is_zarr(path):
        path = _label_group(path)
    image = read_image(path, raw=True)
    if image.array.dtype.kind not in "bui":
        raise InputError(f"{path} holds {image.array.dtype}, but labels are integers")
    if image.channel_axis is not None:
        raise InputError(f"{path} is a picture in colours or channels, not a label image")
    with reading(path):
        labels = np.asarray(image.array[...])
    return labels.astype(np.uint8) if labels.dtype == np.bool_ else labels


def check_output(path: str | Path, *, overwrite: bool = False, inputs: Iterable[str | Path | None] = ()) -> Path:
    """Check before the work starts whether :func:`write_labels` can write to a path.

    Parameters
    ----------
    path : str or Path
        Path of the labels.
    overwrite : bool
        Whether an existing file may be replaced. A folder is replaced only if this program wrote all its files.
    inputs : iterable of str, Path or None
        Files that the labels are made from; see :func:`~napari_segany.io.output_checks.check_apart`.

    Raises
    ------
    InputError
        When the kind of file is unknown, its folder does not exist, it exists and may not be replaced, or an input
        would be lost.
    """
    path = as_path(path, "path")
    with named(path):
        if path.suffix.lower() not in (*TIFF, *ZARR) and not owner_of(path):
            raise InputError(f"labels are written to {', '.join((*TIFF, *ZARR))}, not to {path.name}")
        if not owner_of(path) or path.exists():
            check_place(path, overwrite=overwrite)
        if path.is_dir() and not ome_zarr.is_zarr(path):
            raise InputError(f"{path} is a folder, and not a zarr that could be replaced")
        check_apart(path, inputs)
        check_replaceable(path)
    return path


def check_place(path: Path, *, overwrite: bool) -> None:
    """Check that a path has a folder and, unless it may be overwritten, that nothing is there.

    Raises
    ------
    InputError
        When it is otherwise.
    """
    with named(path):
        there, folder = path.exists(), path.parent.is_dir()
    if not folder:
        raise InputError(f"there is no folder {path.parent}")
    if there and not overwrite:
        raise InputError(f"{path} exists; allow overwriting to replace it")


def check_axes(path: str | Path, ndim: int, axes: str | None = None) -> str:
    """Return the letters of the axes with which :func:`write_labels` would write labels; usable before the work starts.

    Parameters
    ----------
    path : str or Path
        Path of the labels.
    ndim : int
        Number of their axes.
    axes : str, optional
        Letter of each; by default the last ones of "tzyx", before them "q" for axes without a name.

    Raises
    ------
    InputError
        When the number of `axes` is wrong, or OME-Zarr has no name for one of them.
    """
    path = Path(path)
    axes = axes or ("q" * ndim + "tzyx")[-ndim:]
    if len(axes) != ndim:
        raise InputError(f"labels of {ndim} axes do not fit the axes {axes!r}")
    if is_zarr_place(path) and not (set(axes) <= set(ome_zarr.AXES) and len(set(axes)) == ndim):
        raise InputError(
            f"OME-Zarr names at most five axes, each once, of {', '.join(ome_zarr.AXES)}; "
            f"labels with the {ndim} axes {axes!r} can be written to .tif"
        )
    return axes


def write_labels(
    path: str | Path,
    labels: np.ndarray,
    *,
    axes: str | None = None,
    scale: tuple[float, ...] | None = None,
    calibration: Calibration | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a label image under a temporary name next to its place, then move it there.

    Parameters
    ----------
    path : str or Path
        ``.tif``, ``.tiff`` (compressed losslessly), ``.zarr`` (OME-Zarr 0.4), or ``IMAGE.zarr/labels/NAME``, which adds
        a label image to an existing OME-Zarr image, in its version.
    labels : ndarray
        (..., y, x) integers from 0; stored as uint16, or uint32 where 65535 is not enough.
    axes : str, optional
        Letter of each axis; see :func:`check_axes` for what is taken by default.
    scale : tuple of float, optional
        Distance of neighbouring pixels along each axis.
    calibration : Calibration, optional
        In place of `scale`, where units or a translation are known. OME-Zarr keeps all of it; TIFF keeps distances and
        units, where ImageJ has them, in micrometres and seconds.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        Path of the written file.

    Raises
    ------
    InputError
        When `labels` are no label image, or as for :func:`check_output` and :func:`check_axes`; nothing is written
        then.
    """
    path = check_output(path, overwrite=overwrite)
    labels = compact(labels)
    axes = check_axes(path, labels.ndim, axes)
    placed = calibration or Calibration(scale or (1.0,) * labels.ndim)
    if len(placed.scale) != labels.ndim:
        raise InputError(f"labels of {labels.ndim} axes do not fit the scale {placed.scale}")
    if is_zarr_place(path):
        with open_labels(path, ome_zarr.Layout(labels.shape, labels.dtype, axes, placed.scale, placed)) as array:
            for index in np.ndindex(labels.shape[:-2]):
                array[index] = labels[index]
    else:
        with replacing(path) as temporary:
            write_tiff(temporary, labels, axes, placed)
    return path


@contextlib.contextmanager
def open_labels(path: Path, layout: ome_zarr.Layout) -> Iterator[ome_zarr.LabelFile]:
    """A new OME-Zarr label image to write to, plane by plane or in parts; it is moved to its place at the end.

    Parameters
    ----------
    path : Path
        A path that passed :func:`check_output`: a ``.zarr``, or ``IMAGE.zarr/labels/NAME``, which the image lists.
    layout : Layout
        Shape, axes and type.

    Yields
    ------
    LabelFile
        Zeros; its coarser levels are made at the end.

    Raises
    ------
    InputError
        When the operating system refuses to write it.
    """
    owner = owner_of(path)
    if owner:
        path.parent.mkdir(exist_ok=True)
    with replacing(path) as temporary:
        layout = replace(layout, name=layout.name or path.name)
        file = ome_zarr.create_labels(temporary, layout, version=ome_zarr.version_of(owner) if owner else "0.4")
        yield file
        file.finish()
    if owner:
        ome_zarr.register_label(owner, path.name)


def compact(labels: np.ndarray) -> np.ndarray:
    """Check that an array is a label image, and store it as small as files keep it.

    Parameters
    ----------
    labels : ndarray
        (..., y, x) bool or integers from 0.

    Returns
    -------
    ndarray
        Of the same shape; uint16, or uint32 where 65535 is not enough.

    Raises
    ------
    InputError
        When it has no integers, fewer than two axes, no pixels, or labels that do not fit.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "bui" or labels.ndim < 2 or not labels.size:
        raise InputError(f"a label image is integers of two or more axes, got {labels.dtype} of shape {labels.shape}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= 2**32:
        raise InputError(f"labels lie within 0 and {2**32 - 1}, got {low} to {high}")
    # what is as small already is not copied: it may be a file larger than the memory
    return labels.astype(np.uint16 if high < 2**16 else np.uint32, copy=False)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path next to `path` to write to; it takes the place of `path` at the end, and vanishes if anything fails.

    Raises
    ------
    InputError
        When the system does not let it be written.
    """
    with contextlib.ExitStack() as made:
        try:
            folder = made.enter_context(temporary_folder(path.parent, path.name))
        except OSError as error:
            raise InputError(f"cannot write to {path.parent}: {error.strerror or error}") from error
        # Writers use the extension only, and a name of the maximum length may be too long for their own files.
        new, old = folder / f"new{_ending(path)}", folder / REPLACED
        try:
            yield new
            if path.is_dir() and not new.is_dir():
                raise InputError(f"cannot write {path}: it is a folder")
            if path.is_dir():
                # a folder cannot be replaced in one step; the old one goes out of the way first
                path.rename(old)
            new.replace(path)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        finally:
            if old.exists() and not path.exists():
                old.rename(path)


def _ending(path: Path) -> str:
    """Return the extension that writers use: ``.ome.tif`` is another kind of file than ``.tif``."""
    ome = Path(path.stem).suffix if path.stem.lower().endswith(".ome") else ""
    return f"{ome}{path.suffix[-16:]}"


def is_zarr_place(path: Path) -> bool:
    """Whether what is written to a path becomes an OME-Zarr: by its name, or as one of the labels of an image."""
    return path.suffix.lower() in ZARR or owner_of(path) is not None


def owner_of(path: Path) -> Path | None:
    """The OME-Zarr image that a path of the form IMAGE/labels/NAME belongs to."""
    image = path.parent.parent
    return image if path.parent.name == "labels" and ome_zarr.is_zarr(image) else None


def _label_group(path: Path) -> Path:
    """The label image that a zarr folder is, or the only one that it holds."""
    if not (path / "labels").is_dir():
        return path
    found = sorted(folder for folder in (path / "labels").iterdir() if ome_zarr.is_zarr(folder))
    if len(found) != 1:
        names = ", ".join(folder.name for folder in found) or "none"
        raise InputError(f"{path} does not hold one label image but: {names}; name one as {path}/labels/NAME")
    return found[0]
