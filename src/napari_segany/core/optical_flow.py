"""Where an object of one slice lies on the next: its mask, carried along by how the picture moved.

Measured with ``tiny`` on neighbouring slices, no prompt follows an object as well as the picture's own motion does: see
``docs/architecture.md``. So the motion carries the mask, and the model mends it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
import skimage

from napari_segany.core.masks import box_of
from napari_segany.core.planes import Region

MARGIN, PAD = 0.35, 12
"""A window reaches beyond its object by so much of its longer side (of 60 pixels at most), and so many pixels."""
RADIUS = 5
"""Of the neighbourhood that moves as one, in pixels. 4 and 7 do as well on synthetic nuclei and flyem, 10 worse."""
WARPS = 2
"""Iterations of the motion estimate. On training stacks 2 iterations propagate as well as 5 (.89, .67 and .79 against
.89, .67 and .79), in half the time; in pictures of windows of half the size objects are lost (.89, .64, .77).
"""
WIDEST = 256
"""Motion of larger windows is found in a smaller picture of them."""
FARTHEST = 0.25
"""A stack that seems to drift by more of its side from slice to slice does not drift: something else happened."""
BLANK = 0.05
"""Share of the contrast of the slice before, up to which a window shows nothing. Objects that fade keep more of it."""
BETTER = 0.05
"""By so much more must two slices agree after a shift, or they are left where they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """An object as it is expected on a slice.

    Parameters
    ----------
    window : tuple of slice
        Rows and columns of the plane.
    level : ndarray
        Float of the window's shape: distance in pixels to the expected outline, positive within.
    match : float
        Correlation, -1 to 1, of what is in and around the object with what was there before.
    """

    window: Region
    level: np.ndarray
    match: float


def to_gray(plane: np.ndarray) -> np.ndarray:
    """(y, x, 3) uint8 -> (y, x) float32, the mean of the colours."""
    mean: np.ndarray = plane.mean(axis=-1, dtype=np.float32)
    return mean


def signed_distance(pixels: np.ndarray) -> np.ndarray:
    """Distance in pixels to the outline, positive within: (y, x) bool -> (y, x) float; all -inf or inf without one."""
    if pixels.all() or not pixels.any():
        return np.where(pixels, np.inf, -np.inf)
    inside, outside = (scipy.ndimage.distance_transform_edt(part) for part in (pixels, ~pixels))
    # Between an inner and an outer pixel the outline is half a pixel away from both.
    distance: np.ndarray = np.where(pixels, inside - 0.5, 0.5 - outside)
    return distance


def window_of(pixels: np.ndarray) -> Region:
    """The part of a plane in which an object is followed: (y, x) bool, not empty, and what is around it."""
    box = box_of(pixels)
    if box is None:
        raise ValueError("an empty mask has no window")
    longer = max(box.y1 - box.y0, box.x1 - box.x0) + 1
    reach = int(PAD + MARGIN * min(longer, 60))
    rows, columns = (
        slice(max(int(low) - reach, 0), min(int(high) + reach + 1, length))
        for low, high, length in zip((box.y0, box.x0), (box.y1, box.x1), pixels.shape, strict=True)
    )
    return rows, columns


