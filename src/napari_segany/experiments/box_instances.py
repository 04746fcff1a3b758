"""``napari-segany bench instances``: masks of a detector's boxes (Kirillov et al. 2023, section 7.4).

What differs from the paper: there, boxes are those of ViTDet on COCO and LVIS. Here they are those of any detector, or
the true boxes with noise; next to the model stand the ellipses that fill the boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from skimage.draw import ellipse

from napari_segany.core.errors import InputError
from napari_segany.core.masks import window_of
from napari_segany.core.planes import Region
from napari_segany.core.prompts import Box, Prompt
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.simulate import noisy_box
from napari_segany.experiments.average_precision import ScoredMasks, average_precision
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import LabelledPlane, Target, labelled_planes, targets
from napari_segany.experiments.scores import Row
from napari_segany.experiments.simulated_users import TOGETHER
from napari_segany.io.detections import read_detections
from napari_segany.io.images import read_image

ELLIPSES = "ellipses"
"""What rows call the ellipses that fill the boxes."""
NOISE = (0.0, 0.1, 0.2)
Scored = tuple[Region, np.ndarray, float]
"""A mask: its window, (h, w) bool, and its score."""


@dataclass(frozen=True, slots=True)
class InstancesConfig:
    """What is measured.

    Parameters
    ----------
    data : Path
        Folder of a set.
    detections : Path, optional
        COCO JSON of a detector, for a set with images/; in place of the true boxes.
    noise : tuple of float
        Standard deviations by which the sides of true boxes are moved, in shares of the side.
    limit : int, optional
        Take the first images only.
    """

    data: Path
    detections: Path | None = None
    noise: tuple[float, ...] = NOISE
    limit: int | None = None


def rows_of_instances(
    config: InstancesConfig, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> Iterator[Row]:
    """Measure the masks of boxes.

    A mask is scored by its detector; those of true boxes by their predicted IoU, ellipses all alike.

    Yields
    ------
    dict
        ``bench``, ``set``, ``model``, ``boxes`` ("true" or the name of the file), ``noise``, the figures of
        :func:`~napari_segany.experiments.average_precision.average_precision`, ``miou`` (mean over objects of the best
        mask), ``images``, ``n`` (objects) and ``commit``.

    Raises
    ------
    InputError
        The set or the file of detections cannot be used.
    ModelError
        From `load`.
    """
    planes = labelled_planes(config.data)
    segmenter = load()
    levels = (0.0,) if config.detections is not None else config.noise
    found: dict[tuple[str, float], list[ScoredMasks]] = {}
    for done, one in enumerate(islice(planes, config.limit), start=1):
        objects = targets(one.labels)
        embedding = segmenter.embed(one.plane)
        for noise in levels:
            boxes = _boxes(config, one, objects, noise)
            for method, masks in (
                (segmenter.name, _segmented(segmenter, embedding, boxes)),
                (ELLIPSES, [_ellipse(box, one.labels.shape, 0.0 if score is None else score) for box, score in boxes]),
            ):
                found.setdefault((method, noise), []).append(_compared(masks, objects))
        if progress is not None:
            progress(done)
    if not found:
        raise InputError(f"{config.data} holds no image")
    for (method, noise), images in found.items():
        best = [one.overlap.max(axis=0) if len(one.overlap) else np.zeros(len(one.object_sizes)) for one in images]
        yield {
            "bench": "instances",
            "set": set_name(config.data),
            "model": method,
            "boxes": "true" if config.detections is None else config.detections.name,
            "noise": noise,
            **average_precision(images),
            "miou": float(np.concatenate(best).mean()) if sum(map(len, best)) else float("nan"),
            "images": len(images),
            "n": sum(len(one.object_sizes) for one in images),
            "commit": commit(),
        }


def _boxes(
    config: InstancesConfig, one: LabelledPlane, objects: Sequence[Target], noise: float
) -> list[tuple[Box, float | None]]:
    """Boxes with the scores of a detector; None where it has none."""
    if config.detections is not None:
        path = next(iter(sorted((config.data / "images").glob(f"{Path(one.name).stem}.*"))), None)
        if path is None:
            raise InputError(f"{config.data} has no image {one.name} in images/")
        return [(each.box, each.score) for each in read_detections(config.detections, read_image(path), path.name)]
    rng = np.random.default_rng(0)
    moved = [_moved(target, rng, noise) if noise else target.box for target in objects]
    return [(_cut(box, one.labels.shape), None) for box in moved]


def _moved(target: Target, rng: np.random.Generator, noise: float) -> Box:
    box = noisy_box(target.mask, rng, noise)
    top, left = target.window[0].start, target.window[1].start
    # (noise of much more than a side may turn a box around)
    (y0, y1), (x0, x1) = sorted((box.y0 + top, box.y1 + top)), sorted((box.x0 + left, box.x1 + left))
    return Box(y0, x0, y1, x1)


def _cut(box: Box, shape: tuple[int, ...]) -> Box:
    """The part of a box on the plane, a pixel at least."""
    (y0, y1), (x0, x1) = (
        (min(max(low, 0.0), length - 1.0), max(min(high, length - 1.0), 0.0))
        for low, high, length in ((box.y0, box.y1, shape[0]), (box.x0, box.x1, shape[1]))
    )
    return Box(y0, x0, max(y1, y0), max(x1, x0))


def _segmented(
    segmenter: Segmenter, embedding: object, boxes: Sequence[tuple[Box, float | None]]
) -> list[Scored | None]:
    found: list[Scored | None] = []
    for start in range(0, len(boxes), TOGETHER):
        group = boxes[start : start + TOGETHER]
        answers = segmenter.segment(embedding, [Prompt(box=box) for box, _ in group])  # type: ignore[arg-type]
        for masks, (_, score) in zip(answers, group, strict=True):
            window = window_of(masks[0].pixels)
            own = masks[0].score if score is None else score
            found.append(None if window is None else (window, masks[0].pixels[window], own))
    return found


def _ellipse(box: Box, shape: tuple[int, ...], score: float) -> Scored | None:
    pixels = np.zeros(shape[:2], bool)
    radii = (box.y1 - box.y0 + 1) / 2, (box.x1 - box.x0 + 1) / 2
    pixels[ellipse((box.y0 + box.y1) / 2, (box.x0 + box.x1) / 2, *radii, shape=shape[:2])] = True
    window = window_of(pixels)
    return None if window is None else (window, pixels[window], score)


def _compared(masks: Sequence[Scored | None], objects: Sequence[Target]) -> ScoredMasks:
    kept = [mask for mask in masks if mask is not None]
    sizes = np.array([np.count_nonzero(pixels) for _, pixels, _ in kept], float)
    object_sizes = np.array([np.count_nonzero(target.mask) for target in objects], float)
    overlap = np.zeros((len(kept), len(objects)))
    for row, (window, pixels, _) in enumerate(kept):
        for column, target in enumerate(objects):
            common = _common(window, pixels, target)
            overlap[row, column] = common / (sizes[row] + object_sizes[column] - common)
    return ScoredMasks(overlap, np.array([score for *_, score in kept], float), sizes, object_sizes)


def _common(window: Region, pixels: np.ndarray, target: Target) -> int:
    """Pixels that a mask and an object share."""
    spans = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(window, target.window, strict=True)]
    if any(low >= high for low, high in spans):
        return 0
    cuts = [
        tuple(slice(low - part.start, high - part.start) for (low, high), part in zip(spans, place, strict=True))
        for place in (window, target.window)
    ]
    return int(np.count_nonzero(pixels[cuts[0]] & target.mask[cuts[1]]))
