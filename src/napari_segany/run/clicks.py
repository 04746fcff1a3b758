"""Prompts from a table: one row for each click."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt

SIGNS = {"": True, "+": True, "1": True, "true": True, "yes": True}
SIGNS |= {"-": False, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class PlacedPrompt:
    """A prompt and where it belongs.

    Parameters
    ----------
    label : int
        The object's label, from 1.
    z : int
        The plane, from 0.
    prompt : Prompt
        What was said of the object on that plane.
    """

    label: int
    z: int
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class _Click:
    label: int
    z: int
    point: Point


def read_prompts(path: str | Path) -> list[PlacedPrompt]:
    """Read clicks from a CSV file.

    Parameters
    ----------
    path : str or Path
        A table with a header. Columns ``y`` and ``x`` (pixels, centre of the first at 0); ``label``, a number from 1
        that rows of one object share (without it each row is an object of its own, numbered in their order);
        ``positive`` (true, 1, + or empty; false, 0 or -); ``z`` (whole number, 0 without it). Any order, other columns
        are ignored. The points that napari saves (``axis-0``, ``axis-1``[, ``axis-2``]) are read too.

    Returns
    -------
    list of PlacedPrompt
        One for each label and plane, in the order in which they first appear.

    Raises
    ------
    InputError
        When the file is missing or not such a table; the line at fault is named. Also when an object has no positive
        click on a plane.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not rows:
        raise InputError(f"{path} has no line below a header y,x[,label][,positive][,z]")
    groups: dict[tuple[int, int], list[Point]] = {}
    for number, row in enumerate(rows, start=1):
        try:
            click = _click(_named(row), number)
        except InputError as error:
            raise InputError(f"{path}, row {number}: {error}") from None
        groups.setdefault((click.label, click.z), []).append(click.point)
    for (label, z), points in groups.items():
        if not any(point.positive for point in points):
            raise InputError(f"{path}: object {label} has no positive click on plane {z}")
    return [PlacedPrompt(label, z, Prompt(tuple(points))) for (label, z), points in groups.items()]


def _named(row: Mapping[str, str | list[str] | None]) -> dict[str, str]:
    """Columns by their plain names, those of napari's own tables included; absent and empty are the same."""
    cells = {key.strip().lower(): value.strip() for key, value in row.items() if key and isinstance(value, str)}
    axes = sorted(key for key in cells if key.startswith("axis-"))
    return cells | dict(zip(("x", "y", "z"), (cells[axis] for axis in reversed(axes)), strict=False))


def _click(cells: Mapping[str, str], number: int) -> _Click:
    sign = cells.get("positive", "").lower()
    if sign not in SIGNS:
        raise InputError(f"positive is true or false, got {sign!r}")
    label = _whole(cells, "label") if "label" in cells else number
    z = _whole(cells, "z") if cells.get("z") else 0
    if label < 1 or z < 0:
        raise InputError(f"label counts from 1 and z from 0, got label {label} and z {z}")
    return _Click(label, z, Point(_number(cells, "y"), _number(cells, "x"), SIGNS[sign]))


def _number(cells: Mapping[str, str], name: str) -> float:
    try:
        return float(cells[name])
    except KeyError:
        raise InputError(f"there is no column {name}") from None
    except ValueError:
        raise InputError(f"{name} is not a number: {cells[name]!r}") from None


def _whole(cells: Mapping[str, str], name: str) -> int:
    value = _number(cells, name)
    if not value.is_integer():
        raise InputError(f"{name} is not a whole number: {cells[name]!r}")
    return int(value)
