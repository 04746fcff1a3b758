"""TIFF files: which of their pictures is meant, whether it is whole, and what its numbers stand for (TIFF 6.0)."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import tifffile

from napari_segany.core.errors import InputError
from napari_segany.io.spacing import Calibration, calibration_of
from napari_segany.io.temporary_files import reserve

MEMORY_BYTES = 2**30
"""Images from here on are decoded to a temporary file on disk instead of memory, or mapped if that is possible."""
DENSEST = 100_000
"""Bytes of a page per byte in its file: no compression reaches it, and damaged files may request all of the memory."""
REDUCED, MASK = 1, 4
"""Bits of NewSubfileType."""
_DECODED = {tifffile.COMPRESSION.OJPEG, tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.ALT_JPEG}
"""Compressions from which colours come as RGB, whatever was stored."""
_LUMA = (0.299, 0.587, 0.114)
_BLOCK = 2**24

Recolour = Callable[[np.ndarray], np.ndarray]


def read_tiff(path: Path, *, raw: bool = False, memory: int = MEMORY_BYTES) -> tuple[np.ndarray, str, Calibration]:
    """Read the picture of a TIFF file.

    Parameters
    ----------
    path : Path
        The file.
    raw : bool
        Give the numbers as they are stored, as label images need, instead of what they stand for: the colours of a
        palette, of inks or of YCbCr, and gray values of which zero is white.
    memory : int
        Bytes from which on it is mapped or decoded to the disk.

    Returns
    -------
    array : ndarray
        As it lies in the file.
    axes : str
        A letter for each axis, see :class:`~napari_segany.io.images.ImageFile`.
    calibration : Calibration
        Of these axes.

    Raises
    ------
    InputError
        Planes are missing, or its axes or colours are none that can be shown.
    Exception
        Whatever a damaged file makes tifffile raise.
    """
    with tifffile.TiffFile(path) as tiff:
        _check_chain(path, tiff)
        series = _picture_of(tiff)
        _check_whole(path, tiff, series)
        axes = "".join(axis if axis in "tczyxs" else "q" for axis in series.axes.lower())
        if len(axes) != len(series.shape) or not axes.rstrip("cs").endswith("yx"):
            raise InputError(f"{path} has the axes {series.axes}, which are not those of an image")
        recolour = None if raw else _recolour(path, series.keyframe, axes)
        array = _values(series, memory, changed=recolour is not None)
        calibration = calibration_of(tiff, axes)
        opaque = _without_alpha(series.keyframe, axes)
    if recolour is not None:
        array = recolour(array)
        if array.ndim > len(axes):
            axes += "s"
    return _without_channels(path, array[..., 0] if opaque else array, axes[:-1] if opaque else axes, calibration)


def _check_chain(path: Path, tiff: tifffile.TiffFile) -> None:
    """Refuse a file whose pages lead back to an earlier one: tifffile would go round for minutes.

    Each page names the offset of the next; its tags have one size.
    """
    form, file = tiff.tiff, tiff.filehandle
    offset, seen = tiff.pages.first.offset, set()
    while offset and offset not in seen:
        seen.add(offset)
        file.seek(offset)
        number = file.read(form.tagnosize)
        if len(number) < form.tagnosize:
            # cut off, which is reported elsewhere
            return
        file.seek(offset + form.tagnosize + struct.unpack(form.tagnoformat, number)[0] * form.tagsize)
        following = file.read(form.offsetsize)
        offset = struct.unpack(form.offsetformat, following)[0] if len(following) == form.offsetsize else 0
    if offset:
        raise InputError(f"cannot read {path}: it is damaged, its pages lead back to an earlier one")


def _picture_of(tiff: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """The first series that is no reduced version of another one, and no mask of transparency."""
    return next((one for one in tiff.series if not _is_aside(one.keyframe)), tiff.series[0])


def _is_aside(page: Any) -> bool:
    old = page.tags.valueof(255, default=0)  # SubfileType, before TIFF 6.0: 2 is a reduced image
    return bool(page.subfiletype & (REDUCED | MASK)) or old == 2


def _check_whole(path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Refuse a file in which pages or parts of them are missing: tifffile fills some with zeros, and omits others.

    Raises
    ------
    InputError
        When the file is shorter than its metadata require.
    """
    if tiff.is_ome and (where := _metadata_elsewhere(tiff.ome_metadata or "")):
        raise InputError(
            f"cannot read {path}: it is one part of an image that {where} describes, not an image on its own"
        )
    if any(page is None for page in series.pages):
        raise InputError(
            f"cannot read {path}: planes are missing; they lie in files that are not there, or the file was cut off"
        )
    if tiff.is_imagej:
        expected = _imagej_planes(tiff.imagej_metadata or {})
        there = series.size // max(series.keyframe.size, 1)
        if expected > there:
            raise InputError(
                f"cannot read {path}: planes are missing, only {there} of {expected} exist; the file was cut off"
            )
    if _goes_on(tiff):
        raise InputError(
            f"cannot read {path}: pages are missing, {len(tiff.pages)} are there; the file was cut off or is damaged"
        )
    size = tiff.filehandle.size
    if len(series.pages) == 1 and series.nbytes > DENSEST * size:
        raise InputError(f"cannot read {path}: it is damaged, and claims to contain {series.nbytes} bytes")
    if any(tag.valueoffset + tag.valuebytecount > size for tag in tiff.pages.first.tags):
        raise InputError(f"cannot read {path}: a part of its description is missing; the file was cut off")
    if series.dataoffset is not None:
        whole = series.dataoffset + series.nbytes <= series.keyframe.parent.filehandle.size
    else:
        whole = all(_is_whole(page) for page in series.pages)
    if not whole:
        raise InputError(f"cannot read {path}: values are missing at its end; the file was cut off")


