"""JSON is read back by the libraries of its field, or by nothing but json, and holds the same pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.io.export import export_labels
from tests.filling import few_labels, filled

# pycocotools 2.0.11 with numpy 2, whenever it decodes
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

KNOWN = (
    ObjectInfo(2, "Zelle ä", "nucleus", 0.75, 0.5, points=((1.5, 2.0), (3.0, 4.0)), source="two clicks"),
    ObjectInfo(3, class_name="debris", score=float("nan")),
    ObjectInfo(77, "gone"),
)


@pytest.fixture
def labels() -> np.ndarray:
    """(z, y, x) int64 labels of many pieces; the second plane is empty."""
    labels = np.random.default_rng(0).integers(0, 4, (3, 20, 30))
    labels[1] = 0
    return labels


def read(path: Path) -> Any:
    """Strict JSON."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


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


def test_geojson_has_the_same_pixels(tmp_path: Path, labels: np.ndarray) -> None:
    content = read(export_labels(labels, tmp_path / "a.geojson", objects=KNOWN))
    assert content["type"] == "FeatureCollection"
    back = np.zeros_like(labels)
    for feature in content["features"]:
        assert feature["geometry"]["plane"].items() >= {"c": -1, "t": 0}.items()
        z = feature["geometry"]["plane"]["z"]
        back[z][filled(rings_of(feature), labels.shape[1:])] = feature["properties"]["measurements"]["label"]
    np.testing.assert_array_equal(back, labels)


@settings(deadline=None)
@given(few_labels)
def test_any_geojson_has_the_same_pixels(tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray) -> None:
    content = read(export_labels(labels, tmp_path_factory.mktemp("geojson") / "a.geojson"))
    back = np.zeros_like(labels)
    for feature in content["features"]:
        back[filled(rings_of(feature), labels.shape)] = feature["properties"]["measurements"]["label"]
    np.testing.assert_array_equal(back, labels)


def test_geojson_says_what_is_known(tmp_path: Path) -> None:
    labels = np.array([[1, 2, 0, 3]])
    plain, full, part = read(export_labels(labels, tmp_path / "a.geojson", objects=KNOWN))["features"]
    square = [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert plain["geometry"]["type"] == "Polygon"
    assert sorted(plain["geometry"]["coordinates"][0][1:]) == sorted(square)
    assert plain["properties"] == {"objectType": "annotation", "name": "1", "measurements": {"label": 1}}
    assert full["properties"] == {
        "objectType": "annotation",
        "name": "Zelle ä",
        "measurements": {"label": 2, "score": 0.75, "stability": 0.5},
        "classification": {"name": "nucleus"},
        "metadata": {"how": "two clicks"},
    }
    assert part["properties"]["measurements"] == {"label": 3}


def test_geojson_tells_pieces_from_holes(tmp_path: Path) -> None:
    ring = np.pad(np.zeros((1, 1), int), 1, constant_values=5)
    feature = read(export_labels(ring, tmp_path / "a.geojson"))["features"][0]
    assert (feature["geometry"]["type"], len(feature["geometry"]["coordinates"])) == ("Polygon", 2)
    assert "plane" not in feature["geometry"]
    two = np.hstack([ring, ring * 0, ring])
    feature = read(export_labels(two, tmp_path / "b.geojson"))["features"][0]
    assert feature["geometry"]["type"] == "MultiPolygon"
    assert [len(polygon) for polygon in feature["geometry"]["coordinates"]] == [2, 2]


def rings_of(feature: dict[str, Any]) -> list[list[tuple[int, int]]]:
    """All rings of a feature as (y, x), which must be closed."""
    geometry = feature["geometry"]
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    rings = [ring for polygon in polygons for ring in polygon]
    assert all(ring[0] == ring[-1] for ring in rings)
    return [[(y, x) for x, y in ring[:-1]] for ring in rings]
