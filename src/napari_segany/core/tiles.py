"""Planes that are too large to be encoded at once: windows at full resolution, and the joining of their masks.

A prompted object is predicted in a window around it, which grows until the object does not reach its edge. For
automatic masks the plane is covered by overlapping tiles: an object that lies within one tile is taken from there, and
pieces that are cut by edges of tiles are joined where they agree in the part that both tiles cover.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_segany.core.automatic_masks import Candidate
from napari_segany.core.masks import Mask, box_of
from napari_segany.core.planes import Region
from napari_segany.core.prompts import Box, Prompt
from napari_segany.core.segmenter import Segmenter

LARGE = 4096 * 4096
"""Pixels above which a plane is divided into tiles or windows."""
SIDE = 1024
"""Of a part, in pixels."""
OVERLAP = 256
"""Pixels that neighbouring tiles share; objects that are no larger lie whole in one of them."""
EDGE = 2
"""A mask that comes so close to an edge of its part, in pixels, may go on beyond it."""
AGREE = 0.5
"""IoU, where two tiles overlap, from which on two pieces are one object."""
SAME = 0.5
"""Of two masks that share so much of the smaller one, the one of lower rank is left out."""

PlaneOf = Callable[[Region], np.ndarray]
"""From rows and columns to that part of a plane, (y, x, 3) uint8; nothing else of it is read."""


def is_large(shape: tuple[int, int]) -> bool:
    """Return whether a plane of so many (rows, columns) is divided into tiles or windows."""
    return shape[0] * shape[1] > LARGE


def window_around(prompt: Prompt, shape: tuple[int, int], side: int = SIDE) -> Region:
    """Return the window of the plane in which a prompt is predicted.

    Parameters
    ----------
    prompt : Prompt
        With points, a box or a boolean mask.
    shape : tuple of int
        (y, x) of the plane.
    side : int
        Side of the window; it is larger where the prompt does not fit, with half as much around it.

    Returns
    -------
    tuple of slice
        Rows and columns, within the plane, centred on the prompt as far as the border of the plane allows.
    """
    low, high = _extent(prompt)
    found = []
    for first, last, length in zip(low, high, shape, strict=True):
        wanted = min(max(side, math.ceil(1.5 * (last - first + 1))), length)
        start = min(max(round((first + last) / 2 - wanted / 2), 0), length - wanted)
        found.append(slice(start, start + wanted))
    return found[0], found[1]


def _extent(prompt: Prompt) -> tuple[tuple[float, float], tuple[float, float]]:
    """First and last row and column of the prompt."""
    places = [(point.y, point.x) for point in prompt.points]
    boxes = [prompt.box, box_of(prompt.mask) if prompt.mask is not None and prompt.mask.dtype == np.bool_ else None]
    places += [corner for box in boxes if box for corner in ((box.y0, box.x0), (box.y1, box.x1))]
    if not places:
        raise ValueError("this prompt has no position")
    rows, columns = zip(*places, strict=True)
    return (min(rows), min(columns)), (max(rows), max(columns))


def shift_prompt(prompt: Prompt, window: Region) -> Prompt:
    """The same prompt in the coordinates of a part of the plane; logits of an earlier mask are left out."""
    y, x = window[0].start, window[1].start
    box, mask = prompt.box, prompt.mask
    return Prompt(
        tuple(replace(point, y=point.y - y, x=point.x - x) for point in prompt.points),
        None if box is None else Box(box.y0 - y, box.x0 - x, box.y1 - y, box.x1 - x),
        prompt.text,
        mask[window] if mask is not None and mask.dtype == np.bool_ else None,
    )


def reaches_edge(box: Box | None, window: Region, shape: tuple[int, int]) -> bool:
    """Whether what lies in a box, in pixels of a part, may go on beyond the part's edge, within the plane."""
    if box is None:
        return False
    sides = zip(((box.y0, box.y1), (box.x0, box.x1)), window, shape, strict=True)
    return any(
        (span.start > 0 and low < EDGE) or (span.stop < length and high >= span.stop - span.start - EDGE)
        for (low, high), span, length in sides
    )


def segment_in_window(
    segmenter: Segmenter, plane_of: PlaneOf, shape: tuple[int, int], prompt: Prompt, side: int = SIDE
) -> tuple[Region, list[Mask]]:
    """Predict the masks of a prompt on a large plane.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    plane_of : callable
        Gives windows of the plane.
    shape : tuple of int
        (y, x) of the plane.
    prompt : Prompt
        In pixels of the plane.
    side : int
        Of the first window; it is doubled while the best mask reaches an edge of it, up to ``LARGE`` pixels.

    Returns
    -------
    window : tuple of slice
        The last window.
    masks : list of Mask
        The most confident first, of the window's shape.
    """
    while True:
        window = window_around(prompt, shape, side)
        embedding = segmenter.embed(plane_of(window))
        masks = segmenter.segment(embedding, [shift_prompt(prompt, window)])[0]
        side *= 2
        # of several candidates one that is not shown must not make the part grow
        if not masks or not reaches_edge(box_of(masks[0].pixels), window, shape) or side * side > LARGE:
            return window, masks


