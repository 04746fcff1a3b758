"""Objects followed through drawn stacks: discs that move, grow, split, merge, vanish and come back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_segany.core.confidence import (
    FILLED,
    FITTED,
    LOST,
    MERGE,
    SPLIT,
    ConfidenceCalibration,
    MaskChange,
    SliceConfidence,
    judge_mask,
    plain_confidence,
)
from napari_segany.core.errors import InputError
from napari_segany.core.masks import Mask
from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Prompt
from napari_segany.core.propagate import propagate
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.models.inference_config import tiny_inference_config
from napari_segany.models.sam.model import build_sam
from napari_segany.models.sam_segmenter import SamSegmenter
from tests.fakes import SeeingSegmenter

SIDE = 96
Disc = tuple[float, float, float]
"""y, x and radius."""


def disc(y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.indices((SIDE, SIDE))
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def drawn(slices: Iterable[Sequence[Disc]]) -> tuple[Stack, np.ndarray]:
    """A stack of bright discs on a dim, textured ground, and where it is bright."""
    bright = np.stack([np.any([disc(*one) for one in (*discs, (-99, -99, 1))], axis=0) for discs in slices])
    ground = np.random.default_rng(0).integers(0, 60, (SIDE, SIDE))
    return Stack(np.where(bright, 200, ground).astype(np.uint8), limits=(0, 255)), bright


def followed(
    stack: Stack, known: dict[int, dict[int, np.ndarray]], **options: object
) -> tuple[dict[int, dict[int, np.ndarray]], dict[int, dict[int, SliceConfidence]], SeeingSegmenter]:
    """All masks and verdicts, plane by plane, the last word of each counting."""
    segmenter = SeeingSegmenter()
    masks: dict[int, dict[int, np.ndarray]] = {}
    verdicts: dict[int, dict[int, SliceConfidence]] = {}
    for plane, found, opinions in propagate(segmenter, stack, known, **options):  # type: ignore[arg-type]
        masks.setdefault(plane, {}).update({label: mask.pixels for label, mask in found.items()})
        verdicts.setdefault(plane, {}).update(opinions)
    return masks, verdicts, segmenter


def test_moving_discs_are_followed_both_ways_with_one_encoding_and_one_batch_a_slice() -> None:
    stack, bright = drawn([[(30 + 2 * z, 30 + z, 8), (70 - z, 65, 6 + z / 2)] for z in range(9)])
    parts, _ = ndimage.label(bright[4])
    known = {4: {3: parts == parts[38, 34], 8: parts == parts[66, 65]}}
    masks, verdicts, segmenter = followed(stack, known)
    assert sorted(masks) == [0, 1, 2, 3, 5, 6, 7, 8]
    for z, found in masks.items():
        assert np.array_equal(found[3], disc(30 + 2 * z, 30 + z, 8))
        assert np.array_equal(found[8], disc(70 - z, 65, 6 + z / 2))
        assert verdicts[z][3].flags == verdicts[z][8].flags == ()
        assert verdicts[z][3].confidence > 0.8
    assert len(segmenter.embedded) == len(segmenter.asked) == 8
    assert {len(prompts) for prompts in segmenter.asked} == {2}


def test_slices_come_one_by_one_and_nothing_is_done_beyond_the_last_that_was_taken() -> None:
    stack, bright = drawn([[(40, 40, 9)]] * 50)
    segmenter = SeeingSegmenter()
    steps = propagate(segmenter, stack, {20: {1: bright[20]}})
    assert len(segmenter.embedded) == 0
    assert [next(steps)[0] for _ in range(3)] == [21, 22, 23]
    assert len(segmenter.embedded) == 3


def test_an_object_that_ends_is_lost_and_no_longer_asked_for() -> None:
    stack, bright = drawn([[(40, 40, 9)] if z < 4 else [] for z in range(12)])
    masks, verdicts, segmenter = followed(stack, {1: {1: bright[1]}})
    assert [z for z, found in masks.items() if found] == [2, 3, 0]
    assert {z for z, found in verdicts.items() if found[1].flags == (LOST,)} == {4, 5, 6}
    assert len(segmenter.embedded) == 6


@pytest.mark.parametrize("blank", ["black", "grey", "white", "noise"])
@pytest.mark.parametrize("left", [1, 3])
def test_an_object_ends_where_slices_are_blank(blank: str, left: int) -> None:
    """A model that draws its box is no reason to go on."""

    class Drawing(SeeingSegmenter):
        def _seen(self, parts: np.ndarray, prompt: Prompt) -> Mask:
            pixels = np.zeros(parts.shape, bool)
            box = prompt.box
            pixels[int(box.y0) : int(box.y1) + 1, int(box.x0) : int(box.x1) + 1] = True
            return Mask(pixels, 1.0, np.zeros((4, 4), np.float32), 1.0)

    stack, bright = drawn([[(40, 50, 12)]] * 9)
    planes = np.stack([stack.plane(z) for z in range(9)])
    middle = slice(4 - left, 5 + left) if left < 3 else slice(2, 7)
    fill = {"black": 0, "grey": 90, "white": 255, "noise": np.random.default_rng(1).integers(0, 3, planes.shape)}
    planes = np.where(np.isin(np.arange(9), range(9)[middle])[:, None, None, None], planes, fill[blank]).astype(
        np.uint8
    )
    known = {4: {1: bright[4]}}
    found = {z for z, masks, _ in propagate(Drawing(), Stack(planes, rgb=True), known) if 1 in masks}
    assert found == set(range(9)[middle]) - {4}


def test_the_calibration_is_that_of_the_model() -> None:
    signs = MaskChange(agreement=0.8, score=0.9, match=0.64, growth=0.1, unrest=0.1, steps=3)
    assert plain_confidence(signs) == pytest.approx(0.8 * 0.82)
    assert SamSegmenter(build_sam("vit_t"), "vit_t").capabilities.gates.calibration is None
    calibration = ConfidenceCalibration((0, 1, 0, 0, 0, 0))
    assert calibration.confidence(signs) == pytest.approx(1 / (1 + math.exp(-0.8)))
    fitted = tiny_inference_config().gates.calibration
    assert fitted is not None
    assert all(
        fitted.confidence(replace(signs, steps=n + 1)) < fitted.confidence(replace(signs, steps=n))
        for n in range(1, FITTED)
    ), "farther from what was given there is less to rely on"


def test_an_object_is_not_lost_for_being_far_from_where_it_was_given() -> None:
    gates, mask = tiny_inference_config().gates, np.ones((8, 8), bool)
    near, far = (MaskChange(0.9, 0.9, 0.9, 0.0, 0.1, steps=steps) for steps in (1, 1000))
    verdicts = [judge_mask(signs, mask, mask, gates) for signs in (near, far)]
    assert all(LOST not in verdict.flags for verdict in verdicts)
    assert verdicts[1].confidence < verdicts[0].confidence


def test_a_gap_of_two_slices_is_filled_when_the_object_is_back() -> None:
    stack, _ = drawn([[] if z in (3, 4) else [(40, 40 + z, 9)] for z in range(8)])
    masks, verdicts, _ = followed(stack, {0: {1: disc(40, 40, 9)}})
    for z in (3, 4):
        assert verdicts[z][1].flags == (FILLED,)
        truth = disc(40, 40 + z, 9)
        assert (masks[z][1] & truth).sum() / (masks[z][1] | truth).sum() > 0.85
    assert np.array_equal(masks[7][1], disc(40, 47, 9))


def test_a_split_is_flagged_and_both_parts_are_kept() -> None:
    stack, bright = drawn([[(40, 40, 10)]] * 3 + [[(40, 33, 6), (40, 47, 6)]] * 3)
    masks, verdicts, _ = followed(stack, {0: {1: bright[0]}})
    assert [verdicts[z][1].flags[:1] for z in (1, 2, 3, 4)] == [(), (), (SPLIT,), ()]
    assert np.array_equal(masks[3][1], bright[3])


def test_a_merge_is_flagged_and_no_pixel_is_given_twice() -> None:
    stack, bright = drawn([[(40, 30, 8), (40, 50, 8)]] * 3 + [[(40, 30, 8), (40, 50, 8), (40, 40, 8)]] * 2)
    masks, verdicts, _ = followed(stack, {0: {1: disc(40, 30, 8), 2: disc(40, 50, 8)}})
    assert verdicts[2][1].flags == verdicts[2][2].flags == ()
    assert MERGE in verdicts[3][1].flags
    assert MERGE in verdicts[3][2].flags
    for found in masks.values():
        assert not (found.get(1, False) & found.get(2, False)).any()  # type: ignore[union-attr]
    assert np.array_equal(masks[3][1] | masks[3][2], bright[3])


def test_between_two_given_slices_an_object_is_followed_from_both() -> None:
    # The model sees nothing in the middle; what is known on both sides bridges it.
    stack, _ = drawn([[] if 3 <= z <= 5 else [(40, 40, 6 + z)] for z in range(9)])
    masks, verdicts, segmenter = followed(stack, {0: {1: disc(40, 40, 6)}, 8: {1: disc(40, 40, 14)}})
    assert sorted(masks) == list(range(1, 8))
    assert [verdicts[z][1].flags == (FILLED,) for z in range(1, 8)] == [False, False, True, True, True, False, False]
    for z in (3, 4, 5):
        assert math.sqrt(masks[z][1].sum() / math.pi) == pytest.approx(6 + z, abs=0.5)
    assert np.array_equal(masks[7][1], disc(40, 40, 13))
    assert len(segmenter.embedded) == 7


def test_what_is_never_seen_between_two_given_slices_is_filled() -> None:
    stack, _ = drawn([[(40, 40, 8)], [], [], [], [], [(40, 40, 8)]])
    masks, verdicts, _ = followed(stack, {0: {1: disc(40, 40, 8)}, 5: {1: disc(40, 40, 8)}})
    assert all(np.array_equal(masks[z][1], disc(40, 40, 8)) for z in range(1, 5))
    assert all(verdicts[z][1].flags == (FILLED,) for z in range(1, 5))


def test_slices_that_were_given_are_neither_changed_nor_painted_over() -> None:
    stack, _ = drawn([[(40, 40, 10)]] * 6)
    known = {1: {1: disc(40, 40, 10)}, 3: {2: disc(40, 40, 5)}, 5: {1: np.zeros((SIDE, SIDE), bool)}}
    before = {plane: {label: mask.copy() for label, mask in masks.items()} for plane, masks in known.items()}
    masks, _, _ = followed(stack, known)
    assert 2 not in masks[3]
    assert not (masks[3][1] & known[3][2]).any()
    # an empty mask says that the object ends before it
    assert 1 not in masks.get(5, {})
    for plane, given in before.items():
        assert all(np.array_equal(known[plane][label], mask) for label, mask in given.items())


def test_a_stack_that_drifts_is_followed() -> None:
    scene = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 1, (SIDE, SIDE)), 2)
    scene = 60 * (scene - scene.min()) / np.ptp(scene)
    scene[disc(30, 30, 5)] = 200
    stack = Stack(np.stack([np.roll(scene, 14 * z, axis=1) for z in range(4)]).astype(np.uint8), limits=(0, 255))
    masks, _, _ = followed(stack, {0: {1: disc(30, 30, 5)}})
    assert [np.array_equal(masks[z][1], disc(30, 30 + 14 * z, 5)) for z in (1, 2, 3)] == [True] * 3


def test_time_at_one_depth_of_a_series() -> None:
    stack, bright = drawn([[(40, 40 + z // 2, 8)] if z % 2 else [] for z in range(8)])
    masks, _, segmenter = followed(stack, {1: {1: bright[1]}}, numbers=range(1, 8, 2))
    assert list(masks) == [3, 5, 7]
    assert all(np.array_equal(masks[z][1], bright[z]) for z in masks)
    assert len(segmenter.embedded) == 3


def test_embeddings_may_come_from_a_cache() -> None:
    stack, bright = drawn([[(40, 40, 8)]] * 4)
    maker, wanted = SeeingSegmenter(), []

    def embed(number: int) -> ImageEmbedding:
        wanted.append(number)
        return maker.embed(stack.plane(number))

    _, _, segmenter = followed(stack, {1: {1: bright[1]}}, embed=embed)
    assert (wanted, segmenter.embedded) == ([2, 3, 0], [])


@pytest.mark.parametrize(
    ("known", "numbers", "message"),
    [
        ({9: {1: disc(4, 4, 2)}}, None, "plane 9 was annotated"),
        ({0: {1: np.zeros((4, 4), bool)}}, None, "object 1 on plane 0 needs a bool mask"),
        ({0: {1: np.zeros((SIDE, SIDE), np.uint8)}}, None, "object 1 on plane 0 needs a bool mask"),
        ({0: {1: np.zeros((SIDE, SIDE), bool)}}, None, "nothing to follow"),
        ({}, None, "nothing to follow"),
        ({0: {1: disc(4, 4, 2)}}, (0, 0, 1), "each once"),
        ({0: {1: disc(4, 4, 2)}}, (0, 7), "within 0 and 2"),
    ],
)
def test_what_cannot_be_followed_is_said_at_once(
    known: dict[int, dict[int, np.ndarray]], numbers: Sequence[int] | None, message: str
) -> None:
    stack, _ = drawn([[], [], []])
    segmenter = SeeingSegmenter()
    with pytest.raises(InputError, match=message):
        propagate(segmenter, stack, known, numbers)
    assert not segmenter.embedded


def test_memory_and_reading_are_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each plane is read once, whatever their number."""
    stack, bright = drawn([[(40, 40, 8)]] * 30)
    read: list[int] = []
    whole: Callable[[int], np.ndarray] = stack.plane
    monkeypatch.setattr(stack, "plane", lambda number: (read.append(number), whole(number))[1])
    list(propagate(SeeingSegmenter(), stack, {0: {1: bright[0]}}))
    assert read == list(range(30))
