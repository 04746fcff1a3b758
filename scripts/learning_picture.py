"""Make the picture of README.md: one click on objects of another image, before and after ten masks were learned.

python scripts/learning_picture.py "$SEGANY_DATA/train/axon_sem"

Masks and objects are drawn by chance with a fixed seed: ten masks of the first half of the images, and objects of the
last image.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries

from napari_segany.core.prompts import Prompt
from napari_segany.experiments.datasets import labelled_planes, targets
from napari_segany.experiments.learning import drawn_masks
from napari_segany.models.loading import load_segmenter
from napari_segany.training.fine_tune import fine_tune
from napari_segany.training.held_out_examples import HeldOutExample, make_example

OUT = Path(__file__).parents[1] / "docs" / "images" / "learning.png"
MASKS, SHOWN, SIDE, GAP = 10, 6, 150, 6
"""Masks learned from, objects shown, pixels of a crop along each side, and between crops."""
TRUTH, FOUND = (0, 220, 120), (255, 60, 200)


def examples(folder: Path) -> list[HeldOutExample]:
    """Objects of the last image with the masks of both models."""
    planes = list(labelled_planes(folder))
    rng = np.random.default_rng(0)
    samples = {one.name: sample for one, sample in drawn_masks(planes[: len(planes) // 2], MASKS, rng, 0.0)}
    last = planes[-1]
    objects = targets(last.labels)
    chosen = [objects[k] for k in rng.choice(len(objects), SHOWN, replace=False)]
    with tempfile.TemporaryDirectory() as work:
        out = Path(work) / "learned.safetensors"
        report = [one.report for one in fine_tune(samples, out)][-1]
        print(report.sentence if report else "")
        models = [load_segmenter("tiny"), load_segmenter(out)]
    clicks = [Prompt((target.point,)) for target in chosen]
    found = [model.segment(model.embed(last.plane), clicks) for model in models]
    for name, answers in zip(("before", "after"), found, strict=True):
        each = [target.iou(masks[0].pixels) for target, masks in zip(chosen, answers, strict=True)]
        print(f"{name}: mean IoU {np.mean(each):.2f} of", ", ".join(f"{one:.2f}" for one in each))
    return [
        make_example(last.plane, _whole(target.mask, target.window, last.labels.shape), a[0].pixels, b[0].pixels)
        for target, a, b in zip(chosen, *found, strict=True)
    ]


def _whole(mask: np.ndarray, window: tuple[slice, slice], shape: tuple[int, ...]) -> np.ndarray:
    pixels = np.zeros(shape, bool)
    pixels[window] = mask
    return pixels


def drawn(one: HeldOutExample, number: int) -> Image.Image:
    """A crop with the true outline and that of a model, 1 before and 2 after."""
    crop = Image.fromarray(one.image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = np.array(crop)
    for outline, colour in ((0, TRUTH), (number, FOUND)):
        mask = np.array(Image.fromarray(one.outlines[outline]).resize((SIDE, SIDE), Image.Resampling.NEAREST))
        pixels[find_boundaries(mask, mode="thick")] = colour
    return Image.fromarray(pixels)


def main() -> None:
    """Learn, and write the picture."""
    found = examples(Path(sys.argv[1]))
    left, foot = 60, 18
    size = (left + len(found) * (SIDE + GAP), 2 * (SIDE + foot))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for row, name in enumerate(("before", "after")):
        top = row * (SIDE + foot)
        pen.text((4, top + SIDE // 2), name, fill="black", font_size=16)
        for column, one in enumerate(found):
            x = left + column * (SIDE + GAP)
            sheet.paste(drawn(one, row + 1), (x, top))
            value = one.after if row else one.before
            pen.text((x + SIDE // 2 - 20, top + SIDE + 1), f"IoU {value:.2f}", fill="black", font_size=13)
    sheet.save(OUT, optimize=True)
    print(f"wrote {OUT}")


if __name__ == "__main__":
    main()
