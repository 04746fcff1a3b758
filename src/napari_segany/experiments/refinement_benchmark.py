"""``napari-segany bench refine``: how far labels that were made worse come back to the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.morphology import disk
from skimage.segmentation import expand_labels

from napari_segany.core.errors import InputError
from napari_segany.core.label_refinement import RefinedObject, refine_labels, repainted
from napari_segany.core.masks import windows_of
from napari_segany.core.metrics import iou
from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import MIN_PIXELS, LabelledPlane, labelled_planes
from napari_segany.experiments.scores import Row


@dataclass(frozen=True, slots=True)
class RefineBenchConfig:
    """What is measured.

    Parameters
    ----------
    data : Path
        Folder of a set, see :func:`~napari_segany.experiments.datasets.labelled_planes`.
    pixels : int
        How far outlines are moved.
    skip : int
        Planes to leave out at the start, such as those on which something was chosen.
    limit : int, optional
        Planes that are measured at most.
    """

    data: Path
    pixels: int = 3
    skip: int = 0
    limit: int | None = None


def eroded(labels: np.ndarray, pixels: int) -> np.ndarray:
    """Labels (y, x) without a rim of so many pixels; objects that would vanish stay as they are."""
    found = np.zeros_like(labels)
    for label, (window, mask) in windows_of(labels).items():
        inner = ndimage.binary_erosion(np.pad(mask, 1), disk(pixels))[1:-1, 1:-1]
        found[window][inner if inner.any() else mask] = label
    return found


def shifted(labels: np.ndarray, pixels: int) -> np.ndarray:
    """Labels (y, x), so many pixels further down."""
    found: np.ndarray = ndimage.shift(labels, (pixels, 0), order=0)
    return found


CHANGES: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "none": lambda labels, _: labels,
    "eroded": eroded,
    "dilated": expand_labels,
    "shifted": shifted,
}
"""How labels are made worse."""


def rows_of_refinement(
    config: RefineBenchConfig, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> Iterator[Row]:
    """Make the labels of a set worse, refine them, and compare both with the truth.

    Yields
    ------
    dict
        ``bench``, ``set``, ``model``, ``change``, ``pixels``, ``planes``, ``objects``, ``before`` and ``after`` (mean
        IoU with the truth over objects), ``better`` (share of objects that are nearer to it), ``kept`` (share of
        objects whose new mask was not taken), and ``commit``.

    Raises
    ------
    InputError
        The set cannot be used, or nothing is left of it.
    """
    segmenter = load()
    scores: dict[str, list[tuple[float, float, bool]]] = {name: [] for name in CHANGES}
    planes = 0
    stop = None if config.limit is None else config.skip + config.limit
    for planes, one in enumerate(islice(labelled_planes(config.data), config.skip, stop), start=1):
        embedding = segmenter.embed(one.plane)
        for name, change in CHANGES.items():
            given = change(one.labels, config.pixels)
            found = refine_labels(segmenter, one.plane, given, embedding=embedding)
            scores[name] += _scores(one, given, found)
        if progress is not None:
            progress(planes)
    if not scores["none"]:
        raise InputError(f"no labelled object is left in {config.data}")
    for name, own in scores.items():
        before, after, kept = (np.array(values, float) for values in zip(*own, strict=True))
        yield {
            "bench": "refine",
            "set": set_name(config.data),
            "model": segmenter.name,
            "change": name,
            "pixels": config.pixels,
            "planes": planes,
            "objects": len(own),
            "before": float(before.mean()),
            "after": float(after.mean()),
            "better": float((after > before).mean()),
            "kept": float(kept.mean()),
            "commit": commit(),
        }


def _scores(one: LabelledPlane, given: np.ndarray, found: list[RefinedObject]) -> list[tuple[float, float, bool]]:
    """IoU with the truth before and after, and whether the old mask stayed, of each object that is left."""
    accepted = {each.label for each in found if each.found}
    new = repainted(given, found, accepted)
    rows = []
    for each in found:
        truth = one.labels == each.label
        if np.count_nonzero(truth) >= MIN_PIXELS:
            before, after = iou(given == each.label, truth), iou(new == each.label, truth)
            rows.append((before, after, each.label not in accepted))
    return rows
