"""Make the gallery of the model card: objects picked by a seed, not by eye, and the worst of many.

python scripts/gallery.py --data "$SEGANY_DATA/dev"
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage.segmentation import find_boundaries

from napari_segany import Prompt, load_segmenter
from napari_segany.experiments.datasets import Target, labelled_planes, targets

PICTURES = Path(__file__).parents[1] / "docs" / "images"
SETS = {"dsb2018": (16, 240), "usiigaci": (8, 60)}
"""Public sets whose licence lets them be shown: objects in the gallery, and among which the worst are looked for."""
WORST = 12
TILE = 160
COLUMNS = 6
TRUTH, FOUND, CLICK = (0, 220, 90), (255, 60, 200), (255, 220, 0)


@dataclass(frozen=True)
class Shown:
    """One object, clicked once: its IoU and its picture."""

    iou: float
    tile: Image.Image


def part(plane: np.ndarray, target: Target) -> tuple[slice, slice]:
    """The square around an object that is shown, as far as the plane goes."""
    sides = [span.stop - span.start for span in target.window]
    half = max(1.2 * max(sides), 20)
    middles = [(span.start + span.stop) / 2 for span in target.window]
    rows, columns = (
        slice(max(int(middle - half), 0), min(int(middle + half) + 1, length))
        for middle, length in zip(middles, plane.shape, strict=False)
    )
    return rows, columns


def tile(plane: np.ndarray, target: Target, found: np.ndarray, iou: float) -> Image.Image:
    """The object with the outlines of truth and answer, and below it the IoU."""
    rows, columns = part(plane, target)
    truth = np.zeros(plane.shape[:2], bool)
    truth[target.window] = target.mask
    seen = Image.fromarray(plane[rows, columns])
    factor = TILE / max(seen.size)
    size = (round(seen.width * factor), round(seen.height * factor))
    canvas = np.array(seen.resize(size, Image.Resampling.BILINEAR))
    for mask, colour in ((truth, TRUTH), (found, FOUND)):
        large = Image.fromarray(mask[rows, columns]).resize(size, Image.Resampling.NEAREST)
        canvas[find_boundaries(np.array(large), mode="inner")] = colour
    picture = Image.new("RGB", (TILE + 8, TILE + 26), "white")
    picture.paste(Image.fromarray(canvas), (4, 4))
    draw = ImageDraw.Draw(picture)
    y = (target.point.y - rows.start + 0.5) * factor + 4
    x = (target.point.x - columns.start + 0.5) * factor + 4
    draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=CLICK, outline="black")
    draw.text((6, TILE + 6), f"IoU {iou:.2f}", fill="black", font=ImageFont.load_default(14))
    return picture


def shown(folder: Path, count: int, segmenter, seed: int) -> list[Shown]:
    """Click on `count` objects of a set, drawn with equal chances, in the order drawn."""
    planes = [(one.plane, targets(one.labels)) for one in labelled_planes(folder)]
    places = [(i, k) for i, (_, objects) in enumerate(planes) for k in range(len(objects))]
    drawn = [places[n] for n in np.random.default_rng(seed).permutation(len(places))[:count]]
    results = {}
    for number in sorted({i for i, _ in drawn}):
        plane, objects = planes[number]
        embedding = segmenter.embed(plane)
        for i, k in drawn:
            if i == number:
                mask = segmenter.segment(embedding, [Prompt((objects[k].point,))])[0][0]
                iou = objects[k].iou(mask.pixels)
                results[i, k] = Shown(iou, tile(plane, objects[k], mask.pixels, iou))
    return [results[place] for place in drawn]


def sheet(tiles: list[Shown], path: Path) -> None:
    """Write tiles as one picture."""
    width, height = tiles[0].tile.size
    rows = -(-len(tiles) // COLUMNS)
    whole = Image.new("RGB", (COLUMNS * width, rows * height), "white")
    for number, one in enumerate(tiles):
        whole.paste(one.tile, (number % COLUMNS * width, number // COLUMNS * height))
    whole.save(path, optimize=True)


def main() -> None:
    """Click, and write the two pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=PICTURES)
    arguments = parser.parse_args()
    segmenter = load_segmenter("tiny")
    gallery, all_of_them = [], []
    for name, (few, many) in SETS.items():
        results = shown(arguments.data / name, many, segmenter, arguments.seed)
        gallery += results[:few]
        all_of_them += results
    sheet(gallery, arguments.out / "gallery.png")
    sheet(sorted(all_of_them, key=lambda one: one.iou)[:WORST], arguments.out / "failures.png")
    print(f"mean IoU {np.mean([one.iou for one in gallery]):.3f} of the {len(gallery)} in the gallery")


if __name__ == "__main__":
    main()
