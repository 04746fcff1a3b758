"""SA-1B is read back by json, and holds the same pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from napari_segany.core.errors import InputError
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


def test_sa1b(tmp_path: Path, labels: np.ndarray) -> None:
    path = export_labels(labels[0], tmp_path / "sa_1.json", format="sa1b", objects=KNOWN, image_name="sa_1.jpg")
    content = read(path)
    assert content["image"] == {"image_id": 1, "width": 30, "height": 20, "file_name": "sa_1.jpg"}
    back = np.zeros((20, 30), int)
    for annotation in content["annotations"]:
        mask = coco_mask.decode(annotation["segmentation"]).astype(bool)
        back[mask] = annotation["id"]
        assert annotation["area"] == mask.sum()
        assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()
        assert annotation["crop_box"] == [0, 0, 30, 20]
    np.testing.assert_array_equal(back, labels[0])
    known, part = content["annotations"][1:]
    assert (known["predicted_iou"], known["stability_score"]) == (0.75, 0.5)
    assert known["point_coords"] == [[2.0, 1.5], [4.0, 3.0]]
    assert (part["predicted_iou"], part["stability_score"], part["point_coords"]) == (None, None, [])


def test_sa1b_takes_single_planes(tmp_path: Path, labels: np.ndarray) -> None:
    with pytest.raises(InputError, match="single planes"):
        export_labels(labels, tmp_path / "a.json", format="sa1b")
    assert not list(tmp_path.iterdir())
