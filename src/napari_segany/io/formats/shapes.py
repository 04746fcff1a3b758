"""Measurements of the shapes of objects, and of their distances."""

from __future__ import annotations

import math

import numpy as np
import scipy
import skimage

FLAT = ("length", "width", "perimeter", "roundness", "solidity", "orientation")
"""Of objects of a plane; of volumes there is the length alone."""


def shape_columns(axes: str, unit: str) -> list[str]:
    """Names of the columns of :func:`measured_shapes`, in the units of their values."""
    units = {"length": unit, "width": unit, "perimeter": unit, "orientation": "deg"}
    names = FLAT if axes == "yx" else FLAT[:1]
    return [*(f"{name} [{units[name]}]" if name in units else name for name in names), f"neighbour_distance [{unit}]"]


def measured_shapes(labels: np.ndarray, centroids: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Measure the shape of each object.

    Parameters
    ----------
    labels : ndarray
        (y, x) or (z, y, x) integers from 1 to n without gaps; 0 is background.
    centroids : ndarray
        (n, axes) float, in the unit of `spacing`.
    spacing : tuple of float
        Distance of neighbouring pixels along each axis.

    Returns
    -------
    ndarray
        (n, columns) float. Length and width are the axes of the ellipse or ellipsoid with the same second moments;
        roundness is 4 pi area / perimeter² and at most 1, solidity the area over that of the convex hull, orientation
        the angle of the length with the x axis, counter-clockwise, from -90 to 90. The last column is the distance of
        the centroid to the nearest other one. NaN where it is not defined: the perimeter needs square pixels.
    """
    flat, square = labels.ndim == 2, len(set(spacing)) == 1
    wanted = ["axis_major_length"]
    if flat:
        wanted += ["axis_minor_length", "area", "solidity", "orientation", *(["perimeter"] if square else [])]
    found = skimage.measure.regionprops_table(labels, properties=wanted, spacing=spacing)
    columns = [found["axis_major_length"]]
    if flat:
        perimeter = np.asarray(found.get("perimeter", np.full(len(centroids), math.nan)), float)
        perimeter[perimeter == 0] = math.nan  # of single pixels and lines nothing is known
        roundness = np.minimum(4 * math.pi * found["area"] / perimeter**2, 1.0)
        # skimage has the angle of the length with the rows' axis
        angle = np.degrees(found["orientation"]) - 90
        angle = np.where(angle <= -90, angle + 180, angle)
        columns += [found["axis_minor_length"], perimeter, roundness, found["solidity"], angle]
    return np.column_stack([*columns, nearest_distances(centroids)])


def nearest_distances(places: np.ndarray) -> np.ndarray:
    """(n,) distance of each place to the nearest other one; NaN where there is none."""
    if len(places) < 2:
        return np.full(len(places), math.nan)
    distances: np.ndarray = scipy.spatial.cKDTree(places).query(places, k=2)[0][:, 1]
    return distances
