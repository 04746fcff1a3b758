"""What a table of objects says: what is known of each, and what was counted, as columns of ``Labels.features``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_segany.core.prompts import Prompt
from napari_segany.layers.label_counts import LabelCounts
from napari_segany.session.events import ObjectEvent

INDEX, LABEL = "index", "label"
"""Columns that name the row's object: for napari, which wants it so called, and for people."""
EDITED, AT_THE_EDGE = "edited", "at the edge"
"""Flags that follow from the pixels: other ones than when it was kept; touching the border of its plane."""
_KNOWN = ("name", "score", "how", "flags")
CONFIDENCE, CLASS = "confidence", "class_name"
_COUNTED = re.compile(r"(area|volume|size) \[.*\]|intensity_mean|slices")


@dataclass(frozen=True, slots=True)
class ObjectDescription:
    """What is known of an object beside its pixels.

    Parameters
    ----------
    name : str
        What the user calls it.
    score : float
        The IoU that the model predicted, NaN where it is not known.
    how : str
        How it came to be, in a few words.
    flags : str
        What else is to be noted, separated by commas.
    pixels : int, optional
        How many it had when this was noted.
    confidence : float
        Expected IoU on the slice where it is least sure, of objects that were followed or found there; else NaN.
    class_name : str
        What kind of thing it is, as the text says that found it.
    """

    name: str = ""
    score: float = math.nan
    how: str = ""
    flags: str = ""
    pixels: int | None = None
    confidence: float = math.nan
    class_name: str = ""


def describe_objects(label: int, about: ObjectDescription) -> ObjectEvent:
    """What is known of an object, as an event of its session."""
    score, confidence = (None if math.isnan(value) else value for value in (about.score, about.confidence))
    return ObjectEvent(label, about.name, score, about.how, about.flags, confidence, about.pixels, about.class_name)


def description_of(event: ObjectEvent) -> ObjectDescription:
    """The inverse of :func:`described`."""
    score, confidence = (math.nan if value is None else value for value in (event.score, event.confidence))
    return ObjectDescription(event.name, score, event.how, event.flags, event.pixels, confidence, event.class_name)


def physical(labels: Labels) -> tuple[tuple[float, ...], str, list[int]]:
    """Distances of a layer's pixels, their unit, and which axes are of space: all but one called "t" or "time".

    Where axes of space have different units, all is counted in pixels.
    """
    names = [str(name).lower() for name in labels.axis_labels]
    space = [axis for axis, name in enumerate(names) if name not in ("t", "time")] or list(range(labels.ndim))
    units = {f"{labels.units[axis]:~P}" for axis in space}
    if len(units) > 1:
        return (1.0,) * labels.ndim, "pixel", space
    unit = units.pop()
    return tuple(abs(float(step)) for step in labels.scale), "pixel" if unit == "px" else unit, space


def grey_values(labels: Labels, image: Image | None) -> np.ndarray | None:
    """The picture's values, where they are numbers in memory and of the labels' shape."""
    values = None if image is None or image.rgb else image.data
    fits = isinstance(values, np.ndarray) and values.dtype.kind in "buif" and values.shape == labels.data.shape
    return values if fits else None


def known_text(prompt: Prompt) -> str:
    """What an object was made from, in a few words: "2 clicks, box"."""
    clicks = len(prompt.points)
    words = [
        f"{clicks} click{'s' * (clicks > 1)}" if clicks else "",
        "box" if prompt.box is not None else "",
        "outline" if prompt.mask is not None else "",
        f"text “{prompt.text.strip()}”" if prompt.text.strip() else "",
    ]
    return ", ".join(filter(None, words))


def read_rows(features: Any) -> tuple[dict[int, ObjectDescription], Any]:
    """What a layer's features say of its objects, by label, and the columns that are not ours.

    Parameters
    ----------
    features : DataFrame
        With a column ``index`` of labels; without, the row's number is the label, as napari has it.
    """
    named = ~nameless_rows(features)
    index = features[INDEX][named] if INDEX in features else range(len(features))
    rows = features[named].set_axis([_label(label) for label in index], axis=0)
    words = {name: list(rows[name]) if name in rows else [""] * len(rows) for name in (*_KNOWN, CONFIDENCE, CLASS)}
    known = {
        int(label): ObjectDescription(
            _text(name), _number(score), _text(how), _noted(_text(flags)), None, _number(sure), _text(kind)
        )
        for label, name, score, how, flags, sure, kind in zip(rows.index, *words.values(), strict=True)
    }
    written_here = set(_KNOWN) <= set(rows)
    ours = {name for name in rows if written_here and _COUNTED.fullmatch(str(name))} | {INDEX, LABEL, *_KNOWN}
    ours |= {CONFIDENCE, CLASS} if written_here else set()
    said = {label: a for label, a in known.items() if a.name or a.how or a.flags or not math.isnan(a.score)}
    return said, rows[[name for name in rows if name not in ours]]


