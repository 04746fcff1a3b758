"""Versions of Qt with which the window does not stay alive."""

from __future__ import annotations

import sys

import qtpy

DEADLY = "6.12.0"
"""PySide6 of this version gives references to None away with every event, until Python 3.11 aborts."""


def warning_of_versions(api: str = "", version: str = "", python: tuple[int, int] = (0, 0)) -> str:
    """Return a line about versions that do not work together; empty where all is well.

    Parameters
    ----------
    api, version : str
        The name of the Qt binding and its version; by default those in use.
    python : tuple of int
        The version of Python; by default the one in use.
    """
    api = api or qtpy.API_NAME
    version = version or str(getattr(qtpy, "PYSIDE_VERSION", None) or "")
    if (api, version, python if python > (0, 0) else sys.version_info[:2]) != ("PySide6", DEADLY, (3, 11)):
        return ""
    return f"PySide6 {DEADLY} crashes on Python 3.11 after a while; run: pip install 'PySide6!={DEADLY}'"
