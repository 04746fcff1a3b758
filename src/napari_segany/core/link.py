"""Objects of single slices become objects of the whole stack: the same code for depth and for time.

An object is linked with at most one of the next slice, and with one of the slice after that where it was missed on one.
By overlap nothing divides: of two daughters one keeps the number, or none where neither overlaps enough, and the other
begins again; :mod:`~napari_segany.core.track_graph` finds such divisions. An :class:`Association` may decide instead,
and then tells daughters itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import scipy

from napari_segany.core.segmenter import ImageEmbedding

GATE = 0.3
"""Least IoU of an object with itself on the next slice."""
SKIP = 1
"""Slices on which an object may be missing."""

LIFE = 3
"""Slices on which a daughter is at least, unless the stack ends before."""

Node = tuple[int, int]
"""A slice, and a label on it."""


class Association(Protocol):
    """Decides which objects of two frames are one, by more than their overlap."""

    def describe(self, labels: np.ndarray, embedding: ImageEmbedding | None) -> Any:
        """Measure the objects of a frame (y, x); what is returned is handed to :meth:`link`."""

    def link(
        self, before: Any, after: Any, gap: int, among: tuple[set[int], set[int]]
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Label before and after of each object that is in both, and of mothers and their further daughters.

        Parameters
        ----------
        before, after : object
            From :meth:`describe`.
        gap : int
            Frames between them.
        among : pair of set of int
            Labels of each that are free.
        """


