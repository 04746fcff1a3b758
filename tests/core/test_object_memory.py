"""Propagation by a memory: which slices it is shown, what it is asked, and what becomes of its masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from napari_segany.core.confidence import FILLED, LOST
from napari_segany.core.masks import Mask
from napari_segany.core.planes import Stack
from napari_segany.core.propagate import propagate
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from tests.fakes import FakeSegmenter

SIDE = 96


class SeenMemory:
    """Takes for the object the bright part that shares most pixels with its last mask, from whatever distance."""

    def __init__(self, log: list[tuple[str, int]]) -> None:
        self.log = log
        self.known: dict[int, np.ndarray] = {}

    def give(self, place: int, embedding: ImageEmbedding, pixels: np.ndarray) -> None:
        self.log.append(("given", place))
        self.known[place] = pixels

    def step(self, place: int, embedding: ImageEmbedding, *, backward: bool) -> Mask:
        self.log.append(("backward" if backward else "forward", place))
        last = self.known[min(self.known, key=lambda one: abs(one - place))]
        parts, count = ndimage.label(embedding.features["plane"][..., 0] > 127)
        shared = np.bincount(parts[last], minlength=count + 1)
        shared[0] = 0
        pixels = parts == np.argmax(shared) if shared.any() else np.zeros_like(last)
        if pixels.any():
            self.known[place] = pixels
        return Mask(pixels, 0.9, np.zeros((2, 2), np.float32))


class RememberingSegmenter(FakeSegmenter):
    capabilities = replace(Capabilities(), memory=True)

    def __init__(self) -> None:
        super().__init__()
        self.logs: list[list[tuple[str, int]]] = []

    def remember(self, length: int) -> SeenMemory:
        self.logs.append([])
        return SeenMemory(self.logs[-1])


def disc(y: float, x: float, radius: float = 9) -> np.ndarray:
    rows, columns = np.indices((SIDE, SIDE))
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def drawn(places: list[tuple[float, float] | None]) -> Stack:
    ground = np.random.default_rng(0).integers(0, 60, (SIDE, SIDE))
    planes = [np.where(disc(*place) if place else False, 200, ground) for place in places]
    return Stack(np.stack(planes).astype(np.uint8), limits=(0, 255))


def test_masks_are_the_memorys_both_ways_and_no_prompt_is_asked() -> None:
    stack = drawn([(30 + 3 * z, 40.0) for z in range(8)])
    segmenter = RememberingSegmenter()
    found = list(propagate(segmenter, stack, {3: {5: disc(39, 40)}}))
    assert [number for number, _, _ in found] == [4, 5, 6, 7, 2, 1, 0]
    for number, masks, verdicts in found:
        assert np.array_equal(masks[5].pixels, disc(30 + 3 * number, 40))
        assert verdicts[5].flags == ()
        assert verdicts[5].confidence > 0.7
    (log,) = segmenter.logs
    assert log == [("given", 3), *(("forward", z) for z in (4, 5, 6, 7)), *(("backward", z) for z in (2, 1, 0))]
    assert segmenter.asked == []


def test_all_corrections_are_given_before_the_first_step() -> None:
    stack = drawn([(30 + 2 * z, 40.0) for z in range(8)])
    segmenter = RememberingSegmenter()
    found = {number for number, _, _ in propagate(segmenter, stack, {5: {1: disc(40, 40)}, 2: {1: disc(34, 40)}})}
    assert found == {0, 1, 3, 4, 6, 7}
    (log,) = segmenter.logs
    assert log[:2] == [("given", 2), ("given", 5)]
    assert [place for kind, place in log if kind == "forward"] == [3, 4, 6, 7]


def test_an_empty_mask_parts_the_memories() -> None:
    stack = drawn([(30 + z, 40.0) for z in range(9)])
    segmenter = RememberingSegmenter()
    known = {1: {1: disc(31, 40)}, 4: {1: np.zeros((SIDE, SIDE), bool)}, 7: {1: disc(37, 40)}}
    numbers = [number for number, _, _ in propagate(segmenter, stack, known)]
    assert sorted(numbers) == [0, 2, 3, 5, 6, 8]
    assert [[place for kind, place in log if kind == "given"] for log in segmenter.logs] == [[1], [7]]


def test_a_gap_is_filled_and_a_longer_one_ends_the_object() -> None:
    places: list[tuple[float, float] | None] = [(40.0, 40.0)] * 10
    for gap in (2, 3):
        missing = [None if 3 <= z < 3 + gap else place for z, place in enumerate(places)]
        segmenter = RememberingSegmenter()
        flags: dict[int, tuple[str, ...]] = {}
        for number, _, verdicts in propagate(segmenter, drawn(missing), {1: {1: disc(40, 40)}}):
            flags[number] = verdicts[1].flags
        if gap == 2:
            assert flags[3] == flags[4] == (FILLED,)
            assert flags[9] == ()
        else:
            assert flags[3] == flags[4] == (LOST,)
            assert max(flags) < 9


def test_two_objects_share_no_pixel_and_leave_what_was_given() -> None:
    stack = drawn([(40.0, 40.0)] * 5)
    left, right = disc(40, 40), disc(40, 40)
    left[:, 40:], right[:, :40] = False, False
    segmenter = RememberingSegmenter()
    for number, masks, _ in propagate(segmenter, stack, {2: {1: left, 2: right}, 4: {2: right}}):
        total = np.sum([mask.pixels for mask in masks.values()], axis=0)
        assert total.max() <= 1
        assert number != 4 or not (masks[1].pixels & right).any()
    assert len(segmenter.logs) == 2


def test_other_models_are_prompted_as_before() -> None:
    segmenter = FakeSegmenter()
    list(propagate(segmenter, drawn([(40.0, 40.0)] * 3), {0: {1: disc(40, 40)}}))
    assert len(segmenter.asked) == 2
