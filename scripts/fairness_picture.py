"""Draw mIoU by group with its interval, from the rows of `napari-segany bench fairness --json`.

python scripts/fairness_picture.py dsb2018.json wbc.json … docs/images/fairness.svg
"""

from __future__ import annotations

import json
import math
import sys
from html import escape
from pathlib import Path
from typing import Any

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
"""Of the numbers of clicks, in their order."""
LEFT, WIDTH, ROW, TOP, WAY = 330, 380, 20, 40, 5
"""Names, scale, a group, the head, and the distance of the marks of a group, in pixels."""


def mark(row: dict[str, Any], y: float, colour: str) -> str:
    """A mean and, where there is one, its interval."""
    x, low, high = (LEFT + WIDTH * row[name] for name in ("miou", "low", "high"))
    line = "" if math.isnan(low) else f'<path d="M{low:.1f},{y:.1f} H{high:.1f}" stroke="{colour}" stroke-width="2"/>'
    return f'{line}<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'


def picture(rows: list[dict[str, Any]]) -> str:
    """An SVG with a line for each group, and a mark for each number of clicks."""
    groups = list(dict.fromkeys((row["set"], row["attribute"], row["group"]) for row in rows))
    clicks = sorted({row["clicks"] for row in rows})
    height, foot = TOP + ROW * len(groups) + 60, TOP + ROW * len(groups)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 30}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for tenth in range(0, 11, 2):
        x = LEFT + WIDTH * tenth / 10
        parts.append(f'<path d="M{x:.1f},{TOP - 8} V{foot}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{foot + 16}" text-anchor="middle">{tenth / 10:.1f}</text>')
    for number, key in enumerate(groups):
        y = TOP + ROW * number
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(", ".join(key))}</text>')
        for row in (one for one in rows if (one["set"], one["attribute"], one["group"]) == key):
            at = clicks.index(row["clicks"])
            parts.append(mark(row, y + WAY * (at - (len(clicks) - 1) / 2), COLOURS[at % len(COLOURS)]))
    for at, one in enumerate(clicks):
        x = LEFT + 110 * at
        name = f"{one} click" if one == 1 else f"{one} clicks"
        parts.append(f'<circle cx="{x}" cy="{foot + 38}" r="3.5" fill="{COLOURS[at % len(COLOURS)]}"/>')
        parts.append(f'<text x="{x + 10}" y="{foot + 42}">{name}</text>')
    parts.append(f'<text x="{LEFT + WIDTH}" y="{foot + 42}" text-anchor="end">mIoU, 95 % interval over images</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Read the rows and write the picture."""
    *sources, out = map(Path, sys.argv[1:])
    rows = [row for path in sources for row in json.loads(path.read_text(encoding="utf-8"))]
    out.write_text(picture(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
