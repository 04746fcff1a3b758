"""Propagation of objects from the slices on which they are known through the stack, slice by slice.

From a slice to the next, optical flow warps each mask (:mod:`napari_segany.core.optical_flow`), the model is prompted
there with a box and a point, and its mask and the expected one are combined: the model's mask counts as much as the
model is confident. Known slices stay as they are. A model with a memory of its own predicts the masks from that
(:mod:`napari_segany.core.object_memory`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from napari_segany.core.confidence import FILLED, LOST, Gates, SliceConfidence
from napari_segany.core.errors import InputError
from napari_segany.core.mask_fusion import (
    FusedMask,
    ObjectTrack,
    agreement,
    fuse_masks,
    prompt_from_mask,
    resolve_overlaps,
)
from napari_segany.core.masks import Mask
from napari_segany.core.metrics import iou
from napari_segany.core.object_memory import RememberedMasks, as_remembering
from napari_segany.core.object_tracks import Known as Known
from napari_segany.core.object_tracks import Track, tracks_of
from napari_segany.core.optical_flow import Projection, estimate_drift, interpolate_masks, project_mask, to_gray
from napari_segany.core.planes import Region
from napari_segany.core.segmenter import ImageEmbedding, Segmenter

Step = tuple[int, dict[int, Mask], dict[int, SliceConfidence]]
"""A plane, and for each label its mask and what is to be thought of it; a lost object has a verdict and no mask."""
Answers = Callable[[int, Callable[[], ImageEmbedding], Sequence[tuple[Track, Projection]]], dict[int, FusedMask]]
"""From a place, what encodes it, and where objects are expected, to their masks, which may still overlap."""
GONE = SliceConfidence(0.0, (LOST,))


class Planes(Protocol):
    """What propagation needs of a stack; :class:`~napari_segany.core.planes.Stack` provides it."""

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns of each plane."""

    def __len__(self) -> int:
        """How many planes there are."""

    def plane(self, number: int, /) -> np.ndarray:
        """(y, x, 3) uint8."""


def propagate(
    segmenter: Segmenter,
    stack: Planes,
    known: Known,
    numbers: Sequence[int] | None = None,
    gates: Gates | None = None,
    embed: Callable[[int], ImageEmbedding] | None = None,
) -> Iterator[Step]:
    """Propagate objects through a stack, all objects of a slice at once.

    Parameters
    ----------
    segmenter : Segmenter
        The model, called once for each slice; one with the capability ``memory`` once for each object and slice.
    stack : Planes
        Source of the planes; at most a few are in memory.
    known : mapping of int to mapping of int to ndarray
        For each annotated plane, the masks (y, x) bool of its labels. They are never changed, nor yielded. Between two
        known masks, an object is propagated from both; an empty mask ends it.
    numbers : sequence of int, optional
        Planes to go through, in the order in which they are neighbours; by default all. So time at one depth of a
        (t, z, y, x) stack is ``range(z, len(stack), depths)``.
    gates : Gates, optional
        When an object counts as lost; by default those of the segmenter.
    embed : callable, optional
        Plane number to its embedding, from a cache; by default each is computed. A slice is encoded once for each
        direction in which objects cross it: once, where all start from the same slices.

    Yields
    ------
    plane : int
        Its number. Upward first, then downward; slices that are filled later come before the slice on which the object
        was found again.
    masks : dict of int to Mask
        For each label that was found. No two of them share a pixel.
    verdicts : dict of int to SliceConfidence
        For each label that was searched for.

    Raises
    ------
    InputError
        When `known` names planes that are not among `numbers`, or masks that are no masks of them; before anything is
        read.

    Notes
    -----
    The rest is cancelled when the iteration stops. Memory does not grow with the number of slices, except for compact
    masks between two known slices of an object.
    """
    order = list(range(len(stack)) if numbers is None else numbers)
    _check(known, order, stack)
    places = {plane: place for place, plane in enumerate(order)}
    given = {places[plane]: masks for plane, masks in known.items()}
    walk = _Walk(segmenter, stack, order, given, gates or segmenter.capabilities.gates, embed)
    return walk.both_ways()


