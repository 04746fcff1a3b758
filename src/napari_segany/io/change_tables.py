"""Tables of how much each object of a label image changed."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from napari_segany.io.labels import replacing


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """How one object of one plane changed.

    Parameters
    ----------
    label : int
        Its label.
    plane : int
        Number of the plane, leading axes counted in C order.
    iou : float
        Intersection over union of the old and the new mask, 0..1.
    score : float
        Predicted IoU of the new mask with the true one.
    pixels_before, pixels_after : int
        Sizes of both masks.
    used : bool
        Whether the new mask was taken.
    """

    label: int
    plane: int
    iou: float
    score: float
    pixels_before: int
    pixels_after: int
    used: bool


def write_changes(path: Path, changes: Iterable[ObjectChange]) -> None:
    """Write a table with a header, those that change most first.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    ordered = sorted(changes, key=lambda one: (one.iou, one.plane, one.label))
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(ObjectChange)])
        writer.writerows([_shown(value) for value in astuple(one)] for one in ordered)


def _shown(value: float | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
