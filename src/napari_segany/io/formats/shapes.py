"""Measurements of the shapes of objects, and of their distances."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement, product

import numpy as np
import scipy
import skimage

FLAT = ("length", "width", "perimeter", "roundness", "eccentricity", "solidity", "orientation")
"""Of objects of a plane; of volumes there are length and width."""
BLOCK_PIXELS = 2**22
"""Pixels that are measured at a time."""
BATCH = 64
"""Objects between two reports."""
CROSSING_WEIGHTS = np.zeros(50)
"""Length of the outline in a pixel of it, by its code: 1, 2 for each neighbour on the outline, 10 for each diagonal
one (Benkrid and Crookes 2000, as in skimage.measure.perimeter)."""
CROSSING_WEIGHTS[[5, 7, 15, 17, 25, 27]] = 1
CROSSING_WEIGHTS[[21, 33]] = math.sqrt(2)
CROSSING_WEIGHTS[[13, 23]] = (1 + math.sqrt(2)) / 2

Report = Callable[[float], object]


def _ignore(share: float) -> None:
    """Ignore the progress; the default."""


def shape_columns(axes: str, unit: str) -> list[str]:
    """Names of the columns of :func:`measured_shapes`, in the units of their values."""
    units = {"length": unit, "width": unit, "perimeter": unit, "orientation": "deg"}
    names = FLAT if axes == "yx" else FLAT[:2]
    shapes = [f"{name} [{units[name]}]" if name in units else name for name in names]
    return [*shapes, f"neighbour_distance [{unit}]", "neighbours"]


def measured_shapes(
    labels: np.ndarray, centroids: np.ndarray, spacing: tuple[float, ...], report: Report = _ignore
) -> np.ndarray:
    """Measure the shape of each object.

    Parameters
    ----------
    labels : ndarray
        (y, x) or (z, y, x) integers from 1 to n without gaps; 0 is background.
    centroids : ndarray
        (n, axes) float, in the unit of `spacing`.
    spacing : tuple of float
        Distance of neighbouring pixels along each axis.
    report : callable
        Called with the share that is done, 0..1; an exception that it raises stops the work.

    Returns
    -------
    ndarray
        (n, columns) float. Length and width are the longest and shortest axis of the ellipse or ellipsoid with the same
        second moments, eccentricity is that of the ellipse; roundness is 4 pi area / perimeter² and at most 1,
        solidity the area over that of the convex hull, orientation the angle of the length with the x axis,
        counter-clockwise, from -90 to 90. The last columns are the distance of the centroid to the nearest other one,
        and the number of other objects that touch it, be it at a corner. NaN where it is not defined: the perimeter
        needs square pixels.
    """
    flat, square = labels.ndim == 2, len(set(spacing)) == 1
    spread = covariances(labels, centroids, spacing)
    report(0.2)
    along = np.maximum(np.linalg.eigvalsh(spread)[:, ::-1], 0.0)
    # the ellipse of half axis a has the variance a²/4 along it, the ellipsoid a²/5
    factor = 4 if flat else math.sqrt(20)
    columns = [factor * np.sqrt(along[:, 0]), factor * np.sqrt(along[:, -1])]
    if flat:
        area = np.bincount(labels.ravel(), minlength=len(centroids) + 1)[1:] * math.prod(spacing)
        perimeter = perimeters(labels, len(centroids)) * spacing[0] if square else np.full(len(centroids), math.nan)
        perimeter[perimeter == 0] = math.nan  # of single pixels and lines nothing is known
        columns += [perimeter, np.minimum(4 * math.pi * area / perimeter**2, 1.0), _eccentricity(along)]
        columns += [_solidity(labels, lambda share: report(0.3 + 0.6 * share)), _orientation(spread)]
    return np.column_stack([*columns, nearest_distances(centroids), touching(labels, len(centroids))])


def covariances(labels: np.ndarray, centroids: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """(n, axes, axes) covariance of the places of the pixels of each object, in the square of the unit of `spacing`."""
    count, ndim = centroids.shape
    sums = np.zeros((count, ndim, ndim))
    pixels = np.zeros(count)
    for numbers, places in _blocks(labels):
        apart = [at * step - centroids[numbers, k] for k, (at, step) in enumerate(zip(places, spacing, strict=True))]
        pixels += np.bincount(numbers, minlength=count)
        for row, column in combinations_with_replacement(range(ndim), 2):
            sums[:, row, column] += np.bincount(numbers, apart[row] * apart[column], count)
            sums[:, column, row] = sums[:, row, column]
    return sums / pixels[:, None, None]


def _blocks(labels: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, ...]]]:
    """Parts of the objects' pixels: the number of the object of each, from 0, and its index along each axis."""
    for first, part in slabs(labels):
        inside = np.nonzero(part)
        yield part[inside].astype(np.int64) - 1, (inside[0] + first, *inside[1:])


