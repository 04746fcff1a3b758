"""Objects of a Labels layer slice by slice: what is known of them, and what was found of them by following."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Labels

from napari_segany.core.confidence import LOST, MERGE, SPLIT, SliceConfidence
from napari_segany.core.views import View

Place = tuple[int, View]
"""A label and a plane."""
Mark = tuple[int, float, float]
GONE: Mark = (0, 0.0, 0.0)
SMALL = 2**20
"""Labels up to it are counted in a table."""
PRIME = 8191
"""Places are taken by their rest of it before they are squared, so that the sums are exact."""


def planes_along(view: View, length: int, *, up: bool, down: bool, reach: int = 0) -> list[View]:
    """The planes one behind the other along the last axis that is not shown, this one among them.

    Parameters
    ----------
    view : View
        The plane to begin at; it has such an axis.
    length : int
        Of that axis.
    up, down : bool
        Whether planes of higher and of lower positions are wanted.
    reach : int
        How far, 0 for as far as there are any.
    """
    axis = view.leading[-1]
    here = view.position[axis]
    far = reach or length
    first = max(here - far, 0) if down else here
    last = min(here + far, length - 1) if up else here
    return [
        replace(view, position=(*view.position[:axis], place, *view.position[axis + 1 :]))
        for place in range(first, last + 1)
    ]


class PropagatedObjects:
    """Objects that were propagated to slices, and which of them are unchanged since.

    Attributes
    ----------
    verdicts : dict of (int, View) to SliceConfidence
        Confidence in each object on each slice.
    """

    def __init__(self) -> None:
        self.verdicts: dict[Place, SliceConfidence] = {}
        self._marks: dict[Place, Mark] = {}
        self._visited: set[Place] = set()

    def note(self, labels: Labels, view: View, verdicts: Mapping[int, SliceConfidence]) -> None:
        """Record the objects that were just painted on a plane."""
        marks = _marks(view.read(labels.data))
        for label, verdict in verdicts.items():
            self.verdicts[label, view] = verdict
            self._marks[label, view] = marks.get(label, GONE)
            self._visited.discard((label, view))

    def untouched(self, labels: Labels, place: Place) -> bool:
        """Whether an object on a plane is unchanged since it was propagated."""
        label, view = place
        return place in self._marks and self._marks[place] == _marks(view.read(labels.data)).get(label, GONE)

    def depending(self, labels: Labels, wanted: Iterable[int], views: Sequence[View], here: View) -> list[Place]:
        """Return the places that were propagated from `here`, up to a changed one; they are propagated again."""
        places = []
        start = views.index(here)
        for way in (views[start + 1 :], views[:start][::-1]):
            going = set(wanted)
            for view in way:
                known = {label for label in going if (label, view) in self._marks}
                marks = _marks(view.read(labels.data)) if known else {}
                going = {label for label in known if self._marks[label, view] == marks.get(label, GONE)}
                places += [(label, view) for label in sorted(going)]
                if not going:
                    break
        return places

    def forget(self, places: Iterable[Place]) -> None:
        """Remove the records of these places."""
        for place in places:
            self.verdicts.pop(place, None)
            self._marks.pop(place, None)

    def uncertain(self, below: float) -> list[Place]:
        """Return the places to check: objects with low confidence, split or merged, the worst first.

        An object that ended is not uncertain, unless it appears again later; then the gap was filled.
        """
        there = [(verdict.confidence, place) for place, verdict in self.verdicts.items() if _doubted(verdict, below)]
        there.sort(key=lambda one: one[0])
        return [place for _, place in there]

    def next_uncertain(self, labels: Labels, below: float) -> Place | None:
        """The worst unchanged place that was not shown yet; when all were shown, the worst again."""
        places = self.uncertain(below)
        fresh = [place for place in places if place not in self._visited]
        found = next((place for place in fresh if self.untouched(labels, place)), None)
        if found is None:
            self._visited.clear()
            found = next((place for place in places if self.untouched(labels, place)), None)
        if found is not None:
            self._visited.add(found)
        return found

    def table(self) -> Any:
        """A DataFrame, a row for each object and slice: label, position before y and x, confidence and flags."""
        # napari has imported it where there are objects; the dock widget opens without
        import pandas as pd  # type: ignore[import-untyped]

        columns = ("label", "position", "confidence", "flags")
        rows = [
            (label, view.position, verdict.confidence, ", ".join(verdict.flags))
            for (label, view), verdict in self.verdicts.items()
        ]
        return pd.DataFrame(sorted(rows), columns=columns)

    def remarks(self, below: float) -> dict[int, tuple[str, float]]:
        """Return a remark for each object in the table, and its expected IoU on the slice with the lowest confidence.

        The remark is empty for a certain object, the number NaN for an object that was not found. All objects are
        handled in one pass, as there may be thousands.
        """
        own: dict[int, list[SliceConfidence]] = {}
        for (label, _), verdict in self.verdicts.items():
            own.setdefault(label, []).append(verdict)
        return {label: _remark(verdicts, below) for label, verdicts in own.items()}


def _remark(verdicts: Sequence[SliceConfidence], below: float) -> tuple[str, float]:
    count = sum(_doubted(verdict, below) for verdict in verdicts)
    flags = sorted({flag for verdict in verdicts for flag in verdict.flags if flag != LOST})
    uncertain = [f"uncertain on {count} slices"] if count else []
    sure = min((verdict.confidence for verdict in verdicts if LOST not in verdict.flags), default=math.nan)
    return ", ".join([*uncertain, *flags]), sure


def _doubted(verdict: SliceConfidence, below: float) -> bool:
    unclear = {SPLIT, MERGE} & set(verdict.flags)
    return LOST not in verdict.flags and (verdict.confidence < below or bool(unclear))


def present_labels(plane: np.ndarray) -> list[int]:
    """The labels (rows, columns) of a plane, without 0; a pass over it where they are small numbers, as they are."""
    if plane.max(initial=0) > SMALL:
        return [int(label) for label in np.unique(plane) if label]
    counts = np.bincount(plane.ravel())
    found: list[int] = (np.flatnonzero(counts[1:]) + 1).tolist()
    return found


def _marks(plane: np.ndarray) -> dict[int, Mark]:
    """What each label of a plane is known again by: how many pixels it has, and the sums of where and of its squares.

    All labels at once, so that it takes no longer where there are many of them.
    """
    places = np.flatnonzero(plane)
    labels, numbers = np.unique(plane.ravel()[places], return_inverse=True)
    sums = [np.bincount(numbers, weights) for weights in (None, places.astype(float), (places % PRIME) ** 2.0)]
    return {
        int(label): (int(count), float(where), float(squares))
        for label, count, where, squares in zip(labels, *sums, strict=True)
    }
