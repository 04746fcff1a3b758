"""The labels of an image that is too large to be painted at once: a file next to it, read and written in windows."""

from __future__ import annotations

import os
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs

from napari_segany.core.errors import InputError
from napari_segany.io import ome_zarr
from napari_segany.io.labels import open_labels
from napari_segany.session.history import Window

if TYPE_CHECKING:
    import zarr

NAME = "segany"
"""Of the label image within an OME-Zarr image."""
_HIGHEST = "napari-segany highest label"


def windowed_labels_path(image: str, known_by: str) -> Path:
    """Where the labels of an image lie.

    Parameters
    ----------
    image : str
        File or folder of the image; empty when it has none.
    known_by : str
        A name for an image that has none, or lies where nothing can be written.

    Returns
    -------
    Path
        Within an OME-Zarr image, next to any other file, and else in the folder of this user.
    """
    path = Path(image)
    if image and path.exists() and os.access(path if ome_zarr.is_zarr(path) else path.parent, os.W_OK):
        if ome_zarr.is_group(path):
            return path / "labels" / NAME
        return path.with_name(f"{path.name}.labels.zarr")
    return platformdirs.user_data_path("napari-segany", appauthor=False) / "labels" / f"{known_by}.zarr"


class WindowedLabels:
    """All labels of an image, in an OME-Zarr file that goes on where it was left; made when it is not there.

    Parameters
    ----------
    path : Path
        From :func:`windowed_labels_path`.
    layout : Layout
        What the labels of the image are like.

    Raises
    ------
    InputError
        When there is something else, labels of another shape among it, or nothing can be written.
    """

    def __init__(self, path: Path, layout: ome_zarr.Layout) -> None:
        import zarr

        self.path = path
        try:
            if not path.exists():
                path.parent.parent.mkdir(parents=True, exist_ok=True)
                path.parent.mkdir(exist_ok=True)
                with open_labels(path, layout):
                    pass
            self.file = ome_zarr.LabelFile(zarr.open_group(path, mode="r+"))
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"the labels cannot be kept in {path}: {error}") from error
        if self.file.shape != layout.shape:
            raise InputError(f"{path} holds labels of shape {self.file.shape}, but the image needs {layout.shape}")

    @property
    def highest(self) -> int:
        """The highest label that was ever written."""
        known: dict[str, Any] = self.file.group.attrs.asdict()
        return int(known.get(_HIGHEST, 0))

    @property
    def levels(self) -> list[zarr.Array[Any]]:
        """All labels, from fine to coarse."""
        return self.file.levels

    def read(self, window: Window) -> np.ndarray:
        """Labels of a window, int32; what was never written is not read and takes no memory."""
        found = np.zeros([side.stop - side.start for side in window], np.int32)
        for part in self._chunks(window):
            values = self.file[part]
            if values.any():
                found[_within(part, window)] = values
        return found

    def _chunks(self, window: Window) -> list[Window]:
        """The parts of a window that lie in one chunk of the file each."""
        sides = []
        for side, length in zip(window, self.file.levels[0].chunks, strict=True):
            edges = [side.start, *range(side.start // length * length + length, side.stop, length), side.stop]
            sides.append([slice(a, b) for a, b in pairwise(edges)])
        return list(product(*sides))

    def update(self, window: Window, labels: np.ndarray) -> None:
        """Write what differs in a window from what is kept, and nothing else.

        Raises
        ------
        InputError
            When the system does not let it.
        """
        for part in self._chunks(window):
            values = labels[_within(part, window)]
            if (self.file[part] != values).any():
                self.write(part, values)

    def write(self, window: Window, values: np.ndarray) -> None:
        """Write the labels of a window, and what the coarser levels show of it.

        Raises
        ------
        InputError
            When the system does not let it.
        """
        try:
            self.file[window] = values.astype(self.file.dtype)
            self.file.finish()
            highest = int(values.max(initial=0))
            if highest > self.highest:
                self.file.group.attrs[_HIGHEST] = highest
        except OSError as error:
            raise InputError(f"the labels cannot be written to {self.path}: {error.strerror or error}") from error


def _within(part: Window, window: Window) -> Window:
    """A part of a window, in the window's own pixels."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, window, strict=True))
