"""Image files (TIFF, PNG, JPEG, BMP, OME-Zarr) become arrays that :class:`~napari_segany.core.planes.Stack` takes."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin

from napari_segany.core.arguments import as_path
from napari_segany.core.errors import InputError
from napari_segany.core.planes import LazyArray, Stack
from napari_segany.io import ome_zarr
from napari_segany.io.spacing import Calibration
from napari_segany.io.tiff import DENSEST, MEMORY_BYTES, read_tiff

TIFF = (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
PLAIN_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F", "RGB", "RGBA")
"""Pillow's modes whose numbers are what is seen; indexed colours, inks and the like are turned into RGB."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_16 = (b"\x10\x02", b"\x10\x04", b"\x10\x06")
"""Sixteen bits, and colours, gray with transparency, or colours with transparency."""
_READERS: dict[bytes, Callable[[Path], Image.Image]] = {
    _PNG: PngImagePlugin.PngImageFile,
    b"\xff\xd8": JpegImagePlugin.JpegImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
}


@dataclass(frozen=True, slots=True, eq=False)
class ImageFile:
    """An image as it is stored in its file.

    Parameters
    ----------
    array : array
        numpy or zarr; nothing of a zarr array has been read.
    axes : str
        A letter for each axis: t, z, y, x; c for channels, s for the colours of a picture, q for any other.
    scale : tuple of float
        Distance of neighbouring samples along each axis; 1 where the file does not contain it. Of OME-Zarr in the
        file's units, of TIFF in micrometres and seconds, see :func:`~napari_segany.io.spacing.calibration_of`.
    translation : tuple of float
        Position of the first sample; empty where the file does not contain it.
    units : tuple of str
        Of each axis, see :class:`~napari_segany.io.spacing.Calibration`.
    """

    array: LazyArray
    axes: str
    scale: tuple[float, ...]
    translation: tuple[float, ...] = ()
    units: tuple[str, ...] = ()

    @property
    def channel_axis(self) -> int | None:
        """Position of the channels or colours; None when there are none."""
        letter = "c" if "c" in self.axes else "s"
        return self.axes.index(letter) if letter in self.axes else None

    @property
    def rgb(self) -> bool:
        """Whether the last axis holds the colours of a picture."""
        return self.axes.endswith("s") and "c" not in self.axes and self.array.shape[-1] in (3, 4)

    @property
    def label_axes(self) -> str:
        """Letters of the axes that labels of this image have: all but the channels."""
        return "".join(axis for position, axis in enumerate(self.axes) if position != self.channel_axis)

    @property
    def label_scale(self) -> tuple[float, ...]:
        """``scale`` along ``label_axes``."""
        return self.label_calibration.scale

    @property
    def label_calibration(self) -> Calibration:
        """Where the pixels of labels of this image lie."""
        whole = Calibration(self.scale, self.translation, self.units)
        return whole.along([position for position in range(len(self.axes)) if position != self.channel_axis])

    def stack(self) -> Stack:
        """Planes of the image; its shape and plane_shape together are those of its label image."""
        return Stack(self.array, channel_axis=self.channel_axis, rgb=self.rgb)


def read_image(path: str | Path, *, raw: bool = False) -> ImageFile:
    """Open an image file.

    Parameters
    ----------
    path : str or Path
        TIFF (its first series that is no thumbnail; OME, ImageJ and plain axes are understood), PNG, JPEG, BMP, or the
        folder of an OME-Zarr image of version 0.1 to 0.5 (its finest level, not loaded) or of a plain zarr array
        (... y, x).
    raw : bool
        Give the numbers of a TIFF as they are stored, as label images need, and not the colours and gray values that
        they stand for.

    Raises
    ------
    InputError
        When there is no such file, it is of another kind, it cannot be read, or parts of it are missing.
    """
    path = as_path(path, "path")
    with reading(path):
        if ome_zarr.is_zarr(path):
            level = ome_zarr.finest_level(path)
            placed = level.calibration
            return ImageFile(level.array, level.axes, placed.scale, placed.translation, placed.units)
        if path.suffix.lower() in TIFF:
            return _read_tiff(path, raw=raw)
        if path.suffix.lower() in PICTURES:
            return _read_picture(path)
    kinds = ", ".join((*TIFF, *PICTURES))
    raise InputError(f"{path} is none of the kinds that can be read: {kinds} or the folder of an OME-Zarr")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong in a reader into one :class:`InputError` that names the file."""
    try:
        if not path.exists():
            raise InputError(f"there is no file {path}")
        yield
    except _READER_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, OSError | ValueError | RuntimeError):
            reason = f"it is damaged, or of an unusual kind ({reason})"
        raise InputError(f"cannot read {path}: {reason}") from error


@dataclass(frozen=True, slots=True, eq=False)
class FilePlanes:
    """Planes of a file; whatever goes wrong in its reader is an :class:`InputError` that names it.

    Parameters
    ----------
    path : Path
        The file.
    stack : Stack
        Its planes.
    """

    path: Path
    stack: Stack

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns of each plane."""
        return self.stack.plane_shape

    def __len__(self) -> int:
        return len(self.stack)

    def plane(self, number: int, /) -> np.ndarray:
        """See :meth:`~napari_segany.core.planes.Stack.plane`."""
        with reading(self.path):
            return self.stack.plane(number)

    def part(self, number: int, window: tuple[slice, slice]) -> np.ndarray:
        """See :meth:`~napari_segany.core.planes.Stack.part`."""
        with reading(self.path):
            return self.stack.part(number, window)


# what damaged or unusual files were seen to raise from tifffile, imagecodecs, pillow and zarr
_READER_ERRORS = (
    OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, MemoryError, SyntaxError, EOFError,
    ArithmeticError, AssertionError, BufferError, struct.error, zlib.error, tifffile.TiffFileError,
    Image.DecompressionBombError,
)  # fmt: skip


def _read_tiff(path: Path, *, raw: bool) -> ImageFile:
    array, axes, placed = read_tiff(path, raw=raw, memory=MEMORY_BYTES)
    return ImageFile(array, axes, placed.scale, placed.translation, placed.units)


def _read_picture(path: Path) -> ImageFile:
    with path.open("rb") as file:
        begin = file.read(32)
    if begin.startswith(_PNG) and begin[24:26] in _PNG_16:
        # Pillow has no modes for 16 bits of several samples, and would keep eight of them.
        array = np.asarray(imagecodecs.png_decode(path.read_bytes()))
        array = array[..., 0] if array.shape[-1:] == (2,) and array.ndim == 3 else array
        return ImageFile(array, "yxs"[: array.ndim], (1.0,) * array.ndim)
    with _opened(path, begin) as picture:
        if picture.width * picture.height > DENSEST * path.stat().st_size:
            raise InputError(f"cannot read {path}: it is damaged, and claims to have {picture.size} pixels")
        array = np.array(picture if picture.mode in PLAIN_MODES else picture.convert("RGB"))
    if picture.mode == "LA":
        array = array[..., 0]
    return ImageFile(array, "yxs"[: array.ndim], (1.0,) * array.ndim)


def _opened(path: Path, begin: bytes) -> Image.Image:
    """A picture; of the usual kinds without Pillow's limit of pixels, which is meant for what strangers send."""
    for magic, kind in _READERS.items():
        if begin.startswith(magic):
            return kind(path)
    return Image.open(path)
