"""Scores of masks."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from napari_segany.core.metrics import THRESHOLDS, auroc, bootstrap, clicks_needed, instance_scores, iou, summarise


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


def cells(rng: np.random.Generator, seeds: int) -> np.ndarray:
    """A label image of cells around random places, some of them background, with gaps in their numbers."""
    size = (48, 56)
    places = rng.integers(0, size, (seeds, 2))
    distance, owner = scipy.spatial.KDTree(places).query(np.argwhere(np.ones(size, bool)))
    labels = np.where(distance < rng.uniform(4, 12), rng.permutation(seeds * 2)[owner], 0)
    return labels.reshape(size)


def changed(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a segmentation might find of cells: shifted, merged, split, grown, missed and invented ones."""
    found = np.roll(labels, rng.integers(-2, 3, 2), (0, 1))
    for value in np.unique(found)[1:]:
        match rng.integers(6):
            case 0:
                found[found == value] = 0
            case 1:
                found[found == value] = rng.choice(labels.ravel())
            case 2:
                rows = np.arange(len(found))[:, None] < np.argwhere(found == value)[:, 0].mean()
                found[(found == value) & rows] = labels.max() + value + 1
            case 3:
                found[scipy.ndimage.binary_dilation(found == value, iterations=2)] = value
    return found


def by_coco(found: np.ndarray, truth: np.ndarray) -> list[float]:
    """TP / (TP + FP + FN) from the matches of pycocotools; there are no scores, so all are the same."""
    sides = []
    for labels in (truth, found):
        masks = [
            coco_mask.encode(np.asfortranarray(labels == value, np.uint8)) for value in np.unique(labels[labels != 0])
        ]
        about = {"image_id": 1, "category_id": 1, "iscrowd": 0, "score": 1.0}
        objects = [
            about
            | {"id": k, "segmentation": one, "area": float(coco_mask.area(one)), "bbox": coco_mask.toBbox(one).tolist()}
            for k, one in enumerate(masks, 1)
        ]
        side = COCO()
        image = {"id": 1, "height": 48, "width": 56}
        side.dataset = {"images": [image], "categories": [{"id": 1}], "annotations": objects}
        side.createIndex()
        sides.append(side)
    run = COCOeval(*sides, "segm")
    run.params.iouThrs, run.params.maxDets, run.params.areaRng = np.array(THRESHOLDS), [10**4], [[0, 1e10]]
    run.params.areaRngLbl = ["all"]
    run.evaluate()
    (image,) = run.evalImgs
    hits, found_count, true_count = (image["dtMatches"] > 0).sum(1), len(image["dtIds"]), len(image["gtIds"])
    return list(hits / (found_count + true_count - hits))


@pytest.mark.parametrize("seed", range(12))
def test_instance_scores_are_those_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = cells(rng, 14)
    found = changed(truth, rng)
    scores = instance_scores(found, truth)
    assert 0 < scores.mean() < 1
    np.testing.assert_allclose(scores, by_coco(found, truth))
    np.testing.assert_allclose(scores, instance_scores(truth, found))


def test_of_two_halves_of_an_object_one_is_found() -> None:
    truth = np.ones((4, 4), int)
    halves = np.repeat([[1, 1, 2, 2]], 4, axis=0)
    assert instance_scores(halves, truth, [0.5, 0.55]).tolist() == [0.5, 0.0]
    assert instance_scores(truth, halves, [0.5, 0.55]).tolist() == [0.5, 0.0]
