"""Objects of a label image drawn again by a model."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import expand_labels

from napari_segany import sample_data
from napari_segany.core import label_refinement, tiles
from napari_segany.core.label_refinement import RefinedObject, refine_labels, repainted
from napari_segany.core.metrics import iou
from napari_segany.core.planes import Stack
from tests.fakes import BrightSegmenter, FakeSegmenter


def two_discs() -> tuple[np.ndarray, np.ndarray]:
    """A plane with two bright discs, and their labels."""
    y, x = np.indices((80, 100))
    labels = np.zeros((80, 100), np.uint16)
    labels[(y - 30) ** 2 + (x - 30) ** 2 <= 12**2] = 7
    labels[(y - 45) ** 2 + (x - 70) ** 2 <= 15**2] = 300
    return np.repeat(np.where(labels > 0, 200, 0).astype(np.uint8)[..., None], 3, axis=2), labels


def shrunk(labels: np.ndarray) -> np.ndarray:
    """Objects without their rim of three pixels."""
    return np.where(ndimage.binary_erosion(labels > 0, iterations=3), labels, 0)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "eroded": shrunk,
    "dilated": lambda labels: expand_labels(labels, 3),
    "shifted": lambda labels: ndimage.shift(labels, (3, -2), order=0),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_changed_labels_come_back_to_what_is_seen(change: str) -> None:
    plane, truth = two_discs()
    given = CHANGES[change](truth)
    before = given.copy()
    found = refine_labels(BrightSegmenter(), plane, given)
    assert np.array_equal(given, before)
    assert sorted(one.label for one in found) == [7, 300]
    assert np.array_equal(repainted(given, found, {7, 300}), truth)
    assert [one.iou for one in found] == sorted(one.iou for one in found)
    assert all(one.found and one.iou < 1 for one in found)


def test_labels_that_are_right_do_not_change() -> None:
    plane, truth = two_discs()
    found = refine_labels(BrightSegmenter(), plane, truth)
    assert [one.iou for one in found] == [1.0, 1.0]
    assert np.array_equal(repainted(truth, found, {7, 300}), truth)


@pytest.mark.parametrize("change", list(CHANGES))
def test_the_model_in_the_package_draws_changed_nuclei_closer_to_the_truth(change: str) -> None:
    from napari_segany.models.loading import load_segmenter

    (image, _, _), (labelled, _, _) = sample_data.nuclei()
    image, truth = image[:256, :256], labelled[:256, :256]
    given = CHANGES[change](truth)
    found = refine_labels(load_segmenter("tiny", "cpu"), Stack(image).plane(0), given)
    after = repainted(given, found, {one.label for one in found if one.found})
    labels = [label for label in np.unique(truth) if label and (given == label).any()]
    old, new = ([iou(one == label, truth == label) for label in labels] for one in (given, after))
    assert np.mean(new) > np.mean(old) + 0.02


def test_objects_are_prompts_by_a_point_and_their_mask_and_then_by_the_new_mask() -> None:
    plane, truth = two_discs()
    segmenter = BrightSegmenter()
    refine_labels(segmenter, plane, shrunk(truth))
    first, second = segmenter.asked
    assert [len(first), len(second)] == [2, 2]
    for prompt, label in zip(first, (7, 300), strict=True):
        assert prompt.mask is not None
        assert np.array_equal(prompt.mask, shrunk(truth) == label)
        assert truth[round(prompt.points[0].y), round(prompt.points[0].x)] == label
    for prompt, label in zip(second, (7, 300), strict=True):
        assert prompt.mask is not None
        assert np.array_equal(prompt.mask, truth == label)
    assert len(segmenter.embedded) == 1


def test_a_plane_without_objects_is_not_encoded() -> None:
    segmenter = FakeSegmenter()
    assert refine_labels(segmenter, np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), int)) == []
    assert not segmenter.embedded


def test_labels_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        refine_labels(FakeSegmenter(), np.zeros((20, 30, 3), np.uint8), np.zeros((30, 20), int))


def test_progress_is_reported_and_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    plane, truth = two_discs()
    monkeypatch.setattr(label_refinement, "TOGETHER", 1)
    shares: list[float] = []
    refine_labels(BrightSegmenter(), plane, truth, report=shares.append)
    assert shares == [0.5, 1.0]

    def stop(share: float) -> None:
        raise InterruptedError

    segmenter = BrightSegmenter()
    with pytest.raises(InterruptedError):
        refine_labels(segmenter, plane, truth, report=stop)
    assert len(segmenter.asked) == label_refinement.ROUNDS


def test_a_large_plane_is_encoded_around_each_object(monkeypatch: pytest.MonkeyPatch) -> None:
    plane, truth = two_discs()
    monkeypatch.setattr(tiles, "LARGE", 1000)
    monkeypatch.setattr(tiles.segment_in_window, "__defaults__", (40,))
    segmenter = BrightSegmenter()
    found = refine_labels(segmenter, plane, shrunk(truth))
    assert np.array_equal(repainted(shrunk(truth), found, {7, 300}), truth)
    assert max(one.shape[0] for one in segmenter.embedded) < 80


def test_a_mask_elsewhere_or_an_empty_one_is_not_the_object() -> None:
    plane, truth = two_discs()
    given = np.zeros_like(truth)
    given[2:6, 2:6] = 1  # nothing is bright there
    given[27:29, 27:29] = 2  # a speck on a disc
    found = {one.label: one for one in refine_labels(BrightSegmenter(), plane, given)}
    assert not found[1].found
    assert not found[1].after.any()
    assert not found[2].found
    accepted = {label for label, one in found.items() if one.found}
    assert np.array_equal(repainted(given, list(found.values()), accepted), given)
    # who accepts an empty mask keeps the old one: no object vanishes
    assert (repainted(given, list(found.values()), {1, 2}) == 1).sum() == 16


def strip(label: int, before: slice, after: slice, score: float) -> RefinedObject:
    masks = np.zeros((2, 1, 10), bool)
    masks[0, 0, before] = masks[1, 0, after] = True
    return RefinedObject(label, (slice(0, 1), slice(0, 10)), *masks, score)


def test_a_pixel_stays_with_its_object_else_the_higher_score_has_it() -> None:
    labels = np.array([[1, 1, 1, 0, 0, 0, 2, 2, 2, 0]], np.uint8)
    one, other = strip(1, slice(0, 3), slice(0, 7), 0.5), strip(2, slice(6, 9), slice(4, 10), 0.9)
    both = repainted(labels, [one, other], {1, 2})
    assert both.dtype == labels.dtype
    assert both.tolist() == [[1, 1, 1, 1, 2, 2, 2, 2, 2, 2]]
    assert repainted(labels, [one, other], {1}).tolist() == [[1, 1, 1, 1, 1, 1, 2, 2, 2, 0]]
    assert repainted(labels, [one, other], ()).tolist() == labels.tolist()


def test_no_object_is_left_without_pixels() -> None:
    labels = np.array([[1, 1, 0, 0, 2, 2, 2, 2, 2, 0]], np.uint8)
    # the new place of 1 belongs to 2 altogether
    one, other = strip(1, slice(0, 2), slice(5, 8), math.nan), strip(2, slice(4, 9), slice(4, 9), 0.9)
    assert repainted(labels, [one, other], {1, 2}).tolist() == labels.tolist()
