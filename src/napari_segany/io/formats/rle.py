"""Run-length encoded masks as COCO has them: runs down the columns, first of background, as compressed text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_segany.core.errors import InputError


def to_rle(
    mask: np.ndarray, *, corner: tuple[int, int] = (0, 0), shape: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Encode a mask.

    Parameters
    ----------
    mask : ndarray
        (y, x) bool.
    corner : (y, x)
        Where `mask` begins in its plane, when it is only a window of it; the rest of the plane is background.
    shape : (height, width), optional
        Of the plane; by default that of the mask.

    Returns
    -------
    dict
        "size": [height, width], and "counts": str, the same as ``pycocotools.mask.encode`` makes of the whole plane.

    Raises
    ------
    InputError
        When the mask is not (y, x), has no pixels, or reaches out of the plane.
    """
    mask = np.asarray(mask).astype(bool)
    if mask.ndim != 2 or not mask.size:
        raise InputError(f"a mask has pixels along y and x, got the shape {mask.shape}")
    height, width = shape or mask.shape
    if min(*corner, height - corner[0] - mask.shape[0], width - corner[1] - mask.shape[1]) < 0:
        raise InputError(f"a mask of shape {mask.shape} at {corner} does not fit a plane of shape {(height, width)}")
    column, row = np.nonzero(np.diff(np.pad(mask.T, ((0, 0), (1, 1))).astype(np.int8), axis=1))
    # where runs begin and end, by turns; a run that goes on at the top of the next column ends where the next begins
    bounds, times = np.unique((column + corner[1]) * height + row + corner[0], return_counts=True)
    counts = np.diff(bounds[times == 1], prepend=0, append=height * width)
    counts = counts[:-1] if counts[-1] == 0 else counts
    return {"size": [int(height), int(width)], "counts": _compressed(counts.tolist())}


def from_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Decode a mask.

    Files of other programs may hold anything: what does not fit its size is refused.

    Parameters
    ----------
    rle : mapping
        "size": (height, width), and "counts": compressed (str or bytes), or a list of run lengths.

    Returns
    -------
    ndarray
        (y, x) bool.

    Raises
    ------
    InputError
        When it is no such thing, or its runs do not fill its size.
    """
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        runs = _run_lengths(counts) if isinstance(counts, str | bytes) else [int(count) for count in counts]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("this is no run-length encoded mask: it needs a size and counts") from error
    if min(height, width, *runs, 0) < 0 or sum(runs) != height * width:
        raise InputError(f"a run-length encoded mask does not fill its size of {height} x {width} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _compressed(runs: list[int]) -> str:
    """The compressed form of run lengths; the inverse of :func:`_run_lengths`."""
    codes = bytearray()
    for number, run in enumerate(runs):
        value = run - (runs[number - 2] if number > 2 else 0)
        more = True
        while more:
            digit = value & 0x1F
            value >>= 5
            more = value != (-1 if digit & 0x10 else 0)
            codes.append(48 + (digit | 0x20 if more else digit))
    return codes.decode("ascii")


def _run_lengths(counts: str | bytes) -> list[int]:
    """Run lengths from their compressed form, that of ``rleToString`` in COCO's maskApi.c.

    Five bits to a character, the lowest first, the sixth bit is set when more follow; from the fourth on, each number
    is the difference from the one before the last.
    """
    runs: list[int] = []
    value = bits = 0
    for code in counts.encode("ascii") if isinstance(counts, str) else counts:
        digit = code - 48
        value |= (digit & 0x1F) << bits
        bits += 5
        if digit & 0x20:
            continue
        if digit & 0x10:
            value -= 1 << bits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = bits = 0
    return runs
