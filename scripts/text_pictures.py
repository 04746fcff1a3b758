"""Make the pictures of docs/text.md: five texts on images of the public sets, failures included.

python scripts/text_pictures.py --data "$SEGANY_DATA/dev"

Images are chosen by number, not by eye; that of the failure is the worst of so many.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

from napari_segany.core.metrics import instance_scores
from napari_segany.core.query import Selection, query_for
from napari_segany.engine.crop_ranking import find
from napari_segany.experiments.text_benchmark import TextQueryCase, text_cases
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


def answered(segmenter: SamSegmenter, plane: np.ndarray, text: str) -> Selection:
    """What a text finds on a plane."""
    return find(segmenter, query_for(segmenter, text), plane)


def drawn(plane: np.ndarray, named: Selection) -> Image.Image:
    """The plane, and next to it the plane with the outlines of what was found."""
    classes = list(dict.fromkeys(named.names))
    factor = SIDE / max(plane.shape[:2])
    size = (round(plane.shape[1] * factor), round(plane.shape[0] * factor))
    bare = np.array(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))
    marked = bare.copy()
    for number, name in enumerate(named.names, start=1):
        mask = Image.fromarray(named.labels == number).resize(size, Image.Resampling.NEAREST)
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
        drawn(one.plane, named).save(path, optimize=True)
        truth = one.labels[segmenter.known_texts().phrases(text)[0].name]
        print(f"{path.name}: {text!r} on {one.name}, {len(named.names)} found, {len(np.unique(truth)) - 1} labelled")


if __name__ == "__main__":
    main()
