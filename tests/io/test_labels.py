"""Label images come back as they were written, and nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.io import labels as files
from napari_segany.io.images import read_image
from napari_segany.io.labels import check_axes, check_output, read_labels, write_labels
from napari_segany.io.spacing import Calibration


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

    monkeypatch.setattr(files, "write_tiff", fail)
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


SPACINGS = [
    ("yx", (0.5, 0.25), ("micrometer",) * 2, (0.5, 0.25)),
    ("zyx", (2.0, 0.5, 0.25), ("micrometer",) * 3, (2.0, 0.5, 0.25)),
    ("zyx", (2000.0, 500.0, 250.0), ("nanometer",) * 3, (2.0, 0.5, 0.25)),
    ("tyx", (60.0, 0.5, 0.25), ("second", "micrometer", "micrometer"), (60.0, 0.5, 0.25)),
    ("tzyx", (2.0, 3.0, -0.5, 0.25), ("minute", *("micrometer",) * 3), (120.0, 3.0, 0.5, 0.25)),
    ("zyx", (2.0, 0.5, 0.25), (), (2.0, 0.5, 0.25)),
    ("qyx", (1.0, 0.5, 0.25), ("", "micrometer", "micrometer"), (1.0, 0.5, 0.25)),
]


@pytest.mark.parametrize(("axes", "scale", "units", "metric"), SPACINGS)
@pytest.mark.parametrize("highest", [9, 70_000])
@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
@pytest.mark.parametrize("single", [False, True])
def test_tiff_keeps_distances_units_and_axes(
    tmp_path: Path,
    axes: str,
    scale: tuple[float, ...],
    units: tuple[str, ...],
    metric: tuple[float, ...],
    highest: int,
    name: str,
    single: bool,
) -> None:
    if single and (len(axes) < 3 or name == "a.ome.tif"):
        pytest.skip("OME leaves out axes of length 1")
    labels = np.zeros((1 if single else 2, 3, 4, 5)[-len(axes) :] if len(axes) == 4 else (2, 4, 5)[-len(axes) :], int)
    if single:
        labels = labels[:1]
    labels[..., 1, 2] = highest
    path = write_labels(tmp_path / name, labels, axes=axes, calibration=Calibration(scale, (), units))
    image = read_image(path)
    np.testing.assert_array_equal(image.array, labels)
    assert image.axes == axes
    assert image.scale == pytest.approx(metric)
    with tifffile.TiffFile(path) as tiff:
        if name == "a.tif" and highest == 9 and not single and axes != "qyx":
            assert tiff.is_imagej
            assert tiff.imagej_metadata["unit"] == ("um" if units else "pixel")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_labels_lie_where_their_image_lies(tmp_path: Path, version: str) -> None:
    image = tmp_path / "i.zarr"
    group = zarr.create_group(image, zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", shape=(2, 1500, 1100), dtype="u1")
    placed = Calibration((2.0, -0.5, 0.25), (10.0, 100.0, -50.0), ("micrometer",) * 3)
    path = write_labels(image / "labels" / "n", np.ones((2, 1500, 1100), np.uint16), axes="zyx", calibration=placed)
    found = read_image(path)
    assert (found.scale, found.translation, found.units) == (placed.scale, placed.translation, placed.units)
    attributes = zarr.open_group(path, mode="r").attrs
    one = attributes.get("ome", attributes)["multiscales"][0]
    for level, dataset in enumerate(one["datasets"]):
        scale, moved = dataset["coordinateTransformations"]
        assert scale["scale"] == [2.0, -0.5 * 2**level, 0.25 * 2**level]
        assert moved["translation"] == [10.0, 100.0, -50.0]
    assert one["name"] == "n"


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("where", ["", "plate", "labels"])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_consolidated_metadata_know_the_new_labels(tmp_path: Path, form: int, where: str) -> None:
    root = tmp_path / "a.zarr"
    outer = zarr.create_group(root, zarr_format=form)
    image = root / "plate" if where == "plate" else root
    group = outer.create_group("plate") if where == "plate" else outer
    group.create_array("0", shape=(4, 5), dtype="u1")
    if where == "labels":
        write_labels(image / "labels" / "before", np.ones((4, 5), np.uint16))
        zarr.consolidate_metadata(image / "labels", zarr_format=form)
    zarr.consolidate_metadata(root, zarr_format=form)
    for value in (1, 2):
        write_labels(image / "labels" / "n", np.full((4, 5 + value), value, np.uint16), overwrite=True)
        found = zarr.open_group(root, mode="r")
        assert found[f"{'plate/' if where == 'plate' else ''}labels/n/0"].shape == (4, 5 + value)
        assert "n" in set(zarr.open_group(image / "labels", mode="r").keys())


@pytest.mark.parametrize(
    "name", ["n" * 246 + ".tif", "細" * 83 + ".tif", "n" * 245 + ".zarr", "x." + "n" * 240 + ".tiff"]
)
def test_names_as_long_as_the_system_takes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for _ in range(2):
        write_labels(path, np.ones((4, 5), np.uint16), overwrite=True)
    assert [one.name for one in tmp_path.iterdir()] == [name]
    with pytest.raises(InputError):
        write_labels(tmp_path / ("n" * 300 + ".tif"), np.ones((4, 5), np.uint16))
