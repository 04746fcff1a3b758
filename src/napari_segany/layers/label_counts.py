"""How many pixels each label has, and where: counted block by block, so that only what changed is counted again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from xxhash import xxh3_64_intdigest

BLOCK_PIXELS = 2**18
"""A block is so many rows of a plane that it has about as many pixels as this."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelCounts:
    """What lies in an array, or in a part of it, a row for each label.

    Parameters
    ----------
    labels : ndarray
        (n,) int64, or uint64 where those of the array are, without 0. In the sum of several blocks they are sorted.
    pixels : ndarray
        (n,) int64, how many pixels each has.
    sums : ndarray
        (n,) float64, sum of the picture's values there.
    starts, stops : ndarray
        (n, axes) int64, the window around it; `stops` are behind the last pixel.
    slices : ndarray
        (n,) int64, on how many planes it lies.
    """

    labels: np.ndarray
    pixels: np.ndarray
    sums: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    slices: np.ndarray

    def window(self, row: int) -> tuple[slice, ...]:
        """The smallest part of the array that holds all of the object in a row."""
        return tuple(slice(int(a), int(b)) for a, b in zip(self.starts[row], self.stops[row], strict=True))


def tally_block(block: np.ndarray, values: np.ndarray | None, place: Sequence[int]) -> LabelCounts:
    """Count one block.

    Parameters
    ----------
    block : ndarray
        (rows, columns) integers; 0 is background.
    values : ndarray, optional
        (rows, columns), the picture there.
    place : sequence of int
        Index of the block's first pixel in the whole array.
    """
    labels, numbers = _numbered(block)
    count = len(labels)
    windows = scipy.ndimage.find_objects(numbers + 1, max_label=count)
    pixels = np.bincount(numbers.ravel(), minlength=count)
    weights = np.zeros(count) if values is None else np.bincount(numbers.ravel(), values.ravel(), count)
    corners = np.array([[side.start, side.stop] for w in windows for side in w], np.int64).reshape(count, 2, 2)
    origin = np.array(place, np.int64)
    leading = np.broadcast_to(origin[:-2], (count, len(origin) - 2))
    starts = np.hstack([leading, origin[-2:] + corners[..., 0]])
    stops = np.hstack([leading + 1, origin[-2:] + corners[..., 1]])
    objects = labels != 0
    return LabelCounts(*(a[objects] for a in (labels, pixels, weights, starts, stops, np.ones(count, np.int64))))


def _numbered(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a block, sorted, and for each pixel the number of its label from 0, without gaps."""
    low, high = int(block.min()), int(block.max())
    kind = np.dtype(np.uint64 if block.dtype == np.uint64 else np.int64)
    if high - low > block.size:
        labels, numbers = np.unique(block, return_inverse=True)
        return labels.astype(kind), numbers.reshape(block.shape)
    # sorting takes ten times as long, and is needed only where labels are far apart
    offsets = np.subtract(block, kind.type(low), dtype=kind, casting="unsafe").astype(np.int64)
    there = np.bincount(offsets.ravel()) > 0
    return np.flatnonzero(there).astype(kind) + kind.type(low), (np.cumsum(there) - 1)[offsets]


def add_up(parts: Sequence[LabelCounts], ndim: int) -> LabelCounts:
    """The sum of blocks of an array with `ndim` axes."""
    if not sum(len(part.labels) for part in parts):
        none = np.zeros(0, np.int64)
        return LabelCounts(none, none, np.zeros(0), np.zeros((0, ndim), np.int64), np.zeros((0, ndim), np.int64), none)
    labels, pixels, sums, starts, stops = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("labels", "pixels", "sums", "starts", "stops")
    )
    # sorted by label, those of one plane side by side
    order = np.lexsort((*starts[:, -3::-1].T, labels))
    labels, pixels, sums, starts, stops = (a[order] for a in (labels, pixels, sums, starts, stops))
    new_label = np.concatenate([[True], labels[1:] != labels[:-1]])
    new_plane = new_label.copy()
    new_plane[1:] |= (starts[1:, :-2] != starts[:-1, :-2]).any(axis=1)
    first = np.flatnonzero(new_label)
    return LabelCounts(
        labels[first],
        np.add.reduceat(pixels, first),
        np.add.reduceat(sums, first),
        np.minimum.reduceat(starts, first),
        np.maximum.reduceat(stops, first),
        np.add.reduceat(new_plane.astype(np.int64), first),
    )


def changed_rows(before: LabelCounts | None, after: LabelCounts) -> np.ndarray:
    """(n,) bool, which rows of a sum are not the same, or not there, in an earlier one."""
    if before is None or not len(before.labels) or not len(after.labels):
        return np.ones(len(after.labels), bool)
    rows = np.minimum(np.searchsorted(before.labels, after.labels), len(before.labels) - 1)
    same = before.labels[rows] == after.labels
    for name in ("pixels", "sums", "starts", "stops", "slices"):
        equal = getattr(before, name)[rows] == getattr(after, name)
        same &= equal if equal.ndim == 1 else equal.all(axis=1)
    return ~same


class LabelCounter:
    """Keeps the tally of an array that others write into.

    Parameters
    ----------
    array : ndarray
        (..., y, x) integers.
    values : ndarray, optional
        The picture, of the same shape.
    """

    def __init__(self, array: np.ndarray, values: np.ndarray | None = None) -> None:
        self.array, self.values = array, values
        self.total = add_up([], array.ndim)
        self._digests: dict[tuple[int, ...], int] = {}
        self._parts: dict[tuple[int, ...], LabelCounts] = {}
        self._changed = False

    def sweep(self) -> Iterator[None]:
        """Search for changed blocks and count them again, a block at each step; `total` is new after the last one.

        A sweep that is interrupted loses nothing: the next one continues with the blocks that are not counted yet.
        """
        height, width = self.array.shape[-2:]
        rows = max(BLOCK_PIXELS // max(width, 1), 1)
        for plane in np.ndindex(self.array.shape[:-2]):
            for top in range(0, height, rows):
                self._check_block((*plane, top, 0), (*plane, slice(top, top + rows)))
                yield
        if self._changed:
            self.total = add_up(list(self._parts.values()), self.array.ndim)
            self._changed = False

    def _check_block(self, place: tuple[int, ...], where: tuple[int | slice, ...]) -> None:
        block = np.ascontiguousarray(self.array[where])
        digest = xxh3_64_intdigest(block.data) if block.size else 0
        if block.size and self._digests.get(place) != digest:
            self._digests[place] = digest
            self._parts[place] = tally_block(block, None if self.values is None else self.values[where], place)
            self._changed = True

    def middle(self, label: int) -> np.ndarray:
        """(axes,) float, the middle of the object's window on the middle one of the planes that it lies on."""
        found = [
            (tuple(part.starts[row, :-2]), part.starts[row, -2:], part.stops[row, -2:])
            for part in self._parts.values()
            for row in np.flatnonzero(part.labels == label)
        ]
        planes = sorted({plane for plane, _, _ in found})
        plane = planes[len(planes) // 2]
        start = np.min([start for where, start, _ in found if where == plane], axis=0)
        stop = np.max([stop for where, _, stop in found if where == plane], axis=0)
        return np.concatenate([np.array(plane, float), (start + stop - 1) / 2])