def _metadata_elsewhere(text: str) -> str:
    """The file that holds the description of an OME-TIFF that has only a pointer to it."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError:
        return ""
    found = next((part for part in root if part.tag.endswith("BinaryOnly")), None)
    return "" if found is None else found.get("MetadataFile", "another file")


def _imagej_planes(metadata: dict[str, Any]) -> int:
    try:
        parts = int(metadata.get("channels", 1)) * int(metadata.get("slices", 1)) * int(metadata.get("frames", 1))
        return max(int(metadata.get("images", 1)), parts)
    except (TypeError, ValueError):
        return 1


def _goes_on(tiff: tifffile.TiffFile) -> bool:
    """Whether the last page that could be found names a next one."""
    form, file = tiff.tiff, tiff.filehandle
    place = tiff.pages.next_page_offset
    if not place:
        return False
    file.seek(place)
    found = file.read(form.offsetsize)
    return len(found) < form.offsetsize or struct.unpack(form.offsetformat, found)[0] != 0


def _is_whole(page: Any) -> bool:
    size = page.parent.filehandle.size
    return all(start + count <= size for start, count in zip(page.dataoffsets, page.databytecounts, strict=False))


def _values(series: tifffile.TiffPageSeries, memory: int, *, changed: bool) -> np.ndarray:
    if series.nbytes <= memory:
        return np.asarray(series.asarray())
    if series.dataoffset is not None and not changed:
        return series.asarray(out="memmap")
    # A file without a name: the system removes it with the array, and also when this process is killed.
    with tempfile.TemporaryFile() as file:
        reserve(file, series.nbytes)
        out = np.memmap(file, series.dtype, "r+", shape=series.shape)
        series.asarray(out=out)
    return out


def _recolour(path: Path, page: Any, axes: str) -> Recolour | None:
    """What makes colours and gray values of the stored numbers; None where they are that already."""
    kind, codes = page.photometric, tifffile.PHOTOMETRIC
    highest = 2**page.bitspersample - 1
    if kind == codes.MINISWHITE:
        return lambda values: _inverted(values, highest)
    if kind == codes.PALETTE and page.colormap is not None and "c" not in axes and "s" not in axes:
        return lambda values: _through_palette(values, page.colormap)
    if kind == codes.SEPARATED:
        ink = page.tags.valueof("InkSet", default=1)
        if ink != 1 or "s" not in axes or page.samplesperpixel < 4 or page.dtype.kind != "u":
            raise InputError(f"{path} is a picture in inks other than cyan, magenta, yellow and black")
        return lambda values: _from_cmyk(values, highest, axes.index("s"))
    if kind == codes.YCBCR and page.compression not in _DECODED:
        if page.samplesperpixel != 3 or page.dtype != np.uint8:
            raise InputError(f"{path} is a picture in YCbCr that is not of three times eight bits")
        luma = _fractions(page.tags.valueof("YCbCrCoefficients"), _LUMA)
        ends = _fractions(page.tags.valueof("ReferenceBlackWhite"), (0, 255, 128, 255, 128, 255))
        return lambda values: _from_ycbcr(values, luma, ends, axes.index("s"))
    if kind in (codes.CIELAB, codes.ICCLAB, codes.ITULAB):
        raise InputError(f"{path} is a picture in {kind.name}, which is not turned into RGB here")
    return None


def _inverted(values: np.ndarray, highest: int) -> np.ndarray:
    """Gray values of which zero was white, block by block in their own place."""
    if not values.flags.writeable:
        values = values.copy()
    flat = values.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        part = flat[start : start + _BLOCK]
        if part.dtype == np.bool_ or part.dtype.kind == "i":
            np.invert(part, out=part)
        elif part.dtype.kind == "u":
            np.subtract(part.dtype.type(highest), part, out=part)
        else:
            np.negative(part, out=part)
    return values


def _through_palette(values: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Colours (..., 3) uint8; palettes have 16 bits, but for those of writers that left them at eight."""
    table = palette.T if palette.max(initial=0) < 256 else palette.T >> 8
    return table.astype(np.uint8)[values]


