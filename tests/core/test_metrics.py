"""Scores of masks."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segany.core.metrics import auroc, bootstrap, clicks_needed, instance_scores, iou, summarise


def test_iou() -> None:
    one, two = np.zeros((2, 4, 5), bool)
    one[:2], two[1:3] = True, True
    assert iou(one, two) == pytest.approx(1 / 3)
    assert iou(one, one) == 1
    assert iou(one, ~one) == 0
    assert iou(one & ~one, one) == 0


def test_two_empty_masks_agree() -> None:
    empty = np.zeros((3, 3), bool)
    assert iou(empty, empty) == 1


def test_masks_of_different_shapes_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        iou(np.zeros((1, 3), bool), np.zeros((3, 1), bool))


def test_summary_weighs_masks_and_images() -> None:
    summary = summarise([np.array([1.0, 1.0, 1.0]), np.array([]), np.array([0.0])])
    assert (summary.mean, summary.per_image, summary.n) == (0.75, 0.5, 4)
    assert (summary.low, summary.high) == (0, 1)


def test_a_summary_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no mask"):
        summarise([np.array([])])


def test_the_interval_holds_the_mean_and_shrinks_with_more_images() -> None:
    scores = np.random.default_rng(3).random(400)
    wide, narrow = (summarise([np.array([score]) for score in scores[:images]]) for images in (20, 400))
    for summary in (wide, narrow):
        assert summary.low < summary.mean < summary.high
    assert narrow.high - narrow.low < (wide.high - wide.low) / 2
    # of a mean of n values the standard error is sigma / sqrt(n)
    assert narrow.high - narrow.low == pytest.approx(2 * 1.96 * scores.std() / 20, rel=0.15)


def test_the_bootstrap_is_the_same_every_time() -> None:
    sums, counts = np.array([1.0, 2.0, 5.0]), np.array([2, 2, 6])
    assert bootstrap(sums, counts) == bootstrap(sums, counts)


def test_clicks_needed() -> None:
    rounds = np.array([[0.9, 0.1, 0.1], [0.5, 0.85, 0.9], [0.1, 0.2, 0.3]])
    assert clicks_needed(rounds, 0.85).tolist() == [1, 2, 3]
    assert clicks_needed(rounds, 0.95).tolist() == [3, 3, 3]


def test_auroc() -> None:
    assert auroc(np.array([0.9, 0.8]), np.array([0.1, 0.2, 0.3])) == 1
    assert auroc(np.array([0.1]), np.array([0.9])) == 0
    assert auroc(np.array([0.5, 0.9]), np.array([0.5, 0.1])) == pytest.approx(0.875)
    assert np.isnan(auroc(np.array([0.5]), np.array([])))


def test_instance_scores_by_hand() -> None:
    truth = np.zeros((20, 20), int)
    truth[:10, :10], truth[12:18, 12:18], truth[19, 19] = 7, 3, 9
    found = np.zeros_like(truth)
    found[:10, :8], found[0:4, 14:20] = 1, 2
    # one of IoU 0.8, one missed, one that is none; the single pixel is ignored
    scores = instance_scores(found, truth, [0.5, 0.8, 0.85], smallest=2)
    assert scores.tolist() == [1 / 3, 1 / 3, 0]
    assert instance_scores(truth, truth).tolist() == [1.0] * 10
    assert instance_scores(np.zeros_like(truth), np.zeros_like(truth)).tolist() == [1.0] * 10
    assert instance_scores(np.zeros_like(truth), truth).tolist() == [0.0] * 10
