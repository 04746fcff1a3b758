"""Objects as a table of what is known and of measurements."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from napari_segany.core.objects import ObjectInfo
from napari_segany.io.formats.labelled_image import LabelledImage
from napari_segany.io.formats.measurements import ALWAYS, group_of, measured_columns


def write_table(image: LabelledImage, path: Path) -> None:
    """Write a .csv of the columns of :func:`object_columns`; unknown values are empty."""
    save_csv(object_columns(image), path)


def save_csv(columns: dict[str, list[Any]], path: Path) -> None:
    """Write columns to a .csv; None becomes empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_parquet(image: LabelledImage, path: Path) -> None:
    """Write a .parquet of the columns of :func:`object_columns`; unknown values are null."""
    save_parquet(object_columns(image), path)


def save_parquet(columns: dict[str, list[Any]], path: Path) -> None:
    """Write columns to a .parquet, by pyarrow; None becomes null."""
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path)


def object_columns(image: LabelledImage) -> dict[str, list[Any]]:
    """What is known and measured of objects, a row for each object, at each time where there is an axis of time.

    Measurements are those of :func:`~napari_segany.io.formats.measurements.measured_columns`.
    "state" is there where some object has one, "reviewed_by" and "reviewed_at" (ISO 8601, UTC) where a state was set in
    a review, "class_probability" where a model named some object, and "class_parent" where some class is below another.
    Unknown values are None. "parent" is there where some object came from a division, with the label of its mother.
    Of these, the columns that the image chooses, and always those of ``ALWAYS``. Objects that it leaves out have no
    rows, and are no mothers; which columns there are, and what the others measure, does not depend on them.
    """
    measured = {name: list(map(_cell, column.tolist())) for name, column in measured_columns(image).items()}
    objects = [image.known(label) for label in measured["label"]]
    first = {name: measured.pop(name) for name in ("label", image.name_of("t")) if name in measured}
    others = {**known_columns(image, objects), **measured}
    # (what tells which object and time a row is about is always there)
    wanted = image.columns
    chosen = first | {name: column for name, column in others.items() if not wanted or is_chosen(name, wanted)}
    if not image.left_out:
        return chosen
    kept = [label not in image.left_out for label in first["label"]]
    return {name: list(compress(column, kept)) for name, column in chosen.items()}


def is_chosen(column: str, chosen: Collection[str]) -> bool:
    """Whether a column is among those that are chosen, by their names or by their groups, or always in a table."""
    group = group_of(column)
    return column in chosen or group in chosen or group in ALWAYS


def known_columns(image: LabelledImage, objects: list[ObjectInfo]) -> dict[str, list[Any]]:
    """What is known of the objects of rows."""
    there = image.about.values()
    nested = any(known.class_levels[0] for known in there)
    columns: dict[str, list[Any]] = {
        "name": [known.name for known in objects],
        "class": [known.class_levels[1] if nested else known.class_name for known in objects],
    }
    if nested:
        columns["class_parent"] = [known.class_levels[0] for known in objects]
    if any(known.class_probability is not None for known in there):
        columns["class_probability"] = [_cell(known.class_probability) for known in objects]
    columns |= {
        "score": [_cell(known.score) for known in objects],
        "stability": [_cell(known.stability) for known in objects],
        "how": [known.source for known in objects],
    }
    for name in ("state", "reviewed_by", "reviewed_at"):
        if any(getattr(known, name) for known in there):
            columns[name] = [getattr(known, name) or None for known in objects]
    if any(known.parent for known in there):
        columns["parent"] = [None if known.parent in image.left_out else known.parent or None for known in objects]
    return columns


def _cell(value: Any) -> Any:
    """A value as tables have it: what is not known is empty."""
    return None if isinstance(value, float | np.floating) and not math.isfinite(value) else value
