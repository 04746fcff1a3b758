"""Outlines of masks as polygons along the edges of their pixels: filled again, they give back the very same mask."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
import scipy

Polygon = list[np.ndarray]
"""Rings of (n, 2) int (y, x) corners, not closed by a repeated one: the outline, then that of each hole."""

EAST, SOUTH, WEST, NORTH = range(4)


def outline(mask: np.ndarray, corner: tuple[int, int] = (0, 0)) -> list[Polygon]:
    """Polygons that cover a mask exactly.

    Coordinates count the corners of pixels, so that pixel (0, 0) reaches from (0, 0) to (1, 1). Pixels that only touch
    at a corner are separate pieces. No ring crosses or touches itself; rings of a mask meet in single corners at
    most, as the simple-features standard asks for. With x to the right and y down, outlines run clockwise, holes
    the other way: winding and even-odd rules both fill them rightly.

    Parameters
    ----------
    mask : ndarray
        (y, x) bool.
    corner : (y, x)
        Where the mask begins in its plane; added to all coordinates.

    Returns
    -------
    list of Polygon
        One for each 4-connected piece; none for an empty mask.
    """
    pieces, count = scipy.ndimage.label(mask)
    rings = [(piece, ring) for piece, loop in _loops(pieces) for ring in _parted(loop)]
    polygons: list[Polygon] = [[] for _ in range(count)]
    located = _located([ring for _, ring in rings], pieces.shape[1] + 1, corner)
    for (piece, _), (ring, outer) in zip(rings, located, strict=True):
        polygon = polygons[piece - 1]
        polygon.insert(0 if outer else len(polygon), ring)
    return polygons


def _loops(pieces: np.ndarray) -> Iterator[tuple[int, list[int]]]:
    """Closed ways along the edges of pieces, which lie on their right; each with its piece.

    A way is the numbers of the corners where it bends, counted row by row.
    """
    start, heading, owner = _edges(pieces)
    end = start + np.array([1, pieces.shape[1] + 1, -1, -pieces.shape[1] - 1])[heading]
    follow = _next_edges(start, heading, end)
    bends = (heading[follow] != heading).tolist()
    ends, follows = end.tolist(), follow.tolist()
    seen = bytearray(len(ends))
    for first in range(len(ends)):
        edge, way = first, []
        while not seen[edge]:
            seen[edge] = True
            if bends[edge]:
                way.append(ends[edge])
            edge = follows[edge]
        if way:
            yield int(owner[first]), way


def _edges(pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All edges of pixels where a piece ends: corner where each starts, heading, piece."""
    around = np.pad(pieces, 1)
    beyond = {
        EAST: (around[:-2, 1:-1], (0, 0)),
        SOUTH: (around[1:-1, 2:], (0, 1)),
        WEST: (around[2:, 1:-1], (1, 1)),
        NORTH: (around[1:-1, :-2], (1, 0)),
    }
    starts, headings, owners = [], [], []
    for heading, (other, (down, right)) in beyond.items():
        row, column = np.nonzero((pieces > 0) & (other == 0))
        starts.append((row + down) * (pieces.shape[1] + 1) + column + right)
        headings.append(np.full(len(row), heading))
        owners.append(pieces[row, column])
    return np.concatenate(starts), np.concatenate(headings), np.concatenate(owners)


def _next_edges(start: np.ndarray, heading: np.ndarray, end: np.ndarray) -> np.ndarray:
    """For each edge the one that goes on from it: to the right where it can, which stays with the same pixel."""
    where = np.full(4 * (max(end.max(initial=0), start.max(initial=0)) + 1), -1, dtype=np.int64)
    where[4 * start + heading] = np.arange(len(start))
    right, ahead, left = (where[4 * end + (heading + turn) % 4] for turn in (1, 0, 3))
    return np.where(right >= 0, right, np.where(ahead >= 0, ahead, left))


def _parted(way: list[int]) -> Iterator[list[int]]:
    """A way that comes through a corner twice, in ways that do not."""
    kept: list[int] = []
    place: dict[int, int] = {}
    for corner in way:
        if corner not in place:
            place[corner] = len(kept)
            kept.append(corner)
            continue
        again = place[corner]
        yield kept[again:]
        for other in kept[again + 1 :]:
            del place[other]
        del kept[again + 1 :]
    yield kept


def _located(rings: list[list[int]], width: int, corner: tuple[int, int]) -> Iterator[tuple[np.ndarray, bool]]:
    """Rings of numbered corners, `width` to a row, as (n, 2) int (y, x); and whether each runs clockwise, y down.

    The first of the corners lies at `corner`.
    """
    if not rings:
        return iter(())
    points = np.stack(np.divmod(np.fromiter(chain.from_iterable(rings), dtype=np.int64), width), axis=1) + corner
    ends = np.cumsum([len(ring) for ring in rings])
    starts = np.concatenate([[0], ends[:-1]])
    after = np.arange(1, len(points) + 1)
    after[ends - 1] = starts
    (y, x), (next_y, next_x) = points.T, points[after].T
    twice_the_area = np.add.reduceat(x * next_y - next_x * y, starts)
    return zip(np.split(points, starts[1:]), (twice_the_area > 0).tolist(), strict=True)
