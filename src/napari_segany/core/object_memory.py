"""Propagation by the memory of a model, in place of a prompt on each slice.

SAM 2 and its successors remember what an object looked like on the slices before, and predict it on the next one from
that. The masks are the model's own; where they overlap, what is taken for lost, and the confidence are as of the other
way, for which the optical flow says where each object is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, cast

import numpy as np

from napari_segany.core.mask_fusion import FusedMask, ObjectTrack, unfused_mask
from napari_segany.core.masks import Mask
from napari_segany.core.object_tracks import Known, Track
from napari_segany.core.optical_flow import Projection
from napari_segany.core.segmenter import ImageEmbedding, Segmenter


class ObjectMemory(Protocol):
    """What a model remembers of one object on its way through a stack."""

    def give(self, place: int, embedding: ImageEmbedding, pixels: np.ndarray) -> None:
        """Remember the mask (y, x) bool that the object has at a place; before the first step."""

    def step(self, place: int, embedding: ImageEmbedding, *, backward: bool) -> Mask:
        """Predict the object at the place next to the last one, and remember it; empty where it is not seen."""


class RemembersObjects(Protocol):
    """A segmenter with the capability ``memory``."""

    def remember(self, length: int) -> ObjectMemory:
        """An empty memory, for a way of so many places."""


def as_remembering(segmenter: Segmenter) -> RemembersObjects | None:
    """The segmenter if it has the capability ``memory``, else None."""
    return cast("RemembersObjects", segmenter) if segmenter.capabilities.memory else None


class RememberedMasks:
    """Predicts all objects of a slice from their memories, one object after the other.

    Parameters
    ----------
    segmenter : RemembersObjects
        The model.
    given : mapping of int to mapping of int to ndarray
        Masks by place and label.
    embed : callable
        Place to its embedding.
    length : int
        How many places there are.
    """

    def __init__(
        self, segmenter: RemembersObjects, given: Known, embed: Callable[[int], ImageEmbedding], length: int
    ) -> None:
        self._segmenter, self._given, self._embed, self._length = segmenter, given, embed, length
        self._memories: dict[tuple[int, int], ObjectMemory] = {}

    def __call__(
        self, place: int, embed: Callable[[], ImageEmbedding], expected: Sequence[tuple[Track, Projection]]
    ) -> dict[int, FusedMask]:
        """Predict the objects on their way at a place."""
        found, embedding = {}, embed()
        for one, seen in expected:
            answer = self._memory(one).step(place, embedding, backward=one.backward)
            past = ObjectTrack(one.pixels, one.unrest, one.target is not None, one.steps(place))
            found[one.label] = unfused_mask(seen, answer, past)
        return found

    def _memory(self, track: Track) -> ObjectMemory:
        """The memory of an object between two slices on which it is known not to be; all its masks are in it."""
        own = {place: masks[track.label] for place, masks in self._given.items() if track.label in masks}
        ends = [place for place, pixels in own.items() if not pixels.any()]
        low = max((place for place in ends if place < track.start), default=-1)
        high = min((place for place in ends if place > track.start), default=self._length)
        key = track.label, low
        if key not in self._memories:
            memory = self._segmenter.remember(self._length)
            for place in sorted(place for place in own if low < place < high):
                memory.give(place, self._embed(place), own[place])
            self._memories[key] = memory
        return self._memories[key]
