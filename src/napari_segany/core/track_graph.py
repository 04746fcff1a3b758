"""Objects of labelled frames as a graph: tracks with their parents, so that a division is one parent and its daughters.

In the labels an object has one number in all frames. Of its daughters one may keep that number, as linking by overlap
leaves it; in the graph the track of the mother ends at the division, and each daughter is a track with that parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import scipy

INSIDE = 0.5
"""Share of a daughter that lies on its mother of the frame before; and of the mother that lies under daughters."""
BALANCE = 0.3
"""Least size of a daughter, as a share of the largest one."""
SHRINK = 0.85
"""Largest size of a daughter, as a share of its mother."""
LIFE = 3
"""Frames that a daughter exists at least, unless the movie ends before."""

Parents = Mapping[int, int]
"""The label of the mother, by that of a daughter; 0 for an object that has none."""


@dataclass(frozen=True, slots=True)
class TrackSegment:
    """An object from its first frame to its last one, without a gap and without a division.

    Parameters
    ----------
    number : int
        From 1, in the order of labels and frames.
    label : int
        The number of the object in the labels.
    first, last : int
        Frames.
    parent : int
        The number of the segment before a gap, or of the mother; 0 for none.
    born : bool
        Whether it is a daughter of its parent.
    """

    number: int
    label: int
    first: int
    last: int
    parent: int = 0
    born: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class TrackGraph:
    """Where objects are in each frame, and which tracks they belong to.

    Parameters
    ----------
    labels, times : ndarray
        (n,) int: label and frame of each object in each frame, sorted by both.
    places : ndarray
        (n, 2 or 3) float: the middle, (z,) y, x in pixels.
    sizes : ndarray
        (n,) int: pixels.
    segments : tuple of TrackSegment
        In the order of their numbers.
    """

    labels: np.ndarray
    times: np.ndarray
    places: np.ndarray
    sizes: np.ndarray
    segments: tuple[TrackSegment, ...]

    @property
    def segment_numbers(self) -> np.ndarray:
        """(n,) int: the number of the segment of each object in each frame."""
        rows = self._rows()
        numbers = np.zeros(len(self.labels), np.int64)
        for one in self.segments:
            numbers[[rows[one.label, time] for time in range(one.first, one.last + 1)]] = one.number
        return numbers

    def edges(self) -> np.ndarray:
        """(m, 2) int: rows of an object in one frame and in the next frame in which it, or a daughter, is."""
        rows = self._rows()
        by_number = {one.number: one for one in self.segments}
        found = []
        for one in self.segments:
            found += [(rows[one.label, time], rows[one.label, time + 1]) for time in range(one.first, one.last)]
            if one.parent:
                mother = by_number[one.parent]
                found.append((rows[mother.label, mother.last], rows[one.label, one.first]))
        return np.array(sorted(found), np.int64).reshape(-1, 2)

    def tracks(self) -> tuple[np.ndarray, dict[int, list[int]]]:
        """The data and the ``graph`` of napari's Tracks layer.

        A track has the number of its label, also beyond a gap; a daughter that keeps the label of its mother, and all
        of that label after it, has the next number that is free.

        Returns
        -------
        ndarray
            (n, 2 + axes) float: number, t, (z,) y, x, sorted by number and time.
        dict of int to list of int
            The number of the parent of each daughter.
        """
        free = int(self.labels.max(initial=0)) + 1
        track_of: dict[int, int] = {}
        graph: dict[int, list[int]] = {}
        mothers = {one.number: one for one in self.segments}
        for one in self.segments:
            mother = mothers.get(one.parent)
            if mother is None or (one.born and mother.label != one.label):
                track_of[one.number] = one.label
            elif one.born:
                track_of[one.number], free = free, free + 1
            else:
                track_of[one.number] = track_of[one.parent]
        for one in self.segments:
            if one.born:
                graph[track_of[one.number]] = [track_of[one.parent]]
        numbers = np.array([track_of[number] for number in self.segment_numbers.tolist()], float)
        table = np.column_stack([numbers, self.times, self.places]) if len(numbers) else self._nothing()
        return table[np.lexsort((table[:, 1], table[:, 0]))], graph

    def _nothing(self) -> np.ndarray:
        return np.zeros((0, 2 + self.places.shape[1]))

    def _rows(self) -> dict[tuple[int, int], int]:
        pairs = zip(self.labels.tolist(), self.times.tolist(), strict=True)
        return {pair: row for row, pair in enumerate(pairs)}


def track_graph(
    labels: Iterable[np.ndarray], axes: int, parents: Parents | None = None, *, by_overlap: bool = True
) -> TrackGraph:
    """Measure the objects of all frames, and connect them to tracks.

    Parameters
    ----------
    labels : iterable of ndarray
        Frames, (y, x) or (z, y, x) integers, an object has one number in all of them, 0 is background; read once.
    axes : int
        2 or 3, those of a frame.
    parents : mapping of int to int, optional
        The label of the mother of each daughter, and 0 for objects that are known to have none.
    by_overlap : bool
        Whether mothers of other objects are found by overlap, see :class:`DivisionFinder`.
    """
    finder = DivisionFinder()
    rows: list[tuple[int, int, int, tuple[float, ...]]] = []
    for time, frame in enumerate(labels):
        frame = np.asarray(frame)
        there, sizes = _counted(frame)
        middles = scipy.ndimage.center_of_mass(frame > 0, frame, there)
        rows += [
            (label, time, size, tuple(map(float, middle)))
            for label, size, middle in zip(there.tolist(), sizes.tolist(), middles, strict=True)
        ]
        if by_overlap:
            finder.add(frame)
    rows.sort(key=lambda row: row[:2])
    known = {**finder.parents(), **(parents or {})}
    return TrackGraph(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[3] for row in rows], float).reshape(len(rows), axes),
        np.array([row[2] for row in rows], np.int64),
        track_segments([row[:2] for row in rows], known),
    )


def track_segments(there: Iterable[tuple[int, int]], parents: Parents) -> tuple[TrackSegment, ...]:
    """Tracks without gaps and divisions.

    Parameters
    ----------
    there : iterable of (int, int)
        Label and frame of each object in each frame, sorted.
    parents : mapping of int to int
        The label of the mother of each daughter. What is not in the frames before is no mother, and left out.
    """
    frames: dict[int, list[int]] = {}
    for label, time in there:
        frames.setdefault(label, []).append(time)
    births = {
        child: frames[child][0]
        for child, mother in parents.items()
        if child != mother and child in frames and mother in frames and frames[mother][0] < frames[child][0]
    }
    divisions: dict[int, set[int]] = {}
    for child, time in births.items():
        divisions.setdefault(parents[child], set()).add(time)
    pieces = [
        (label, piece, piece[0] in divisions.get(label, ()))
        for label, times in frames.items()
        for piece in _pieces(times, divisions.get(label, set()))
    ]
    return _connected(pieces, births, parents)


def _pieces(times: list[int], divisions: set[int]) -> list[tuple[int, int]]:
    """First and last frame of each piece of a track, which is cut at gaps, and where it divides."""
    pieces: list[tuple[int, int]] = []
    for time in times:
        if pieces and pieces[-1][1] == time - 1 and time not in divisions:
            pieces[-1] = pieces[-1][0], time
        else:
            pieces.append((time, time))
    return pieces


def _connected(
    pieces: list[tuple[int, tuple[int, int], bool]], births: Mapping[int, int], parents: Parents
) -> tuple[TrackSegment, ...]:
    """Pieces of tracks (label, frames, whether the label divided then), each with the piece that it came from."""
    of_label: dict[int, list[tuple[int, int]]] = {}
    for number, (label, (_, last), _) in enumerate(pieces, start=1):
        of_label.setdefault(label, []).append((last, number))

    def before(label: int, time: int) -> int:
        """The last piece of a label before a frame."""
        return max((number for last, number in of_label[label] if last < time), default=0)

    segments = []
    for number, (label, (first, last), divided) in enumerate(pieces, start=1):
        parent, born = before(label, first), divided
        if not parent and label in births:
            parent, born = before(parents[label], first), True
        segments.append(TrackSegment(number, label, first, last, parent, born and parent > 0))
    return tuple(segments)


@dataclass(slots=True, eq=False)
class DivisionFinder:
    """Takes labelled frames one after the other, and finds divisions by overlap.

    Several objects of a frame are daughters of one of the frame before when each lies on it by half at least, they
    cover half of it or more, each is smaller than it and none is a small fragment of the other, and each stays for
    ``LIFE`` frames. All but one of them begin in this frame; one may have the number of the mother.
    """

    _last: np.ndarray | None = None
    _seen: dict[int, int] = field(default_factory=dict)
    _found: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)
    _count: int = 0

    def add(self, labels: np.ndarray) -> None:
        """Take the next frame, (y, x) or (z, y, x) integers."""
        labels = np.asarray(labels)
        there = _counted(labels)[0].tolist()
        if self._last is not None:
            self._found += [
                (mother, self._count, daughters)
                for mother, daughters in _divided(self._last, labels, {one for one in there if one not in self._seen})
            ]
        for label in there:
            self._seen[label] = self._seen.get(label, 0) + 1
        self._last = labels.copy()
        self._count += 1

    def parents(self) -> dict[int, int]:
        """The label of the mother of each daughter, those that keep the mother's number aside."""
        found: dict[int, int] = {}
        for mother, time, daughters in self._found:
            life = min(LIFE, self._count - time)
            staying = [one for one in daughters if one == mother or self._seen[one] >= life]
            if len(staying) > 1:
                found |= {one: mother for one in staying if one != mother}
        return found


