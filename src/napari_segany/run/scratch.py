"""Label images that are made plane by plane: on the disk, so that a stack may be larger than the memory."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError


@contextlib.contextmanager
def scratch(folder: Path, shape: tuple[int, ...], highest: int) -> Iterator[np.ndarray]:
    """An array of zeros that is a file, and vanishes at the end.

    Parameters
    ----------
    folder : Path
        Where the file goes; the system reads and writes only the parts that are used.
    shape : tuple of int
        Of the array.
    highest : int
        The highest label that it must hold: it is uint16 or uint32.

    Raises
    ------
    InputError
        When there is no room, or the folder cannot be written to.
    """
    dtype = np.uint16 if highest < 2**16 else np.uint32
    try:
        with tempfile.TemporaryDirectory(prefix=".segany.", dir=folder) as place:
            yield np.memmap(Path(place) / "labels", dtype, "w+", shape=shape)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
