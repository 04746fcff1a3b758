"""COCO is read back by pycocotools, and holds the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from napari_segany.io.export import export_labels
from tests.io.formats.json_files import KNOWN, read

# pycocotools 2.0.11 with numpy 2, whenever it decodes
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def labels() -> np.ndarray:
    """(z, y, x) int64 labels of many pieces; the second plane is empty."""
    labels = np.random.default_rng(0).integers(0, 4, (3, 20, 30))
    labels[1] = 0
    return labels


def test_coco_is_read_by_pycocotools(tmp_path: Path, labels: np.ndarray) -> None:
    coco = COCO(export_labels(labels, tmp_path / "a.json", objects=KNOWN, image_name="cells.tif"))
    back = np.zeros_like(labels)
    for number, image in coco.imgs.items():
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=number)):
            mask = coco.annToMask(annotation).astype(bool)
            back[image["z"]][mask] = annotation["label"]
            assert annotation["area"] == mask.sum()
            assert annotation["bbox"] == coco_mask.toBbox(coco.annToRLE(annotation)).tolist()
    np.testing.assert_array_equal(back, labels)
    assert sorted(coco.anns) == list(range(1, 7))
    assert [image["file_name"] for image in coco.imgs.values()] == [f"cells_z{z:04d}.tif" for z in range(3)]
    assert {(image["height"], image["width"]) for image in coco.imgs.values()} == {(20, 30)}


def test_coco_says_what_is_known(tmp_path: Path, labels: np.ndarray) -> None:
    content = read(export_labels(labels[0], tmp_path / "a.json", objects=KNOWN))
    assert [category["name"] for category in content["categories"]] == ["object", "nucleus", "debris"]
    assert content["images"] == [{"id": 1, "file_name": "a", "width": 30, "height": 20}]
    plain, full, part = content["annotations"]
    assert [entry["category_id"] for entry in (plain, full, part)] == [1, 2, 3]
    extra = {"label": 2, "name": "Zelle ä", "score": 0.75, "stability_score": 0.5, "how": "two clicks"}
    assert full.items() >= (extra | {"points": [[2.0, 1.5], [4.0, 3.0]]}).items()
    assert not {"name", "score", "points", "how"} & (plain.keys() | part.keys())


def test_coco_of_nothing(tmp_path: Path) -> None:
    coco = COCO(export_labels(np.zeros((4, 5), int), tmp_path / "a.json"))
    assert (len(coco.imgs), len(coco.anns)) == (1, 0)
