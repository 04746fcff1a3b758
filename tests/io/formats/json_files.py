"""Strict JSON, and objects that are written to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_segany.core.objects import ObjectInfo

KNOWN = (
    ObjectInfo(2, "Zelle ä", "nucleus", 0.75, 0.5, points=((1.5, 2.0), (3.0, 4.0)), source="two clicks"),
    ObjectInfo(3, class_name="debris", score=float("nan")),
    ObjectInfo(77, "gone"),
)


def read(path: Path) -> Any:
    """Strict JSON."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
