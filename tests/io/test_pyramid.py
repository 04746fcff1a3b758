"""Label images of several levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

from napari_segany.io.labels import read_labels, write_labels
from napari_segany.io.ome_zarr import Layout, create_labels, window_of


def test_small_labels_have_one_level(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.zarr", np.ones((3, 40, 50), np.uint16))
    assert list(zarr.open_group(tmp_path / "a.zarr")) == ["0"]


def test_each_level_takes_every_other_row_and_column(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 9, (2, 1500, 2500)).astype(np.uint16)
    write_labels(tmp_path / "a.zarr", labels, scale=(3.0, 0.5, 0.5))
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert sorted(group) == ["0", "1", "2"]
    for level in (0, 1, 2):
        step = 2**level
        np.testing.assert_array_equal(group[str(level)][...], labels[:, ::step, ::step])
    datasets = group.attrs["multiscales"][0]["datasets"]
    scales = [one["coordinateTransformations"][0]["scale"] for one in datasets]
    assert scales == [[3.0, 0.5, 0.5], [3.0, 1.0, 1.0], [3.0, 2.0, 2.0]]
    np.testing.assert_array_equal(read_labels(tmp_path / "a.zarr"), labels)


def test_only_what_was_written_is_brought_to_the_levels_below(tmp_path: Path) -> None:
    file = create_labels(tmp_path / "a.zarr", Layout((4, 3000, 3000), np.dtype("u4"), "zyx", (1.0,) * 3), version="0.4")
    file[2, 1001:1101, 700:801] = 7
    file[2, 1101:1301, 750:780] = 8
    file.finish()
    truth = file[2]
    for level in (1, 2):
        np.testing.assert_array_equal(file.levels[level][2], truth[:: 2**level, :: 2**level])
    written = sorted(
        str(p.relative_to(tmp_path / "a.zarr"))
        for p in (tmp_path / "a.zarr").rglob("*")
        if p.name.isdigit() and p.is_file()
    )
    assert all(path.split("/")[1] == "2" for path in written)
    assert [path for path in written if path.startswith("2/")] == ["2/2/0/0"]


def test_an_index_as_slices() -> None:
    assert window_of((1, slice(2, None)), (4, 5, 6)) == (slice(1, 2), slice(2, 5), slice(0, 6))
