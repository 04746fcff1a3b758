"""Simulated users."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.experiments.datasets import Target, targets
from napari_segany.experiments.simulated_users import box_prompts, click_prompts, corrective_clicks
from tests.fakes import FakeSegmenter

PLANE = np.zeros((80, 120, 3), np.uint8)


def disc(y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.indices(PLANE.shape[:2])
    inside: np.ndarray = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return inside


def objects(*masks: np.ndarray) -> list[Target]:
    return targets(sum(number * mask.astype(int) for number, mask in enumerate(masks, start=1)))  # type: ignore[arg-type]


def test_one_click_and_the_oracle() -> None:
    fake = FakeSegmenter()
    found = objects(disc(30, 30, 10), disc(30, 60, 5), disc(30, 100, 15))
    scores = click_prompts(fake, fake.embed(PLANE), found)
    assert scores.oracle.tolist() == [1, 1, 1]
    assert scores.predicted is not None
    assert scores.predicted.tolist() == [0.9, 0.9, 0.9]
    assert scores.chosen[:, 0] == pytest.approx([1, 0.25, 0.44], abs=0.02)
    (asked,) = fake.asked
    assert [prompt.points for prompt in asked] == [(Point(30, 30),), (Point(30, 60),), (Point(30, 100),)]


def test_many_objects_are_asked_for_in_groups() -> None:
    fake = FakeSegmenter(radius=2)
    labels = np.kron(np.arange(1, 97).reshape(8, 12), np.ones((10, 10), int))
    found = targets(labels)
    chosen = click_prompts(fake, fake.embed(PLANE), found, 2).chosen
    assert [len(group) for group in fake.asked] == [64, 64, 32, 32]
    assert chosen.shape == (96, 2)
    assert box_prompts(fake, fake.embed(PLANE), found).oracle.tolist() == [1] * 96


def test_corrections_go_on_until_the_mask_is_right() -> None:
    fake = FakeSegmenter()
    two = objects(disc(40, 30, 10), disc(40, 80, 10) | disc(40, 95, 10))
    chosen = click_prompts(fake, fake.embed(PLANE), two, 4).chosen
    assert chosen[0].tolist() == [1, 1, 1, 1]
    assert chosen[1, 0] < 0.65
    assert chosen[1, 1] > chosen[1, 0] + 0.1
    first, second = fake.asked[:2]
    assert (len(first), len(second)) == (2, 1)
    assert second[0].points[0] == first[1].points[0]
    assert second[0].mask is not None
    assert second[0].mask.dtype == np.float32


@pytest.mark.parametrize(
    ("found", "point"),
    [
        (disc(40, 60, 12) | disc(10, 20, 8), Point(10, 20, positive=False)),
        (disc(40, 60, 12) & ~disc(40, 54, 5), Point(40, 54)),
        (np.zeros((80, 120), bool), Point(40, 60)),
    ],
)
def test_the_next_click_lies_in_the_largest_error(found: np.ndarray, point: Point) -> None:
    (target,) = objects(disc(40, 60, 12))
    logits = np.ones((4, 4), np.float32)
    prompt = corrective_clicks(Prompt((Point(1, 1),), box=Box(0, 0, 9, 9)), target, Mask(found, 0.5, logits))
    assert prompt is not None
    assert prompt.points == (Point(1, 1), point)
    assert (prompt.box, prompt.mask) == (Box(0, 0, 9, 9), logits)


def test_a_mask_that_is_right_needs_no_click() -> None:
    (target,) = objects(disc(40, 60, 12))
    assert (
        corrective_clicks(Prompt((Point(1, 1),)), target, Mask(disc(40, 60, 12), 0.5, np.ones((4, 4), np.float32)))
        is None
    )


def test_boxes_ask_for_one_mask() -> None:
    class Counting(FakeSegmenter):
        def segment(self, *given: Any, **options: Any) -> list[list[Mask]]:
            assert options == {"candidates": 1}
            return super().segment(*given, **options)

    fake = Counting()
    found = objects(disc(40, 60, 12))
    assert box_prompts(fake, fake.embed(PLANE), found).oracle == pytest.approx([found[0].mask.sum() / 25**2])
    assert fake.asked[0][0].box == Box(28, 48, 52, 72)
