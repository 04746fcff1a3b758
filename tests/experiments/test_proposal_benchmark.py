"""Average recall of proposals, by examples worked out by hand and by pycocotools."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from skimage import io as image_io

from napari_segany.core.automatic_masks import Candidate
from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from napari_segany.experiments.proposal_benchmark import average_recall, overlaps, recalled, rows_of_proposals
from tests.fakes import FakeSegmenter

RNG = np.random.default_rng(0)
WHOLE = slice(0, 100), slice(0, 100)


def box(y: int, x: int, height: int, width: int, score: float = 0.9) -> Candidate:
    window = slice(y, y + height), slice(x, x + width)
    return Candidate.of(window, np.ones((height, width), bool), score, 0.9, Prompt((Point(y, x),)), WHOLE)


def test_overlaps_with_labels() -> None:
    truth = np.zeros((100, 100), int)
    truth[10:20, 10:20] = 1
    truth[50:90, 50:90] = 7
    truth[0, 0:5] = 9  # too small to count
    found, areas = overlaps([box(10, 10, 10, 5), box(50, 50, 40, 40), box(0, 0, 1, 5)], truth)
    assert areas.tolist() == [100, 1600]
    np.testing.assert_allclose(found, [[0.5, 0], [0, 1], [0, 0]])


def test_a_proposal_finds_one_object() -> None:
    overlap = np.array([[0.9, 0.6], [0.8, 0.0]])
    assert recalled(overlap, 0.5).tolist() == [True, False], "the second proposal comes too late for the first object"
    assert recalled(overlap[::-1], 0.5).tolist() == [True, True]
    assert recalled(np.zeros((0, 2)), 0.5).tolist() == [False, False]
    assert recalled(np.zeros((3, 0)), 0.5).tolist() == []


def test_average_recall() -> None:
    # an IoU of .72 counts at .5 to .7, five of ten thresholds; a perfect one at all
    found = average_recall([(np.array([[0.72, 0.0], [0.0, 1.0]]), np.array([100, 5000]))])
    assert found["ar10"] == pytest.approx((0.5 + 1) / 2)
    assert (found["ar_small"], found["ar_medium"]) == (pytest.approx(0.5), pytest.approx(1.0))
    assert np.isnan(found["ar_large"])


def test_pycocotools_counts_the_same() -> None:
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    images, annotations, results = [], [], []
    measured = []
    for number in range(1, 4):
        truth = np.zeros((100, 100), int)
        for label in range(1, 7):
            y, x = RNG.integers(0, 80, 2)
            truth[y : y + 18, x : x + 18][truth[y : y + 18, x : x + 18] == 0] = label
        proposals = [
            box(int(y), int(x), 18, 18, float(s))
            for y, x, s in zip(*RNG.integers(0, 80, (2, 60)), RNG.random(60), strict=True)
        ]
        proposals.sort(key=lambda one: -one.score)
        measured.append(overlaps(proposals, truth))
        images.append({"id": number, "height": 100, "width": 100})
        for label in np.unique(truth[truth > 0]):
            mask = truth == label
            if mask.sum() >= 16:
                annotations.append(_annotation(mask, number, len(annotations) + 1))
        for one in proposals:
            full = np.zeros((100, 100), bool)
            full[one.window] = one.mask
            results.append({**_annotation(full, number, 0), "score": one.score})
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco.COCO()
        known.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
        known.createIndex()
        evaluation = cocoeval.COCOeval(known, known.loadRes(results), "segm")
        evaluation.params.useCats, evaluation.params.maxDets = 0, [1, 10, 100]
        evaluation.evaluate()
        evaluation.accumulate()
    expected = evaluation.eval["recall"][:, 0, 0, :].mean(axis=0)
    found = average_recall(measured)
    assert found["ar10"] == pytest.approx(expected[1], abs=1e-9)
    assert found["ar100"] == pytest.approx(expected[2], abs=1e-9)


def _annotation(mask: np.ndarray, image: int, number: int) -> dict[str, object]:
    from pycocotools import mask as coding

    code = coding.encode(np.asfortranarray(mask.astype(np.uint8)))
    area = int(mask.sum())
    return {"id": number, "image_id": image, "category_id": 1, "segmentation": code, "area": area, "iscrowd": 0}


class Proposing(FakeSegmenter):
    capabilities = Capabilities(proposals=True)

    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        return [Prompt((Point(30, 30),)), Prompt((Point(70, 70),))]


def test_rows(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    rows, columns = np.ogrid[:100, :100]
    truth = ((rows - 30) ** 2 + (columns - 30) ** 2 <= 100).astype(np.uint16)
    truth[60:64, 10:50] = 2
    image_io.imsave(tmp_path / "images/a.png", np.zeros((100, 100), np.uint8), check_contrast=False)
    image_io.imsave(tmp_path / "labels/a.png", truth, check_contrast=False)
    (row,) = rows_of_proposals(tmp_path, lambda: Proposing(radius=10), ["proposals"])
    assert row["n"] == 2
    assert 0.3 < row["ar10"] <= 0.5, "one of two objects"
    for methods, message in ((["magic"], "unknown method magic"), (["proposals"], "proposes no objects")):
        with pytest.raises(InputError, match=message):
            list(rows_of_proposals(tmp_path, FakeSegmenter, methods))
