"""What an image is known by: a hash of its values, of a fixed sample of them where there are many."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from napari_segany.core.planes import LazyArray, loaded

WHOLE = 2**24
"""Bytes up to which all values are hashed."""
BLOCKS, BLOCK = 32, 256
"""How many blocks of a larger image are hashed, and their length along rows and columns at most."""
_STEPS = tuple(math.sqrt(prime) for prime in (2, 3, 5, 7, 11, 13, 17, 19))


@dataclass(frozen=True, slots=True)
class Content:
    """What an image is known by.

    Parameters
    ----------
    hash : str
        SHA-256 of shape, type and values, in hexadecimal.
    shape : tuple of int
        Of the array, colours included.
    dtype : str
        Type of the values, as ``numpy.dtype.str``, without its byte order.
    """

    hash: str
    shape: tuple[int, ...]
    dtype: str


def content_of(array: LazyArray) -> Content:
    """Hash an image; of a lazy array no more is read than is hashed, one block at a time.

    Parameters
    ----------
    array : array
        (..., y, x) or (..., y, x, colour); numpy, dask or zarr.

    Notes
    -----
    Up to ``WHOLE`` bytes all values are hashed. Of larger arrays it is the first block, the last one, and
    ``BLOCKS - 2`` between: block *k* begins at the fraction ``k * sqrt(p) mod 1`` of each axis, *p* being the axis'
    prime (2, 3, 5, ... in the array's order), which spreads them evenly without chance. A block is one element long
    along all axes but the last two, or the last three where the last has at most four elements, as colours have. Byte
    order does not count: the same values have the same hash.
    """
    shape, dtype = tuple(int(length) for length in array.shape), np.dtype(array.dtype)
    found = hashlib.sha256(f"{shape} {dtype.newbyteorder('<').str}".encode())
    for window in _windows(shape, math.prod(shape) * dtype.itemsize):
        values = np.ascontiguousarray(loaded(array[window]), dtype.newbyteorder("<"))
        found.update(values.tobytes())
    return Content(found.hexdigest(), shape, dtype.newbyteorder("<").str.lstrip("<|"))


def _windows(shape: tuple[int, ...], size: int) -> list[tuple[slice, ...]]:
    if size <= WHOLE:
        return [tuple(slice(0, length) for length in shape)]
    first = len(shape) - (3 if shape[-1] <= 4 else 2)
    lengths = [min(length, BLOCK) if axis >= first else 1 for axis, length in enumerate(shape)]
    windows = []
    for number in range(BLOCKS):
        fractions = [number * _STEPS[axis % len(_STEPS)] % 1 for axis in range(len(shape))]
        if number == BLOCKS - 1:
            fractions = [1.0] * len(shape)
        starts = [round(f * (whole - part)) for f, whole, part in zip(fractions, shape, lengths, strict=True)]
        windows.append(tuple(slice(a, a + part) for a, part in zip(starts, lengths, strict=True)))
    return windows
