"""Every kind of image file gives an array, its axes, and planes."""

from __future__ import annotations

import contextlib
import struct
import sys
import tempfile
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.core.planes import Stack
from napari_segany.io.images import read_image
from napari_segany.io.spacing import Calibration

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
    monkeypatch.setattr("napari_segany.io.images.MEMORY_BYTES", 100)
    array = RNG.integers(0, 1000, (3, 20, 30), dtype=np.uint16)
    for name, options in (("plain.tif", {}), ("packed.tif", {"compression": "zlib"})):
        tifffile.imwrite(tmp_path / name, array, photometric="minisblack", **options)
        image = read_image(tmp_path / name)
        assert isinstance(image.array, np.memmap)
        np.testing.assert_array_equal(image.array, array)


@pytest.mark.skipif(sys.platform == "win32", reason="open files keep their names on Windows")
def test_a_killed_run_leaves_no_decoded_values_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_segany.io.images.MEMORY_BYTES", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    tifffile.imwrite(
        tmp_path / "image.tif", np.ones((3, 20, 30), np.uint16), photometric="minisblack", compression="zlib"
    )
    seen = []
    decode = tifffile.TiffPageSeries.asarray

    def spy(series: tifffile.TiffPageSeries, **options: object) -> np.ndarray:
        seen.append(sorted((tmp_path / "temporary").rglob("*")))
        return decode(series, **options)

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", spy)
    read_image(tmp_path / "image.tif")
    assert seen == [[]]


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


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_pngs_of_16_bits_keep_them(tmp_path: Path, samples: int) -> None:
    values = RNG.integers(0, 4096, (20, 30, samples)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values.squeeze()))
    image = read_image(tmp_path / "a.png")
    assert image.array.dtype == np.uint16
    np.testing.assert_array_equal(image.array, values[..., 0] if samples < 3 else values)
    assert image.rgb == (samples > 2)


@pytest.mark.parametrize("kind", ["a.png", "a.jpg", "a.bmp"])
def test_pictures_as_large_as_mosaics(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (180, 120), 9).save(tmp_path / kind)
    assert read_image(tmp_path / kind).stack().plane_shape == (120, 180)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("axes", "turned"),
    [
        ("xy", "yx"),
        ("xyz", "zyx"),
        ("yxz", "zyx"),
        ("xyc", "cyx"),
        ("cxyz", "czyx"),
        ("txyz", "tzyx"),
        ("zxy", "zyx"),
        ("xzy", "zyx"),
        ("xyzct", "tczyx"),
        ("yxc", "yxc"),
        ("tczyx", "tczyx"),
        ("qyx", "qyx"),
    ],
)
def test_ome_zarr_in_any_order_of_axes(tmp_path: Path, axes: str, turned: str, version: str) -> None:
    lengths = {"t": 2, "c": 3, "z": 4, "y": 16, "x": 24, "q": 5}
    values = RNG.integers(0, 999, [lengths[axis] for axis in axes]).astype(np.uint16)
    image = read_image(ome_zarr(tmp_path / "a.zarr", values, axes, version))
    assert image.axes == turned
    right = values.transpose([axes.index(axis) for axis in turned])
    np.testing.assert_array_equal(image.array[...], right)
    stack = image.stack()
    assert stack.plane_shape == (16, 24)
    assert np.prod(stack.shape, dtype=int) == np.prod([lengths[axis] for axis in turned if axis in "tzq"], dtype=int)
    window = slice(3, 9), slice(5, 20)
    plain = Stack(np.ascontiguousarray(right), channel_axis=image.channel_axis)
    last = len(stack) - 1
    np.testing.assert_array_equal(stack.plane(last), plain.plane(last))
    np.testing.assert_array_equal(stack.part(last, window), plain.plane(last)[window])


@pytest.mark.parametrize("axes", ["xx", "xz", "zy", "yyx", "zzyx"])
def test_ome_zarr_without_rows_and_columns_is_refused(tmp_path: Path, axes: str) -> None:
    values = np.zeros((16,) * len(axes), np.uint8)
    with pytest.raises(InputError, match="not those of an image"):
        read_image(ome_zarr(tmp_path / "a.zarr", values, axes, "0.4"))


def test_ome_zarr_says_where_it_lies(tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "a.zarr", np.zeros((3, 16, 24), np.uint8), "cyx", "0.4")
    group = zarr.open_group(path, mode="r+")
    image = group.attrs["multiscales"][0]
    image["axes"] = [{"name": "wavelength", "type": "channel"}, *({"name": a, "unit": "nanometer"} for a in "yx")]
    image["datasets"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [1.0, -5.0, 4.0]},
        {"type": "translation", "translation": [0.0, 100.0, 50.0]},
    ]
    image["coordinateTransformations"] = [
        {"type": "scale", "scale": [1.0, 2.0, 2.0]},
        {"type": "translation", "translation": [0.0, 1.0, 2.0]},
    ]
    group.attrs.update({"multiscales": [image]})
    found = read_image(path)
    assert found.axes == "cyx"
    assert found.label_calibration == Calibration((-10.0, 8.0), (201.0, 102.0), ("nanometer", "nanometer"))


DAMAGE = {
    "tile": lambda path: overwrite_tag(path, "TileWidth", 0),
    "length": lambda path: overwrite_tag(path, "ImageLength", 0),
    "bits": lambda path: overwrite_tag(path, "BitsPerSample", 0),
    "compression": lambda path: overwrite_tag(path, "Compression", 34712),
    "samples": lambda path: overwrite_tag(path, "SamplesPerPixel", 0),
}


def overwrite_tag(path: Path, name: str, value: int) -> None:
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags[name].overwrite(value)


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_tiffs_are_one_line(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RNG.integers(0, 255, (40, 48), dtype=np.uint8), tile=(16, 16))
    DAMAGE[what](path)
    with pytest.raises(InputError) as error:
        read_image(path).stack().plane(0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", range(200))
def test_bytes_that_changed_are_one_line_or_read(tmp_path: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    path = tmp_path / ("a.tif" if number % 2 else "a.png")
    values = rng.integers(0, 255, (40, 48), dtype=np.uint8)
    if number % 2:
        tifffile.imwrite(path, values, tile=(16, 16), compression=[None, "zlib"][number // 2 % 2])
    else:
        Image.fromarray(values).save(path)
    content = bytearray(path.read_bytes())
    for place in rng.integers(0, min(len(content), 500), 3):
        content[place] = rng.integers(0, 256)
    path.write_bytes(content)
    with contextlib.suppress(InputError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_image(path).stack().plane(0)


@pytest.mark.parametrize("big", [True, False])
@pytest.mark.parametrize("back_to", [0, 1])
def test_pages_that_lead_back_are_refused_at_once(tmp_path, big, back_to):
    path = tmp_path / "circle.tif"
    with tifffile.TiffWriter(path, bigtiff=big) as writer:
        for _ in range(3):
            writer.write(np.zeros((8, 9), np.uint8), contiguous=False)
    with tifffile.TiffFile(path) as tiff:
        offsets = [page.offset for page in tiff.pages]
        place = offsets[2] + tiff.tiff.tagnosize + len(tiff.pages[2].tags) * tiff.tiff.tagsize
        target = struct.pack(tiff.tiff.offsetformat, offsets[back_to])
    data = bytearray(path.read_bytes())
    data[place : place + len(target)] = target
    path.write_bytes(data)
    with pytest.raises(InputError, match="lead back"):
        read_image(path)
