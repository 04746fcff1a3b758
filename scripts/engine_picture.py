"""Draw clicks per object over the images of a series, from the rows of `napari-segany bench engine --json`.

python scripts/engine_picture.py rbc_flow.json spores.json … docs/images/engine.svg
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

COLOURS = {"plain": "#777777", "alike": "#0072b2", "fine-tuned": "#e69f00", "all": "#009e73"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 230, 170, 50, 40, 40
"""Of a panel and its surroundings, in pixels."""


def panel(rows: list[dict[str, Any]], x: float) -> list[str]:
    """A set: its axes and a line for each way."""
    last = max(row["image"] for row in rows)
    most = max(1.0, *(row["clicks"] for row in rows))

    def place(image: float, clicks: float) -> tuple[float, float]:
        return x + (image - 1) / max(last - 1, 1) * WIDTH, TOP + HEIGHT * (1 - clicks / most)

    parts = [
        f'<text x="{x}" y="{TOP - 14}" font-weight="bold">{escape(rows[0]["set"])}</text>',
        f'<path d="M{x},{TOP} V{TOP + HEIGHT} H{x + WIDTH}" fill="none" stroke="black"/>',
        f'<text x="{x + WIDTH / 2}" y="{TOP + HEIGHT + 32}" text-anchor="middle">image</text>',
    ]
    for image in range(1, last + 1):
        at = place(image, 0)
        parts.append(f'<text x="{at[0]:.1f}" y="{at[1] + 15:.1f}" text-anchor="middle">{image}</text>')
    for clicks in range(int(most) + 1):
        at = place(1, clicks)
        parts.append(f'<text x="{at[0] - 6:.1f}" y="{at[1] + 4:.1f}" text-anchor="end">{clicks}</text>')
    for way in dict.fromkeys(row["way"] for row in rows):
        points = [place(row["image"], row["clicks"]) for row in rows if row["way"] == way]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[way]}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{COLOURS[way]}"/>' for a, b in points]
    return parts


def picture(sets: list[list[dict[str, Any]]]) -> str:
    """An SVG with a panel for each set and a legend."""
    width, height = LEFT + len(sets) * (WIDTH + GAP), TOP + HEIGHT + 75
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{width}" height="{height}" fill="white"/>',
        f'<text transform="translate(14,{TOP + HEIGHT / 2}) rotate(-90)" text-anchor="middle">clicks per object</text>',
    ]
    for number, rows in enumerate(sets):
        parts += panel(rows, LEFT + number * (WIDTH + GAP))
    for number, (way, colour) in enumerate(COLOURS.items()):
        x, y = LEFT + number * 110, TOP + HEIGHT + 58
        parts.append(f'<rect x="{x}" y="{y - 9}" width="18" height="6" fill="{colour}"/>')
        parts.append(f'<text x="{x + 24}" y="{y}">{way}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Read the rows and write the picture."""
    *sources, out = map(Path, sys.argv[1:])
    sets = [json.loads(path.read_text(encoding="utf-8")) for path in sources]
    out.write_text(picture(sets), encoding="utf-8")


if __name__ == "__main__":
    main()
