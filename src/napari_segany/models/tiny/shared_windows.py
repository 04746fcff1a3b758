"""Windows that lie near each other and need one magnification share an encoding.

To encode takes half of the time of an object in a crowded plane, where the windows of neighbours overlap nearly wholly.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from napari_segany.models.tiny.tiny_sam import STRIDE
from napari_segany.models.windows import Window

ALIKE = 1.6
"""Windows whose scales differ by no more than this factor get one scale."""
STEP = 32
"""Sides of what is encoded are multiples of it, in pixels."""
SIDES = (2, 3, 4)
"""Sides of a shared part that are tried, in sides of a window."""
WORTH = 0.75
"""A part is shared where it takes at most this share of the pixels of its windows."""


@dataclass(frozen=True, slots=True, eq=False)
class SharedPart:
    """A part of a plane that several windows lie in.

    Parameters
    ----------
    whole : Window
        The part; its scale is that of all `windows`.
    windows : dict of int to Window
        The windows under their numbers, moved by less than ``STRIDE`` of their pixels.
    corners : dict of int to (int, int)
        First pixel (y, x) of each window within the part, multiples of ``STRIDE``.
    """

    whole: Window
    windows: dict[int, Window]
    corners: dict[int, tuple[int, int]]


def shared_parts(windows: Mapping[int, Window]) -> list[SharedPart]:
    """The parts of a plane in which several of these windows are encoded together; windows in none stay alone.

    Parameters
    ----------
    windows : mapping of int to Window
        Of one size.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for number, window in windows.items():
        groups[round(math.log(window.scale) / math.log(ALIKE))].append(number)
    parts: list[SharedPart] = []
    for numbers in groups.values():
        scale = float(np.median([windows[number].scale for number in numbers]))
        parts += _parts({number: replace(windows[number], scale=scale) for number in numbers})
    return parts


def _parts(windows: dict[int, Window]) -> list[SharedPart]:
    """Parts for windows of one scale: of the sides that are tried those with the fewest pixels in all."""
    pixels = {number: window.side**2 for number, window in windows.items()}
    tried = []
    for side in SIDES:
        parts = [part for part in _tiled(windows, side) if _is_worth(part)]
        inside = {number for part in parts for number in part.windows}
        alone = sum(count for number, count in pixels.items() if number not in inside)
        tried.append((alone + sum(part.whole.side**2 for part in parts), parts))
    return min(tried, key=lambda one: one[0])[1]


def _is_worth(part: SharedPart) -> bool:
    return part.whole.side**2 <= WORTH * sum(window.side**2 for window in part.windows.values())


def _tiled(windows: dict[int, Window], sides: int) -> list[SharedPart]:
    """Windows of one scale, those of neighbouring corners together in a part of at most so many sides of a window."""
    corners = {number: _corner(window) for number, window in windows.items()}
    first = np.min(list(corners.values()), axis=0)
    cells: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, corner in corners.items():
        reach = (sides - 1) * windows[number].side
        cells[tuple(((corner - first) // reach).tolist())].append(number)
    return [_part(windows, {number: corners[number] for number in members}) for members in cells.values()]


def _part(windows: dict[int, Window], corners: dict[int, np.ndarray]) -> SharedPart:
    """The smallest square of pixels around some windows, and where they lie in it."""
    any_window = windows[next(iter(corners))]
    side, scale = any_window.side, any_window.scale
    first = np.min(list(corners.values()), axis=0)
    reach = int(np.max(list(corners.values()) - first)) + side
    whole = Window(_centre(first, -(-reach // STEP) * STEP, scale), scale, -(-reach // STEP) * STEP)
    moved = {
        number: replace(windows[number], centre=_centre(corner, side, scale)) for number, corner in corners.items()
    }
    return SharedPart(whole, moved, {n: tuple((corner - first).tolist()) for n, corner in corners.items()})


def _corner(window: Window) -> np.ndarray:
    """First pixel (y, x) of a window in pixels of the magnified plane, a multiple of ``STRIDE``."""
    corner = np.array(window.centre) * window.scale - window.side / 2
    rounded: np.ndarray = np.round(corner / STRIDE).astype(int) * STRIDE
    return rounded


def _centre(corner: np.ndarray, side: int, scale: float) -> tuple[float, float]:
    y, x = ((corner + side / 2) / scale).tolist()
    return y, x
