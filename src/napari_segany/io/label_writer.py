"""Labels that are painted piece by piece into their file: of OME-Zarr only the chunks that an object touches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_segany.core.masks import box_of, paintable
from napari_segany.core.planes import Region
from napari_segany.io import ome_zarr
from napari_segany.io.labels import check_axes, check_output, is_zarr_place, open_labels, write_labels
from napari_segany.io.spacing import Calibration
from napari_segany.io.temporary_files import temporary_array


@dataclass(frozen=True, slots=True)
class LabelFileSpec:
    """Layout and place of labels that are to be painted.

    Parameters
    ----------
    path : Path
        Anything that :func:`~napari_segany.io.labels.write_labels` writes.
    shape : tuple of int
        Of the leading axes, then y and x.
    axes : str
        A letter for each.
    scale : tuple of float
        Distance of neighbouring pixels along each.
    highest : int
        The highest label.
    overwrite : bool
        Replace an existing file.
    calibration : Calibration, optional
        In place of `scale`, where more is known.
    """

    path: Path
    shape: tuple[int, ...]
    axes: str
    scale: tuple[float, ...]
    highest: int
    overwrite: bool = False
    calibration: Calibration | None = None


class LabelWriter:
    """Labels on which objects are painted; a pixel stays with the object that had it first.

    Parameters
    ----------
    array : array
        (..., y, x) integers, 0 where nothing is painted; a file, or a zarr array.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        shape: tuple[int, ...] = array.shape
        self._leading = shape[:-2]

    def paint(self, number: int, pixels: np.ndarray, label: int, window: Region | None = None) -> int:
        """Paint a mask.

        Parameters
        ----------
        number : int
            Of the plane, leading axes counted in C order.
        pixels : ndarray
            (y, x) bool.
        label : int
            Its number.
        window : tuple of slice, optional
            The part of the plane that `pixels` is; by default all of it.

        Returns
        -------
        int
            Pixels that it got.
        """
        box = box_of(pixels)
        if box is None:
            return 0
        inner = slice(int(box.y0), int(box.y1) + 1), slice(int(box.x0), int(box.x1) + 1)
        y, x = (0, 0) if window is None else (window[0].start, window[1].start)
        rows, columns = slice(inner[0].start + y, inner[0].stop + y), slice(inner[1].start + x, inner[1].stop + x)
        place = np.unravel_index(number, self._leading) if self._leading else ()
        at = (*(int(i) for i in place), rows, columns)
        here = np.array(self._array[at])
        free = paintable(here, pixels[inner])
        if free[0].size:
            here[free] = label
            self._array[at] = here
        return len(free[0])


@contextlib.contextmanager
def open_label_writer(sheet: LabelFileSpec) -> Iterator[LabelWriter]:
    """A canvas that becomes the file of labels at the end; nothing is left of it when anything fails.

    Raises
    ------
    InputError
        As of :func:`~napari_segany.io.labels.write_labels`.
    """
    path = check_output(sheet.path, overwrite=sheet.overwrite)
    axes = check_axes(path, len(sheet.shape), sheet.axes)
    if is_zarr_place(path):
        dtype = np.dtype(np.uint16 if sheet.highest < 2**16 else np.uint32)
        layout = ome_zarr.Layout(sheet.shape, dtype, axes, sheet.scale, sheet.calibration)
        with open_labels(path, layout) as array:
            yield LabelWriter(array)
        return
    with temporary_array(path.parent, sheet.shape, sheet.highest) as labels:
        yield LabelWriter(labels)
        placed = sheet.calibration or Calibration(sheet.scale)
        write_labels(path, labels, axes=axes, calibration=placed, overwrite=sheet.overwrite)
