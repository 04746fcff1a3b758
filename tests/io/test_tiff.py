"""TIFF files: what their numbers stand for, which picture is meant, and whether all of it is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segany.core.errors import InputError
from napari_segany.io.images import read_image
from napari_segany.io.labels import read_labels

RNG = np.random.default_rng(0)


def grays(dtype: type) -> np.ndarray:
    values = RNG.integers(0, 200, (20, 30))
    return values > 100 if dtype is bool else values.astype(dtype)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_zero_is_white(tmp_path: Path, dtype: type, compression: str | None) -> None:
    values = grays(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite", compression=compression)
    seen = np.asarray(read_image(tmp_path / "a.tif").array).astype(float)
    order = np.argsort(values.ravel().astype(float), kind="stable")
    assert (np.diff(seen.ravel()[order]) <= 0).all()
    assert seen.std() > 0
    if dtype is not np.float32:
        labels = np.abs(values) if dtype is np.int16 else values
        np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), labels)


def test_zero_is_white_in_a_stack_that_is_decoded_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_segany.io.images.MEMORY_BYTES", 100)
    values = RNG.integers(0, 255, (3, 20, 30), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    before = (tmp_path / "a.tif").read_bytes()
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, 255 - values)
    assert (tmp_path / "a.tif").read_bytes() == before


@pytest.mark.parametrize("shape", [(20, 30), (3, 20, 30)])
@pytest.mark.parametrize("eight_bits", [False, True])
def test_a_palette_gives_its_colours(tmp_path: Path, shape: tuple[int, ...], eight_bits: bool) -> None:
    values = RNG.integers(0, 255, shape, dtype=np.uint8)
    colours = RNG.integers(0, 255, (3, 256)).astype(np.uint16)
    stored = colours if eight_bits else colours * 257
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="palette", colormap=stored)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array, np.moveaxis(colours[:, values], 0, -1))
    assert image.rgb
    assert image.label_axes in ("yx", "qyx")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), values)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_inks_become_colours(tmp_path: Path, dtype: type, planar: str) -> None:
    inks = RNG.integers(0, 255, (20, 30, 4)).astype(np.uint8)
    expected = np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")).astype(int)
    wide = inks.astype(dtype) * (257 if dtype is np.uint16 else 1)
    array = wide if planar == "contig" else np.moveaxis(wide, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="separated", planarconfig=planar)
    image = read_image(tmp_path / "a.tif")
    seen = np.asarray(image.array) if planar == "contig" else np.moveaxis(np.asarray(image.array), 0, -1)
    assert image.channel_axis is not None
    assert np.abs(seen / (257 if dtype is np.uint16 else 1) - expected).max() <= 1


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
def test_ycbcr_becomes_rgb(tmp_path: Path, compression: str) -> None:
    picture = np.kron(RNG.integers(0, 255, (4, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    if compression == "jpeg":
        tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", compression="jpeg")
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            assert tiff.pages.first.photometric == tifffile.PHOTOMETRIC.YCBCR
    else:
        stored = np.asarray(Image.fromarray(picture).convert("YCbCr"))
        options = {"compression": None if compression == "raw" else "lzw"}
        tifffile.imwrite(tmp_path / "a.tif", stored, photometric="ycbcr", subsampling=(1, 1), **options)
    seen = np.asarray(read_image(tmp_path / "a.tif").array).astype(int)
    assert np.abs(seen - picture).mean() < (6 if compression == "jpeg" else 1)


def test_colours_that_cannot_be_turned_into_rgb_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30, 3), np.uint8), photometric="cielab")
    with pytest.raises(InputError, match="CIELAB"):
        read_image(tmp_path / "a.tif")


def test_transparency_of_grays_is_dropped(tmp_path: Path) -> None:
    values = RNG.integers(0, 255, (20, 30, 2), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", extrasamples=["unassalpha"])
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "yx"
    np.testing.assert_array_equal(image.array, values[..., 0])


@pytest.mark.parametrize(("channels", "refused"), [(1, False), (2, True), (3, True)])
def test_channels_in_colours(tmp_path: Path, channels: int, refused: bool) -> None:
    values = RNG.integers(0, 255, (channels, 20, 30, 3), dtype=np.uint8)
    metadata = {"axes": "CYXS"}
    tifffile.imwrite(tmp_path / "a.ome.tif", values, ome=True, metadata=metadata, photometric="rgb")
    if refused:
        with pytest.raises(InputError, match="channels"):
            read_image(tmp_path / "a.ome.tif")
    else:
        np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif").stack().plane(0), values[0])


@pytest.mark.parametrize("kind", ["reduced", "old"])
@pytest.mark.parametrize("planes", [1, 3])
def test_a_thumbnail_in_front_is_not_the_picture(tmp_path: Path, kind: str, planes: int) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        old = {"extratags": [(255, 3, 1, 2, True)]} if kind == "old" else {}
        file.write(np.zeros((10, 15), np.uint8), subfiletype=int(kind == "reduced"), metadata=None, **old)
        for _ in range(planes):
            file.write(np.zeros((120, 180), np.uint8), metadata=None)
    stack = read_image(tmp_path / "a.tif").stack()
    assert (len(stack), stack.plane_shape) == (planes, (120, 180))


WAYS = {
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "hyperstack": {"imagej": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
    "plain": {},
    "pages": {"metadata": None},
    "strips": {"metadata": None, "compression": "zlib", "rowsperstrip": 8},
    "tiles": {"metadata": None, "tile": (16, 16)},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    "big": {"bigtiff": True, "metadata": None, "compression": "lzw"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("share", [0.35, 0.6, 0.95, 0.999])
def test_files_that_were_cut_off_are_refused(tmp_path: Path, way: str, share: float) -> None:
    path = tmp_path / "a.tif"
    values = RNG.integers(0, 999, (10, 96, 128), dtype=np.uint16)
    tifffile.imwrite(path, values, photometric="minisblack", **WAYS[way])
    assert len(read_image(path).stack()) == 10
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    if share > 0.99 and way == "ome":  # what was cut off was the description alone
        np.testing.assert_array_equal(read_image(path).array, values)
        return
    with pytest.raises(InputError, match="cannot read") as error:
        np.asarray(read_image(path).array)
    assert "\n" not in str(error.value)


def ome_of_two_files(folder: Path) -> None:
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="30" SizeY="20" SizeZ="2" SizeC="1" SizeT="1">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
        '<TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="b.ome.tif">urn:uuid:2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    for number, name in enumerate(("a.ome.tif", "b.ome.tif"), start=1):
        own = text.replace("<OME ", f'<OME UUID="urn:uuid:{number}" ', 1)
        values = np.full((20, 30), number, np.uint8)
        tifffile.imwrite(folder / name, values, description=own, metadata=None, ome=False)


def test_partners_of_an_ome_tiff_are_needed(tmp_path: Path) -> None:
    ome_of_two_files(tmp_path)
    assert len(read_image(tmp_path / "a.ome.tif").stack()) == 2
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(InputError, match="planes are missing"):
        read_image(tmp_path / "a.ome.tif")


def test_a_part_whose_description_lies_elsewhere_is_no_image(tmp_path: Path) -> None:
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<BinaryOnly MetadataFile="all.companion.ome" UUID="urn:uuid:2"/></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((20, 30), np.uint8), description=text, metadata=None, ome=False)
    with pytest.raises(InputError, match=r"all\.companion\.ome"):
        read_image(tmp_path / "a.ome.tif")
