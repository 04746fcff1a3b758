"""Tables of classes (``name,key,colour`` and ``parent``) and of objects (``label,class``), as CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectClass, class_path
from napari_segany.io.labels import replacing

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NAMES = ("class", "class_name")
"""Columns of the class of an object: of tables made by hand, and of exported ones."""


def read_classes(path: Path) -> list[ObjectClass]:
    """Read the names of classes, and their keys and colours where they are given.

    Parameters
    ----------
    path : Path
        A table with a header: a column ``name``, and if wanted ``key`` (1 to 9), ``colour`` (``#rrggbb``) and
        ``parent``, the name of the class that it is a kind of; or with both in the name, ``parent/name``.

    Returns
    -------
    list of ObjectClass
        A key of -1 and an empty colour stand for those that are not given.

    Raises
    ------
    InputError
        When the file is no such table.
    """
    found: list[ObjectClass] = []
    for number, row in enumerate(_rows(path, "name"), start=2):
        name, key = row.get("name", ""), row.get("key", "")
        colour = row.get("colour", "") or row.get("color", "")
        where = f"{path}, line {number}"
        if not name:
            raise InputError(f"{where}: a class needs a name")
        name = class_path(row.get("parent", ""), name)
        if name.count("/") > 1:
            raise InputError(f"{where}: classes have two levels, parent/name, not {name!r}")
        if name in {one.name for one in found}:
            raise InputError(f"{where}: the class {name!r} is there twice")
        if key and (not key.isascii() or not key.isdigit() or int(key) > 9):
            raise InputError(f"{where}: a key is a digit, not {key!r}")
        if key and int(key) and int(key) in {one.key for one in found}:
            raise InputError(f"{where}: another class has the key {key}")
        if colour and not _COLOUR.fullmatch(colour):
            raise InputError(f"{where}: a colour is written #rrggbb, not {colour!r}")
        found.append(ObjectClass(name, int(key) if key else -1, colour.lower()))
    return found


def write_classes(path: Path, classes: Iterable[ObjectClass]) -> None:
    """Write a table that :func:`read_classes` reads; it has a column ``parent`` where some class has one.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    listed = list(classes)
    tree = any(one.parent for one in listed)
    rows = [(one.own_name, one.key or "", one.colour, *([one.parent] if tree else [])) for one in listed]
    _write(path, ("name", "key", "colour", *(["parent"] if tree else [])), rows)


def read_object_classes(path: Path) -> dict[int, str]:
    """Read the classes of objects, by label; rows without a class are left out.

    Parameters
    ----------
    path : Path
        A table with a header: the columns ``label`` and ``class``; or ``class_name``, as in exported tables. Where
        there is a column ``class_parent``, the class is ``parent/name``.

    Raises
    ------
    InputError
        When the file is no such table.
    """
    found: dict[int, str] = {}
    for number, row in enumerate(_rows(path, "label", _NAMES), start=2):
        label, name = row["label"], next(row[column] for column in _NAMES if column in row)
        name = class_path(row.get("class_parent", ""), name)
        if not label.isascii() or not label.isdigit() or int(label) < 1:
            raise InputError(f"{path}, line {number}: a label is a whole number from 1, not {label!r}")
        if found.get(int(label), name) != name:
            raise InputError(f"{path}, line {number}: label {label} has another class above")
        if name:
            found[int(label)] = name
    return found


def write_object_classes(path: Path, classes: Mapping[int, tuple[str, float]]) -> None:
    """Write the class and its probability of each label.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    rows = [(label, name, f"{probability:.4f}") for label, (name, probability) in sorted(classes.items())]
    _write(path, ("label", "class", "probability"), rows)


def _rows(path: Path, needed: str, one_of: Sequence[str] = ()) -> list[dict[str, str]]:
    """Rows with plain names of columns, all of which each row has."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            # (spreadsheets of some languages write semicolons)
            header = lines.readline()
            lines.seek(0)
            reader = csv.DictReader(lines, delimiter=";" if ";" in header and "," not in header else ",")
            names, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    columns = {name.strip().lower() for name in names if name}
    if needed not in columns or (one_of and not columns & set(one_of)):
        wanted = " and ".join(filter(None, (needed, one_of[0] if one_of else "")))
        raise InputError(f"{path} has no column {wanted}")
    if not rows:
        raise InputError(f"{path} has no line below its header")
    return [
        {
            key.strip().lower(): (value or "").strip()
            for key, value in row.items()
            if key and not isinstance(value, list)
        }
        for row in rows
    ]


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
