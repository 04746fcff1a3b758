"""Ways of objects through a stack: from each slice on which one was given to the next such slice, or to the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from napari_segany.core.planes import Region

Known = Mapping[int, Mapping[int, np.ndarray]]
"""For each plane, and each label on it, its mask (y, x) bool; an empty one means that the object is not there."""


@dataclass(slots=True, eq=False)
class Track:
    """An object on its way: what was last seen of it, and where it is going.

    ``pixels`` and ``seen`` are its mask and the gray slice at place ``at``; ``start`` is the place that was given,
    ``stop`` the first one not to be reached, ``far`` what is known of it from the other end, place by place.
    """

    label: int
    start: int
    stop: int
    pixels: np.ndarray
    target: np.ndarray | None = None
    far: dict[int, tuple[Region, np.ndarray]] = field(default_factory=dict)
    at: int = 0
    unrest: float = 0.0
    seen: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    @property
    def backward(self) -> bool:
        """Whether it goes down."""
        return self.stop < self.start

    def steps(self, place: int) -> int:
        """Slices from the nearest place on which the object was given."""
        ends = [self.start] if self.target is None else [self.start, self.stop]
        return min(abs(place - end) for end in ends)

    def arrives(self, place: int) -> bool:
        """Whether the place is where the object was given again."""
        return self.stop == place and self.target is not None


def tracks_of(given: Known, length: int) -> list[Track]:
    """Where each object goes from each slice on which it was given, the first label first.

    Parameters
    ----------
    given : mapping of int to mapping of int to ndarray
        Masks by place and label.
    length : int
        How many places there are.
    """
    tracks = []
    for label in sorted({label for masks in given.values() for label in masks}):
        ends = sorted(place for place, masks in given.items() if label in masks)
        for place, following in zip([-1, *ends], [*ends, length], strict=True):
            first = given[place][label] if place >= 0 else None
            last = given[following][label] if following < length else None
            if first is not None and first.any():
                target = last if last is not None and last.any() else None
                tracks.append(Track(label, place, following, first, target))
            elif last is not None and last.any():
                tracks.append(Track(label, following, place, last))
    return [one for one in tracks if abs(one.stop - one.start) > 1]
