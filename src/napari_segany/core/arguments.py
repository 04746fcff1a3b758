"""Types of the arguments of public functions, checked in their first lines so that an error names the argument."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from napari_segany.core.errors import InputError


def check_type(value: object, kinds: type | tuple[type, ...], name: str) -> None:
    """Refuse a value of another type.

    Parameters
    ----------
    value : object
        What was given.
    kinds : type or tuple of type
        What is taken; bool counts as int only where it is one of them.
    name : str
        Of the argument, for the message.

    Raises
    ------
    InputError
        When it is of none of them.
    """
    known = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(value, known) or (isinstance(value, bool) and not {bool, object} & set(known)):
        wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in known)
        raise InputError(f"{name} is of type {wanted}, got {_shown(value)} of type {type(value).__name__}")


def check_each(values: object, kind: type | tuple[type, ...], name: str) -> None:
    """Refuse anything but a list, tuple or the like of values of one type; errors as of :func:`check_type`."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InputError(f"{name} is a sequence, got {_shown(values)} of type {type(values).__name__}")
    for number, value in enumerate(values):
        check_type(value, kind, f"{name}[{number}]")


def check_callable(value: object, name: str) -> None:
    """Refuse what cannot be called; errors as of :func:`check_type`."""
    if not callable(value):
        raise InputError(f"{name} is a function, got {_shown(value)} of type {type(value).__name__}")


def as_path(value: Any, name: str) -> Path:
    """A path of what was given as text or path; errors as of :func:`check_type`."""
    check_type(value, (str, os.PathLike), name)
    return Path(value)


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) < 60 else f"{text[:60]}…"
