"""Measurements of all objects of a label image: what tables, plots and the window show of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import scipy

from napari_segany.io.formats.labelled_image import LabelledImage, numbered
from napari_segany.io.formats.shapes import Report, measured_shapes, shape_columns, slabs

INTENSITIES = ("intensity_mean", "intensity_min", "intensity_max", "intensity_std", "intensity_sum")

GROUPS: Mapping[str, str] = {
    "size": "Area or volume",
    "length": "Longest axis",
    "width": "Shortest axis",
    "perimeter": "Perimeter",
    "roundness": "Roundness",
    "eccentricity": "Eccentricity",
    "solidity": "Solidity",
    "orientation": "Orientation",
    "slices": "Number of slices",
    "centroid": "Centroid",
    "box": "Box: first and last pixel",
    "neighbour_distance": "Distance to the nearest object",
    "neighbours": "Number of objects that touch it",
    "intensity_mean": "Mean intensity",
    "intensity_min": "Lowest intensity",
    "intensity_max": "Highest intensity",
    "intensity_std": "Standard deviation of intensity",
    "intensity_sum": "Sum of intensity",
    "pixels": "Number of pixels",
    "name": "Name",
    "class": "Class, and its probability",
    "score": "Score and stability",
    "how": "How it was made",
    "state": "State",
    "parent": "Mother",
}
"""Groups of columns that are chosen together, whatever their units and channels, and their titles."""
ALWAYS = ("name", "class", "state")
"""Groups that tables have whatever is chosen, with the label and the time of a row."""
_MEMBERS = {
    "area": "size",
    "volume": "size",
    "class_parent": "class",
    "class_probability": "class",
    "stability": "score",
    "reviewed_by": "state",
    "reviewed_at": "state",
}
"""Groups of columns that are called otherwise."""


def group_of(column: str) -> str:
    """The one of ``GROUPS`` that a column belongs to; its name where it belongs to none."""
    name = column.partition(" [")[0]
    if name in _MEMBERS:
        return _MEMBERS[name]
    intensity = next((one for one in INTENSITIES if name == one or name.startswith(f"{one}_")), "")
    if intensity:
        return intensity
    if name.startswith("centroid_"):
        return "centroid"
    return "box" if re.fullmatch(r"\S+_(min|max)", name) else name


def measured_columns(image: LabelledImage) -> dict[str, np.ndarray]:
    """Measure all objects, at each time where there is an axis of time.

    Parameters
    ----------
    image : LabelledImage
        Labels and channels; its `report` is called meanwhile.

    Returns
    -------
    dict of str to ndarray
        Columns of a row for each object and time, ordered by both: "label", the time ("t") where there is one,
        "pixels", size and centroid in the unit that their names tell, the centre of the first pixel being 0, the box as
        indices of its first and last pixel, "slices" on which a volume lies, the shapes of
        :func:`~napari_segany.io.formats.shapes.measured_shapes`, and mean, least, largest, standard deviation and sum
        of the values of each channel. NaN where something is not defined.
    """
    moments = image.labels if "t" in image.axes else image.labels[None]
    parts = []
    for time, labels in enumerate(moments):
        channels = {name: values[time] if "t" in image.axes else values for name, values in image.channels.items()}
        steps = _Steps(image, time, len(moments))
        part = _measured(image, labels, channels, steps)
        steps(1.0)
        when = {image.name_of("t"): np.full(len(part["label"]), time)} if "t" in image.axes else {}
        parts.append({"label": part.pop("label"), **when, **part})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _Steps:
    """Reports the progress within one time as that of the whole."""

    def __init__(self, image: LabelledImage, time: int, times: int) -> None:
        self._image, self._time, self._times = image, time, times

    def __call__(self, share: float) -> None:
        self._image.report(self._time + share, self._times)


def _measured(
    image: LabelledImage, labels: np.ndarray, channels: Mapping[str, Any], report: Report
) -> dict[str, np.ndarray]:
    """The columns of one time."""
    report(0.0)
    dense, label_of = numbered(labels)
    count, spacing = len(label_of), image.scale[-labels.ndim :]
    letters = image.axes[-labels.ndim :]
    names = [image.name_of(axis) for axis in letters]
    pixels, centres, starts, stops = _placed(dense, count)
    what = "volume" if labels.ndim == 3 else "area"
    centroids = centres * spacing
    columns = {
        "label": label_of,
        "pixels": pixels,
        f"{what} [{image.unit}^{labels.ndim}]": pixels * math.prod(spacing),
        **{f"centroid_{name} [{image.unit}]": centroids[:, k] for k, name in enumerate(names)},
        **{f"{name}_min": starts[:, k] for k, name in enumerate(names)},
        **{f"{name}_max": stops[:, k] for k, name in enumerate(names)},
    }
    if labels.ndim == 3:
        columns["slices"] = _slices(dense, count)
    shapes = measured_shapes(dense, centroids, spacing, lambda share: report(0.1 + 0.7 * share))
    for name, column in zip(shape_columns(letters, image.unit), shapes.T, strict=True):
        columns[name] = column.astype(int) if name == "neighbours" else column
    for number, (channel, values) in enumerate(channels.items()):
        report(0.8 + 0.2 * number / len(channels))
        columns |= _intensities(dense, count, values, channel)
    return columns


def _placed(dense: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (n,), centroid in pixels, first and last index along each axis, each (n, axes)."""
    pixels, sums = np.zeros(count, np.int64), np.zeros((count, dense.ndim))
    for first, part in slabs(dense):
        inside = np.nonzero(part)
        numbers = part[inside].astype(np.int64) - 1
        pixels += np.bincount(numbers, minlength=count)
        for axis, places in enumerate(inside):
            sums[:, axis] += np.bincount(numbers, places + (first if axis == 0 else 0), count)
    windows = scipy.ndimage.find_objects(dense, max_label=count)
    corners = np.array([[side.start, side.stop - 1] for window in windows for side in window], np.int64)
    corners = corners.reshape(count, dense.ndim, 2)
    return pixels, sums / pixels[:, None], corners[..., 0], corners[..., 1]


