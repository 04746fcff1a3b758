"""Label images come back as they were written, and nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.run import labels as files
from napari_segany.run.images import read_image
from napari_segany.run.labels import check_axes, check_output, read_labels, write_labels


@pytest.fixture
def labels() -> np.ndarray:
    """(z, y, x) int64 labels."""
    return np.random.default_rng(0).integers(0, 9, (4, 20, 30))


@pytest.mark.parametrize("name", ["labels.tif", "labels.ome.tiff", "labels.zarr", "labels.ome.zarr"])
@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_round_trip(tmp_path: Path, labels: np.ndarray, name: str, ndim: int) -> None:
    labels = {2: labels[0], 3: labels, 4: labels[None]}[ndim]
    assert write_labels(tmp_path / name, labels) == tmp_path / name
    back = read_labels(tmp_path / name)
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, labels.squeeze() if name.endswith("ome.tiff") else labels)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_large_labels_keep_their_value(tmp_path: Path) -> None:
    labels = np.array([[0, 70_000]])
    assert read_labels(write_labels(tmp_path / "a.tif", labels)).tolist() == labels.tolist()


def test_tiff_is_gray_compressed_and_says_its_axes(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.tif", np.zeros((4, 50, 3), int))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.series[0].axes == "ZYX"
        assert tiff.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE


def test_ome_zarr_keeps_axes_and_scale(tmp_path: Path, labels: np.ndarray) -> None:
    write_labels(tmp_path / "a.zarr", labels, axes="tyx", scale=(1.0, 0.5, 0.25))
    image = read_image(tmp_path / "a.zarr")
    assert (image.axes, image.scale) == ("tyx", (1.0, 0.5, 0.25))
    attributes = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs
    assert attributes["image-label"] == {"version": "0.4"}


def test_ome_zarr_takes_five_named_axes(tmp_path: Path, labels: np.ndarray) -> None:
    write_labels(tmp_path / "a.zarr", labels[None, None], axes="tczyx")
    axes = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["multiscales"][0]["axes"]
    assert [axis["type"] for axis in axes] == ["time", "channel", "space", "space", "space"]


@pytest.mark.parametrize(("ndim", "axes"), [(5, None), (6, None), (3, "qyx"), (4, "ttyx")])
def test_axes_without_a_name_fit_into_tiff_only(tmp_path: Path, ndim: int, axes: str | None) -> None:
    with pytest.raises(InputError, match="OME-Zarr names at most five axes"):
        write_labels(tmp_path / "a.zarr", np.ones((2,) * ndim, int), axes=axes)
    assert not list(tmp_path.iterdir())
    assert len(check_axes(tmp_path / "a.tif", ndim, axes)) == ndim


@pytest.mark.parametrize(("ndim", "axes"), [(2, "yx"), (3, "zyx"), (4, "tzyx"), (5, "qtzyx")])
def test_letters_by_default(ndim: int, axes: str) -> None:
    assert check_axes("a.tif", ndim) == axes


@pytest.mark.parametrize(("zarr_format", "version"), [(2, "0.4"), (3, "0.5")])
def test_labels_join_their_image(tmp_path: Path, labels: np.ndarray, zarr_format: int, version: str) -> None:
    image = tmp_path / "image.zarr"
    group = zarr.create_group(image, zarr_format=zarr_format)
    group.create_array("0", data=labels)
    multiscales = [{"datasets": [{"path": "0"}], "axes": [{"name": axis} for axis in "zyx"]}]
    group.attrs.update({"multiscales": multiscales} if zarr_format == 2 else {"ome": {"multiscales": multiscales}})
    write_labels(image / "labels" / "cells", labels)
    np.testing.assert_array_equal(read_labels(image), labels)
    write_labels(image / "labels" / "nuclei", labels * 2)
    np.testing.assert_array_equal(read_labels(image / "labels" / "nuclei"), labels * 2)
    with pytest.raises(InputError, match="cells, nuclei"):
        read_labels(image)
    attributes = zarr.open_group(image / "labels", mode="r").attrs.asdict()
    listed = attributes if version == "0.4" else attributes["ome"]
    assert listed["labels"] == ["cells", "nuclei"]
    with pytest.raises(InputError, match="exists"):
        write_labels(image / "labels" / "cells", labels)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_nothing_is_overwritten_unless_asked(tmp_path: Path, labels: np.ndarray, name: str) -> None:
    write_labels(tmp_path / name, labels)
    with pytest.raises(InputError, match="exists"):
        write_labels(tmp_path / name, labels * 0)
    np.testing.assert_array_equal(read_labels(tmp_path / name), labels)
    write_labels(tmp_path / name, labels[:2], overwrite=True)
    np.testing.assert_array_equal(read_labels(tmp_path / name), labels[:2])
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_what_fails_half_way_leaves_no_trace(
    tmp_path: Path, labels: np.ndarray, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labels(tmp_path / name, labels)

    def fail(path: Path, *_args, **_kwargs) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write_tiff", fail)
    monkeypatch.setattr(files.ome_zarr, "create_labels", fail)
    with pytest.raises(InputError, match="No space left"):
        write_labels(tmp_path / name, labels * 0, overwrite=True)
    np.testing.assert_array_equal(read_labels(tmp_path / name), labels)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "array", "line"),
    [
        ("a.png", np.zeros((2, 2), int), "labels are written to"),
        ("gone/a.tif", np.zeros((2, 2), int), "there is no folder"),
        ("a.tif", np.zeros((2, 2)), "is integers"),
        ("a.tif", np.zeros(2, int), "two or more axes"),
        ("a.tif", np.zeros((0, 2), int), "two or more axes"),
        ("a.tif", np.array([[-1]]), "lie within 0"),
        ("a.tif", np.array([[2**32]]), "lie within 0"),
    ],
)
def test_bad_output_is_one_clear_line(tmp_path: Path, name: str, array: np.ndarray, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        write_labels(tmp_path / name, array)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_axes_and_scale_must_fit(tmp_path: Path, labels: np.ndarray) -> None:
    with pytest.raises(InputError, match="do not fit"):
        write_labels(tmp_path / "a.tif", labels, axes="yx")
    with pytest.raises(InputError, match="do not fit"):
        write_labels(tmp_path / "a.zarr", labels, scale=(1.0,))


def test_a_folder_that_is_no_zarr_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(InputError, match="not a zarr"):
        check_output(tmp_path / "a.zarr", overwrite=True)


def test_png_labels(tmp_path: Path, labels: np.ndarray) -> None:
    io.imsave(tmp_path / "a.png", labels[0].astype(np.uint16), check_contrast=False)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels[0])


@pytest.mark.parametrize(
    ("array", "line"), [(np.zeros((5, 5)), "labels are integers"), (np.zeros((5, 5, 3), np.uint8), "not a label image")]
)
def test_what_is_no_label_image(tmp_path: Path, array: np.ndarray, line: str) -> None:
    photometric = "rgb" if array.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", array, photometric=photometric)
    with pytest.raises(InputError, match=line):
        read_labels(tmp_path / "a.tif")
