"""Label images of several levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from yaozarrs import DimSpec, v04, v05, validate_zarr_store

from napari_segany.io.labels import read_labels, write_labels
from napari_segany.io.ome_zarr import Layout, create_labels, finest_level, register_label, window_of
from napari_segany.io.spacing import Calibration


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


UNITS = {"t": "second", "c": "", "z": "micrometer", "y": "micrometer", "x": "micrometer"}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yx", "zyx", "tyx", "cyx", "tzyx", "tczyx"])
def test_an_independent_reader_finds_what_is_written_valid(tmp_path: Path, axes: str, version: str) -> None:
    """An image as yaozarrs describes it, with labels of ours inside: both are valid, and both say the same."""
    placed = Calibration((0.5,) * len(axes), (3.0,) * len(axes), tuple(UNITS[axis] for axis in axes))
    shape = (2,) * (len(axes) - 2) + (1500, 700)
    dims = [DimSpec(name=a, size=n, scale=0.5, translation=3.0, unit=UNITS[a] or None, scale_factor=1 + (a in "yx"))
            for a, n in zip(axes, shape, strict=True)]  # fmt: skip
    image, spec = tmp_path / "image.zarr", v04 if version == "0.4" else v05
    about = spec.Image(multiscales=[spec.Multiscale.from_dims(dims, "cells", n_levels=2)])
    plain = about.model_dump(exclude_none=True)
    group = zarr.create_group(image, zarr_format=2 if version == "0.4" else 3)
    names = {} if version == "0.4" else {"dimension_names": list(axes)}
    for level in (0, 1):
        size = (*shape[:-2], shape[-2] >> level, shape[-1] >> level)
        group.create_array(
            str(level),
            shape=size,
            dtype="u1",
            chunk_key_encoding={"name": "v2" if version == "0.4" else "default", "separator": "/"},
            **names,
        )
    group.attrs.update(plain if version == "0.4" else {"ome": plain})

    layout = Layout(shape, np.dtype("u4"), axes, placed.scale, placed, "cells")
    written = create_labels(tmp_path / "cells.zarr", layout, version=version)
    (image / "labels").mkdir()
    (tmp_path / "cells.zarr").rename(image / "labels" / "cells")
    register_label(image, "cells")
    validate_zarr_store(str(image))
    validate_zarr_store(str(image / "labels" / "cells"))
    ours = dict(written.group.attrs).get("ome", dict(written.group.attrs))["multiscales"]
    assert ours == plain["multiscales"]
    found = finest_level(image)
    assert (found.axes, found.calibration) == (axes, placed)
