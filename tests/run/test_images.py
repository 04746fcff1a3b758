"""Every kind of image file gives an array, its axes, and planes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.run.images import read_image

RNG = np.random.default_rng(0)


def ome_zarr(path: Path, array: np.ndarray, axes: str, version: str, scale: float = 0.5) -> Path:
    """Write an OME-Zarr of two levels."""
    old = version != "0.5"
    group = zarr.create_group(path, zarr_format=2 if old else 3)
    datasets = []
    for level, data in enumerate((array, array[..., ::2, ::2])):
        group.create_array(f"s{level}", data=data, chunks=(1,) * (array.ndim - 2) + (8, 8))
        steps = [1.0] * (array.ndim - 2) + [scale * 2**level] * 2
        datasets.append({"path": f"s{level}", "coordinateTransformations": [{"type": "scale", "scale": steps}]})
    image = {"datasets": datasets, "axes": [{"name": axis} for axis in axes], "version": version}
    image["coordinateTransformations"] = [{"type": "scale", "scale": [2.0] * array.ndim}]
    group.attrs.update({"multiscales": [image]} if old else {"ome": {"multiscales": [image], "version": version}})
    return path


@pytest.mark.parametrize(
    ("shape", "axes", "options"),
    [
        ((20, 30), "yx", {}),
        ((5, 20, 30), "zyx", {"metadata": {"axes": "ZYX"}}),
        ((5, 20, 30), "zyx", {"metadata": {"axes": "ZYX"}, "imagej": True}),
        ((2, 5, 20, 30), "czyx", {"metadata": {"axes": "CZYX"}, "ome": True}),
        ((5, 2, 20, 30), "zcyx", {"metadata": {"axes": "ZCYX"}, "imagej": True}),
        ((3, 20, 30), "qyx", {}),
    ],
)
def test_tiff(tmp_path: Path, shape: tuple[int, ...], axes: str, options: dict) -> None:
    array = RNG.integers(0, 1000, shape, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "image.tif", array, photometric="minisblack", **options)
    image = read_image(tmp_path / "image.tif")
    assert image.axes == axes
    np.testing.assert_array_equal(image.array, array)
    stack = image.stack()
    assert (*stack.shape, *stack.plane_shape) == tuple(n for n, axis in zip(shape, axes, strict=True) if axis != "c")
    assert stack.channels == (2 if "c" in axes else 1)
    assert image.label_axes == axes.replace("c", "")


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "lzma", "packbits"])
def test_compressed_tiff(tmp_path: Path, compression: str) -> None:
    array = RNG.integers(0, 1000, (20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "image.tif", array, compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif").array, array)


def test_large_tiff_goes_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_segany.run.images.MEMORY_BYTES", 100)
    array = RNG.integers(0, 1000, (3, 20, 30), dtype=np.uint16)
    for name, options in (("plain.tif", {}), ("packed.tif", {"compression": "zlib"})):
        tifffile.imwrite(tmp_path / name, array, photometric="minisblack", **options)
        image = read_image(tmp_path / name)
        assert isinstance(image.array, np.memmap)
        np.testing.assert_array_equal(image.array, array)


@pytest.mark.parametrize(("planar", "axes", "rgb"), [("contig", "yxs", True), ("separate", "syx", False)])
def test_rgb_tiff(tmp_path: Path, planar: str, axes: str, rgb: bool) -> None:
    picture = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    array = picture if planar == "contig" else np.moveaxis(picture, -1, 0)
    tifffile.imwrite(tmp_path / "image.tif", array, photometric="rgb", planarconfig=planar)
    image = read_image(tmp_path / "image.tif")
    assert (image.axes, image.rgb, image.stack().channels) == (axes, rgb, 3)
    if rgb:
        np.testing.assert_array_equal(image.stack().plane(0), picture)


@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        ("gray.png", np.uint8, (20, 30)),
        ("gray16.png", np.uint16, (20, 30)),
        ("rgb.png", np.uint8, (20, 30, 3)),
        ("rgba.png", np.uint8, (20, 30, 4)),
        ("transparent.png", np.uint8, (20, 30, 2)),
        ("GRAY.BMP", np.uint8, (20, 30)),
    ],
)
def test_pictures(tmp_path: Path, name: str, dtype: type, shape: tuple[int, ...]) -> None:
    array = RNG.integers(0, 255, shape).astype(dtype)
    io.imsave(tmp_path / name, array, check_contrast=False)
    image = read_image(tmp_path / name)
    expected = array[..., 0] if shape[2:] == (2,) else array
    np.testing.assert_array_equal(image.array, expected)
    assert image.array.dtype == dtype
    assert image.rgb == (expected.ndim == 3)
    assert len(image.stack()) == 1


@pytest.mark.parametrize("mode", ["P", "CMYK"])
def test_unusual_colours_become_rgb(tmp_path: Path, mode: str) -> None:
    name = "image.jpg" if mode == "CMYK" else "image.png"
    Image.new("RGB", (30, 20), (200, 30, 90)).convert(mode).save(tmp_path / name)
    plane = read_image(tmp_path / name).stack().plane(0)
    np.testing.assert_allclose(plane, np.broadcast_to((200, 30, 90), (20, 30, 3)), atol=60)
    assert plane.shape == (20, 30, 3)


def test_black_and_white_png(tmp_path: Path) -> None:
    Image.new("1", (30, 20), 1).save(tmp_path / "image.png")
    image = read_image(tmp_path / "image.png")
    assert image.array.dtype == bool
    assert image.stack().plane(0).min() == 255


def test_jpeg(tmp_path: Path) -> None:
    io.imsave(tmp_path / "image.jpg", np.full((20, 30, 3), 100, np.uint8), check_contrast=False)
    plane = read_image(tmp_path / "image.jpg").stack().plane(0)
    np.testing.assert_allclose(plane, 100, atol=3)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    array = RNG.integers(0, 1000, (2, 3, 4, 20, 30), dtype=np.uint16)
    image = read_image(ome_zarr(tmp_path / "image.zarr", array, "tczyx", version))
    assert (image.axes, image.channel_axis, image.rgb) == ("tczyx", 1, False)
    assert (image.label_axes, image.label_scale) == ("tzyx", (2.0, 2.0, 1.0, 1.0))
    assert isinstance(image.array, zarr.Array)
    stack = image.stack()
    assert (stack.shape, stack.plane_shape, stack.channels) == ((2, 4), (20, 30), 3)
    assert stack.plane(5).shape == (20, 30, 3)
    np.testing.assert_array_equal(image.array[...], array)


def test_old_ome_zarr_names_axes_by_letters_or_not_at_all(tmp_path: Path) -> None:
    for name, axes in (("a", ["z", "y", "x"]), ("b", None)):
        group = zarr.create_group(tmp_path / name, zarr_format=2)
        group.create_array("0", data=np.ones((3, 4, 5)))
        group.attrs["multiscales"] = [{"datasets": [{"path": "0"}]} | ({"axes": axes} if axes else {})]
        assert read_image(tmp_path / name).axes == "zyx"


def test_plain_zarr_and_numbered_images(tmp_path: Path) -> None:
    zarr.save(str(tmp_path / "plain.zarr"), np.ones((3, 4, 5)))
    image = read_image(tmp_path / "plain.zarr")
    assert (image.axes, len(image.stack())) == ("qyx", 3)
    zarr.create_group(tmp_path / "raw.zarr")
    ome_zarr(tmp_path / "raw.zarr" / "0", np.ones((3, 8, 9)), "zyx", "0.5")
    assert read_image(tmp_path / "raw.zarr").axes == "zyx"


def damaged(folder: Path, name: str) -> Path:
    path = folder / name
    if name.endswith(".zarr"):
        zarr.create_group(path)
    elif name == "cut.tif":
        tifffile.imwrite(path, RNG.integers(0, 9, (200, 300)), compression="zlib")
        path.write_bytes(path.read_bytes()[:1000])
    elif name == "cut.png":
        io.imsave(path, RNG.integers(0, 255, (200, 300), dtype=np.uint8), check_contrast=False)
        path.write_bytes(path.read_bytes()[:1000])
    elif name == "folder":
        path.mkdir()
    elif name != "missing.tif":
        path.write_text("this is no image")
    return path


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("missing.tif", "there is no file"),
        ("text.tif", "cannot read"),
        ("text.png", "cannot read"),
        ("text.jpg", "cannot read"),
        ("text.docx", "none of the kinds"),
        ("folder", "none of the kinds"),
        ("empty.zarr", "without an image"),
        ("cut.tif", "cannot read"),
        ("cut.png", "cannot read"),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path: Path, name: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        read_image(damaged(tmp_path, name))
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_wrong_ome_metadata(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "image.zarr")
    group.create_array("0", data=np.ones((3, 4, 5)))
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "0"}], "axes": [{"name": "y"}, {"name": "x"}]}]}
    with pytest.raises(InputError, match="names 2 axes"):
        read_image(tmp_path / "image.zarr")
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "gone"}]}]}
    with pytest.raises(InputError, match="cannot read"):
        read_image(tmp_path / "image.zarr")


def test_nuclei_of_the_public_set(data_dir: Path) -> None:
    for path in sorted((data_dir / "dev" / "dsb2018").rglob("*.png"))[:6]:
        assert len(read_image(path).stack()) == 1
