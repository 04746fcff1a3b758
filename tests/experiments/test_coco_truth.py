"""Masks of COCO and LVIS files, by examples worked out by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from napari_segany.experiments.coco_truth import annotated_images, target_overlaps
from napari_segany.experiments.datasets import Target
from napari_segany.experiments.proposal_benchmark import rows_of_proposals
from napari_segany.io.formats.rle import to_rle
from tests.fakes import FakeSegmenter

SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]
"""20 x 20 pixels, from 10 to 29."""


def written(folder: Path, annotations: list[dict[str, Any]], *, image: dict[str, Any] | None = None) -> Path:
    """A file with one image of 100 x 120 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    io.imsave(folder / "a.png", np.zeros((100, 120), np.uint8), check_contrast=False)
    entries = [{"id": k, "image_id": 7, "category_id": 1, **one} for k, one in enumerate(annotations, start=1)]
    image = {"id": 7, "file_name": "a.png", "height": 100, "width": 120} if image is None else image
    path = folder / "truth.json"
    path.write_text(json.dumps({"images": [image], "annotations": entries, "categories": [{"id": 1}]}))
    return path


def test_polygons_and_run_lengths(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    mask = np.zeros((100, 120), bool)
    mask[20:40, 20:40] = True
    runs = to_rle(mask)
    flat = np.flatnonzero(np.diff(mask.T.ravel().astype(int), prepend=0, append=0))
    counts = np.diff(flat, prepend=0, append=mask.size).tolist()
    path = written(
        tmp_path,
        [
            {"segmentation": [SQUARE], "area": 400},
            {"segmentation": runs},
            {"segmentation": {"size": [100, 120], "counts": counts}},
            {"segmentation": [SQUARE, [50, 50, 60, 50, 60, 60, 50, 60]], "area": 5000.5},
            {"segmentation": runs, "iscrowd": 1},
        ],
    )
    (one,) = annotated_images(path)
    assert (one.name, one.plane.shape) == ("a.png", (100, 120, 3))
    assert len(one.targets) == 4, "a crowd is no object"
    assert [int(target.mask.sum()) for target in one.targets] == [400, 400, 400, 500]
    assert one.areas.tolist() == [400, 400, 400, 5000.5]
    # the square and the mask share 10 x 10 of 700 pixels; the square is 400 of the 500 of both polygons
    found = target_overlaps(one.targets, one.targets)
    assert found[0].tolist() == pytest.approx([1, 100 / 700, 100 / 700, 400 / 500])
    np.testing.assert_allclose(found, found.T)


def test_masks_apart_share_nothing() -> None:
    one = Target((slice(0, 2), slice(0, 2)), np.ones((2, 2), bool))
    far = Target((slice(2, 4), slice(0, 2)), np.ones((2, 2), bool))
    none = Target((slice(0, 0), slice(0, 0)), np.zeros((0, 0), bool))
    assert target_overlaps([one], [far, none, one]).tolist() == [[0, 0, 1]]
    assert target_overlaps([], [one]).shape == (0, 1)


class Proposing(FakeSegmenter):
    capabilities = Capabilities(proposals=True)

    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        return [Prompt((Point(30, 30),)), Prompt((Point(70, 70),))]


def test_average_recall_of_a_file(tmp_path: Path) -> None:
    """Discs at (30, 30) and (70, 70) are proposed: one object is such a disc, one is none, and one is half of it."""
    rows, columns = np.ogrid[:100, :120]
    disc = (rows - 30) ** 2 + (columns - 30) ** 2 <= 100
    half = ((rows - 70) ** 2 + (columns - 70) ** 2 <= 100) & (rows >= 70)
    assert half.sum() == 169, "148 pixels below the row in the middle, and its 21"
    assert disc.sum() == 317
    away = np.zeros((100, 120), bool)
    away[5:15, 90:110] = True
    path = written(tmp_path, [{"segmentation": to_rle(mask), "area": int(mask.sum())} for mask in (disc, half, away)])
    (row,) = rows_of_proposals(path, lambda: Proposing(radius=10), ["proposals"])
    assert (row["images"], row["n"]) == (1, 3)
    # the disc at all ten thresholds, its half (169 of 317, .533) at .5 alone
    assert row["ar10"] == pytest.approx((10 + 1 + 0) / 30)
    assert row["ar_small"] == row["ar10"]
    assert np.isnan(row["ar_large"])


def test_sizes_are_those_of_the_file(tmp_path: Path) -> None:
    mask = np.zeros((100, 120), bool)
    mask[40, 40] = True
    path = written(tmp_path, [{"segmentation": to_rle(mask), "area": 96**2}])
    (row,) = rows_of_proposals(path, lambda: Proposing(radius=10), ["proposals"])
    assert row["ar_large"] == 0
    assert row["n"] == 1, "COCO counts objects however small"


@pytest.mark.parametrize(
    ("place", "image"),
    [
        ("a.png", {"file_name": "a.png"}),
        ("images/a.png", {"file_name": "a.png"}),
        ("../val2017/a.png", {"file_name": "a.png"}),
        ("../val2017/a.png", {"coco_url": "http://images.cocodataset.org/val2017/a.png"}),
        ("sub/a.png", {"file_name": "sub/a.png"}),
    ],
)
def test_where_images_lie(tmp_path: Path, place: str, image: dict[str, str]) -> None:
    folder = tmp_path / "annotations"
    path = written(folder, [], image={"id": 7, **image})
    path = path.rename(folder / "instances_val2017.json")
    target = folder / place
    target.parent.mkdir(exist_ok=True)
    (folder / "a.png").rename(target)
    (one,) = annotated_images(path)
    assert (one.name, len(one.targets)) == ("a.png", 0)


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ([{"segmentation": [[1, 2, 3, 4]]}], "annotation 1: its segmentation is neither polygons"),
        ([{"segmentation": [[1, 2, 3, 4, 5, float("nan")]]}], "its segmentation is neither polygons"),
        ([{"segmentation": []}], "its segmentation is neither polygons"),
        ([{}], "its segmentation is neither polygons"),
        ([{"segmentation": {"size": [100, 120], "counts": [5]}}], "does not fill its size"),
        ([{"segmentation": {"size": [10, 10], "counts": [100]}}], "a mask of another size than its image"),
    ],
)
def test_masks_that_cannot_be_used_are_one_line(
    tmp_path: Path, annotations: list[dict[str, Any]], message: str
) -> None:
    path = written(tmp_path, annotations)
    with pytest.raises(InputError, match=message) as error:
        list(annotated_images(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "no list of images"),
        ('{"images": []}', "no list of annotations"),
        ('{"images": [3], "annotations": []}', "no list of images"),
        ("{", "not a JSON file"),
        ('{"images": [{"id": 1, "file_name": "gone.png"}], "annotations": []}', "has the image 'gone.png'"),
        ('{"images": [{"id": 1}], "annotations": []}', "has the image ''"),
        (
            '{"images": [{"id": 1, "file_name": "a.png", "height": 5}], "annotations": []}',
            "another size than 100 x 120",
        ),
    ],
)
def test_files_that_cannot_be_used_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, [])
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        list(annotated_images(path))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        list(rows_of_proposals(tmp_path / "gone.json", Proposing))


def test_polygons_without_pycocotools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(InputError, match="pycocotools, which is not installed"):
        list(annotated_images(written(tmp_path, [{"segmentation": [SQUARE]}])))