def _slices(dense: np.ndarray, count: int) -> np.ndarray:
    """(n,) on how many slices of a volume (z, y, x) each object lies."""
    found = np.zeros(count, np.int64)
    for plane in dense:
        found += np.bincount(plane.ravel(), minlength=count + 1)[1:] > 0
    return found


def _intensities(dense: np.ndarray, count: int, values: Any, channel: str) -> dict[str, np.ndarray]:
    """The columns of one channel, in the order of ``INTENSITIES``; its name is part of theirs unless it is empty."""
    pixels, sums, squares = np.zeros(count), np.zeros(count), np.zeros(count)
    low, high = np.full(count, math.inf), np.full(count, -math.inf)
    with np.errstate(invalid="ignore"):
        for numbers, seen in _values(dense, values):
            pixels += np.bincount(numbers, minlength=count)
            sums += np.bincount(numbers, seen, count)
            np.minimum.at(low, numbers, seen)
            np.maximum.at(high, numbers, seen)
        mean = sums / pixels
        for numbers, seen in _values(dense, values):
            squares += np.bincount(numbers, (seen - mean[numbers]) ** 2, count)
    measured = (mean, low, high, np.sqrt(squares / pixels), sums)
    suffix = f"_{channel}" if channel else ""
    return {f"{name}{suffix}": column for name, column in zip(INTENSITIES, measured, strict=True)}


def _values(dense: np.ndarray, values: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Parts of the objects' pixels: the number of the object of each, from 0, and the value of a channel there."""
    for first, part in slabs(dense):
        inside = part > 0
        yield part[inside].astype(np.int64) - 1, np.asarray(values[first : first + len(part)])[inside].astype(float)
