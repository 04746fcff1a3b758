"""Masks of boxes: AP as pycocotools counts it, and figures worked out by hand."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from skimage import io as image_io

from napari_segany.core.errors import InputError
from napari_segany.experiments.average_precision import THRESHOLDS, ScoredMasks, average_precision
from napari_segany.experiments.box_instances import InstancesConfig, rows_of_instances
from tests.fakes import FakeSegmenter


def scored(overlap: list[list[float]], scores: list[float], sizes: list[float], objects: list[float]) -> ScoredMasks:
    shaped = np.array(overlap, float).reshape(len(scores), len(objects))
    return ScoredMasks(shaped, np.array(scores), np.array(sizes), np.array(objects))


def test_by_hand() -> None:
    # a hit, a miss, a hit: precision 1 up to a recall of a half, then 2/3
    one = scored([[0.9, 0], [0.3, 0], [0, 0.9]], [0.9, 0.8, 0.7], [100, 100, 100], [100, 100])
    found = average_precision([one])
    assert found["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    # an IoU of .9 counts at .5 to .9, nine of ten thresholds
    assert found["ap"] == pytest.approx(0.9 * found["ap50"])
    assert np.isnan(found["ap_large"])
    assert average_precision([scored([], [], [], [100])])["ap50"] == 0


def test_pycocotools_counts_the_same() -> None:
    """Random boxes, and detections near some of them, over four images."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    from pycocotools import mask as coding

    rng = np.random.default_rng(1)
    images, annotations, results, measured = [], [], [], []
    for number in range(1, 5):
        images.append({"id": number, "height": 400, "width": 400})
        sides = rng.choice([20, 60, 120], 9)
        true = [[*map(float, rng.integers(0, 250, 2)), float(side), float(side)] for side in sides]
        near = [[x + float(rng.integers(-6, 7)), y + float(rng.integers(-6, 7)), w, h] for x, y, w, h in true[:7]]
        far = [
            [*map(float, rng.integers(0, 250, 2)), float(side), float(side)] for side in rng.choice([20, 60, 120], 5)
        ]
        marks = rng.permutation(np.linspace(0.1, 0.9, 12)).tolist()
        for place in true:
            known = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "bbox": place}
            annotations.append({**known, "area": place[2] * place[3], "iscrowd": 0})
        for place, mark in zip(near + far, marks, strict=True):
            results.append({"image_id": number, "category_id": 1, "bbox": place, "score": mark})
        overlap = coding.iou(np.array(near + far), np.array(true), [0] * len(true))
        areas = [w * h for _, _, w, h in near + far], [w * h for _, _, w, h in true]
        measured.append(ScoredMasks(overlap, np.array(marks), np.array(areas[0]), np.array(areas[1])))
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco.COCO()
        known.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
        known.createIndex()
        evaluation = cocoeval.COCOeval(known, known.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    found = average_precision(measured)
    expected = dict(zip(("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"), evaluation.stats[:6], strict=True))
    assert len(THRESHOLDS) == len(evaluation.params.iouThrs)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A square, which the fake fills whole, and a disc, which ellipses fit better."""
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    truth = np.zeros((100, 120), np.uint16)
    truth[10:40, 10:40] = 1
    rows, columns = np.ogrid[:100, :120]
    truth[(rows - 70) ** 2 + (columns - 80) ** 2 <= 225] = 2
    image_io.imsave(tmp_path / "images/a.png", (truth * 90).astype(np.uint8), check_contrast=False)
    image_io.imsave(tmp_path / "labels/a.png", truth, check_contrast=False)
    return tmp_path


def test_true_boxes(data: Path) -> None:
    rows = list(rows_of_instances(InstancesConfig(data, noise=(0.0, 0.2)), FakeSegmenter))
    assert [(row["model"], row["noise"]) for row in rows] == [
        ("fake", 0.0), ("ellipses", 0.0), ("fake", 0.2), ("ellipses", 0.2)
    ]  # fmt: skip
    fake, ellipses, moved, _ = rows
    assert (fake["n"], fake["images"], fake["boxes"]) == (2, 1, "true")
    # a filled box on a disc, and an ellipse in a square, are off by 4 / pi
    assert fake["miou"] == pytest.approx((1 + np.pi / 4) / 2, abs=0.03)
    assert ellipses["miou"] == pytest.approx((1 + np.pi / 4) / 2, abs=0.03)
    assert moved["miou"] < fake["miou"]
    assert fake["ap50"] == 1


def test_boxes_of_a_detector_keep_its_scores(data: Path) -> None:
    boxes = [[10, 10, 30, 30], [65, 55, 31, 31], [0, 80, 10, 10]]
    results = [
        {"image_id": 1, "category_id": 1, "bbox": place, "score": score}
        for place, score in zip(boxes, (0.2, 0.9, 0.95), strict=True)
    ]
    found = data.parent / "found.json"
    dataset = {"images": [{"id": 1, "file_name": "a.png", "width": 120, "height": 100}], "annotations": results,
               "categories": [{"id": 1, "name": "cell"}]}  # fmt: skip
    found.write_text(json.dumps(dataset))
    fake, _ = rows_of_instances(InstancesConfig(data, found), FakeSegmenter)
    assert fake["boxes"] == "found.json"
    # the box of nothing has the best score: precision 1/2, then 2/3
    assert fake["ap50"] == pytest.approx(2 / 3)


def test_what_cannot_be_measured(data: Path, tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(InputError):
        list(rows_of_instances(InstancesConfig(data, tmp_path / "none.json"), FakeSegmenter))
