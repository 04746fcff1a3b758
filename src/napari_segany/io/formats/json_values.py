"""What JSON can hold of an object: finite numbers, places as [x, y], names that are no Unicode."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from napari_segany.core.objects import ObjectInfo


def xy_places(known: ObjectInfo) -> list[list[float]]:
    """Where an object was clicked, as [x, y]."""
    return [[float(x), float(y)] for y, x in known.points if math.isfinite(x) and math.isfinite(y)]


def finite(value: float | None) -> float | None:
    """A number as JSON can have it, which knows neither NaN nor infinity."""
    return float(value) if value is not None and math.isfinite(value) else None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of JSON."""
    # A name that is no Unicode keeps its odd bytes as escapes, from which Python gets the same name back.
    text = json.dumps(content, allow_nan=False, ensure_ascii=False)
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
