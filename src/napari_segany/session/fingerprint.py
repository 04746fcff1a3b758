"""The identity of an image: a hash of all its values, and a quick one of a sample of them.

The sample names session files and finds candidates at once, however large the image is; the hash of all values decides
whether two images are the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_segany.core.errors import Cancelled
from napari_segany.core.planes import LazyArray, load_array
from napari_segany.session.history import Indices

WHOLE = 2**24
"""Bytes up to which the sample is the whole image."""
BLOCKS, BLOCK = 32, 256
"""How many blocks of a larger image are sampled, and their length along rows and columns at most."""
READ = 2**26
"""Bytes that are read at once while all values are hashed."""
_STEPS = tuple(math.sqrt(prime) for prime in (2, 3, 5, 7, 11, 13, 17, 19))


@dataclass(frozen=True, slots=True)
class ImageFingerprint:
    """The identity of an image.

    Parameters
    ----------
    hash : str
        SHA-256 of shape, type and all values, in hexadecimal; empty while it is not known.
    shape : tuple of int
        Of the array, colours included.
    dtype : str
        Type of the values, as ``numpy.dtype.str``, without its byte order.
    sample : str
        The same of a sample of the values, see :func:`sample_fingerprint`; `hash` where the sample is the whole image.
    """

    hash: str
    shape: Indices
    dtype: str
    sample: str = ""

    @property
    def name(self) -> str:
        """Sixteen hexadecimal digits that are known at once and name files of this image."""
        return (self.sample or self.hash)[:16]

    def is_same_as(self, other: ImageFingerprint) -> bool:
        """Whether both are the same image as far as is known of both."""
        if (self.shape, self.dtype) != (other.shape, other.dtype):
            return False
        if self.hash and other.hash:
            return self.hash == other.hash
        return self.sample == other.sample


def fingerprint_of(array: LazyArray, cancelled: Callable[[], bool] = bool) -> ImageFingerprint:
    """Hash all values of an image; of a lazy array no more than `READ` bytes are in memory at a time.

    Parameters
    ----------
    array : array
        (..., y, x) or (..., y, x, colour); numpy, dask or zarr.
    cancelled : callable
        Called between blocks; the work ends when it returns True.

    Raises
    ------
    Cancelled
        When `cancelled` returned True.

    Notes
    -----
    Values are hashed in C order, so that it does not matter how they are stored. Byte order does not count either.
    """
    sampled = sample_fingerprint(array)
    if _size(array) <= WHOLE:
        return ImageFingerprint(sampled.sample, sampled.shape, sampled.dtype, sampled.sample)
    found, dtype = _begun(array)
    for window in _blocks(sampled.shape, dtype.itemsize):
        if cancelled():
            raise Cancelled("cancelled")
        found.update(_bytes(array, window, dtype))
    return ImageFingerprint(found.hexdigest(), sampled.shape, sampled.dtype, sampled.sample)


def sample_fingerprint(array: LazyArray) -> ImageFingerprint:
    """Hash a fixed sample of an image, which takes milliseconds; `hash` is empty unless the sample is the whole image.

    Notes
    -----
    Up to ``WHOLE`` bytes all values are hashed. Of larger arrays it is the first block, the last one, and
    ``BLOCKS - 2`` between: block *k* begins at the fraction ``k * sqrt(p) mod 1`` of each axis, *p* being the axis'
    prime (2, 3, 5, ... in the array's order), which spreads them evenly without chance. A block is one element long
    along all axes but the last two, or the last three where the last has at most four elements, as colours have.
    """
    found, dtype = _begun(array)
    shape, whole = _shape(array), _size(array) <= WHOLE
    for window in [tuple(slice(0, length) for length in shape)] if whole else _sample_windows(shape):
        found.update(_bytes(array, window, dtype))
    digest = found.hexdigest()
    return ImageFingerprint(digest if whole else "", shape, dtype.str.lstrip("<|"), digest)


def _shape(array: LazyArray) -> tuple[int, ...]:
    return tuple(int(length) for length in array.shape)


def _size(array: LazyArray) -> int:
    return math.prod(_shape(array)) * np.dtype(array.dtype).itemsize


def _begun(array: LazyArray) -> tuple[Any, np.dtype]:
    dtype = np.dtype(array.dtype).newbyteorder("<")
    return hashlib.sha256(f"{_shape(array)} {dtype.str}".encode()), dtype


def _bytes(array: LazyArray, window: tuple[slice, ...], dtype: np.dtype) -> np.ndarray:
    return np.ascontiguousarray(load_array(array[window]), dtype).reshape(-1).view(np.uint8)


def _blocks(shape: tuple[int, ...], itemsize: int) -> Iterator[tuple[slice, ...]]:
    """Windows of at most `READ` bytes that cover an array in C order."""
    rest = tuple(slice(0, length) for length in shape[1:])
    each = math.prod(shape[1:]) * itemsize
    if each <= READ or len(shape) == 1:
        step = max(READ // max(each, 1), 1)
        yield from ((slice(start, min(start + step, shape[0])), *rest) for start in range(0, shape[0], step))
        return
    for index in range(shape[0]):
        yield from ((slice(index, index + 1), *window) for window in _blocks(shape[1:], itemsize))


def _sample_windows(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    first = len(shape) - (3 if shape[-1] <= 4 else 2)
    lengths = [min(length, BLOCK) if axis >= first else 1 for axis, length in enumerate(shape)]
    for number in range(BLOCKS):
        fractions = [number * _STEPS[axis % len(_STEPS)] % 1 for axis in range(len(shape))]
        if number == BLOCKS - 1:
            fractions = [1.0] * len(shape)
        starts = [round(f * (whole - part)) for f, whole, part in zip(fractions, shape, lengths, strict=True)]
        yield tuple(slice(a, a + part) for a, part in zip(starts, lengths, strict=True))
