"""Draw clicks per object over the images of a series, from the rows of `napari-segany bench engine --json`.

python scripts/engine_picture.py rbc_flow.json spores.json … docs/images/engine.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from svg_lines import Axes, panel, picture, place_of

COLOURS = {"plain": "#777777", "alike": "#0072b2", "fine-tuned": "#e69f00", "all": "#009e73"}


def main() -> None:
    """Read the rows and write the picture."""
    *sources, out = map(Path, sys.argv[1:])
    panels = []
    for number, path in enumerate(sources):
        rows = json.loads(path.read_text(encoding="utf-8"))
        ways = dict.fromkeys(row["way"] for row in rows)
        lines = {way: [(row["image"], row["clicks"]) for row in rows if row["way"] == way] for way in ways}
        most = max(1.0, *(row["clicks"] for row in rows))
        images = range(1, max(row["image"] for row in rows) + 1)
        axes = Axes("image", "clicks per object", images, range(int(most) + 1), most)
        panels.append(panel(rows[0]["set"], lines, axes, place_of(number), COLOURS))
    out.write_text(picture(panels, "clicks per object", COLOURS), encoding="utf-8")


if __name__ == "__main__":
    main()
