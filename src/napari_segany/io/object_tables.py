"""What is known of the objects of a file of labels, from the table of objects that was written next to it."""

from __future__ import annotations

import csv
from pathlib import Path

from napari_segany.core.objects import AUTOMATIC, STATES, ObjectInfo, class_path

LABELS, OBJECTS = "_labels.tif", "_objects.csv"
"""Endings of the two files of an image, as ``segment --everything`` writes them."""
UNATTENDED = ("automatic", "text")
"""Ways to make objects without a look at each, in the column ``how``."""


def objects_of_labels(path: Path) -> dict[int, ObjectInfo]:
    """What the table ``NAME_objects.csv`` tells of the objects of ``NAME_labels.tif``, by label.

    Objects that a batch found have the state "automatic", also where the table has no column of states. The result is
    empty where there is no such table, or another program wrote it.

    Parameters
    ----------
    path : Path
        Of the labels.
    """
    if not path.name.endswith(LABELS):
        return {}
    table = path.with_name(path.name.removesuffix(LABELS) + OBJECTS)
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return {about.label: about for about in map(_info, csv.DictReader(file))}
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}


def _info(row: dict[str, str]) -> ObjectInfo:
    """An object of a row; what is no number raises ValueError."""
    how, state = row["how"], row.get("state") or ""
    if state not in STATES:
        state = AUTOMATIC if "state" not in row and how in UNATTENDED else ""
    score, stability = (float(row[name]) if row[name] else None for name in ("score", "stability"))
    return ObjectInfo(
        int(row["label"]),
        row["name"],
        class_path(row.get("class_parent") or "", row["class"]),
        score,
        stability,
        source=how,
        pixels=int(row["pixels"]),
        state=state,
        parent=int(row["parent"] or 0) if "parent" in row else None,
        class_probability=float(told) if (told := row.get("class_probability")) else None,
        reviewed_by=row.get("reviewed_by") or "",
        reviewed_at=row.get("reviewed_at") or "",
    )
