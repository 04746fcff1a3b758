"""What may be written where: never over an input, and never over a folder that holds what is not our own."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_segany.core.errors import InputError
from napari_segany.io import ome_zarr

MARK = ome_zarr.MARK
"""Stands in what this program writes: an attribute of OME-Zarr labels, "Software" of TIFF, "contributor" of COCO."""
DROPPINGS = (".ds_store", "thumbs.db", "desktop.ini")
"""Files that file managers leave in any folder, in small letters; those of macOS for single files begin with ``._``."""
LINK_DEPTH = 3
"""How deep links are searched for in the folder of an image: group, level, dimension."""
_CHUNK_NAME = re.compile(r"\d+|c|zarr\.json|\.zarray|\.zattrs|\.zgroup|.*\.partial")
_GROUP_NAME = re.compile(r"zarr\.json|\.zattrs|\.zgroup|\.zmetadata|.*\.partial")
_GEFF_NAME = re.compile(r"nodes|edges|ids|props|values|missing|t|z|y|x|label|pixels|tracklet|\d+(\.\d+)*")
_CTC_NAME = re.compile(r"mask\d{3,}\.tif|res_track\.txt")
_MULTISCALE_KEYS = {"version", "name", "axes", "datasets"}
_ATTRIBUTES = {"multiscales", "image-label", f"{MARK} highest label"}

LONGEST_SHOWN = 120
Identity = tuple[int, int]


def check_apart(output: str | Path, inputs: Iterable[str | Path | None], what: str = "the labels") -> None:
    """Refuse an output that is an input, contains one, or lies inside one.

    Files and folders are compared by what the system knows them by, so that symbolic links, hard links and names in
    other letters are seen through. Labels may go into the OME-Zarr image that they are made from, as
    ``IMAGE/labels/NAME``.

    Parameters
    ----------
    output : str or Path
        The file or folder that would be written or replaced.
    inputs : iterable of str, Path or None
        What it is made from; what does not exist, and None, do not count.
    what : str
        What the output holds, for the message.

    Raises
    ------
    InputError
        When the output would destroy or change an input.
    """
    output = Path(output)
    places = _chain(output)
    own = identity(output)
    for given in (Path(one) for one in inputs if one is not None):
        for part in _parts(given):
            name = identity(part)
            if name is None:
                continue
            if own is not None and own == name:
                raise InputError(f"{what} would replace {given}, from which they are made")
            if own is not None and own in _chain(part):
                raise InputError(f"{what} would replace {output}, which holds {given}, from which they are made")
            if name in places and not (part == given and _among_labels(output, given)):
                raise InputError(f"{what} would be written into {given}, from which they are made")


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Turn the operating system's error for an invalid name into an :class:`InputError`."""
    try:
        yield
    except OSError as error:
        shown = str(path) if len(str(path)) < LONGEST_SHOWN else f"{str(path)[:LONGEST_SHOWN]}…"
        raise InputError(f"{shown}: {error.strerror or error}") from error


