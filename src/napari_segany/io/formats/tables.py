"""Objects as a table of measurements."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import skimage

from napari_segany.io.formats.labelled_image import LabelledImage, numbered
from napari_segany.io.formats.shapes import measured_shapes, shape_columns

PROPERTIES = ("num_pixels", "area", "centroid", "bbox")
INTENSITIES = ("intensity_mean", "intensity_min", "intensity_max", "intensity_std")


def write_table(image: LabelledImage, path: Path) -> None:
    """Write a .csv with a row for each object, at each time where there is an axis of time.

    Sizes and centroids are in the unit that their column names, the centre of the first pixel being 0. Boxes, "y_min"
    to "x_max", are indices of the first and last pixel. "slices" is the number of slices on which an object lies.
    Shapes are those of :func:`~napari_segany.io.formats.shapes.measured_shapes`.
    Intensities are measured where there is an image. "state" is written where some object has one, "reviewed_by" and
    "reviewed_at" (ISO 8601, UTC) where a state was set in a review, "class_probability" where a model named some
    object, and "class_parent" where some class is below another. Unknown values are empty. "parent" is written where
    some object came from a division, with the label of its mother.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_columns(image))
        if "t" not in image.axes:
            writer.writerows(_rows(image, image.labels, image.intensity))
            return
        for time, labels in enumerate(image.labels):
            image.report(time, len(image.labels))
            intensity = None if image.intensity is None else image.intensity[time]
            writer.writerows([*row[:1], time, *row[1:]] for row in _rows(image, labels, intensity))


def _columns(image: LabelledImage) -> list[str]:
    space = image.axes.lstrip("t")
    size = f"volume [{image.unit}^3]" if "z" in space else f"area [{image.unit}^2]"
    return [
        "label",
        *(["t"] if "t" in image.axes else []),
        *(
            "name",
            "class",
            *_class_parents(image),
            *_told(image),
            "score",
            "stability",
            "how",
            *_states(image),
            *_parents(image),
            "pixels",
            size,
        ),
        *(f"centroid_{axis} [{image.unit}]" for axis in space),
        *(f"{axis}_min" for axis in space),
        *(f"{axis}_max" for axis in space),
        *(["slices"] if "z" in space else []),
        *shape_columns(space, image.unit),
        *(INTENSITIES if image.intensity is not None else []),
    ]


def _rows(image: LabelledImage, labels: np.ndarray, intensity: np.ndarray | None) -> Iterator[list[Any]]:
    dense, label_of = numbered(labels)
    columns = _measured(dense, intensity, image.scale[-labels.ndim :])
    states, parents, told = _states(image), _parents(image), _told(image)
    nested = _class_parents(image)
    for label, *measured in zip(label_of.tolist(), *(column.tolist() for column in columns), strict=True):
        known = image.known(label)
        state = [getattr(known, name) or None for name in states]
        parent = [known.parent or None] if parents else []
        values = (known.score, known.stability, known.source, *state, *parent, *measured)
        probability = [known.class_probability] if told else []
        above, kind = known.class_levels
        family = [kind, above] if nested else [kind]
        yield [label, known.name, *family, *map(_cell, (*probability, *values))]


def _measured(dense: np.ndarray, intensity: np.ndarray | None, spacing: tuple[float, ...]) -> list[np.ndarray]:
    """The columns of what is measured, in the order of their names."""
    table = skimage.measure.regionprops_table(
        dense,
        intensity,
        properties=PROPERTIES + (INTENSITIES if intensity is not None else ()),
        spacing=spacing,
        extra_properties=(slices,) if dense.ndim == 3 else None,
    )
    # boxes end behind their last pixel
    for axis in range(dense.ndim, 2 * dense.ndim):
        table[f"bbox-{axis}"] -= 1
    centroids = np.column_stack([table[f"centroid-{axis}"] for axis in range(dense.ndim)])
    shapes = measured_shapes(dense, centroids, spacing)
    table |= {f"shape-{number}": column for number, column in enumerate(shapes.T)}
    last = ("slices", *(f"shape-{number}" for number in range(shapes.shape[1])), *INTENSITIES)
    return [table[name] for name in (*(name for name in table if name not in last), *last) if name in table]


def _told(image: LabelledImage) -> list[str]:
    """The column of the probabilities of classes, where a model named some object."""
    return ["class_probability"] if any(known.class_probability is not None for known in image.about.values()) else []


def _class_parents(image: LabelledImage) -> list[str]:
    """The column of the parents of classes, where some class has one."""
    return ["class_parent"] if any(known.class_levels[0] for known in image.about.values()) else []


def _states(image: LabelledImage) -> list[str]:
    """The columns of states, of who set them and when; each where some object has one."""
    names = ("state", "reviewed_by", "reviewed_at")
    return [name for name in names if any(getattr(known, name) for known in image.about.values())]


def _parents(image: LabelledImage) -> list[str]:
    """The column of mothers, where they are known."""
    return ["parent"] if any(known.parent for known in image.about.values()) else []


def _cell(value: Any) -> Any:
    """A value as tables have it: what is not known is empty."""
    return None if isinstance(value, float | np.floating) and not math.isfinite(value) else value


def slices(region: np.ndarray) -> int:
    """On how many slices of its window (z, y, x) an object lies."""
    return int(region.any(axis=(1, 2)).sum())
