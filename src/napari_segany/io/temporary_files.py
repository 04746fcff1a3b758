"""Temporary files next to the results: label images made plane by plane, and what is moved to its place when whole.

Each lies in a folder ``.segany.xxxxxxxx`` that its process holds a lock in. A process that is killed loses its locks,
so the next one that writes to the same place finds what was left behind, and only that.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from napari_segany.core.errors import InputError

PREFIX = ".segany."
LOCK = "lock"
REPLACED = "replaced"
"""Within a temporary folder: what lay at the place of the result, until that is there."""
_BLOCK = 2**24


@contextlib.contextmanager
def temporary_folder(parent: Path, name: str = "") -> Iterator[Path]:
    """A folder that vanishes at the end, and that the next run removes if this process is killed.

    Parameters
    ----------
    parent : Path
        Where it is made. What runs that were killed have left there is removed.
    name : str
        Of the file or folder in `parent` that is being replaced: should this process die while that is out of the way
        as ``REPLACED``, the next run puts it back.

    Raises
    ------
    OSError
        When it cannot be made.
    """
    remove_stale_files(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = None
    try:
        lock = _locked(folder, name)
        yield folder
    finally:
        if lock is not None:
            lock.close()
        shutil.rmtree(folder, ignore_errors=True)


def _locked(folder: Path, name: str) -> BinaryIO:
    # It gets its name once it is locked: so a file of that name shows by its lock whether its process is alive.
    # (Windows renames no open file.)
    new = folder / (LOCK if sys.platform == "win32" else f"{LOCK}.new")
    file = new.open("w+b")
    try:
        file.write(name.encode("utf-8", "surrogateescape"))
        file.flush()
        if _lock(file) and new.name != LOCK:
            new.rename(folder / LOCK)
    except BaseException:
        file.close()
        raise
    return file


def _lock(file: BinaryIO) -> bool:
    """Lock an open file for this process; False where the system cannot, or another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove_stale_files(parent: Path) -> None:
    """Remove what processes that are dead have left in a folder; a result that they had put aside goes back."""
    try:
        found = [Path(entry.path) for entry in os.scandir(parent) if entry.name.startswith(PREFIX)]
    except OSError:
        return
    for folder in found:
        with contextlib.suppress(OSError, ValueError):
            _sweep(folder)


def _sweep(folder: Path) -> None:
    # Not in append mode: a folder without the file has another kind of owner, and is let alone.
    with (folder / LOCK).open("r+b") as file:
        if not _lock(file):
            return
        name = file.read().decode("utf-8", "surrogateescape")
        kept = folder / REPLACED
        place = folder.parent / name
        if name and Path(name).name == name and kept.exists() and not place.exists():
            kept.rename(place)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def temporary_array(folder: Path, shape: tuple[int, ...], highest: int) -> Iterator[np.ndarray]:
    """An array of zeros that is a file, and vanishes at the end.

    Parameters
    ----------
    folder : Path
        Where the file goes. Its room is reserved: a page of a mapped file for which there is none is a signal that
        ends the process, and no error.
    shape : tuple of int
        Of the array.
    highest : int
        The highest label that it must hold: it is uint16 or uint32.

    Raises
    ------
    InputError
        When there is no room, or the folder cannot be written to.
    """
    dtype = np.dtype(np.uint16 if highest < 2**16 else np.uint32)
    try:
        with temporary_folder(folder) as place:
            with (place / "labels").open("wb") as file:
                reserve(file, math.prod(shape) * dtype.itemsize)
            yield np.memmap(place / "labels", dtype, "r+", shape=shape)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error


def reserve(file: IO[bytes], size: int) -> None:
    """Fill a new file with zeros that have all of their room on the disk.

    Parameters
    ----------
    file : file object
        Open for writing, and empty.
    size : int
        In bytes.

    Raises
    ------
    OSError
        When there is not as much room.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
        else:
            return
    zeros = bytes(_BLOCK)
    for start in range(0, size, _BLOCK):
        file.write(zeros[: min(_BLOCK, size - start)])
    file.flush()
