"""Edges of objects on the plane that is shown, as lines in the world: what an outline is drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels


@dataclass(frozen=True, slots=True, eq=False)
class ShownPlane:
    """The plane of a layer that is shown, and where its pixels lie in the world.

    Parameters
    ----------
    axes : (int, int)
        The layer's axes that run down and right on the screen.
    place : tuple of int
        Index on each axis of the layer; that of `axes` does not count.
    origin : ndarray
        (2,) the first pixel of the plane in the world, (down, right).
    steps : ndarray
        (2, 2) float, the way from a pixel to the next along each of `axes`, (down, right).
    """

    axes: tuple[int, int]
    place: tuple[int, ...]
    origin: np.ndarray
    steps: np.ndarray

    @classmethod
    def of(cls, viewer: ViewerModel, layer: Labels) -> ShownPlane | None:
        """The plane of a layer that is shown; None in 3D, and where the layer lacks one of the axes."""
        dims = viewer.dims
        extra = dims.ndim - layer.ndim
        axes = [axis - extra for axis in dims.displayed]
        if dims.ndisplay != 2 or extra < 0 or min(axes) < 0:
            return None
        here = np.rint(layer.world_to_data(np.asarray(dims.point, float)[extra:])).astype(int)
        here[axes] = 0
        corners = (here, *(here + np.eye(layer.ndim)[axis] for axis in axes))
        origin, *nexts = (np.asarray(layer.data_to_world(corner), float)[axes] for corner in corners)
        return cls((axes[0], axes[1]), tuple(here.tolist()), origin, np.array(nexts) - origin)

    def holds(self, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """(n,) bool, which windows, (n, axes) from their first to behind their last pixel, the plane cuts."""
        others = [axis for axis in range(len(self.place)) if axis not in self.axes]
        place = np.array(self.place)[others]
        return np.asarray(((starts[:, others] <= place) & (place < stops[:, others])).all(axis=1))

    def to_world(self, lines: np.ndarray) -> np.ndarray:
        """Lines (n, 2, 2) in pixels of the plane, in the world."""
        return np.asarray(self.origin + lines @ self.steps)


def edge_lines(mask: np.ndarray) -> np.ndarray:
    """Return the edges between the pixels of a mask and others, those of one direction joined.

    Parameters
    ----------
    mask : ndarray
        (h, w) bool.

    Returns
    -------
    ndarray
        (n, 2, 2) float, both ends (y, x) of each line; the centre of the first pixel is (0, 0).
    """
    padded = np.pad(mask, 1)
    down, right = _places(padded[1:] != padded[:-1]), _places(padded[:, 1:] != padded[:, :-1])[:, ::-1]
    right = right[np.lexsort(right.T[::-1])]
    return np.concatenate([_runs(down), _runs(right)[..., ::-1]]) - (0.5, 0.5)


def _places(found: np.ndarray) -> np.ndarray:
    """Indices (n, 2) where an array (h, w) is true; of few in many, this is faster than those of ``nonzero``."""
    return np.stack(np.divmod(np.flatnonzero(found), found.shape[1]), 1)


def _runs(sides: np.ndarray) -> np.ndarray:
    """Lines (n, 2, 2) of sides (m, 2) of pixels in rows, sorted; neighbours of one row are one line."""
    follows = np.zeros(len(sides) + 1, bool)
    follows[1:-1] = (sides[1:, 0] == sides[:-1, 0]) & (sides[1:, 1] == sides[:-1, 1] + 1)
    return np.stack([sides[~follows[:-1]] - (0, 1), sides[~follows[1:]]], 1).astype(float)


def object_lines(layer: Labels, plane: ShownPlane, label: int, window: Sequence[slice]) -> np.ndarray:
    """Return the edges of an object on a plane as lines in the world, (n, 2, 2).

    Parameters
    ----------
    layer : Labels
        Holds an array in memory.
    plane : ShownPlane
        The plane.
    label : int
        Of the object.
    window : sequence of slice
        The part of the array that holds it.
    """
    starts, stops = (np.array([[getattr(side, end) for side in window]]) for end in ("start", "stop"))
    if not plane.holds(starts, stops)[0]:
        return np.zeros((0, 2, 2))
    part = layer.data[tuple(side if axis in plane.axes else plane.place[axis] for axis, side in enumerate(window))]
    mask = part == label
    if plane.axes[0] > plane.axes[1]:
        mask = mask.T
    return plane.to_world(edge_lines(mask) + starts[0, list(plane.axes)])


def crosses(plane: ShownPlane, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Return the diagonals of windows that a plane cuts, (n, 2, 2) in the world; windows are (n, axes)."""
    axes, there = list(plane.axes), plane.holds(starts, stops)
    first, last = starts[there][:, axes], stops[there][:, axes] - 1
    rising = np.stack([np.stack([last[:, 0], first[:, 1]], 1), np.stack([first[:, 0], last[:, 1]], 1)], 1)
    return plane.to_world(np.concatenate([np.stack([first, last], 1), rising]).astype(float))
