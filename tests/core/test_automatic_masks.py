"""Automatic masks without a model; that they are those of the reference is tested beside the models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segany.core.automatic_masks import (
    Candidate,
    Grid,
    clean_mask,
    filter_candidates,
    generate_candidates,
    grid_points,
    near_first,
    paint_candidates,
    suppress_overlaps,
)
from napari_segany.core.filters import Filters
from napari_segany.core.prompts import Point, Prompt
from tests.fakes import FakeSegmenter, KnowingSegmenter

PLANE = np.zeros((60, 80, 3), np.uint8)
WHOLE = (slice(0, 60), slice(0, 80))


def square(y: int, x: int, side: int, score: float = 0.9) -> Candidate:
    window = (slice(y, y + side), slice(x, x + side))
    return Candidate.of(window, np.ones((side, side), bool), score, 1.0, Prompt((Point(y, x),)), WHOLE)


def test_every_point_of_the_grid_is_asked_in_batches() -> None:
    segmenter = FakeSegmenter(radius=4)
    steps = list(generate_candidates(segmenter, PLANE, Grid(9)))
    asked = [prompt.points[0] for batch in segmenter.asked for prompt in batch]
    assert [len(batch) for batch in segmenter.asked] == [32, 32, 17]
    assert asked == grid_points((60, 80), 9)
    assert (asked[0].y, asked[0].x) == pytest.approx((60 / 18, 80 / 18))
    assert [done for done, _ in steps] == [32 / 81, 64 / 81, 1.0]
    assert sum(len(found) for _, found in steps) == 3 * 81


def test_what_is_not_drawn_any_more_is_not_asked() -> None:
    segmenter = FakeSegmenter()
    for _ in generate_candidates(segmenter, PLANE, Grid(32)):
        break
    assert len(segmenter.asked) == 1


def test_candidates_that_are_worth_little_are_left_out() -> None:
    found = [one for _, batch in generate_candidates(FakeSegmenter(4), PLANE, Grid(2), least=0.85) for one in batch]
    assert [one.score for one in found] == [0.9] * 4


def test_a_segmenter_that_knows_where_things_are_is_not_asked_elsewhere() -> None:
    segmenter = KnowingSegmenter([Point(20, 20), Point(40, 60)], radius=5)
    steps = list(generate_candidates(segmenter, PLANE))
    assert [len(batch) for batch in segmenter.asked] == [2]
    # one mask for each, the best
    assert [one.score for _, batch in steps for one in batch] == [0.9, 0.9]
    labels, objects = paint_candidates(
        filter_candidates(steps[0][1], segmenter.capabilities.filters, (60, 80)), (60, 80)
    )
    assert [labels[20, 20], labels[40, 60], labels[0, 0]] == [1, 2, 0]
    assert len(objects) == 2
    # asked for a grid, it is asked on a grid
    list(generate_candidates(segmenter, PLANE, Grid(2)))
    assert len(segmenter.asked[-1]) == 4


def test_masks_are_dropped_where_a_crop_cuts_them_but_not_at_the_border() -> None:
    found = [
        one
        for _, batch in generate_candidates(FakeSegmenter(5), np.zeros((200, 200, 3), np.uint8), Grid(4, 1))
        for one in batch
    ]
    inner = [one for one in found if one.crop != (slice(0, 200), slice(0, 200))]
    assert inner
    for one in inner:
        for window, crop in zip(one.window, one.crop, strict=True):
            assert crop.start == 0 or window.start - crop.start > 20
            assert crop.stop == 200 or crop.stop - window.stop + 1 > 20
    assert any(one.window[0].start == 0 or one.window[0].stop > 190 for one in inner)


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (Filters(stability=0.0), [0, 1, 3]),
        (Filters(score=0.92), [0, 3]),
        (Filters(smallest=101), [3]),
        (Filters(largest=100), [0, 1]),
        (Filters(whole=True), [0, 2, 3]),
        (Filters(box_overlap=0.95), [0, 1, 2, 3]),
        (Filters(stability=1.1), []),
    ],
)
def test_filters_need_no_model(filters: Filters, left: list[int]) -> None:
    candidates = [square(10, 10, 10, 0.95), square(40, 0, 10, 0.9), square(40, 1, 10, 0.89), square(20, 40, 16, 0.93)]
    found = filter_candidates(candidates, filters, (60, 80))
    assert {id(one) for one in found} == {id(candidates[i]) for i in left}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_of_equal_boxes_the_first_stays_and_boxes_without_area_are_never_alike() -> None:
    window = (slice(0, 5), slice(0, 5))
    dot = (slice(2, 3), slice(2, 3))
    assert suppress_overlaps([window, window], [0.5, 0.5], 0.7) == [0]
    assert suppress_overlaps([dot, dot], [0.5, 0.6], 0.7) == [1, 0]
    assert suppress_overlaps([], [], 0.7) == []


def test_one_object_is_painted_once_and_pixels_have_one_owner() -> None:
    best, inside, beside = square(10, 10, 20), square(15, 15, 5), square(10, 25, 20)
    labels, objects = paint_candidates([best, inside, beside], (60, 80))
    assert objects == [best, beside]
    assert (labels[10:30, 10:30] == 1).all()
    assert (labels[10:30, 30:45] == 2).all()
    assert np.count_nonzero(labels) == 400 + 300


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60), st.integers(1, 19)), max_size=12))
def test_painting_loses_no_object_that_it_lists(places: list[tuple[int, int, int]]) -> None:
    labels, objects = paint_candidates([square(*place) for place in places], (60, 80))
    assert set(np.unique(labels)) - {0} == set(range(1, len(objects) + 1))


def test_small_holes_are_filled_and_small_islands_taken_away() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:14, 2:14] = True
    mask[5, 5] = False
    mask[18, 18] = True
    region = (slice(0, 20), slice(0, 20))
    tidy = clean_mask(Candidate.of((slice(30, 50), slice(7, 27)), mask, 0.9, 1.0, Prompt(), region), 4)
    assert tidy.window == (slice(32, 44), slice(9, 21))
    assert tidy.mask.all()
    lone = Candidate.of((slice(0, 1), slice(0, 20)), np.eye(20, dtype=bool)[:1], 0.9, 1.0, Prompt(), region)
    assert clean_mask(lone, 100).area == 1


def test_a_pixel_of_a_candidate_is_a_bit() -> None:
    mask = np.random.default_rng(0).random((37, 53)) < 0.4
    one = Candidate.of((slice(5, 42), slice(7, 60)), mask, 0.9, 1.0, Prompt(), WHOLE)
    assert one.bits.nbytes <= mask.size / 8 + 1
    assert one.mask.dtype == bool
    np.testing.assert_array_equal(one.mask, mask)
    assert one.area == mask.sum()
    other = one.redrawn(one.window, ~mask)
    assert other.area == (~mask).sum()
    assert (other.score, other.prompt, other.crop) == (one.score, one.prompt, one.crop)


def test_tidy_masks_pass_the_filters_again() -> None:
    ragged = square(10, 10, 10, 0.95)
    pierced = ragged.mask
    pierced[4, 4] = False
    ragged = ragged.redrawn(ragged.window, pierced)
    twin = square(10, 10, 10, 0.9)
    (found,) = filter_candidates([ragged, twin], Filters(tidy=4, box_overlap=0.5), (60, 80))
    assert found.mask.all()
    assert filter_candidates([ragged], Filters(), (60, 80))[0] is ragged


@pytest.mark.parametrize("count", [0, 1, 32, 33, 100, 1000])
def test_prompts_near_each_other_are_in_one_batch(count: int) -> None:
    places = np.random.default_rng(count).uniform(0, 1000, (count, 2))
    prompts = [Prompt((Point(float(y), float(x)),)) for y, x in places]
    ordered = near_first(prompts, 32)
    assert sorted(map(id, ordered)) == sorted(map(id, prompts))
    if count == 1000:
        batches = [ordered[start : start + 32] for start in range(0, count, 32)]
        spans = [np.ptp([(p.points[0].y, p.points[0].x) for p in batch], axis=0).max() for batch in batches]
        assert np.median(spans) < 350
