"""Objects that the user has not confirmed can be told from the others in what is exported."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import roifile
import tifffile

from napari_segany.core.errors import InputError
from napari_segany.core.objects import STATES, ObjectInfo
from napari_segany.io.export import FORMATS, export_labels
from napari_segany.io.object_tables import objects_of_labels

LABELS = np.zeros((20, 30), np.int32)
LABELS[2:6, 2:6] = 1
LABELS[10:14, 10:15] = 2


@pytest.mark.parametrize("state", STATES)
def test_formats_tell_the_state_of_each_object(tmp_path: Path, state: str) -> None:
    objects = [ObjectInfo(1, source="everything", state=state), ObjectInfo(2, source="1 click")]
    with export_labels(LABELS, tmp_path / "a.csv", objects=objects).open(encoding="utf-8") as file:
        assert [row["state"] for row in csv.DictReader(file)] == [state, ""]
    first, second = json.loads(export_labels(LABELS, tmp_path / "a.json", objects=objects).read_text())["annotations"]
    assert first["state"] == state
    assert "state" not in second
    features = json.loads(export_labels(LABELS, tmp_path / "a.geojson", objects=objects).read_text())["features"]
    assert [one["properties"]["metadata"] for one in features] == [
        {"how": "everything", "state": state},
        {"how": "1 click"},
    ]
    rois = roifile.roiread(export_labels(LABELS, tmp_path / "a.zip", objects=objects))
    assert [f"state: {state}" in roi.props for roi in rois] == [True, False]


def test_without_states_there_is_no_column(tmp_path: Path) -> None:
    path = export_labels(LABELS, tmp_path / "a.csv", objects=[ObjectInfo(1)])
    assert "state" not in path.read_text().splitlines()[0].split(",")


def test_formats_tell_who_reviewed_an_object_and_when(tmp_path: Path) -> None:
    review = {"reviewed_by": "ana", "reviewed_at": "2026-01-02T03:04:05+00:00"}
    objects = [ObjectInfo(1, state="accepted", **review), ObjectInfo(2)]
    with export_labels(LABELS, tmp_path / "a.csv", objects=objects).open(encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert {name: first[name] for name in review} == review
    assert {second[name] for name in review} == {""}
    first, second = json.loads(export_labels(LABELS, tmp_path / "a.json", objects=objects).read_text())["annotations"]
    assert {name: first[name] for name in review} == review
    assert "reviewed_by" not in second
    features = json.loads(export_labels(LABELS, tmp_path / "a.geojson", objects=objects).read_text())["features"]
    assert features[0]["properties"]["metadata"] == {"state": "accepted", **review}
    rois = roifile.roiread(export_labels(LABELS, tmp_path / "a.zip", objects=objects))
    assert [f"{name}: {value}" in rois[0].props for name, value in review.items()] == [True, True]


MOVIE = np.stack([LABELS, LABELS])
MOVIE[:, 15:18, 20:24] = 3


# (tables measure all objects: test_a_selection_changes_neither_columns_nor_measurements_of_a_table)
@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if not one.measures_intensity])
@pytest.mark.parametrize(
    ("selection", "kept"), [("all", {1, 2, 3}), ("not rejected", {1, 3}), ("accepted", {3})], ids=["all", "not", "only"]
)
def test_every_format_leaves_out_the_same_objects(tmp_path: Path, name: str, selection: str, kept: set[int]) -> None:
    if FORMATS[name].package:
        pytest.importorskip(FORMATS[name].package)
    labels = LABELS.copy() if name == "sa1b" else MOVIE.copy()
    labels[..., 15:18, 20:24] = 3
    objects = [ObjectInfo(1, state="uncertain"), ObjectInfo(2, state="rejected"), ObjectInfo(3, parent=2)]
    axes = "yx" if name == "sa1b" else "tyx"
    ending = FORMATS[name].endings[0]
    options = {"format": name, "axes": axes}
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    path = export_labels(labels, tmp_path / "a" / f"x{ending}", objects=objects, selection=selection, **options)
    if FORMATS[name].measures_intensity:
        # what is measured is that of all objects, and so are the columns
        whole = export_labels(labels, tmp_path / "b" / f"x{ending}", objects=objects, **options)
        read = {"csv": pd.read_csv, "parquet": pd.read_parquet}[name]
        rows, there = read(path), read(whole)
        there = there[there["label"].isin(kept)].reset_index(drop=True)
        there["parent"] = there["parent"].astype(float).where(there["parent"].isin(kept))
        pd.testing.assert_frame_equal(rows.assign(parent=rows["parent"].astype(float)), there, check_dtype=False)
        return
    # the same as labels that never had the objects
    truth = np.where(np.isin(labels, list(kept)), labels, 0)
    there = [replace(one, parent=one.parent if one.parent in kept else 0) for one in objects if one.label in kept]
    other = export_labels(truth, tmp_path / "b" / f"x{ending}", objects=there, **options)
    assert contents(path) == contents(other)


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return {str(one.relative_to(path)): unpacked(one) for one in files}


def unpacked(path: Path) -> bytes:
    """Bytes without the times that a file may hold."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as file:
            return b"".join(file.read(name) for name in file.namelist())
    if path.suffix == ".tif":
        return tifffile.imread(path).tobytes()
    return re.sub(rb"\d{4}-\d\d-\d\d[T ][\d:.]+", b"", path.read_bytes())


def test_an_unknown_selection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no selection 'some'"):
        export_labels(LABELS, tmp_path / "a.csv", selection="some")


def test_formats_tell_both_levels_of_a_class(tmp_path: Path) -> None:
    objects = [ObjectInfo(1, class_name="cell/dividing"), ObjectInfo(2, class_name="debris")]
    with export_labels(LABELS, tmp_path / "a.csv", objects=objects).open(encoding="utf-8") as file:
        assert [(row["class"], row["class_parent"]) for row in csv.DictReader(file)] == [
            ("dividing", "cell"),
            ("debris", ""),
        ]
    written = json.loads(export_labels(LABELS, tmp_path / "a.json", objects=objects).read_text())
    assert [(one["name"], one["supercategory"]) for one in written["categories"]] == [
        ("dividing", "cell"),
        ("debris", ""),
    ]
    features = json.loads(export_labels(LABELS, tmp_path / "a.geojson", objects=objects).read_text())["features"]
    assert [one["properties"]["classification"]["name"] for one in features] == ["cell: dividing", "debris"]
    rois = roifile.roiread(export_labels(LABELS, tmp_path / "a.zip", objects=objects))
    assert "class: dividing\nclass_parent: cell\n" in rois[0].props
    (tmp_path / "a_labels.tif").touch()
    (tmp_path / "a.csv").rename(tmp_path / "a_objects.csv")
    assert objects_of_labels(tmp_path / "a_labels.tif")[1].class_name == "cell/dividing"
