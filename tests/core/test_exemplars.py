"""Objects like given ones score higher, those like rejected ones lower."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_segany.core.automatic_masks import Candidate
from napari_segany.core.errors import InputError
from napari_segany.core.exemplars import Exemplars, ObjectDescriptors, describe_labels
from napari_segany.core.planes import Region
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.query import Candidates, exemplar_query
from napari_segany.core.segmenter import Capabilities
from tests.fakes import FakeSegmenter

PLANE = np.zeros((100, 160, 3), np.uint8)
LABELS = np.zeros((100, 160), np.uint8)
"""Bright discs 1 to 6 of radius 8, dark ones 7 to 9 of radius 8, large bright ones 10 and 11 of radius 18."""
PLACES = [(12, 15 + 25 * k) for k in range(6)] + [(40, 20 + 30 * k) for k in range(3)] + [(78, 30), (78, 100)]


def _disc(number: int) -> np.ndarray:
    y, x = PLACES[number - 1]
    radius = 18 if number > 9 else 8
    rows, columns = np.ogrid[:100, :160]
    disc: np.ndarray = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return disc


PLANE[:] = 90
for one in range(1, 12):
    PLANE[_disc(one)] = 30 if 7 <= one <= 9 else 220
    LABELS[_disc(one)] = one


class DescribingSegmenter(FakeSegmenter):
    """Describes objects by whether they are bright or dark."""

    capabilities = Capabilities(describes=True)

    def describe(self, plane: np.ndarray, windows: list[Region], masks: list[np.ndarray]) -> np.ndarray:
        bright = [plane[window][mask].mean() > 90 for window, mask in zip(windows, masks, strict=True)]
        return np.stack([np.array([one, not one], np.float32) for one in bright])


def _candidates(numbers: range, score: float = 0.6) -> list[Candidate]:
    region = slice(0, 100), slice(0, 160)
    found = []
    for number in numbers:
        rows, columns = np.nonzero(_disc(number))
        window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        prompt = Prompt((Point(*map(float, PLACES[number - 1])),))
        found.append(Candidate.of(window, _disc(number)[window], score, 0.9, prompt, region))
    return found


@pytest.fixture(params=[False, True], ids=["features", "features and vectors"])
def segmenter(request: pytest.FixtureRequest) -> FakeSegmenter:
    return DescribingSegmenter() if request.param else FakeSegmenter()


def _found(segmenter: FakeSegmenter, exemplars: Exemplars, numbers: range = range(1, 12)) -> set[int]:
    query = exemplar_query(segmenter, exemplars)
    described = [describe_labels(segmenter, PLANE, LABELS, list(numbers))]
    candidates = replace(Candidates.of(PLANE, _candidates(numbers)), described=described)
    found = query.select(candidates).labels
    return {int(number) for number in np.unique(LABELS[found > 0])}


def test_what_is_like_the_exemplars_is_found(segmenter: FakeSegmenter) -> None:
    assert _found(segmenter, Exemplars(describe_labels(segmenter, PLANE, LABELS, [1, 2, 3]))) == set(range(1, 7))
    assert _found(segmenter, Exemplars(describe_labels(segmenter, PLANE, LABELS, [7, 8]))) == {7, 8, 9}


def test_one_exemplar_suffices(segmenter: FakeSegmenter) -> None:
    assert {10, 11} <= _found(segmenter, Exemplars(describe_labels(segmenter, PLANE, LABELS, [10])))


def test_what_is_like_a_rejected_mask_scores_lower(segmenter: FakeSegmenter) -> None:
    bright = describe_labels(segmenter, PLANE, LABELS, [1, 2])
    rejected = describe_labels(segmenter, PLANE, LABELS, [8])
    everything = describe_labels(segmenter, PLANE, LABELS)
    before, after = Exemplars(bright).likeness(everything), Exemplars(bright, rejected).likeness(everything)
    assert (after[6:9] < before[6:9]).all(), "dark ones are as dark as the rejected one"
    np.testing.assert_allclose(after[:6], before[:6])


def test_vectors_tell_apart_what_features_do_not() -> None:
    features = np.zeros((2, 4))
    vectors = np.eye(2, dtype=np.float32)
    exemplars = Exemplars(ObjectDescriptors(features[:1], vectors[:1]))
    like, unlike = exemplars.likeness(ObjectDescriptors(features, vectors))
    assert like == 0
    assert unlike < -0.5


def test_scores_stay_between_0_and_1() -> None:
    segmenter = FakeSegmenter()
    exemplars = Exemplars(describe_labels(segmenter, PLANE, LABELS, [1]))
    candidates = _candidates(range(1, 12), score=0.01)
    scored = exemplars.with_scores(candidates, describe_labels(segmenter, PLANE, LABELS))
    assert next(one.score for one in scored) == pytest.approx(0.01)
    assert min(one.score for one in scored) == 0
    assert exemplars.with_scores([], ObjectDescriptors()) == []


def test_a_grid_is_as_wide_as_the_exemplars() -> None:
    segmenter = FakeSegmenter()
    large, small = (Exemplars(describe_labels(segmenter, PLANE, LABELS, [k])) for k in (10, 1))
    assert large.grid_side(160) == 11  # a disc of radius 18 has the area of a square of side 31.9
    assert small.grid_side(2000) == 0


def test_exemplars_of_several_images() -> None:
    segmenter = FakeSegmenter()
    first, second = (describe_labels(segmenter, PLANE, LABELS, [k]) for k in (1, 7))
    assert len(first.joined(second)) == 2
    assert first.joined(ObjectDescriptors()) is first
    assert ObjectDescriptors().joined(first) is first
    with pytest.raises(InputError, match="described by different models"):
        first.joined(ObjectDescriptors(np.zeros((1, 4)), np.ones((1, 3), np.float32)))


def test_nothing_is_like_nothing() -> None:
    with pytest.raises(InputError, match="there is no object to find others like it"):
        Exemplars(ObjectDescriptors())