def _from_cmyk(values: np.ndarray, highest: int, axis: int) -> np.ndarray:
    """What the inks leave of white light."""
    inks = np.moveaxis(values, axis, -1)
    colours = np.empty((*inks.shape[:-1], 3), values.dtype)
    light = highest - inks[..., 3].astype(np.float32)
    for k in range(3):
        colours[..., k] = np.rint((highest - inks[..., k].astype(np.float32)) * light / highest)
    return np.moveaxis(colours, -1, axis)


def _from_ycbcr(values: np.ndarray, luma: Sequence[float], ends: Sequence[float], axis: int) -> np.ndarray:
    """RGB of YCbCr, as in section 21 of TIFF 6.0; the colours are at the end."""
    red, green, blue = luma
    black, white, _, middle, _, far = ends
    y, cb, cr = (np.take(values, k, axis).astype(np.float32) for k in range(3))
    y = (y - black) * 255 / max(white - black, 1)
    # half the range of values carries colour differences
    cb, cr = ((part - 128) * 127 / max(end - 128, 1) for part, end in ((cb, middle), (cr, far)))
    r = cr * (2 - 2 * red) + y
    b = cb * (2 - 2 * blue) + y
    g = (y - blue * b - red * r) / green
    colours = np.stack([r, g, b], -1)
    return np.moveaxis(np.clip(np.rint(colours), 0, 255).astype(np.uint8), -1, axis)


def _fractions(value: Any, usual: tuple[float, ...]) -> list[float]:
    """Numbers of a tag of fractions, numerator and denominator in turn."""
    numbers = list(value or ())
    if len(numbers) == len(usual):
        return [float(number) for number in numbers]
    if len(numbers) != 2 * len(usual) or not all(numbers[1::2]):
        return [float(number) for number in usual]
    return [a / b for a, b in zip(numbers[::2], numbers[1::2], strict=True)]


def _without_alpha(page: Any, axes: str) -> bool:
    """Whether there are gray values and their transparency, which is dropped."""
    gray = page.photometric in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)
    extra = tuple(page.extrasamples or ())
    return axes.endswith("s") and gray and page.samplesperpixel == 2 and bool(extra) and extra[0] in (1, 2)


def _without_channels(
    path: Path, array: np.ndarray, axes: str, calibration: Calibration
) -> tuple[np.ndarray, str, Calibration]:
    """Colours without channels; refused where there are several of each: both cannot be shown at once."""
    pad = len(axes) - len(calibration.scale)
    own = Calibration((*calibration.scale, *(1.0,) * pad), (), (*calibration.units, *("",) * pad)).along(
        range(len(axes))
    )
    if "c" in axes and "s" in axes:
        at = axes.index("c")
        if array.shape[at] > 1:
            raise InputError(f"{path} holds pictures in colours as {array.shape[at]} channels; export them one by one")
        left = [k for k in range(len(axes)) if k != at]
        array, axes, own = array.squeeze(at), "".join(axes[k] for k in left), own.along(left)
    return array, axes, own
