"""Make the pictures of docs/text.md: five texts on images of the public sets, failures included; one is repaired.

python scripts/text_pictures.py --data "$SEGANY_DATA/dev"

Images are chosen by number, not by eye; that of the failure is the worst of so many.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

from napari_segany.core.metrics import instance_scores
from napari_segany.core.prompts import Prompt
from napari_segany.core.query import Selection, query_for
from napari_segany.engine.crop_ranking import find
from napari_segany.experiments.datasets import Target, targets
from napari_segany.experiments.named_sets import TextQueryCase, text_cases
from napari_segany.models.loading import load_segmenter
from napari_segany.models.sam_segmenter import SamSegmenter

PICTURES = Path(__file__).parents[1] / "docs" / "images"
SIDE = 420
COLOURS = ((255, 60, 200), (0, 220, 120), (255, 200, 0))
SHOWN = (
    ("nucleus", "dsb2018", "nucleus"),
    ("small-bright", "dsb2018", "small bright nuclei"),
    ("cell", "usiigaci", "cell"),
    ("elongated", "usiigaci", "elongated cells, not touching the border"),
)
"""File, set and text; the first image of the set with at least ``OBJECTS`` objects."""
OBJECTS = 40
WORST = ("worst", "dsb2018", "nucleus", 8)
"""The same for the failure: the lowest mean segmentation accuracy among so many images, the first left out."""

REPAIRED = 0.75
"""IoU from which on a point has found an object that the text missed."""


def answered(segmenter: SamSegmenter, plane: np.ndarray, text: str) -> Selection:
    """What a text finds on a plane."""
    return find(segmenter, query_for(segmenter, text), plane)


def drawn(plane: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Image.Image:
    """The plane, and next to it the plane with the outlines of what was found."""
    classes = list(dict.fromkeys(names))
    factor = SIDE / max(plane.shape[:2])
    size = (round(plane.shape[1] * factor), round(plane.shape[0] * factor))
    bare = np.array(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))
    marked = bare.copy()
    for number, name in enumerate(names, start=1):
        mask = Image.fromarray(labels == number).resize(size, Image.Resampling.NEAREST)
        marked[find_boundaries(np.array(mask), mode="inner")] = COLOURS[classes.index(name) % len(COLOURS)]
    gap = np.full((size[1], 6, 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([bare, gap, marked], axis=1))


def first(data: Path, group: str, text: str, segmenter: SamSegmenter) -> TextQueryCase:
    """The first image of a set with enough objects of the name."""
    name = segmenter.known_texts().phrases(text)[0].name
    return next(one for one in text_cases(data / group) if len(np.unique(one.labels[name])) > OBJECTS)


def worst(data: Path, segmenter: SamSegmenter) -> TextQueryCase:
    """The image on which a text does worst."""
    _, group, text, count = WORST

    def reached(planes: Iterator[TextQueryCase]) -> Iterator[tuple[float, str, TextQueryCase]]:
        for one in planes:
            labels = answered(segmenter, one.plane, text).labels
            yield float(instance_scores(labels, one.labels[text], smallest=16).mean()), one.name, one

    return min(reached(islice(text_cases(data / group), 1, count + 1)), key=lambda one: one[:2])[2]


def missed(one: TextQueryCase, text: str, labels: np.ndarray) -> list[Target]:
    """Objects of the name that a text did not find, the largest first: no found object has an IoU of a half."""

    def best(target: Target) -> float:
        found = np.unique(labels[target.window][target.mask])
        return max((target.iou(labels == number) for number in found if number), default=0.0)

    lost = [target for target in targets(one.labels[text]) if best(target) < 0.5]
    return sorted(lost, key=lambda target: -np.count_nonzero(target.mask))


def repairs(segmenter: SamSegmenter, data: Path) -> tuple[Image.Image | None, int, int]:
    """The largest missed object that a point with the text finds; how many are found, and how many were missed."""
    _, group, text, count = WORST
    shown: tuple[int, Image.Image | None] = (0, None)
    found = lost = 0
    for one in islice(text_cases(data / group), 1, count + 1):
        named = answered(segmenter, one.plane, text)
        embedding = segmenter.embed(one.plane)
        for target in missed(one, text, named.labels):
            (masks,) = segmenter.segment(embedding, [Prompt((target.point,), text=text)])
            lost += 1
            if target.iou(masks[0].pixels) >= REPAIRED:
                found += 1
                size = np.count_nonzero(target.mask)
                if size > shown[0]:
                    shown = size, side_by_side(one, named, masks[0].pixels, target)
    return shown[1], found, lost


def side_by_side(one: TextQueryCase, named: Selection, pixels: np.ndarray, target: Target) -> Image.Image:
    """What a text found, and next to it the mask of a point, which is a white square."""
    both = [np.array(drawn(one.plane, *each)) for each in ((named.labels, named.names), (pixels.astype(int), ("",)))]
    half = (both[0].shape[1] - 6) // 2
    y, x = (round(place * both[0].shape[0] / one.plane.shape[0]) for place in (target.point.y, target.point.x))
    both[1][max(y - 3, 0) : y + 4, half + 6 + max(x - 3, 0) : half + 6 + x + 4] = 255
    return Image.fromarray(np.concatenate([both[0][:, half + 6 :], both[1][:, half:]], axis=1))


def main() -> None:
    """Write the pictures, and say what is on them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    segmenter = load_segmenter("tiny")
    chosen = [(file, text, first(data, group, text, segmenter)) for file, group, text in SHOWN]
    chosen.append((WORST[0], WORST[2], worst(data, segmenter)))
    for file, text, one in chosen:
        named = answered(segmenter, one.plane, text)
        path = PICTURES / f"text-{file}.png"
        drawn(one.plane, named.labels, named.names).save(path, optimize=True)
        truth = one.labels[segmenter.known_texts().phrases(text)[0].name]
        print(f"{path.name}: {text!r} on {one.name}, {len(named.names)} found, {len(np.unique(truth)) - 1} labelled")
    picture, found, lost = repairs(segmenter, data)
    if picture is not None:
        picture.save(PICTURES / "text-repaired.png", optimize=True)
    print(f"text-repaired.png: {found} of {lost} missed objects are found by a point (IoU of {REPAIRED} or more)")


if __name__ == "__main__":
    main()
