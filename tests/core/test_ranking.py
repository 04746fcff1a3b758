"""Committed objects say which mask of a click is meant."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segany.core import ranking
from napari_segany.core.masks import Mask
from napari_segany.core.ranking import RankingConfig, RankingPrior, mask_features

PLANE = np.full((200, 200, 3), 40, np.uint8)


def disc(radius: float, y: float = 100, x: float = 100) -> np.ndarray:
    rows, columns = np.mgrid[:200, :200]
    inside: np.ndarray = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return inside


def mask(radius: float, score: float) -> Mask:
    return Mask(disc(radius), score, np.zeros((4, 4), np.float32), 1.0)


MASKS = [mask(8, 0.8), mask(20, 0.75), mask(60, 0.6)]


def test_without_objects_the_most_confident_is_shown() -> None:
    assert RankingPrior().best(PLANE, MASKS) == 0


@pytest.mark.parametrize(("radius", "expected"), [(8, 0), (20, 1), (60, 2)])
@pytest.mark.parametrize("count", [1, 3, 10])
def test_objects_of_one_size_choose_the_mask_of_that_size(radius: float, expected: int, count: int) -> None:
    prior = RankingPrior()
    for number in range(count):
        prior.add(PLANE, disc(radius * (1 + 0.01 * number)), MASKS)
    assert prior.best(PLANE, MASKS) == expected or (expected, count) == (2, 1)


def test_objects_of_all_sizes_choose_little() -> None:
    prior = RankingPrior()
    for radius in (4, 8, 16, 30, 60, 80):
        best = min(MASKS, key=lambda one: abs(int(one.pixels.sum()) - int(disc(radius).sum())))
        prior.add(PLANE, best.pixels if radius in (8, 60) else disc(radius), MASKS)
    assert prior.best(PLANE, [mask(8, 0.9), mask(20, 0.75)]) == 0


def test_a_prior_that_would_have_been_wrong_counts_nothing() -> None:
    prior = RankingPrior()
    # large and small objects in turn, and the predicted IoU was right each time
    for number in range(10):
        small = number % 2 == 0
        own = [mask(8, 0.8), mask(60, 0.7)] if small else [mask(60, 0.8), mask(8, 0.7)]
        prior.add(PLANE, own[0].pixels, own)
    assert prior.best(PLANE, [mask(60, 0.8), mask(8, 0.7)]) == 0
    assert prior.best(PLANE, [mask(8, 0.8), mask(60, 0.7)]) == 0


def test_empty_masks_are_no_objects_and_never_chosen() -> None:
    prior = RankingPrior()
    prior.add(PLANE, np.zeros((200, 200), bool))
    assert not prior.objects
    prior.add(PLANE, disc(20))
    empty = Mask(np.zeros((200, 200), bool), 0.99, np.zeros((4, 4), np.float32), 1.0)
    assert prior.best(PLANE, [empty, mask(20, 0.3)]) == 1


def test_features_are_of_the_mask() -> None:
    plane = PLANE.copy()
    plane[disc(20)] = 140
    area, bright, contrast, elongation = mask_features(plane, disc(20))
    assert area == pytest.approx(np.log(disc(20).sum()))
    assert (bright, contrast) == pytest.approx((140 / 255, 100 / 255))
    assert elongation == pytest.approx(0, abs=0.02)
    bar = np.zeros((200, 200), bool)
    bar[100:104, 50:130] = True
    assert mask_features(plane, bar)[3] == pytest.approx(np.log(20), abs=0.5)


def test_the_assumptions_are_those_of_the_model() -> None:
    prior = RankingPrior(RankingConfig(first_weight=0.0, usual_weight=0.0))
    prior.add(PLANE, disc(20), MASKS)
    assert prior.best(PLANE, MASKS) == 0
    prior.use(RankingConfig())
    assert prior.best(PLANE, MASKS) == 1
    for number in range(3):
        prior.add(PLANE, disc(20 + number), MASKS)
    prior.use(RankingConfig(first_weight=0.0, usual_weight=0.0))
    assert prior.best(PLANE, MASKS) == 1, "three objects choose the weight themselves"


def test_it_takes_no_time() -> None:
    prior = RankingPrior()
    for number in range(50):
        prior.add(PLANE, disc(20 + number % 5), MASKS)
    assert ranking.WEIGHTS[0] == 0
    assert prior.weight in ranking.WEIGHTS