def _check(known: Known, order: Sequence[int], stack: Planes) -> None:
    if len(set(order)) < len(order) or not all(0 <= plane < len(stack) for plane in order):
        raise InputError(f"planes to go through lie within 0 and {len(stack) - 1}, each once")
    for plane, masks in known.items():
        if plane not in order:
            raise InputError(f"plane {plane} was annotated, but is not among those to go through")
        for label, pixels in masks.items():
            if pixels.dtype != np.bool_ or pixels.shape != tuple(stack.plane_shape):
                raise InputError(f"object {label} on plane {plane} needs a bool mask of {tuple(stack.plane_shape)}")
    if not any(pixels.any() for masks in known.values() for pixels in masks.values()):
        raise InputError("there is nothing to follow: no mask has a pixel")


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """Through the places of an order of planes, with what is needed on the way."""

    segmenter: Segmenter
    stack: Planes
    order: Sequence[int]
    given: Known
    gates: Gates
    embed: Callable[[int], ImageEmbedding] | None

    def both_ways(self) -> Iterator[Step]:
        """All of it, upward first."""
        tracks = tracks_of(self.given, len(self.order))
        model = as_remembering(self.segmenter)
        answers = (
            self._prompted if model is None else RememberedMasks(model, self.given, self._embedded, len(self.order))
        )
        for way in (1, -1):
            yield from self.sweep([one for one in tracks if one.backward == (way < 0)], way, answers)

    def sweep(self, tracks: Sequence[Track], way: int, answers: Answers) -> Iterator[Step]:
        """One direction: all tracks, each from where it starts."""
        waiting = sorted(tracks, key=lambda one: way * one.start)
        active: list[Track] = []
        place, last = 0, np.zeros((0, 0), np.float32)
        while waiting or active:
            if not active:
                place, last = waiting[0].start, self._gray(waiting[0].start)
            begun = [one for one in waiting if one.start == place]
            for one in begun:
                one.at, one.seen, one.far = place, last, self._from_afar(one)
            waiting = waiting[len(begun) :]
            place += way
            active += begun
            yield from self._filled([(one, _as_given(one.target)) for one in active if one.arrives(place)], place)
            active = [one for one in active if one.stop != place]
            if active:
                last = yield from self._slice(place, active, answers)
            active = [one for one in active if one.target is not None or abs(place - one.at) <= self.gates.gap]

    def _gray(self, place: int) -> np.ndarray:
        return to_gray(self.stack.plane(self.order[place]))

    def _from_afar(self, track: Track) -> dict[int, tuple[Region, np.ndarray]]:
        """Where the motion alone puts an object, from the far end of its way to the near one."""
        found: dict[int, tuple[Region, np.ndarray]] = {}
        if track.target is None:
            return found
        pixels, before = track.target, self._gray(track.stop)
        for place in range(track.stop - 1, track.start, -1):
            after = self._gray(place)
            seen = project_mask(before, after, pixels, estimate_drift(before, after))
            inside = seen.level > 0
            if not inside.any():
                break
            found[place] = seen.window, inside
            pixels, before = np.zeros_like(pixels), after
            pixels[seen.window] = inside
        return found

    def _slice(self, place: int, tracks: Sequence[Track], answers: Answers) -> Generator[Step, None, np.ndarray]:
        """Search for all objects of a slice; returns the slice, gray."""
        number = self.order[place]
        plane = self.stack.plane(number)
        now = to_gray(plane)
        drawn = answers(place, partial(self._embedded, place, plane), self._expected(place, now, tracks))
        found = resolve_overlaps(drawn, self._taken(place), self.gates)
        masks = {label: one.mask for label, one in found.items() if LOST not in one.verdict.flags}
        yield from self._filled([(one, masks[one.label]) for one in tracks if one.label in masks], place)
        yield number, masks, {one.label: found[one.label].verdict if one.label in found else GONE for one in tracks}
        for one in tracks:
            if one.label in masks:
                one.pixels, one.seen, one.at = masks[one.label].pixels, now, place
                one.unrest = found[one.label].unrest
        return now

    def _expected(self, place: int, now: np.ndarray, tracks: Sequence[Track]) -> list[tuple[Track, Projection]]:
        """Where each object should be."""
        drifts: dict[int, tuple[int, int]] = {}
        expected = []
        for one in tracks:
            if one.at not in drifts:
                drifts[one.at] = estimate_drift(one.seen, now)
            seen = project_mask(one.seen, now, one.pixels, drifts[one.at])
            seen = agreement(seen, one.far.get(place), (place - one.start) / (one.stop - one.start))
            expected.append((one, seen))
        return expected

    def _embedded(self, place: int, plane: np.ndarray | None = None) -> ImageEmbedding:
        number = self.order[place]
        if self.embed is not None:
            return self.embed(number)
        return self.segmenter.embed(self.stack.plane(number) if plane is None else plane)

    def _prompted(
        self, place: int, embed: Callable[[], ImageEmbedding], expected: Sequence[tuple[Track, Projection]]
    ) -> dict[int, FusedMask]:
        """The model's masks of all objects, combined with the expected ones."""
        expected = [(one, seen) for one, seen in expected if (seen.level > 0).any()]
        if not expected:
            return {}
        answers = self.segmenter.segment(embed(), [prompt_from_mask(seen) for _, seen in expected], candidates=1)
        found = {}
        for (one, seen), masks in zip(expected, answers, strict=True):
            answer = masks[0] if masks else None
            past = ObjectTrack(one.pixels, one.unrest, one.target is not None, one.steps(place))
            found[one.label] = fuse_masks(seen, answer, past, self.gates.score_power)
        return found

    def _taken(self, place: int) -> np.ndarray:
        """Pixels that were given to an object."""
        taken = np.zeros(self.stack.plane_shape, bool)
        for pixels in self.given.get(place, {}).values():
            taken |= pixels
        return taken

    def _filled(self, back: Sequence[tuple[Track, Mask]], place: int) -> Iterator[Step]:
        """Slices on which objects were missed that are back now, with the masks that they have at a place."""
        for missed in sorted({at for one, _ in back for at in _range(one.at, place)}, key=lambda at: abs(at - place)):
            free, masks, verdicts = ~self._taken(missed), {}, {}
            for one, now in back:
                if missed in _range(one.at, place):
                    pixels = interpolate_masks(one.pixels, now.pixels, (missed - one.at) / (place - one.at))
                    masks[one.label] = replace(now, pixels=pixels & free)
                    # The more both ends are alike, the less can be wrong between them.
                    verdicts[one.label] = SliceConfidence(iou(one.pixels, now.pixels), (FILLED,))
            yield self.order[missed], masks, verdicts


def _as_given(pixels: np.ndarray | None) -> Mask:
    if pixels is None:
        raise ValueError("nothing was given there")
    return Mask(pixels, 1.0, np.zeros((0, 0), np.float32))


def _range(start: int, stop: int) -> range:
    """Places between two, whichever comes first."""
    return range(min(start, stop) + 1, max(start, stop))
