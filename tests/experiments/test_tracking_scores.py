"""Scores of linked objects, where they are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segany.core.errors import InputError
from napari_segany.core.link import relabel_planes
from napari_segany.experiments.link_methods import LinkedFrames, link_methods
from napari_segany.experiments.linking import rows_of_divisions
from napari_segany.experiments.tracking_scores import division_scores, hota, link_scores
from tests.fakes import FakeSegmenter


def movie(*frames: dict[int, int]) -> np.ndarray:
    """Frames with squares of labels by the place of each."""
    labels = np.zeros((len(frames), 12, 80), np.int32)
    for time, here in enumerate(frames):
        for label, place in here.items():
            labels[time, 1:9, 10 * place + 1 : 10 * place + 9] = label
    return labels


TRUTH = movie({1: 0, 2: 2}, {1: 0, 2: 2}, {1: 0, 2: 2}, {1: 0, 2: 2})


def renamed(labels: np.ndarray, *names: dict[int, int]) -> np.ndarray:
    return np.stack([relabel_planes(one, each) for one, each in zip(labels, names, strict=True)])


def test_the_truth_has_full_marks() -> None:
    scores = link_scores(TRUTH, TRUTH)
    assert (scores["right"], scores["n"], scores["switches"], scores["objects"]) == (6, 6, 0, 2)
    assert scores["hota"] == scores["ap50"] == scores["msa"] == 1


def test_a_switch_costs_two_links() -> None:
    crossed = renamed(TRUTH, {1: 5, 2: 6}, {1: 5, 2: 6}, {1: 6, 2: 5}, {1: 6, 2: 5})
    scores = link_scores(crossed, TRUTH)
    assert (scores["right"], scores["switches"]) == (4, 2)
    # all is detected; each track agrees with one of the truth in 2 of 6 frames of both
    assert scores["hota"] == pytest.approx(np.sqrt(1 / 3))


def test_hota_of_what_is_missed() -> None:
    half = renamed(TRUTH, *[{1: 1, 2: 0}] * 4)
    # half is detected, and what is detected is associated
    assert hota(half, TRUTH) == pytest.approx(np.sqrt(0.5))
    assert hota(TRUTH * 0, TRUTH) == 0
    assert hota(TRUTH * 0, TRUTH * 0) == 1


DIVIDING = movie({1: 1, 4: 5}, {1: 1, 4: 5}, {2: 0, 3: 2, 4: 5}, {2: 0, 3: 2, 4: 5})
PARENTS = {2: 1, 3: 1}


@pytest.mark.parametrize(
    ("names", "parents", "hit", "made"),
    [
        ({}, {2: 1, 3: 1}, 1, 1),
        # a daughter that keeps the number of its mother
        ({2: 1}, {3: 1}, 1, 1),
        # one daughter only, none, the wrong mother, and one too many
        ({}, {2: 1}, 0, 1),
        ({}, {}, 0, 0),
        ({}, {2: 4, 3: 4}, 0, 1),
        ({2: 1}, {3: 1, 2: 4}, 1, 2),
    ],
)
def test_divisions(names: dict[int, int], parents: dict[int, int], hit: int, made: int) -> None:
    own = np.vectorize(lambda label: names.get(label, label))(DIVIDING)
    assert division_scores(LinkedFrames(own, parents), DIVIDING, PARENTS) == {"true": 1, "hit": hit, "made": made}


def test_unknown_methods_are_named() -> None:
    with pytest.raises(InputError, match="no way to link called magic; there are iou"):
        link_methods(["magic"])


def test_slow_movies_are_linked_by_overlap() -> None:
    (row,) = rows_of_divisions(FakeSegmenter, 3)
    assert row["method"] == "iou"
    assert row["links"] > 0.5
    assert 0 <= row["divisions"] <= 1