@dataclass(slots=True, eq=False)
class Linker:
    """Takes label images slice by slice and remembers only what links them.

    Parameters
    ----------
    gate : float
        Least IoU of an object with itself on the next slice, and on the one after a gap.
    skip : int
        Slices on which an object may be missing.
    association : Association, optional
        Decides instead of the overlap.
    """

    gate: float = GATE
    skip: int = SKIP
    association: Association | None = None
    _described: dict[int, Any] = field(default_factory=dict)
    _mothers: dict[Node, Node] = field(default_factory=dict)
    _recent: dict[int, SliceLabels] = field(default_factory=dict)
    _parent: dict[Node, Node] = field(default_factory=dict)
    _ends: set[Node] = field(default_factory=set)
    _count: int = 0

    def add(self, labels: np.ndarray, embedding: ImageEmbedding | None = None) -> None:
        """Take the next slice.

        Parameters
        ----------
        labels : ndarray
            (y, x) integers from 0, 0 is background; numbers need not have anything to do with those of other slices.
        embedding : ImageEmbedding, optional
            Of the slice; only an association uses it.
        """
        number, here = self._count, in_order(labels)
        self._recent[number] = here
        if self.association is not None:
            self._described[number] = self.association.describe(labels, embedding)
        self._parent |= {(number, label): (number, label) for label in here.values}
        free = set(here.values)
        for before in sorted(self._recent.keys() - {number}, reverse=True):
            known = {label for at, label in self._ends if at == before}
            pairs, daughters = self._linked(before, number, (known, free))
            for old, new in pairs:
                self._parent[number, new] = before, old
                self._ends.discard((before, old))
            self._mothers |= {(number, new): (before, old) for old, new in daughters}
            free -= {new for _, new in (*pairs, *daughters)}
        self._ends |= {(number, label) for label in here.values}
        for old in [at for at in self._recent if at < number - self.skip]:
            del self._recent[old]
            self._described.pop(old, None)
            self._ends = {end for end in self._ends if end[0] != old}
        self._count += 1

    def _linked(
        self, before: int, number: int, among: tuple[set[int], set[int]]
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        if self.association is None:
            return _pairs(self._recent[before], self._recent[number], self.gate, among), []
        return self.association.link(self._described[before], self._described[number], number - before - 1, among)

    def mothers(self, smallest_extent: int = 1, life: int = LIFE) -> dict[int, int]:
        """Numbers of mothers by those of their daughters, as an association found them.

        Parameters
        ----------
        smallest_extent : int
            As for :meth:`numbers`.
        life : int
            Slices on which a daughter is at least, unless the last slice is one of them.
        """
        numbers = self.numbers(smallest_extent)
        seen: dict[int, list[int]] = {}
        for place, here in enumerate(numbers):
            for number in here.values():
                seen.setdefault(number, []).append(place)
        found = {}
        for (at, label), (before, mother) in self._mothers.items():
            number, parent = numbers[at].get(label, 0), numbers[before].get(mother, 0)
            stays = number and (len(seen[number]) >= life or seen[number][-1] == self._count - 1)
            if stays and parent:
                found[number] = parent
        return found

    def mother_nodes(self) -> dict[Node, Node]:
        """Where mothers began, by where their daughters did, as an association found them."""
        return {self._root(child): self._root(mother) for child, mother in self._mothers.items()}

    def latest(self) -> dict[int, Node]:
        """Labels of the slice that was added last, and of each the slice and the label with which its object began."""
        last = self._count - 1
        here = self._recent[last].values if last in self._recent else []
        return {label: self._root((last, label)) for label in here}

    def numbers(self, smallest_extent: int = 1) -> list[dict[int, int]]:
        """For each slice, its labels and their numbers in the stack.

        Parameters
        ----------
        smallest_extent : int
            Objects that were found on fewer slices have the number 0.

        Returns
        -------
        list of dict of int to int
            Numbers count from 1 without a gap, in the order in which objects first appear, on
            a slice that of their first pixels: nothing depends on how the slices were numbered.
        """
        roots = {node: self._root(node) for node in self._parent}
        seen: dict[Node, int] = {}
        for root in roots.values():
            seen[root] = seen.get(root, 0) + 1
        kept = [root for root in seen if seen[root] >= smallest_extent]
        number = {root: place for place, root in enumerate(kept, start=1)}
        result: list[dict[int, int]] = [{} for _ in range(self._count)]
        for (at, label), root in roots.items():
            result[at][label] = number.get(root, 0)
        return result

    def _root(self, node: Node) -> Node:
        path = []
        while self._parent[node] != node:
            path.append(node)
            node = self._parent[node]
        # so that long objects do not make it slow
        self._parent |= dict.fromkeys(path, node)
        return node


def match_objects(
    before: np.ndarray, after: np.ndarray, gate: float, among: tuple[set[int], set[int]]
) -> list[tuple[int, int]]:
    """Which labels of two slices are one object: the assignment of the highest total IoU, none below `gate`.

    Parameters
    ----------
    before, after : ndarray
        (y, x) integers of one shape, 0 is background.
    gate : float
        Least IoU of a pair.
    among : pair of set of int
        Labels of each that are free.

    Returns
    -------
    list of (int, int)
        Label before and label after.
    """
    return _pairs(in_order(before), in_order(after), gate, among)


@dataclass(frozen=True, slots=True, eq=False)
class SliceLabels:
    """Labels of a slice and, (y, x), the place of each pixel's label among them from 1; 0 is background."""

    values: list[int]
    places: np.ndarray


def in_order(labels: np.ndarray) -> SliceLabels:
    """Labels in the order of their first pixels, so that ties do not hang on numbers."""
    values, flat = np.unique(labels, return_inverse=True) if labels.max() > labels.size else (None, labels)
    flat = flat.ravel()
    first = np.full(int(flat.max()) + 1, flat.size)
    # of several values for one place the last one stays: that of the first pixel
    first[flat[::-1]] = np.arange(flat.size)[::-1]
    there = [int(label) for label in np.argsort(first, kind="stable") if first[label] < flat.size]
    there = [label for label in there if (label if values is None else values[label])]
    table = np.zeros(len(first), np.int32)
    table[there] = np.arange(1, len(there) + 1)
    named = there if values is None else [int(values[label]) for label in there]
    return SliceLabels(named, table[flat].reshape(labels.shape))


def _pairs(
    before: SliceLabels, after: SliceLabels, gate: float, among: tuple[set[int], set[int]]
) -> list[tuple[int, int]]:
    rows, columns = (
        [place for place, label in enumerate(each.values) if label in free]
        for each, free in zip((before, after), among, strict=True)
    )
    if not rows or not columns:
        return []
    overlap = _overlaps(before, after)[np.ix_(rows, columns)]
    # What may not be linked costs as much as not being linked, so that it never pushes a good pair aside.
    cost = np.where(overlap >= gate, 1 - overlap, 1.0)
    chosen = zip(*scipy.optimize.linear_sum_assignment(cost), strict=True)
    good = [(i, j) for i, j in chosen if overlap[i, j] >= gate and overlap[i, j] > 0]
    return [(before.values[rows[i]], after.values[columns[j]]) for i, j in good]


def _overlaps(before: SliceLabels, after: SliceLabels) -> np.ndarray:
    """IoU of each pair of labels, (labels before, labels after)."""
    size = (len(before.values) + 1, len(after.values) + 1)
    both = before.places.astype(np.int64) * size[1] + after.places
    pairs = np.bincount(both.ravel(), minlength=size[0] * size[1]).reshape(size)
    shared = pairs[1:, 1:]
    union = pairs[1:].sum(1)[:, None] + pairs[:, 1:].sum(0) - shared
    overlap: np.ndarray = shared / union
    return overlap


def relabel_planes(labels: np.ndarray, numbers: Mapping[int, int]) -> np.ndarray:
    """A slice with the numbers of the stack: (y, x) integers -> (y, x) uint32, or uint64 where numbers are larger."""
    kind = np.uint32 if max(numbers.values(), default=0) < 2**32 else np.uint64
    if labels.max() <= labels.size:
        table = np.zeros(int(labels.max()) + 1, kind)
        for label, number in numbers.items():
            if label < len(table):
                table[label] = number
        new_labels: np.ndarray = table[labels]
        return new_labels
    values, flat = np.unique(labels, return_inverse=True)
    new = np.array([numbers.get(int(value), 0) for value in values], kind)
    return new[flat].reshape(labels.shape)


def link_planes(
    slices: Iterator[np.ndarray] | list[np.ndarray], linker: Linker | None = None, extent: int = 1
) -> np.ndarray:
    """All at once, for stacks that fit into memory.

    Parameters
    ----------
    slices : iterable of ndarray
        (y, x) integers each, of one shape.
    linker : Linker, optional
        With gates other than the usual ones; new, nothing added.
    extent : int
        Objects that were found on fewer slices are dropped.

    Returns
    -------
    ndarray
        (slices, y, x) uint32.
    """
    linker, kept = linker or Linker(), []
    for labels in slices:
        linker.add(labels)
        kept.append(labels)
    return np.stack([relabel_planes(one, numbers) for one, numbers in zip(kept, linker.numbers(extent), strict=True)])
