"""Which plane of an array of any number of axes is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.planes import MEASURED, ChannelSettings, LazyArray, Stack, load_array


@dataclass(frozen=True, slots=True)
class View:
    """A plane of an array, whichever two axes it spans.

    Parameters
    ----------
    axes : tuple of int
        The axes shown as rows and as columns.
    position : tuple of int
        Where the plane lies along every axis, in the array's order; 0 along the two that are shown.
    """

    axes: tuple[int, int]
    position: tuple[int, ...]

    @property
    def leading(self) -> tuple[int, ...]:
        """The axes that are not shown, in the array's order."""
        return tuple(axis for axis in range(len(self.position)) if axis not in self.axes)

    def inside(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape has this plane."""
        return all(0 <= place < length for place, length in zip(self.position, shape, strict=True))

    def plane_shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(rows, columns) of the plane in an array of this shape."""
        return shape[self.axes[0]], shape[self.axes[1]]

    def number(self, shape: tuple[int, ...], without: int | None = None) -> int:
        """Number of this plane among all that are parallel to it, counted in C order; one axis may be left out."""
        counted = [axis for axis in self.leading if axis != without]
        lengths = tuple(shape[axis] for axis in counted)
        return int(np.ravel_multi_index([self.position[axis] for axis in counted], lengths)) if lengths else 0

    def key(self) -> tuple[int | slice, ...]:
        """Index of the whole plane; the result is transposed when ``axes`` are not in ascending order."""
        return tuple(slice(None) if axis in self.axes else place for axis, place in enumerate(self.position))

    def indices(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, ...]:
        """Index of single pixels of the plane in the whole array: one integer array for each axis."""
        places = [np.full_like(rows, place) for place in self.position]
        places[self.axes[0]], places[self.axes[1]] = rows, columns
        return tuple(places)

    def read(self, array: Any) -> np.ndarray:
        """The plane's values, (rows, columns)."""
        plane = load_array(array[self.key()])
        return plane if self.axes[0] < self.axes[1] else plane.T

    def on_plane(self, coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates in the plane, and which of them lie on it.

        Parameters
        ----------
        coordinates : ndarray
            (n, axes) float, in the array's pixels.

        Returns
        -------
        yx : ndarray
            (n, 2) float, along rows and columns.
        here : ndarray
            (n,) bool, within half a pixel of the plane along every other axis.
        """
        leading = list(self.leading)
        away = np.abs(coordinates[:, leading] - np.array(self.position, float)[leading])
        return coordinates[:, list(self.axes)], (away <= 0.5).all(axis=1)


def rows_and_columns_last(array: LazyArray, view: View, *, rgb: bool) -> Any:
    """The array with the axes of a view moved behind all others, before the colours; nothing is read.

    Parameters
    ----------
    array : LazyArray
        numpy, dask or zarr; with `rgb` its last axis holds colours.
    view : View
        Of the axes without colours.
    rgb : bool
        Whether the last axis holds colours.

    Raises
    ------
    InputError
        When the axes would have to be turned and the array cannot do that without being read.
    """
    order = (*view.leading, *view.axes, *((len(view.position),) if rgb else ()))
    if order == tuple(range(len(order))):
        return array
    transpose = getattr(array, "transpose", None)
    if transpose is None:
        raise InputError("the axes of this kind of array cannot be rolled; pass it to napari as a dask array")
    return transpose(order)


def planes_of(array: LazyArray, view: View, *, rgb: bool, settings: ChannelSettings = MEASURED) -> Stack:
    """Return the planes of an image parallel to a view; ``view.number(shape, settings.together)`` is that of the view.

    Parameters
    ----------
    array : LazyArray
        numpy, dask or zarr; with `rgb` its last axis holds colours. Nothing is read.
    view : View
        Of the axes without colours.
    rgb : bool
        Whether the last axis holds colours.
    settings : ChannelSettings
        Channels, limits and inversion.

    Raises
    ------
    InputError
        As :func:`rows_and_columns_last`, and when the settings do not suit the image or the view.
    """
    turned = rows_and_columns_last(array, view, rgb=rgb)
    if settings.together is None:
        return Stack(turned, rgb=rgb, settings=settings)
    if rgb or settings.together not in view.leading:
        raise InputError("only an axis that is not displayed can be shown as colours; roll the axes back")
    return Stack(turned, channel_axis=view.leading.index(settings.together), settings=settings)
