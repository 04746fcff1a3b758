"""Draw mIoU by number of points, from the rows of `napari-segany bench points --json` (as figure 9 of the paper).

python scripts/points_picture.py points.json docs/images/points.svg
"""

from __future__ import annotations

import json
import sys
from itertools import cycle
from pathlib import Path

from svg_lines import Axes, panel, picture, place_of

COLOURS = ("#009e73", "#0072b2", "#e69f00", "#cc79a7", "#777777")


def main() -> None:
    """Read the rows and write the picture; only first points in the centre are drawn."""
    source, out = map(Path, sys.argv[1:])
    rows = [row for row in json.loads(source.read_text(encoding="utf-8")) if row["start"] == "centre"]
    models = list(dict.fromkeys(row["model"] for row in rows))
    colours = dict(zip(models, cycle(COLOURS), strict=False))
    axes = Axes("points", "mIoU", sorted({row["points"] for row in rows}), [0, 0.2, 0.4, 0.6, 0.8, 1], 1.0)
    panels = []
    for number, name in enumerate(dict.fromkeys(row["set"] for row in rows)):
        chosen = [row for row in rows if row["set"] == name]
        lines = {one: [(row["points"], row["miou"]) for row in chosen if row["model"] == one] for one in models}
        panels.append(panel(name, lines, axes, place_of(number), colours))
    out.write_text(picture(panels, "mIoU", colours), encoding="utf-8")


if __name__ == "__main__":
    main()