def nameless_rows(features: Any) -> np.ndarray:
    """(rows,) bool, which rows of a layer's features name no label, or one that a row above names."""
    labels = [_label(value) for value in features[INDEX]] if INDEX in features else list(range(len(features)))
    firsts = {label: row for row, label in reversed(list(enumerate(labels))) if label is not None}
    named = np.zeros(len(labels), bool)
    named[list(firsts.values())] = True
    return ~named


def _label(value: Any) -> int | None:
    """The label that a cell names: a whole number, however it is written; None where it is none."""
    if isinstance(value, int | np.integer):
        return int(value)
    number = _number(value)
    return int(number) if math.isfinite(number) and number == int(number) else None


def known_columns(known: Sequence[ObjectDescription]) -> dict[str, np.ndarray]:
    """Columns of what is known and comes first; confidence and class only where some object has one."""
    columns = {
        "name": np.array([about.name for about in known], object),
        "score": np.array([about.score for about in known], float),
    }
    if any(about.class_name for about in known):
        columns[CLASS] = np.array([about.class_name for about in known], object)
    sure = np.array([about.confidence for about in known], float)
    return columns if np.isnan(sure).all() else {**columns, CONFIDENCE: sure}


def counted_columns(labels: Labels, total: LabelCounts, rows: np.ndarray, *, intensity: bool) -> dict[str, np.ndarray]:
    """Columns of what was counted, in the units of the layer.

    Parameters
    ----------
    labels : Labels
        The layer.
    total : Tally
        What was counted in it.
    rows : ndarray
        Rows of `total` in the table's order; -1 for an object without pixels, whose numbers are NaN.
    intensity : bool
        Whether a picture was measured.
    """

    def column(values: np.ndarray) -> np.ndarray:
        return np.append(values.astype(float), math.nan)[rows]

    scale, unit, space = physical(labels)
    what = {2: "area", 3: "volume"}.get(len(space), "size")
    pixel = math.prod(scale[axis] for axis in space)
    columns = {f"{what} [{unit}^{len(space)}]": column(total.pixels) * pixel}
    if intensity:
        columns["intensity_mean"] = column(total.sums / np.maximum(total.pixels, 1))
    if labels.ndim > 2:
        columns["slices"] = np.append(total.slices, 0)[rows]
    return columns


def below(table: Any, rows: Any) -> Any:
    """A table with more rows below, which may lack some of its columns; no value of theirs changes."""
    import pandas as pd  # type: ignore[import-untyped]

    lacking = [None] * len(rows)
    joined = {name: [*table[name].tolist(), *(rows[name].tolist() if name in rows else lacking)] for name in table}
    return pd.DataFrame(joined).astype({INDEX: object, LABEL: object})


def flags_column(
    known: Sequence[ObjectDescription], total: LabelCounts, rows: np.ndarray, plane: tuple[int, int]
) -> np.ndarray:
    """What was noted, and what follows from the pixels of an object on planes of a shape."""
    edge = ((total.starts[:, -2:] == 0) | (total.stops[:, -2:] == plane)).any(axis=1)
    column = []
    for about, row in zip(known, rows, strict=True):
        flags = [about.flags] if about.flags else []
        if row >= 0 and about.pixels not in (None, total.pixels[row]) and EDITED not in about.flags:
            flags.append(EDITED)
        if row >= 0 and edge[row]:
            flags.append(AT_THE_EDGE)
        column.append(", ".join(flags))
    return np.array(column, object)


def rows_of(labels: Sequence[int], total: LabelCounts) -> np.ndarray:
    """Rows of labels in a tally, -1 for those that have no pixels."""
    row_of: Mapping[int, int] = {label: row for row, label in enumerate(total.labels.tolist())}
    return np.array([row_of.get(label, -1) for label in labels], int)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _noted(flags: str) -> str:
    """Flags without the one that is found anew each time."""
    return ", ".join(flag for flag in flags.split(", ") if flag != AT_THE_EDGE)
