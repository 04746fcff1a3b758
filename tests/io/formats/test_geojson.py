"""GeoJSON is read back by json, and its outlines hold the same pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from napari_segany.io.export import export_labels
from tests.filling import few_labels, filled
from tests.io.formats.json_files import KNOWN, read


@pytest.fixture
def labels() -> np.ndarray:
    """(z, y, x) int64 labels of many pieces; the second plane is empty."""
    labels = np.random.default_rng(0).integers(0, 4, (3, 20, 30))
    labels[1] = 0
    return labels


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