def identity(path: Path) -> Identity | None:
    """What the system knows a file or folder by, links followed; None when there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _chain(path: Path) -> set[Identity]:
    """The folders that a path lies in, both as it is written and where links lead."""
    real = Path(os.path.realpath(path))
    above = [*path.absolute().parents, *real.parents]
    return {name for folder in dict.fromkeys(above) if (name := identity(folder)) is not None}


def _parts(given: Path) -> Iterator[Path]:
    """An input, the levels of an OME-Zarr image, and what links in its folder lead to."""
    yield given
    if not given.is_dir():
        return
    yield from _levels(given)
    folders = [(given, 0)]
    while folders:
        folder, depth = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            if entry.is_symlink():
                yield Path(os.path.realpath(entry.path))
            elif depth < LINK_DEPTH and entry.is_dir():
                folders.append((Path(entry.path), depth + 1))


def _levels(folder: Path) -> list[Path]:
    try:
        datasets = ome_zarr.datasets_of(folder)
    except Exception:  # noqa: BLE001  errors of an image are raised when it is read
        return []
    return [folder / name for name in datasets]


def _among_labels(output: Path, given: Path) -> bool:
    """Whether an output is one of the labels of the image, or lies in no array of it."""
    owner = output.parent.parent
    if output.parent.name != "labels" or not ome_zarr.is_zarr(owner):
        return False
    inner = identity(given)
    for folder in (Path(os.path.realpath(output.parent)), *Path(os.path.realpath(output.parent)).parents):
        if ome_zarr.is_array(folder):
            return False
        if identity(folder) == inner:
            return True
    return False


def check_replaceable(path: Path) -> None:
    """Refuse to replace a folder that holds anything else than what this program wrote.

    Raises
    ------
    InputError
        When it is such a folder. Files may be replaced.
    """
    if path.is_dir() and not (is_own_zarr(path) or is_own_ctc(path) or is_own_geff(path)):
        raise InputError(
            f"{path} is a folder that holds what this program did not write, so it is not replaced; take another name"
        )


def is_own_zarr(path: Path) -> bool:
    """Whether a folder is an OME-Zarr label image that this program wrote, and holds nothing else.

    What version 0.1.0 wrote has no mark; it is known by exactly the metadata that it wrote.
    """
    import zarr

    if not ome_zarr.is_zarr(path) or ome_zarr.is_array(path):
        return False
    try:
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        attributes: dict[str, Any] = group.attrs.asdict()
        about = attributes.get("ome", attributes)
        (image,) = about["multiscales"]
        levels = [one["path"] for one in image["datasets"]]
        if "image-label" not in about or not (MARK in attributes or _as_before(attributes, group)):
            return False
        return _holds_only(path, levels)
    except Exception:  # noqa: BLE001  whatever is wrong with it, it is not known to be ours
        return False


def _as_before(attributes: dict[str, Any], group: Any) -> bool:
    """Whether metadata are exactly what version 0.1.0 wrote."""
    about = attributes.get("ome", attributes)
    if not isinstance(about, dict) or set(attributes) - {"ome"} - _ATTRIBUTES:
        return False
    if about is not attributes and set(about) != {"version", "multiscales", "image-label"}:
        return False
    image = about["multiscales"][0]
    finest = group[image["datasets"][0]["path"]]
    chunks = tuple(min(ome_zarr.CHUNK, n) for n in finest.shape[-2:])
    return (
        set(image) <= _MULTISCALE_KEYS
        and not set(about["image-label"]) - {"version"}
        and finest.dtype in (np.uint16, np.uint32)
        and finest.chunks == (1,) * (len(finest.shape) - 2) + chunks
        and [one["path"] for one in image["datasets"]] == [str(k) for k in range(len(image["datasets"]))]
    )


def _holds_only(folder: Path, levels: list[str]) -> bool:
    for entry in list(os.scandir(folder)):
        if _dropped(entry.name) or (entry.is_file() and _GROUP_NAME.fullmatch(entry.name)):
            continue
        if entry.name not in levels or entry.is_symlink():
            return False
        for _, folders, files in os.walk(entry.path):
            if not all(_CHUNK_NAME.fullmatch(name) or _dropped(name) for name in (*folders, *files)):
                return False
    return True


def _dropped(name: str) -> bool:
    return name.startswith("._") or name.lower() in DROPPINGS


def is_own_ctc(folder: Path) -> bool:
    """Whether a folder is a result of the Cell Tracking Challenge that this program wrote, and holds nothing else.

    That of version 0.1.0 bears the mark of tifffile, with which others write too; but their files are not all
    compressed in its way.
    """
    if not folder.is_dir():
        return False
    names = [entry.name for entry in folder.iterdir() if not _dropped(entry.name)]
    masks = sorted(name for name in names if name.endswith(".tif"))
    if not masks or "res_track.txt" not in names or not all(_CTC_NAME.fullmatch(name) for name in names):
        return False
    return is_own_tiff(folder / masks[0], before=True)


def is_own_geff(folder: Path) -> bool:
    """Whether a folder is a graph of tracks that this program wrote, and holds nothing else."""
    import zarr

    try:
        attributes: dict[str, Any] = zarr.open_group(folder, mode="r", use_consolidated=False).attrs.asdict()
        about = attributes["geff"]
        if not about["extra"][MARK]:
            return False
    except Exception:  # noqa: BLE001  whatever is wrong with it, it is not known to be ours
        return False
    for _, folders, files in os.walk(folder):
        names = (*folders, *files)
        if not all(_dropped(name) or _CHUNK_NAME.fullmatch(name) or _GEFF_NAME.fullmatch(name) for name in names):
            return False
    return True


def is_own_tiff(path: Path, *, before: bool = False) -> bool:
    """Whether a TIFF contains the mark of this program; `before`: or it is as version 0.1.0 wrote labels."""
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            software = str(page.tags.valueof("Software", default=""))
            if software.startswith(MARK):
                return True
            plain = page.dtype in (np.dtype(np.uint16), np.dtype(np.uint32)) and not tiff.is_imagej
            deflated = page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            return before and software == "tifffile.py" and plain and deflated
    except Exception:  # noqa: BLE001  whatever is wrong with it, it is not known to be ours
        return False


def is_torn(path: Path) -> bool:
    """Whether a TIFF or JSON file is neither, but what a run may have left that was stopped in the middle."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".tif":
            tifffile.TiffFile(path).close()
        else:
            return False
    except (OSError, ValueError, tifffile.TiffFileError):
        return True
    return False


def is_own_tracks(path: Path) -> bool:
    """Whether a table has the columns of the tracks that this program writes."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            columns = file.readline(100).strip().removesuffix(",parent")
            return columns in ("track_id,t,y,x", "track_id,t,z,y,x")
    except OSError:
        return False


def is_own_coco(path: Path, *, before: bool = False) -> bool:
    """Whether a COCO file contains the mark of this program; `before`: or it begins as those of version 0.1.0 do."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            begin = file.read(4096)
            known = before and re.match(r'\{"info": \{"description": "[^"]*"\}, "images": \[', begin)
            return f'"contributor": "{MARK}"' in begin or bool(known)
    except OSError:
        return False
