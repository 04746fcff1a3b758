"""Prompts from a table: one row for each click."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_segany.core.arguments import as_path
from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.io.images import ImageFile

SIGNS = {"": True, "+": True, "1": True, "true": True, "yes": True}
_AXIS = re.compile(r"axis-\d+")
"""napari's name of a column."""
_ANY = 2**31
"""Planes of a stack of which nothing is known."""
SIGNS |= {"-": False, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class PlacedPrompt:
    """A prompt, its object and its plane.

    Parameters
    ----------
    label : int
        The object's label, from 1.
    z : int
        The plane, from 0.
    prompt : Prompt
        The prompt for the object on that plane.
    """

    label: int
    z: int
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class _Click:
    label: int
    z: int
    point: Point


def read_prompts(path: str | Path, image: ImageFile | None = None) -> list[PlacedPrompt]:
    """Read clicks from a CSV file.

    Parameters
    ----------
    path : str or Path
        A table with a header. Columns ``y`` and ``x`` (pixels, centre of the first at 0); ``label``, a number from 1
        that rows of one object share (without it each row is a separate object, numbered in their order);
        ``positive`` (true, 1, + or empty; false, 0 or -); ``z`` (whole number, 0 without it), which counts all planes
        of the image, unless there is a column ``t`` for the time. Any order, other columns are ignored. Points that
        napari saved are read too: ``axis-0`` and so on, one for each axis of the image.
    image : ImageFile, optional
        The image of the clicks; its axes define the plane of a click that has more than one number before y and x.

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
    path = as_path(path, "path")
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
            click = _click(row, number, image)
        except InputError as error:
            raise InputError(f"{path}, row {number}: {error}") from None
        groups.setdefault((click.label, click.z), []).append(click.point)
    for (label, z), points in groups.items():
        if not any(point.positive for point in points):
            raise InputError(f"{path}: object {label} has no positive click on plane {z}")
    return [PlacedPrompt(label, z, Prompt(tuple(points))) for (label, z), points in groups.items()]


def _named(row: Mapping[str, str | list[str] | None]) -> tuple[dict[str, str], list[str] | None]:
    """Columns by their plain names, and, of napari's own tables, the positions along the axes before y and x."""
    cells = {key.strip().lower(): value.strip() for key, value in row.items() if key and isinstance(value, str)}
    axes = sorted(
        (key.strip().lower() for key in row if key and _AXIS.fullmatch(key.strip().lower())), key=_axis_number
    )
    if len(axes) < 2:
        return cells, None
    if [_axis_number(axis) for axis in axes] != list(range(len(axes))):
        raise InputError(f"there are the columns {', '.join(axes)}, of which some are missing")
    *leading, y, x = (cells.get(axis, "") for axis in axes)
    return cells | {"y": y, "x": x}, leading


def _axis_number(column: str) -> int:
    return int(column.partition("-")[2])


def plane_of(cells: Mapping[str, str], leading: list[str] | None, image: ImageFile | None) -> int:
    """Number of the plane that a row lies on.

    Raises
    ------
    InputError
        When the table has other axes than the image: a click is never taken to another plane than was meant.
    """
    if leading is not None:
        return _plane_at([whole_of({"z": place}, "z") for place in leading], image)
    z, time = (whole_of(cells, axis) if cells.get(axis) else 0 for axis in "zt")
    if z < 0 or time < 0:
        raise InputError(f"planes are counted by z from 0, got z {z} and t {time}")
    axes = "z" if image is None else image.label_axes[:-2]
    if not cells.get("t") or (not time and "t" not in axes):
        return z
    if axes == "t" and not z:
        return time
    if sorted(axes) != ["t", "z"]:
        raise InputError(f"t {time} and z {z} are no plane of an image with the axes {axes}yx")
    return _plane_at([time if axis == "t" else z for axis in axes], image)


def _plane_at(places: list[int], image: ImageFile | None) -> int:
    """Number of the plane at a position along the axes before y and x."""
    axes, lengths = _leading_axes(image, len(places))
    channel = -1 if image is None else image.axes.find("c")
    if image is not None and 0 <= channel < len(places) == len(lengths) + 1:
        # the points were set on an image whose channels were an axis like the others
        places = places[:channel] + places[channel + 1 :]
    while len(places) > len(lengths) and not places[0]:
        places = places[1:]
    if len(places) != len(lengths) and not (not places and all(length == 1 for length in lengths)):
        raise InputError(f"a point has {len(places) + 2} axes, the image {len(lengths) + 2}: its plane is not known")
    for axis, place, length in zip(axes, places, lengths, strict=False):
        if not 0 <= place < length:
            raise InputError(f"position {place} along the axis {axis} lies outside the image, which has {length} there")
    return int(np.ravel_multi_index(places, lengths)) if places else 0


def _leading_axes(image: ImageFile | None, count: int) -> tuple[str, list[int]]:
    """Letters and lengths of the axes before y and x; without an image, of any stack."""
    if image is None:
        return "z"[:count], [_ANY][:count]
    left = [k for k in range(len(image.axes)) if k != image.channel_axis][:-2]
    return "".join(image.axes[k] for k in left), [image.array.shape[k] for k in left]


def _click(row: Mapping[str, str | list[str] | None], number: int, image: ImageFile | None) -> _Click:
    cells, leading = _named(row)
    sign = cells.get("positive", "").lower()
    if sign not in SIGNS:
        raise InputError(f"positive is true or false, got {sign!r}")
    label = whole_of(cells, "label") if "label" in cells else number
    if label < 1:
        raise InputError(f"label counts from 1, got {label}")
    point = Point(number_of(cells, "y"), number_of(cells, "x"), SIGNS[sign])
    return _Click(label, plane_of(cells, leading, image), point)


def number_of(cells: Mapping[str, str], name: str) -> float:
    """The number in a column of a row; an :class:`InputError` where there is none."""
    try:
        return float(cells[name])
    except KeyError:
        raise InputError(f"there is no column {name}") from None
    except ValueError:
        raise InputError(f"{name} is not a number: {cells[name]!r}") from None


def whole_of(cells: Mapping[str, str], name: str) -> int:
    """The whole number in a column of a row; an :class:`InputError` where there is none."""
    value = number_of(cells, name)
    if not value.is_integer():
        raise InputError(f"{name} is not a whole number: {cells[name]!r}")
    return int(value)