def slabs(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Parts of an array along its first axis, of about ``BLOCK_PIXELS``, and where each begins."""
    rows = max(BLOCK_PIXELS // max(math.prod(array.shape[1:]), 1), 1)
    for first in range(0, len(array), rows):
        yield first, array[first : first + rows]


def _eccentricity(along: np.ndarray) -> np.ndarray:
    """Of ellipses with these variances along their axes, the larger first; NaN for single pixels."""
    share = np.divide(along[:, 1], along[:, 0], out=np.full(len(along), math.nan), where=along[:, 0] > 0)
    return np.sqrt(1 - share)


def _orientation(spread: np.ndarray) -> np.ndarray:
    """Angle of the long axis with the x axis in degrees; NaN where no axis is the long one."""
    apart = spread[:, 1, 1] - spread[:, 0, 0]
    # (y goes down; + 0.0 makes -0.0 a zero, so that vertical ones have 90)
    crossed = -2 * spread[:, 0, 1] + 0.0
    angle = np.degrees(0.5 * np.arctan2(crossed, apart))
    return np.where((apart == 0) & (crossed == 0), math.nan, angle)


def perimeters(labels: np.ndarray, count: int) -> np.ndarray:
    """(n,) float, lengths of the outlines of objects in pixels, as of skimage.measure.perimeter.

    Parameters
    ----------
    labels : ndarray
        (y, x) integers from 1 to `count`; 0 is background.
    count : int
        Of the objects.
    """
    wide = np.pad(labels, 1)
    inner = np.ones(labels.shape, bool)
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        inner &= _moved(wide, down, right) == labels
    outline = np.where(inner, 0, labels)
    wide = np.pad(outline, 1)
    code = np.ones(labels.shape, np.uint8)
    for down, right in product((-1, 0, 1), repeat=2):
        if down or right:
            code += np.where(_moved(wide, down, right) == outline, np.uint8(10 if down and right else 2), np.uint8(0))
    there = outline > 0
    return np.bincount(outline[there], CROSSING_WEIGHTS[code[there]], count + 1)[1:]


def _moved(wide: np.ndarray, down: int, right: int) -> np.ndarray:
    """The neighbours of the pixels of an array that was padded by one pixel."""
    height, width = wide.shape
    return wide[1 + down : height - 1 + down, 1 + right : width - 1 + right]


def _solidity(labels: np.ndarray, report: Report) -> np.ndarray:
    """(n,) area of each object over that of its convex hull."""
    regions = skimage.measure.regionprops(labels)
    found = np.full(len(regions), math.nan)
    with warnings.catch_warnings():
        # of lines skimage tells that they have no hull
        warnings.simplefilter("ignore")
        for row, region in enumerate(regions):
            if row % BATCH == 0:
                report(row / len(regions))
            found[row] = region.solidity
    return found


def touching(labels: np.ndarray, count: int) -> np.ndarray:
    """(n,) float, how many other objects touch each, be it at a corner.

    Parameters
    ----------
    labels : ndarray
        Integers from 1 to `count`; 0 is background.
    count : int
        Of the objects.
    """
    pairs = [np.zeros(0, np.int64)]
    # half of the directions: the others give the same pairs
    directions = [step for step in product((-1, 0, 1), repeat=labels.ndim) if step > (0,) * labels.ndim]
    for step in directions:
        here, there = labels[_part(step)], labels[_part([-move for move in step])]
        meet = (here != there) & (here > 0) & (there > 0)
        a, b = here[meet].astype(np.int64), there[meet].astype(np.int64)
        pairs.append(np.unique(np.minimum(a, b) * (count + 1) + np.maximum(a, b)))
    found = np.unique(np.concatenate(pairs))
    ends = np.concatenate([found // (count + 1), found % (count + 1)])
    return np.bincount(ends, minlength=count + 1)[1:].astype(float)


def _part(step: tuple[int, ...] | list[int]) -> tuple[slice, ...]:
    """All of an array but the planes that a step leads out of."""
    return tuple(slice(0, -1) if move > 0 else slice(1, None) if move < 0 else slice(None) for move in step)


def nearest_distances(places: np.ndarray) -> np.ndarray:
    """(n,) distance of each place to the nearest other one; NaN where there is none."""
    if len(places) < 2:
        return np.full(len(places), math.nan)
    distances: np.ndarray = scipy.spatial.cKDTree(places).query(places, k=2)[0][:, 1]
    return distances
