"""Pictures of held-out objects: which are chosen, what is cropped, and that JSON holds them."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from napari_segany.training.fine_tune_report import EXAMPLES, read_examples, read_report
from napari_segany.training.held_out_examples import MOST, SIDE, choose_examples, make_example


@pytest.mark.parametrize(
    ("gains", "chosen"),
    [
        ([], []),
        ([0.3], [0]),
        ([0.3, -0.1, 0.2], [1, 2, 0]),
        ([0.1 * k for k in range(6)], list(range(6))),
        ([0.1 * k for k in range(7)], [0, 1, 2, 3, 5, 6]),
        ([0.1 * k for k in range(20)], [0, 1, 9, 10, 18, 19]),
        ([0.0] * 9, [0, 1, 3, 4, 7, 8]),
    ],
)
def test_the_worst_middle_and_best_gains_are_chosen(gains: list[float], chosen: list[int]) -> None:
    assert choose_examples(gains) == chosen
    assert len(set(chosen)) == len(chosen) <= MOST


@pytest.mark.parametrize("shape", [(20, 25), (200, 300), (40, 300), (1000, 900)])
@pytest.mark.parametrize("place", ["corner", "middle", "all", "end"])
def test_a_crop_holds_the_whole_object(shape: tuple[int, int], place: str) -> None:
    truth = np.zeros(shape, bool)
    tall, wide = shape
    where = {
        "corner": np.s_[:5, :7],
        "middle": np.s_[tall // 2 - 4 : tall // 2 + 4, wide // 2 - 4 : wide // 2 + 3],
        "all": np.s_[:, :],
        "end": np.s_[-6:, -3:],
    }[place]
    truth[where] = True
    half = truth.copy()
    half[: np.flatnonzero(truth.any(axis=1))[0] + int(truth.any(axis=1).sum()) // 2] = False
    plane = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    example = make_example(plane, truth, half, truth)
    assert max(example.image.shape[:2]) == SIDE
    assert example.image.shape[:2] == example.outlines[0].shape
    assert example.after == 1.0
    assert example.before == pytest.approx(half.sum() / truth.sum())
    shown, before, after = example.outlines
    assert (shown == after).all()
    if place != "all":
        assert before.sum() / shown.sum() == pytest.approx(example.before, abs=0.15)


def test_an_empty_mask_is_no_error() -> None:
    truth = np.zeros((50, 50), bool)
    truth[10:20, 10:20] = True
    example = make_example(np.zeros((50, 50, 3), np.uint8), truth, np.zeros_like(truth), truth)
    assert example.before == 0.0


def test_json_holds_them() -> None:
    truth = np.eye(40, dtype=bool)
    example = make_example(np.zeros((40, 40, 3), np.uint8), truth, truth, ~truth)
    assert read_examples({EXAMPLES: json.dumps([asdict(example)])}) == (example,)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"parent": 3}', "null"])
def test_what_cannot_be_read_is_none(text: str) -> None:
    assert read_examples({EXAMPLES: text}) == ()
    assert read_report({"fine_tuning": text}) is None
