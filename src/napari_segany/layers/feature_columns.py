"""A table of objects as columns of ``Labels.features``: known facts and measurements of each object."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_segany.core.objects import STATES, ObjectInfo
from napari_segany.core.prompts import Prompt
from napari_segany.layers.label_counts import LabelCounts

INDEX, LABEL = "index", "label"
"""Columns that name the row's object: for napari, which wants it so called, and for people."""
EDITED, AT_THE_EDGE = "edited", "at the edge"
"""Flags that follow from the pixels: other ones than when it was kept; touching the border of its plane."""
_COLUMNS = ("name", "score", "how", "flags")
CONFIDENCE, CLASS, STATE = "confidence", "class_name", "state"
SUGGESTED, PROBABILITY = "suggested", "probability"
CLASS_PROBABILITY = "class_probability"
REVIEWS = ("reviewed_by", "reviewed_at")
ALL_TIMES = ", all times"
"""Ends the names of columns that count all pixels of an object of a movie."""
_COUNTED = re.compile(rf"(area|volume|size)({ALL_TIMES})? \[.*\]|intensity_mean({ALL_TIMES})?|slices")
MEASURED = "napari-segany measured"
"""In the metadata of a layer: names of columns of its features that hold measurements."""


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


def read_rows(features: Any, measured: Collection[str] = ()) -> tuple[dict[int, ObjectInfo], Any]:
    """Read facts about objects from a layer's features, by label, and the columns of other programs.

    Parameters
    ----------
    features : DataFrame
        With a column ``index`` of labels; without, the row's number is the label, as napari has it.
    measured : collection of str
        Columns that hold measurements, and are no other program's.
    """
    named = ~nameless_rows(features)
    index = features[INDEX][named] if INDEX in features else range(len(features))
    rows = features[named].set_axis([_label(label) for label in index], axis=0)
    written_here = set(_COLUMNS) <= set(rows)
    # (a column of another program may be called so)
    states = written_here and STATE in rows and set(rows[STATE].dropna().map(str)) <= {"", *STATES}
    noted = (*_COLUMNS, CONFIDENCE, CLASS, CLASS_PROBABILITY, *((STATE, *REVIEWS) if states else ()))
    words = {name: list(rows[name]) if name in rows else [""] * len(rows) for name in noted}
    for name in (STATE, *REVIEWS):
        words.setdefault(name, [""] * len(rows))
    known = {
        int(label): ObjectInfo(
            int(label),
            _text(name),
            _text(kind),
            _known(score),
            None,
            _known(sure),
            _text(how),
            _noted(_text(flags)),
            state=_text(state),
            class_probability=_known(told) if _text(kind) else None,
            reviewed_by=_text(who),
            reviewed_at=_text(when),
        )
        for label, name, score, how, flags, sure, kind, told, state, who, when in zip(
            rows.index, *words.values(), strict=True
        )
    }
    ours = {name for name in rows if written_here and (_COUNTED.fullmatch(str(name)) or name in measured)} | {
        INDEX,
        LABEL,
        *_COLUMNS,
    }
    ours |= {CONFIDENCE, CLASS, CLASS_PROBABILITY, SUGGESTED, PROBABILITY} if written_here else set()
    ours |= {STATE, *REVIEWS} if states else set()
    described = {label: a for label, a in known.items() if _says_something(a)}
    return described, rows[[name for name in rows if name not in ours]]


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredColumns:
    """Measurements that were made at some time, a row for each object.

    Parameters
    ----------
    labels, pixels : ndarray
        (n,) the objects, and how many pixels they had.
    columns : mapping of str to ndarray
        (n,) float each.
    """

    labels: np.ndarray
    pixels: np.ndarray
    columns: Mapping[str, np.ndarray]

    def of(self, labels: Sequence[int], total: LabelCounts, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of objects in the order of a table; NaN for those that were not measured, or have changed since."""
        row_of = {label: row for row, label in enumerate(self.labels.tolist())}
        mine = np.array([row_of.get(label, -1) for label in labels], int)
        counted = np.append(total.pixels, -1)[rows]
        mine[counted != np.append(self.pixels, -2)[mine]] = -1
        return {name: np.append(values, math.nan)[mine] for name, values in self.columns.items()}


def _says_something(about: ObjectInfo) -> bool:
    words = (about.name, about.class_name, about.source, about.status, about.state)
    return any(words) or about.score is not None


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


def known_columns(known: Sequence[ObjectInfo]) -> dict[str, np.ndarray]:
    """Columns of what is known and comes first; confidence only where some object has one."""
    columns = {
        "name": np.array([about.name for about in known], object),
        "score": np.array([about.score for about in known], float),
    }
    sure = np.array([about.confidence for about in known], float)
    return columns if np.isnan(sure).all() else {**columns, CONFIDENCE: sure}


def state_columns(known: Sequence[ObjectInfo]) -> dict[str, np.ndarray]:
    """The columns of states, of who set them in a review and when; each only where some object has one."""
    columns = {name: [getattr(about, name) for about in known] for name in (STATE, *REVIEWS)}
    return {name: np.array(values, object) for name, values in columns.items() if any(values)}


def some_of(columns: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Those columns of some names that there are."""
    return {name: columns[name] for name in names if name in columns}


def class_columns(known: Sequence[ObjectInfo], suggested: Mapping[int, tuple[str, float]]) -> dict[str, np.ndarray]:
    """Columns of classes, and of suggested ones with their probabilities; each only where some object has one."""
    columns = {}
    if any(about.class_name for about in known):
        columns[CLASS] = np.array([about.class_name for about in known], object)
        told = np.array([about.class_probability for about in known], float)
        columns |= {} if np.isnan(told).all() else {CLASS_PROBABILITY: told.round(2)}
    if not any(about.label in suggested for about in known):
        return columns
    rows = [suggested.get(about.label, ("", math.nan)) for about in known]
    return columns | {
        SUGGESTED: np.array([name for name, _ in rows], object),
        PROBABILITY: np.array([round(probability, 2) for _, probability in rows], float),
    }


def fact_columns(known: Sequence[ObjectInfo], suggested: Mapping[int, tuple[str, float]]) -> dict[str, list[Any]]:
    """Values of all columns that are facts and may change without a change of pixels, be they empty."""
    columns: dict[str, list[Any]] = {
        "name": [about.name for about in known],
        CLASS: [about.class_name for about in known],
        **{name: [getattr(about, name) for about in known] for name in (STATE, *REVIEWS)},
        SUGGESTED: [suggested.get(about.label, ("", math.nan))[0] for about in known],
    }
    if any(about.class_probability is not None for about in known):
        columns[CLASS_PROBABILITY] = [_rounded(about.class_probability) for about in known]
    return columns


def _rounded(value: float | None) -> float:
    return math.nan if value is None else round(value, 2)


def counted_columns(labels: Labels, total: LabelCounts, rows: np.ndarray, *, intensity: bool) -> dict[str, np.ndarray]:
    """Columns of what was counted, in the units of the layer; over all times, and named so, where an axis is time.

    Parameters
    ----------
    labels : Labels
        The layer.
    total : LabelCounts
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
    when = ALL_TIMES if len(space) < labels.ndim else ""
    columns = {f"{what}{when} [{unit}^{len(space)}]": column(total.pixels) * pixel}
    if intensity:
        columns[f"intensity_mean{when}"] = column(total.sums / np.maximum(total.pixels, 1))
    if labels.ndim > 2:
        columns["slices"] = np.append(total.slices, 0)[rows]
    return columns


def below(table: Any, rows: Any) -> Any:
    """A table with more rows below, which may lack some of its columns; no value of theirs changes."""
    import pandas as pd  # type: ignore[import-untyped]

    lacking = [None] * len(rows)
    joined = {name: [*table[name].tolist(), *(rows[name].tolist() if name in rows else lacking)] for name in table}
    return pd.DataFrame(joined).astype({INDEX: object, LABEL: object})


def with_rows(table: Any, labels: Sequence[int], columns: Mapping[str, Any]) -> Any | None:
    """Return a table of the rows of some objects, a few of them new.

    Parameters
    ----------
    table : DataFrame
        As it was written before, with the column ``label``.
    labels : sequence of int
        Labels of the rows that are wanted, sorted.
    columns : mapping of str to sequence
        The rows that are new or replace those of the same labels; empty for none.

    Returns
    -------
    DataFrame or None
        None where the new rows have other columns.
    """
    import pandas as pd

    if not set(columns) <= set(table):
        return None
    new = list(columns[LABEL]) if columns else []
    kept = table[table[LABEL].isin(set(labels).difference(new))]
    if not new:
        return kept if len(kept) == len(labels) else None
    lacking = {name: _nothing(table[name], len(new)) for name in table if name not in columns}
    rows = pd.DataFrame({**columns, **lacking})[list(table)]
    same = {name: table[name].dtype for name in table if table[name].dtype != rows[name].dtype}
    joined = pd.concat([kept, rows.astype(same)], ignore_index=True).sort_values(LABEL, kind="stable")
    return joined if len(joined) == len(labels) else None


def with_columns(table: Any, names: Sequence[str]) -> Any:
    """Return a table that has our columns of some names, empty ones where it has them not; the same if it has all."""
    new = [name for name in names if name not in table]
    if not new:
        return table
    empty = {name: _empty(name, len(table)) for name in new}
    wider = table.assign(**empty)
    first = [name for name in (INDEX, LABEL, CLASS, CLASS_PROBABILITY, SUGGESTED, PROBABILITY, STATE) if name in wider]
    rest = [name for name in table if name not in first]
    at = rest.index("flags") + 1
    return wider[[*first, *rest[:at], *(name for name in REVIEWS if name in new), *rest[at:]]]


def _nothing(column: Any, count: int) -> np.ndarray:
    """What a column has for objects without a value."""
    return np.full(count, math.nan) if column.dtype.kind in "fiu" else np.full(count, "", object)


def write_cells(table: Any, name: str, rows: Sequence[int], values: Sequence[Any]) -> None:
    """Write values into some rows of a column of a table, unless they are in it."""
    if table[name].iloc[list(rows)].tolist() != list(values):
        table.iloc[list(rows), table.columns.get_loc(name)] = values


def flags_column(
    known: Sequence[ObjectInfo], total: LabelCounts, rows: np.ndarray, plane: tuple[int, int]
) -> np.ndarray:
    """What was noted, and what follows from the pixels of an object on planes of a shape."""
    edge = ((total.starts[:, -2:] == 0) | (total.stops[:, -2:] == plane)).any(axis=1)
    column = []
    for about, row in zip(known, rows, strict=True):
        flags = [about.status] if about.status else []
        if row >= 0 and about.pixels not in (None, total.pixels[row]) and EDITED not in about.status:
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


def _known(value: Any) -> float | None:
    """The number of a cell; None where it is empty or no number."""
    number = _number(value)
    return None if math.isnan(number) else number


def _noted(flags: str) -> str:
    """Flags without the one that is found again each time."""
    return ", ".join(flag for flag in flags.split(", ") if flag != AT_THE_EDGE)


def _empty(name: str, count: int) -> np.ndarray:
    return np.full(count, math.nan) if name in (PROBABILITY, CLASS_PROBABILITY) else np.full(count, "", object)