def found_divisions(labels: Iterable[np.ndarray]) -> dict[int, int]:
    """Mothers by their daughters, of linked frames, as far as overlap shows them; see :class:`DivisionFinder`."""
    finder = DivisionFinder()
    for frame in labels:
        finder.add(frame)
    return finder.parents()


def _divided(before: np.ndarray, after: np.ndarray, fresh: set[int]) -> list[tuple[int, tuple[int, ...]]]:
    """Mothers of a frame, and their daughters in the next one, where the objects `fresh` begin."""
    if not fresh:
        return []
    sizes = [dict(zip(*(part.tolist() for part in _counted(one)), strict=True)) for one in (before, after)]
    daughters: dict[int, dict[int, int]] = {}
    for mother, one, count in _shared(before, after):
        fits = (one in fresh or one == mother) and count >= INSIDE * sizes[1][one]
        if fits and sizes[1][one] <= SHRINK * sizes[0][mother]:
            daughters.setdefault(mother, {})[one] = count
    result = []
    for mother, each in daughters.items():
        largest = max(sizes[1][one] for one in each)
        good = {one: count for one, count in each.items() if sizes[1][one] >= BALANCE * largest}
        gone = mother in good or mother not in sizes[1]
        if gone and len(good) > 1 and sum(good.values()) >= INSIDE * sizes[0][mother]:
            result.append((mother, tuple(sorted(good))))
    return result


def _shared(before: np.ndarray, after: np.ndarray) -> list[tuple[int, int, int]]:
    """Labels of two frames that share pixels, and how many."""
    both = (before > 0) & (after > 0)
    old, old_places = np.unique(before[both], return_inverse=True)
    new, new_places = np.unique(after[both], return_inverse=True)
    pairs, counts = np.unique(old_places * max(len(new), 1) + new_places, return_counts=True)
    places = np.divmod(pairs, max(len(new), 1))
    return list(zip(old[places[0]].tolist(), new[places[1]].tolist(), counts.tolist(), strict=True))


def _counted(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a frame and their pixels, without the background."""
    values, counts = np.unique(labels, return_counts=True)
    return values[values > 0], counts[values > 0]