def tile_grid(shape: tuple[int, int], side: int = SIDE, overlap: int = OVERLAP) -> list[Region]:
    """Tiles that cover a plane, row by row, each sharing at least `overlap` pixels with the next.

    Parameters
    ----------
    shape : tuple of int
        (y, x) of the plane.
    side : int
        Of a tile; smaller where the plane is.
    overlap : int
        Less than `side`.
    """
    along = []
    for length in shape:
        size = min(side, length)
        count = 1 if length <= side else math.ceil((length - overlap) / (side - overlap))
        starts = np.linspace(0, length - size, count).round().astype(int)
        along.append([slice(int(start), int(start) + size) for start in starts])
    return [(rows, columns) for rows in along[0] for columns in along[1]]


def placed(one: Candidate, tile: Region) -> Candidate:
    """A candidate of a tile, in pixels of the tile, as one of the plane, for :func:`merged`."""
    rows, columns = (
        slice(span.start + at.start, span.stop + at.start) for span, at in zip(one.window, tile, strict=True)
    )
    return replace(one, window=(rows, columns), crop=tile)


def merge_candidates(candidates: Sequence[Candidate], shape: tuple[int, int]) -> list[Candidate]:
    """What was found in all tiles as objects of the plane, without seams and each once.

    Parameters
    ----------
    candidates : sequence of Candidate
        From all tiles, each by :func:`placed`.
    shape : tuple of int
        (y, x) of the plane.

    Returns
    -------
    list of Candidate
        Objects within one tile first, then those that were joined, each the most confident first.
    """
    cut = [_reaches_edge(one, shape) for one in candidates]
    whole = [one for one, is_cut in zip(candidates, cut, strict=True) if not is_cut]
    joined = _joined([one for one, is_cut in zip(candidates, cut, strict=True) if is_cut])
    ranked = [*sorted(whole, key=lambda one: -one.score), *sorted(joined, key=lambda one: -one.score)]
    near, stay = _Near(), list[Candidate]()
    for one in ranked:
        others = near.of(one.window)
        if all(_shared(one, other) <= SAME * min(one.area, other.area) for other in others):
            near.add(one)
            stay.append(one)
    return stay


def _reaches_edge(one: Candidate, shape: tuple[int, int]) -> bool:
    (rows, columns), (top, left) = one.window, (one.crop[0].start, one.crop[1].start)
    box = Box(rows.start - top, columns.start - left, rows.stop - 1 - top, columns.stop - 1 - left)
    return reaches_edge(box, one.crop, shape)


def _joined(pieces: Sequence[Candidate]) -> list[Candidate]:
    """Pieces of one object made one."""
    group = list(range(len(pieces)))

    def root(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    near = _Near()
    places = {id(one): i for i, one in enumerate(pieces)}
    for i, one in enumerate(pieces):
        for other in near.of(one.window):
            if one.crop != other.crop and _agree(one, other):
                group[root(i)] = root(places[id(other)])
        near.add(one)
    together: dict[int, list[Candidate]] = {}
    for i, one in enumerate(pieces):
        together.setdefault(root(i), []).append(one)
    return [_union(parts) for parts in together.values()]


def _agree(one: Candidate, other: Candidate) -> bool:
    """Whether two pieces are alike in what both tiles see."""
    both = _overlap(one.crop, other.crop)
    if both is None:
        return False
    seen = [int(np.count_nonzero(_part(each, both))) for each in (one, other)]
    shared = _shared(one, other)
    return shared > 0 and shared >= AGREE * (sum(seen) - shared)


def _union(parts: Sequence[Candidate]) -> Candidate:
    largest = max(parts, key=lambda one: one.area)
    if len(parts) == 1:
        return largest
    rows, columns = (
        slice(min(one.window[axis].start for one in parts), max(one.window[axis].stop for one in parts))
        for axis in (0, 1)
    )
    mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
    for one in parts:
        inner = tuple(
            slice(span.start - whole.start, span.stop - whole.start)
            for span, whole in zip(one.window, (rows, columns), strict=True)
        )
        mask[inner] |= one.mask
    return largest.redrawn((rows, columns), mask)


def _overlap(first: Region, second: Region) -> Region | None:
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
    return None if rows.stop <= rows.start or columns.stop <= columns.start else (rows, columns)


def _part(one: Candidate, region: Region) -> np.ndarray:
    """The part of a candidate's mask that lies in a region of the plane."""
    here = _overlap(one.window, region)
    if here is None:
        return np.zeros((0, 0), bool)
    inner = tuple(slice(span.start - at.start, span.stop - at.start) for span, at in zip(here, one.window, strict=True))
    part: np.ndarray = one.mask[inner]
    return part


def _shared(one: Candidate, other: Candidate) -> int:
    """Pixels that both have."""
    both = _overlap(one.window, other.window)
    return 0 if both is None else int(np.count_nonzero(_part(one, both) & _part(other, both)))


@dataclass(slots=True, eq=False)
class _Near:
    """Candidates by where they lie, so that not all are compared with all."""

    cells: dict[tuple[int, int], list[Candidate]]

    def __init__(self) -> None:
        self.cells = {}

    def add(self, one: Candidate) -> None:
        for cell in _cells(one.window):
            self.cells.setdefault(cell, []).append(one)

    def of(self, window: Region) -> list[Candidate]:
        """All whose windows overlap one, each once, in the order in which they came."""
        found = {id(one): one for cell in _cells(window) for one in self.cells.get(cell, ())}
        return [one for one in found.values() if _overlap(one.window, window) is not None]


def _cells(window: Region) -> Iterator[tuple[int, int]]:
    rows, columns = (range(span.start // SIDE, (span.stop - 1) // SIDE + 1) for span in window)
    return ((row, column) for row in rows for column in columns)
