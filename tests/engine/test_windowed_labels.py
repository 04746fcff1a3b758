"""Labels that lie beside their image, in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_segany.core.errors import InputError
from napari_segany.engine.windowed_labels import WindowedLabels, windowed_labels_path
from napari_segany.io.labels import read_labels, write_labels
from napari_segany.io.ome_zarr import Layout

LAYOUT = Layout((3, 1200, 1300), np.dtype(np.uint32), "zyx", (1.0, 1.0, 1.0))
PART = (slice(1, 3), slice(500, 700), slice(900, 1100))


def test_what_is_written_is_there_again(tmp_path: Path) -> None:
    labels = WindowedLabels(tmp_path / "a.labels.zarr", LAYOUT)
    values = np.random.default_rng(0).integers(0, 99, (2, 200, 200)).astype(np.int32)
    labels.write(PART, values)
    again = WindowedLabels(tmp_path / "a.labels.zarr", LAYOUT)
    assert again.highest == values.max()
    np.testing.assert_array_equal(again.read(PART), values)
    whole = read_labels(tmp_path / "a.labels.zarr")
    assert whole.sum() == values.sum()
    np.testing.assert_array_equal(again.levels[1][...], whole[:, ::2, ::2])


def test_the_highest_label_is_remembered_when_it_is_gone(tmp_path: Path) -> None:
    labels = WindowedLabels(tmp_path / "a.labels.zarr", LAYOUT)
    labels.write(PART, np.full((2, 200, 200), 41))
    labels.write(PART, np.zeros((2, 200, 200), int))
    assert labels.highest == 41


def test_labels_of_another_shape_are_not_touched(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.labels.zarr", np.ones((5, 5), np.uint16))
    with pytest.raises(InputError, match="shape"):
        WindowedLabels(tmp_path / "a.labels.zarr", LAYOUT)
    (tmp_path / "b.labels.zarr").write_text("a file")
    with pytest.raises(InputError, match="cannot be kept"):
        WindowedLabels(tmp_path / "b.labels.zarr", LAYOUT)
    assert (tmp_path / "b.labels.zarr").read_text() == "a file"


def test_labels_lie_in_their_ome_zarr_image_or_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_labels(tmp_path / "image.zarr", np.ones((50, 60), np.uint16))
    (tmp_path / "plane.tif").write_bytes(b"")
    zarr.create_array(tmp_path / "bare.zarr", shape=(4, 4), dtype="u2")
    assert windowed_labels_path(str(tmp_path / "image.zarr"), "x") == tmp_path / "image.zarr" / "labels" / "segany"
    assert windowed_labels_path(str(tmp_path / "plane.tif"), "x") == tmp_path / "plane.tif.labels.zarr"
    assert windowed_labels_path(str(tmp_path / "bare.zarr"), "x") == tmp_path / "bare.zarr.labels.zarr"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert windowed_labels_path("", "abc").name == "abc.zarr"
    assert windowed_labels_path(str(tmp_path / "none.tif"), "abc").name == "abc.zarr"


def test_labels_within_an_image_are_registered(tmp_path: Path) -> None:
    write_labels(tmp_path / "image.zarr", np.ones((50, 60), np.uint16))
    place = windowed_labels_path(str(tmp_path / "image.zarr"), "x")
    layout = Layout((50, 60), np.dtype(np.uint32), "yx", (1.0, 1.0))
    WindowedLabels(place, layout).write((slice(0, 5), slice(0, 5)), np.ones((5, 5), int))
    assert zarr.open_group(tmp_path / "image.zarr" / "labels", mode="r").attrs["labels"] == ["segany"]
    assert WindowedLabels(place, layout).highest == 1
