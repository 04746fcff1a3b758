"""Corrections of the shapes of labelled objects: holes, islands, rough outlines, cuts along a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
import scipy
import skimage

LARGEST_RADIUS = 50
"""Of a disc that smooths; larger ones take too long, and nothing of most objects is left."""

NAMED = 8
"""Objects whose names are listed at most."""


class CleanUp(StrEnum):
    """What can be done to the shape of an object."""

    FILL = "Fill holes"
    SMOOTH = "Smooth outlines"
    LARGEST = "Keep the largest piece"
    SMALL = "Remove small objects"


def cleaned(mask: np.ndarray, how: CleanUp, amount: float = 0.0) -> np.ndarray:
    """The shape of an object after a correction.

    Parameters
    ----------
    mask : ndarray
        (..., y, x) bool; the object, with a margin of `amount` pixels where the image has one.
    how : CleanUp
        The correction. All but the last are made plane by plane; outlines are smoothed by the median in a disc.
    amount : float
        Radius of the disc in pixels, or pixels below which an object is removed; unused by the other two.

    Returns
    -------
    ndarray
        bool, of the same shape; never larger than the mask with its margin.
    """
    match how:
        case CleanUp.FILL:
            return _by_plane(mask, scipy.ndimage.binary_fill_holes)
        case CleanUp.SMOOTH:
            return _by_plane(mask, lambda plane: _smoothed(plane, min(round(amount), LARGEST_RADIUS)))
        case CleanUp.LARGEST:
            return _by_plane(mask, _largest)
        case CleanUp.SMALL:
            return mask if np.count_nonzero(mask) >= amount else np.zeros_like(mask)


def _by_plane(mask: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    planes = mask.reshape(-1, *mask.shape[-2:])
    return np.stack([change(plane) for plane in planes]).reshape(mask.shape)


def _largest(plane: np.ndarray) -> np.ndarray:
    pieces, count = scipy.ndimage.label(plane, np.ones((3, 3)))
    return plane if count < 2 else pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1


def _smoothed(plane: np.ndarray, radius: int) -> np.ndarray:
    """The median in a disc: corners that are thinner than it go, straight edges stay where they are."""
    if radius < 1 or not plane.any():
        return plane
    offsets = np.arange(-radius, radius + 1)
    disc = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.float32)
    inside = scipy.signal.oaconvolve(plane.astype(np.float32), disc, mode="same")
    # edges of the image must not eat objects that they cut: what lies beyond does not count
    counted = scipy.signal.oaconvolve(np.ones(plane.shape, np.float32), disc, mode="same")
    smooth: np.ndarray = inside > counted / 2
    return smooth


@dataclass(frozen=True, slots=True, eq=False)
class ShapeChange:
    """The pixels that an object gets and loses.

    Parameters
    ----------
    label : int
        Of the object.
    added, removed : tuple of ndarray
        Index of single pixels of the label image, an integer array for each axis.
    """

    label: int
    added: tuple[np.ndarray, ...]
    removed: tuple[np.ndarray, ...]


def clean_objects(
    labels: np.ndarray,
    windows: Mapping[int, tuple[slice, ...]],
    how: CleanUp,
    amount: float,
    axes: tuple[int, int],
) -> list[ShapeChange]:
    """Correct the shapes of objects; no pixel of another object changes.

    Parameters
    ----------
    labels : ndarray
        (...) integers; it is not changed.
    windows : mapping of int to tuple of slice
        The part of `labels` in which each object is corrected, by its label.
    how, amount
        As of :func:`cleaned`.
    axes : tuple of int
        The axes of `labels` that are the rows and columns of planes.

    Returns
    -------
    list of ShapeChange
        Of the objects that change.
    """
    changes = []
    for label, window in windows.items():
        wide = list(window)
        for axis in axes if how is CleanUp.SMOOTH else ():
            margin = min(round(amount), LARGEST_RADIUS)
            wide[axis] = slice(max(window[axis].start - margin, 0), window[axis].stop + margin)
        part = labels[tuple(wide)]
        before = part == label
        turned = np.moveaxis(before, axes, (-2, -1))
        after = np.moveaxis(cleaned(turned, how, amount), (-2, -1), axes)
        added, removed = after & (part == 0), before & ~after
        if added.any() or removed.any():
            changes.append(ShapeChange(label, _indices(added, wide), _indices(removed, wide)))
    return changes


def count_pieces(pixels: tuple[np.ndarray, ...], axes: tuple[int, int]) -> int:
    """How many pieces single pixels form, plane by plane; those that touch at corners are one.

    Parameters
    ----------
    pixels : tuple of ndarray
        Index of each, an integer array for each axis.
    axes : tuple of int
        The axes that are the rows and columns of planes.
    """
    if not pixels[0].size:
        return 0
    corner = [int(axis.min()) for axis in pixels]
    mask = np.zeros([int(axis.max()) - low + 1 for axis, low in zip(pixels, corner, strict=True)], bool)
    mask[tuple(axis - low for axis, low in zip(pixels, corner, strict=True))] = True
    neighbours = np.zeros((3,) * mask.ndim, bool)
    neighbours[tuple(slice(None) if axis in axes else 1 for axis in range(mask.ndim))] = True
    return int(scipy.ndimage.label(mask, neighbours)[1])


def told_changes(changes: Sequence[ShapeChange], how: CleanUp, axes: tuple[int, int], names: Mapping[int, str]) -> str:
    """What a correction would do, in a line.

    Parameters
    ----------
    changes : sequence of ShapeChange
        Of :func:`clean_objects`.
    how, axes
        As of :func:`clean_objects`.
    names : mapping of int to str
        What objects are called, by label.
    """
    if not changes:
        return "Nothing would change"
    objects = _counted(len(changes), "object")
    if how is CleanUp.FILL:
        return f"{_counted(sum(count_pieces(one.added, axes) for one in changes), 'hole')} filled in {objects}"
    if how is CleanUp.LARGEST:
        return f"{_counted(sum(count_pieces(one.removed, axes) for one in changes), 'island')} dropped from {objects}"
    if how is CleanUp.SMALL:
        told = [names.get(one.label) or str(one.label) for one in changes]
        more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
        return f"{objects} too small, removed: {', '.join(told[:NAMED])}{more}"
    more_pixels, fewer = (sum(part[0].size for part in parts) for parts in _parts_of(changes))
    return f"{objects} smoothed: {more_pixels} pixels added, {fewer} removed"


def _parts_of(changes: Sequence[ShapeChange]) -> tuple[list[tuple[np.ndarray, ...]], list[tuple[np.ndarray, ...]]]:
    return [one.added for one in changes], [one.removed for one in changes]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _indices(pixels: np.ndarray, window: Sequence[slice]) -> tuple[np.ndarray, ...]:
    return tuple(axis + side.start for axis, side in zip(np.nonzero(pixels), window, strict=True))


def cut_along(mask: np.ndarray, stroke: np.ndarray) -> list[np.ndarray]:
    """The pieces of an object that a stroke divides it into, the largest first; each pixel is in one of them.

    Parameters
    ----------
    mask : ndarray
        (..., y, x) bool.
    stroke : ndarray
        bool, as of :func:`drawn`, of the same shape, or of that of a plane: it goes through all of them then.

    Returns
    -------
    list of ndarray
        bool, of the same shape; the mask alone where the stroke does not divide it. Pixels below the stroke go to the
        nearest piece.
    """
    pieces, count = scipy.ndimage.label(mask & ~stroke)
    _, before = scipy.ndimage.label(mask)
    if count <= before:
        return [mask]
    nearest = scipy.ndimage.distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
    whole = np.where(mask, pieces[tuple(nearest)], 0)
    sizes = np.bincount(whole.ravel(), minlength=count + 1)[1:]
    return [whole == number + 1 for number in np.argsort(-sizes, kind="stable") if sizes[number]]


def drawn(path: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels below a stroke, without gaps that touch only at corners.

    Parameters
    ----------
    path : ndarray
        (n, 2) float, its corners (y, x) in pixels; parts outside the plane are left out.
    shape : tuple of int
        Rows and columns of the plane.
    """
    pixels = np.zeros(shape, bool)
    corners = np.round(np.asarray(path, float)).astype(int)
    for (y0, x0), (y1, x1) in pairwise(corners):
        rows, columns = skimage.draw.line(y0, x0, y1, x1)  # type: ignore[no-untyped-call]
        # a diagonal step takes the pixel next to it, too: pieces of objects touch at corners otherwise
        rows, columns = np.append(rows, rows[1:]), np.append(columns, columns[:-1])
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        pixels[rows[inside], columns[inside]] = True
    return pixels
