"""The JSON files of a folder of weights; known without importing torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_segany.core.errors import ModelError

CONFIG = "config.json"
"""Tells the kind of model in a folder."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of settings.

    Raises
    ------
    ModelError
        It cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path.parent} holds no {path.name} that can be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds no settings")
    return found


def holds_config(path: Path) -> bool:
    """Whether a folder is one of `transformers`; a name that the system does not take is none."""
    try:
        return (path / CONFIG).is_file()
    except (OSError, ValueError):
        return False
