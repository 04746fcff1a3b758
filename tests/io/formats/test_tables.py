"""The table says what can be counted by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from napari_segany.core.objects import ObjectInfo
from napari_segany.io.export import export_labels
from napari_segany.io.formats import shapes


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_plane(tmp_path: Path) -> None:
    labels = np.zeros((6, 8), int)
    labels[1:4, 2:4] = 3
    labels[5, 7] = 70_000
    intensity = np.arange(48.0).reshape(6, 8)
    known = ObjectInfo(3, "Zelle ä, links", "nucleus", 0.75, 0.5, source="box")
    path = export_labels(labels, tmp_path / "a.csv", objects=[known], scale=(0.5, 0.25), unit="µm", intensity=intensity)
    first, second = rows(path)
    assert first == {
        "label": "3",
        "name": "Zelle ä, links",
        "class": "nucleus",
        "score": "0.75",
        "stability": "0.5",
        "how": "box",
        "pixels": "6",
        "area [µm^2]": "0.75",
        "centroid_y [µm]": "1.0",
        "centroid_x [µm]": "0.625",
        "y_min": "1",
        "x_min": "2",
        "y_max": "3",
        "x_max": "3",
        "length [µm]": first["length [µm]"],
        "width [µm]": first["width [µm]"],
        "perimeter [µm]": "",
        "roundness": "",
        "eccentricity": first["eccentricity"],
        "solidity": "1.0",
        "orientation [deg]": "90.0",
        "neighbour_distance [µm]": str(np.hypot(1.5, 1.125)),
        "neighbours": "0",
        "intensity_mean": str(intensity[1:4, 2:4].mean()),
        "intensity_min": "10.0",
        "intensity_max": "27.0",
        "intensity_std": first["intensity_std"],
        "intensity_sum": "111.0",
    }
    assert float(first["intensity_std"]) == pytest.approx(intensity[1:4, 2:4].std())
    assert float(first["length [µm]"]) > float(first["width [µm]"]) > 0
    assert (second["label"], second["name"], second["score"], second["pixels"]) == ("70000", "", "", "1")
    assert (second["y_min"], second["x_max"], second["intensity_mean"]) == ("5", "7", "47.0")


def test_volume(tmp_path: Path) -> None:
    labels = np.zeros((5, 4, 4), int)
    labels[1, 1, :2] = labels[3, 1, :2] = 9
    (row,) = rows(export_labels(labels, tmp_path / "a.csv", scale=(2.0, 0.5, 0.5), unit="um"))
    assert (row["pixels"], row["volume [um^3]"], row["slices"]) == ("4", "2.0", "2")
    assert (row["centroid_z [um]"], row["centroid_y [um]"], row["centroid_x [um]"]) == ("4.0", "0.5", "0.25")
    assert (row["z_min"], row["z_max"], row["y_min"], row["y_max"]) == ("1", "3", "1", "1")
    assert "intensity_mean" not in row


@pytest.mark.parametrize("axes", ["tyx", "tzyx"])
def test_time_is_no_part_of_a_size(tmp_path: Path, axes: str) -> None:
    labels = np.zeros((3, 4, 4), int)
    labels[0, :2, :2] = labels[2, 0, :3] = 1
    intensity = np.arange(48).reshape(labels.shape)
    scale = (60.0, 0.5, 0.5)
    if axes == "tzyx":
        labels, intensity, scale = labels[:, None], intensity[:, None], (60.0, 2.0, 0.5, 0.5)
    table = rows(export_labels(labels, tmp_path / "a.csv", axes=axes, scale=scale, intensity=intensity))
    assert [(row["t"], row["pixels"]) for row in table] == [("0", "4"), ("2", "3")]
    size = "area [pixel^2]" if axes == "tyx" else "volume [pixel^3]"
    assert [float(row[size]) for row in table] == ([1.0, 0.75] if axes == "tyx" else [2.0, 1.5])
    assert [float(row["intensity_mean"]) for row in table] == [2.5, 33.0]


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4)])
def test_nothing_is_a_table_without_rows(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = export_labels(np.zeros(shape, int), tmp_path / "a.csv", intensity=np.zeros(shape))
    assert rows(path) == []
    assert path.read_text(encoding="utf-8").startswith("label,name,class")


def test_columns_are_those_of_the_rows(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (2, 5, 6, 7))
    with export_labels(labels, tmp_path / "a.csv", intensity=labels).open(newline="", encoding="utf-8") as file:
        assert len({len(row) for row in csv.reader(file)}) == 1
    for row in rows(tmp_path / "a.csv"):
        assert row["intensity_min"] == row["intensity_max"] == f"{float(row['label'])}"


def test_channels_have_columns_each(tmp_path: Path) -> None:
    labels = np.zeros((4, 5), int)
    labels[1:3, 1:4] = 2
    channels = {"DAPI": np.arange(20.0).reshape(4, 5), "actin": np.full((4, 5), 7, np.uint8)}
    (row,) = rows(export_labels(labels, tmp_path / "a.csv", intensity=channels))
    assert float(row["intensity_mean_DAPI"]) == channels["DAPI"][1:3, 1:4].mean()
    assert (row["intensity_max_DAPI"], row["intensity_sum_actin"], row["intensity_std_actin"]) == (
        "13.0",
        "42.0",
        "0.0",
    )
    assert "intensity_mean" not in row


def test_large_arrays_are_measured_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(0).integers(0, 5, (20, 6, 7))
    values = np.random.default_rng(1).normal(size=labels.shape)
    whole = rows(export_labels(labels, tmp_path / "a.csv", intensity=values))
    monkeypatch.setattr(shapes, "BLOCK_PIXELS", 100)
    parts = rows(export_labels(labels, tmp_path / "b.csv", intensity=values))
    for one, other in zip(whole, parts, strict=True):
        numbers = [
            [float(row[name] or 0) for name in row if name not in ("name", "class", "how")] for row in (one, other)
        ]
        np.testing.assert_allclose(*numbers, atol=1e-9)


def test_columns_are_chosen(tmp_path: Path) -> None:
    labels = np.ones((2, 4, 4), int)
    path = export_labels(labels, tmp_path / "a.csv", axes="tyx", columns=["pixels", "solidity", "no such"])
    assert list(rows(path)[0]) == ["label", "t", "name", "class", "pixels", "solidity"]


@pytest.mark.parametrize(("axes", "first"), [("qyx", "axis-0"), ("zyx", "z"), (None, "z")])
def test_an_axis_without_a_name_has_its_number(tmp_path: Path, axes: str | None, first: str) -> None:
    labels = np.ones((2, 4, 4), int)
    (row,) = rows(export_labels(labels, tmp_path / "a.csv", axes=axes))
    assert row[f"centroid_{first} [pixel]"] == "0.5"
    assert (row[f"{first}_min"], row[f"{first}_max"]) == ("0", "1")


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    labels = np.zeros((5, 6), int)
    labels[1:3, 1:4], labels[4, 4] = 1, 7
    objects = [ObjectInfo(7, "seven", score=0.5)]
    table = parquet.read_table(export_labels(labels, tmp_path / "a.parquet", objects=objects)).to_pydict()
    same = rows(export_labels(labels, tmp_path / "a.csv", objects=objects))
    assert list(table) == list(same[0])
    assert table["name"] == ["", "seven"]
    assert table["score"] == [None, 0.5]
    assert table["pixels"] == [6, 1]
    for name, values in table.items():
        assert ["" if value is None else str(value) for value in values] == [row[name] for row in same]


@pytest.mark.parametrize("unknown", [float("nan"), float("inf"), -float("inf"), np.float32("nan"), None])
def test_what_is_not_known_is_empty(tmp_path: Path, unknown: float | None) -> None:
    labels = np.eye(4, dtype=np.uint16)
    objects = [ObjectInfo(1, score=unknown, stability=unknown)]
    intensity = np.full((4, 4), np.nan)
    path = export_labels(labels, tmp_path / "a.csv", objects=objects, intensity=intensity)
    (row,) = rows(path)
    assert {row[name] for name in ("score", "stability", "intensity_mean", "intensity_min")} == {""}
    assert row["pixels"] == "4"


@pytest.mark.parametrize("name", ["a.json", "a.geojson", "a.zip"])
def test_other_formats_leave_out_what_is_not_known(tmp_path: Path, name: str) -> None:
    nan = float("nan")
    known = ObjectInfo(1, score=nan, stability=nan, points=((nan, 1.0), (2.0, 2.0)))
    content = export_labels(np.eye(4, dtype=np.uint16), tmp_path / name, objects=[known]).read_bytes()
    assert b"nan" not in content.lower()