def estimate_drift(before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """By how many rows and columns a whole slice lies farther than the one before it; (0, 0) unless that is clear.

    Parameters
    ----------
    before, after : ndarray
        (y, x) float32 of one shape.
    """
    factor = -(-max(before.shape) // WIDEST)
    first, second = (_smaller(plane, factor) for plane in (before, after))
    if first.std() == 0 or second.std() == 0:
        return 0, 0
    found, _, _ = skimage.registration.phase_cross_correlation(second, first, normalization=None)  # type: ignore[no-untyped-call]
    step = tuple(int(value) for value in found)
    limits = [FARTHEST * length for length in first.shape]
    if not any(step) or any(abs(value) > limit for value, limit in zip(step, limits, strict=True)):
        return 0, 0
    if correlation(shifted(first, step), second) < correlation(first, second) + BETTER:
        return 0, 0
    return step[0] * factor, step[1] * factor


def shifted(plane: np.ndarray, step: tuple[int, ...]) -> np.ndarray:
    """A plane (y, x) moved by whole rows and columns; what comes in is zero."""
    if not any(step):
        return plane
    moved = np.zeros_like(plane)
    target = tuple(slice(max(by, 0), length + min(by, 0)) for by, length in zip(step, plane.shape, strict=True))
    source = tuple(slice(max(-by, 0), length + min(-by, 0)) for by, length in zip(step, plane.shape, strict=True))
    moved[target] = plane[source]
    return moved


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Of two arrays of one shape, -1 to 1; 0 where one is flat, in which there is nothing to compare."""
    one, other = (values - values.mean() for values in (first, second))
    spread = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / spread if spread > 0 else 0.0


def blank(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether nothing is left in `after` of the content of `before`, (y, x) float32 of one shape.

    So it is in slices that padding, registration or a lost frame left black, or with noise alone.
    """
    return float(after.std()) <= BLANK * float(before.std())


def project_mask(
    before: np.ndarray, after: np.ndarray, pixels: np.ndarray, step: tuple[int, int] = (0, 0)
) -> Projection:
    """Carry an object to the next slice.

    Parameters
    ----------
    before, after : ndarray
        (y, x) float32, the slice that it is known on, and the next.
    pixels : ndarray
        (y, x) bool, the object on `before`; not empty.
    step : tuple of int
        Rows and columns by which the whole stack moved.

    Notes
    -----
    The motion is the dense optical flow of Le Besnerais and Champagnat 2005 (``optical_flow_ilk``), within a window.
    """
    moved = shifted(pixels, step)
    if not moved.any():
        return Projection((slice(0, 0), slice(0, 0)), np.zeros((0, 0)), 0.0)
    window = window_of(moved)
    old, new, inside = shifted(before, step)[window], after[window], moved[window]
    if blank(old, new):
        return Projection(window, np.full(inside.shape, -np.inf), 0.0)
    rows, columns = np.indices(inside.shape, dtype=np.float32)
    along = _flow(old, new)
    places = [rows + along[0], columns + along[1]]
    known = np.clip(signed_distance(inside), -1e3, 1e3)
    level = scipy.ndimage.map_coordinates(known, places, order=1, mode="nearest")
    near = level > -RADIUS
    carried = scipy.ndimage.map_coordinates(old, places, order=1, mode="nearest")
    # The motion has bent distances: made again, so that they can be weighed against others.
    return Projection(window, signed_distance(level > 0), correlation(carried[near], new[near]))


def _flow(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """For each place of `new`, rows and columns from there to where it was in `old`: (2, y, x)."""
    factor = -(-max(old.shape) // WIDEST)
    if min(old.shape) < 2 * factor or old.std() == 0 or new.std() == 0:
        return np.zeros((2, *old.shape), np.float32)
    small = [_smaller(part, factor) for part in (new, old)]
    found = np.asarray(skimage.registration.optical_flow_ilk(small[0], small[1], radius=RADIUS, num_warp=WARPS))  # type: ignore[no-untyped-call]
    if factor == 1:
        return found
    size = (1, *(length / each for length, each in zip(old.shape, small[0].shape, strict=True)))
    larger: np.ndarray = scipy.ndimage.zoom(found, size, order=1, mode="nearest", grid_mode=True) * factor
    return larger


def _smaller(plane: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1:
        return plane
    small: np.ndarray = skimage.transform.downscale_local_mean(plane, (factor, factor))  # type: ignore[no-untyped-call]
    return small


def interpolate_masks(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """What lies between two masks of one object, by their signed distances.

    Parameters
    ----------
    first, second : ndarray
        (y, x) bool, neither empty.
    share : float
        How far on the way from the first to the second, 0 to 1.

    Returns
    -------
    ndarray
        (y, x) bool.
    """
    window = window_of(first | second)
    levels = [np.clip(signed_distance(part[window]), -1e3, 1e3) for part in (first, second)]
    pixels = np.zeros(first.shape, bool)
    pixels[window] = (1 - share) * levels[0] + share * levels[1] > 0
    return pixels
