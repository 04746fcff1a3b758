"""Masks made small for a journey between processes: of a large plane most is nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_segany.core.masks import Mask, box_of


@dataclass(frozen=True, slots=True, eq=False)
class ConstantPadded:
    """An array of two axes that has one value everywhere but in a part of it."""

    shape: tuple[int, int]
    fill: float
    corner: tuple[int, int]
    part: np.ndarray


PackedMask = tuple[ConstantPadded, ConstantPadded, float, float, str, float]


def pack_mask(mask: Mask) -> PackedMask:
    """A mask without what is the same everywhere; :func:`unpack_mask` makes the very same again."""
    name, probability = mask.class_name, mask.class_probability
    return _crop(mask.pixels), _crop(mask.logits), mask.score, mask.stability, name, probability


def unpack_mask(parcel: PackedMask) -> Mask:
    """The mask that was packed."""
    pixels, logits, score, stability, name, probability = parcel
    return Mask(_whole(pixels), score, _whole(logits), stability, name, probability)


def _crop(array: np.ndarray) -> ConstantPadded:
    fill = array.flat[0] if array.size else array.dtype.type(0)
    # of bool with nothing in the corner, which masks mostly are, it is the array itself
    box = box_of(array if array.dtype == bool and not fill else array != fill) if array.size else None
    rows, columns = (slice(0, 0), slice(0, 0))
    if box is not None:
        rows, columns = slice(int(box.y0), int(box.y1) + 1), slice(int(box.x0), int(box.x1) + 1)
    return ConstantPadded(array.shape, fill, (rows.start, columns.start), np.ascontiguousarray(array[rows, columns]))


def _whole(crop: ConstantPadded) -> np.ndarray:
    # Untouched zeros use no memory; only the masks that are shown are filled.
    array = np.full(crop.shape, crop.fill, crop.part.dtype) if crop.fill else np.zeros(crop.shape, crop.part.dtype)
    y, x = crop.corner
    height, width = crop.part.shape
    array[y : y + height, x : x + width] = crop.part
    return array
