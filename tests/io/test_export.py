"""Exports go where they should, whole or not at all; what files hold is tested format by format."""

from __future__ import annotations

import csv
import importlib.util
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_segany.core.errors import Cancelled, InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.io import export
from napari_segany.io.export import FORMATS, check_export, export_labels, from_rle
from napari_segany.io.labels import read_labels

NAMES = {name: f"a{one.endings[0]}" for name, one in FORMATS.items()}
TIMED = ("tracks", "ctc", "geff", "trackmate")


def param(name: str) -> Any:
    """A format, skipped where its package is missing."""
    package = FORMATS[name].package
    missing = bool(package) and importlib.util.find_spec(package) is None
    return pytest.param(name, marks=pytest.mark.skipif(missing, reason=f"the package {package} is not installed"))


KINDS = [param(name) for name in FORMATS]
WRITTEN = [param(name) for name, one in FORMATS.items() if one.write is not None]


@pytest.fixture
def labels() -> np.ndarray:
    """(z, y, x) int64 labels."""
    return np.random.default_rng(0).integers(0, 9, (4, 20, 30))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.json", "coco"),
        ("a.ZIP", "imagej"),
        ("a.geojson", "geojson"),
        ("a.b.csv", "csv"),
        ("a.tiff", "tiff"),
        ("a.ome.tif", "tiff"),
        ("a.ome.zarr", "ome-zarr"),
    ],
)
def test_the_name_says_the_format(tmp_path: Path, labels: np.ndarray, name: str, kind: str) -> None:
    assert check_export(tmp_path / name) == kind
    assert export_labels(labels, str(tmp_path / name)) == tmp_path / name
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_format_can_be_said(tmp_path: Path, labels: np.ndarray) -> None:
    assert check_export(tmp_path / "a.json", format="sa1b") == "sa1b"
    content = json.loads(export_labels(labels[0], tmp_path / "a.json", format="sa1b").read_text())
    masks = {entry["id"]: from_rle(entry["segmentation"]) for entry in content["annotations"]}
    np.testing.assert_array_equal(sum(label * mask for label, mask in masks.items()), labels[0])


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_label_images(tmp_path: Path, labels: np.ndarray, name: str) -> None:
    path = export_labels(labels, tmp_path / name, objects=[ObjectInfo(1)], scale=(2.0, 0.5, 0.5))
    np.testing.assert_array_equal(read_labels(path), labels)
    if name == "a.tif":
        np.testing.assert_array_equal(tifffile.imread(path), labels)
        return
    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(group["0"][...], labels)
    transforms = group.attrs["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert transforms == [{"type": "scale", "scale": [2.0, 0.5, 0.5]}]


def test_labels_join_an_ome_zarr(tmp_path: Path, labels: np.ndarray) -> None:
    export_labels(labels, tmp_path / "a.zarr")
    path = export_labels(labels, tmp_path / "a.zarr" / "labels" / "cells")
    np.testing.assert_array_equal(read_labels(path), labels)
    assert check_export(path, overwrite=True) == "ome-zarr"


def suited(kind: str, plane: np.ndarray) -> np.ndarray:
    """Labels (y, x) as they are, or twice one after the other for formats of what moves."""
    return np.stack([plane, plane]) if kind in TIMED else plane


def content(path: Path) -> list[bytes] | None:
    """What is in a file, or in those of a folder; None for OME-Zarr."""
    if path.suffix == ".zarr":
        return None
    return (
        [path.read_bytes()]
        if path.is_file()
        else [one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_overwritten_unless_asked(tmp_path: Path, labels: np.ndarray, kind: str) -> None:
    path = export_labels(suited(kind, labels[0]), tmp_path / NAMES[kind], format=kind)
    before = content(path)
    with pytest.raises(InputError, match="exists"):
        export_labels(suited(kind, labels[1]), path, format=kind)
    assert content(path) == before
    export_labels(suited(kind, labels[1]), path, format=kind, overwrite=True)
    assert before is None or content(path) != before
    assert [path.name for path in tmp_path.iterdir()] == [NAMES[kind]]


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a bug")])
def test_what_fails_half_way_leaves_no_trace(
    tmp_path: Path, labels: np.ndarray, kind: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export_labels(suited(kind, labels[0]), tmp_path / NAMES[kind], format=kind)
    before = content(path)

    def fail(_: Any, place: Path) -> None:
        place.write_text("half")
        raise error

    monkeypatch.setattr(export, "FORMATS", {**FORMATS, kind: replace(FORMATS[kind], write=fail)})
    with pytest.raises(InputError if isinstance(error, OSError) else ValueError, match=r"No space left|a bug"):
        export_labels(suited(kind, labels[1]), path, format=kind, overwrite=True)
    assert content(path) == before
    assert [path.name for path in tmp_path.iterdir()] == [NAMES[kind]]


PLANE, VOLUME = np.ones((3, 4), int), np.ones((2, 3, 4), int)


@pytest.mark.parametrize(
    ("labels", "name", "options", "line"),
    [
        (
            PLANE,
            "a.png",
            {},
            r"labels are exported to .json, .zip, .geojson, .csv, .parquet, .ctc, .geff, .xml, .svg, .tif, .tiff, ",
        ),
        (PLANE, "a", {}, "labels are exported to"),
        (PLANE, "a.json", {"format": "voc"}, "there is no format voc; there are coco, sa1b"),
        (PLANE, "a.csv", {"format": "coco"}, "coco is written to .json, not to a.csv"),
        (PLANE, "a.json", {"format": "ome-zarr"}, "ome-zarr is written to .zarr"),
        (PLANE, "gone/a.csv", {}, "there is no folder"),
        (PLANE, "gone/a.tif", {}, "there is no folder"),
        (PLANE * 0.5, "a.csv", {}, "a label image is integers"),
        (-PLANE, "a.zip", {}, "labels lie within 0"),
        (np.ones(3, int), "a.json", {}, "two or more axes"),
        (np.ones((0, 3), int), "a.json", {}, "two or more axes"),
        (np.ones((1, 1, 1, 2, 2), int), "a.json", {}, r"on the axes \(t\)\(z\)yx only, not qtzyx"),
        (VOLUME, "a.csv", {"axes": "cyx"}, "not cyx"),
        (VOLUME, "a.csv", {"axes": "yx"}, "do not fit the axes"),
        (VOLUME, "a.json", {"format": "sa1b"}, "single planes"),
        (PLANE, "a.csv", {"scale": (1.0,)}, "do not fit the scale"),
        (PLANE, "a.csv", {"scale": (1.0, 0.0)}, "do not fit the scale"),
        (PLANE, "a.csv", {"scale": (1.0, float("nan"))}, "do not fit the scale"),
        (PLANE, "a.csv", {"intensity": np.ones((3, 4, 3))}, "an image of shape"),
        (PLANE, "a.csv", {"objects": [ObjectInfo(1), ObjectInfo(1, "again")]}, "same label"),
    ],
)
def test_errors_are_one_clear_line_and_leave_nothing(
    tmp_path: Path, labels: np.ndarray, name: str, options: dict[str, Any], line: str
) -> None:
    with pytest.raises(InputError, match=line) as error:
        export_labels(labels, tmp_path / name, **options)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        export_labels(PLANE, tmp_path / "a.csv", overwrite=True)


@pytest.mark.parametrize("kind", WRITTEN)
def test_labels_may_be_large_and_far_apart(tmp_path: Path, kind: str) -> None:
    labels = suited(kind, np.array([[0, 7, 2**32 - 1]]))
    options = {"objects": [ObjectInfo(np.int64(7))], "scale": [2] * labels.ndim}
    assert all(content(export_labels(labels, tmp_path / NAMES[kind], format=kind, **options)))


@pytest.mark.parametrize("kind", WRITTEN)
def test_many_objects_take_no_full_size_masks(tmp_path: Path, kind: str) -> None:
    """Two thousand times four million pixels would take minutes."""
    tile = np.pad(np.ones((38, 38), bool), 3)
    labels = np.kron(np.arange(1, 2026).reshape(45, 45), np.ones(tile.shape, int)) * np.tile(tile, (45, 45))
    labels = suited(kind, labels)
    start = time.process_time()
    export_labels(labels, tmp_path / NAMES[kind], format=kind)
    assert time.process_time() - start < 30


@pytest.mark.parametrize("name", ["a.json", "a.zip", "a.geojson"])
def test_it_is_told_how_much_is_written_and_stopped_nothing_is_left(
    tmp_path: Path, labels: np.ndarray, name: str
) -> None:
    told: list[tuple[float, float]] = []
    export_labels(labels, tmp_path / name, report=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert {total for _, total in told} == {len(labels)}
    before = (tmp_path / name).read_bytes()

    def stop(done: float, total: float) -> None:
        if done > 2:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        export_labels(labels, tmp_path / name, overwrite=True, report=stop)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("kind", [name for name, one in FORMATS.items() if one.package])
def test_a_missing_package_is_named_before_the_work(
    tmp_path: Path, labels: np.ndarray, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    extra = FORMATS[kind].extra or FORMATS[kind].package
    with pytest.raises(InputError, match=rf'pip install "napari-segany\[{extra}\]"'):
        check_export(tmp_path / NAMES[kind], format=kind)


@pytest.mark.parametrize("name", FORMATS)
def test_formats_of_single_planes_say_so(tmp_path: Path, name: str) -> None:
    one = FORMATS[name]
    if one.package:
        pytest.importorskip(one.package)
    labels = np.zeros((3, 20, 20), np.int32)
    labels[:, 5:12, 5:12] = 1
    path = tmp_path / f"out{one.endings[0]}"
    if not one.planes_only:
        assert export_labels(labels, path, format=name).exists()
        return
    with pytest.raises(InputError):
        export_labels(labels, path, format=name)


def test_a_selection_changes_neither_columns_nor_measurements_of_a_table(tmp_path: Path) -> None:
    labels = np.zeros((20, 30), np.uint16)
    for label, left in ((1, 2), (2, 6), (3, 20)):
        labels[5:9, left : left + 4] = label
    objects = [
        ObjectInfo(1, class_name="cell", parent=2),
        ObjectInfo(2, class_name="cell/round", state="proposed", class_probability=0.5),
        ObjectInfo(3, class_name="cell"),
    ]
    for selection in ("all", "accepted"):
        export_labels(labels, tmp_path / f"{selection}.csv", objects=objects, selection=selection)
    texts = [(tmp_path / f"{name}.csv").read_text().splitlines() for name in ("all", "accepted")]
    whole, chosen = (list(csv.DictReader(text)) for text in texts)
    assert list(whole[0]) == list(chosen[0])
    assert [row["label"] for row in chosen] == ["1", "3"]
    assert (whole[0].pop("parent"), chosen[0].pop("parent")) == ("2", "")
    assert chosen == [whole[0], whole[2]]
    assert chosen[0]["neighbours"] == "1"
