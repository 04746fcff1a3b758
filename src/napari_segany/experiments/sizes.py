"""The same objects in planes of other sizes and at other magnifications."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from skimage import measure
from skimage.transform import resize

from napari_segany.experiments.datasets import LabelledPlane, Target

MARGIN = 32
"""Pixels of surroundings that a cropped plane keeps at each side of its object."""
SMALLEST = 100
"""Side of a cropped plane in pixels, at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """A plane made of another one, with the same objects in the same order."""

    plane: np.ndarray
    targets: tuple[Target, ...]


def _placed(targets: Sequence[Target], top: int, left: int) -> tuple[Target, ...]:
    """The same objects in a plane whose first pixel lies at (-top, -left) of the old one."""
    moved = []
    for target in targets:
        rows, columns = target.window
        window = slice(rows.start + top, rows.stop + top), slice(columns.start + left, columns.stop + left)
        moved.append(Target(window, target.mask))
    return tuple(moved)


def unchanged(one: LabelledPlane, targets: Sequence[Target]) -> Iterator[Variant]:
    """The plane itself."""
    yield Variant(one.plane, tuple(targets))


def padded(side: int) -> Callable[[LabelledPlane, Sequence[Target]], Iterator[Variant]]:
    """In the middle of an empty plane, of the background's colour, of at least `side` pixels."""

    def make(one: LabelledPlane, targets: Sequence[Target]) -> Iterator[Variant]:
        height, width = one.plane.shape[:2]
        top, left = max(side - height, 0) // 2, max(side - width, 0) // 2
        outside = one.plane[one.labels == 0]
        colour = np.median(outside, axis=0) if len(outside) else np.zeros(3)
        plane = np.empty((max(side, height), max(side, width), 3), np.uint8)
        plane[:] = colour.astype(np.uint8)
        plane[top : top + height, left : left + width] = one.plane
        yield Variant(plane, _placed(targets, top, left))

    return make


def tiled(side: int) -> Callable[[LabelledPlane, Sequence[Target]], Iterator[Variant]]:
    """Mirrored on all sides until the plane has at least `side` pixels.

    An object that an edge cuts meets its mirror image there, and both are seen as one: so they are one.
    """

    def make(one: LabelledPlane, targets: Sequence[Target]) -> Iterator[Variant]:
        height, width = one.plane.shape[:2]
        above, before = max(side - height, 0), max(side - width, 0)
        around = ((above // 2, above - above // 2), (before // 2, before - before // 2), (0, 0))
        plane = np.pad(one.plane, around, mode="symmetric")
        placed = _placed(targets, around[0][0], around[1][0])
        whole = [_with_mirror_images(target, one.plane.shape[:2], around[:2]) for target in targets]
        yield Variant(plane, tuple(new or old for new, old in zip(whole, placed, strict=True)))

    return make


def _with_mirror_images(target: Target, shape: tuple[int, ...], around: Sequence[tuple[int, int]]) -> Target | None:
    """An object of a plane of this shape with the mirror images that it touches; None when it touches no edge."""
    spans = zip(target.window, shape, strict=True)
    if all(span.start > 0 and span.stop < length for span, length in spans):
        return None
    mask = np.zeros(shape, bool)
    mask[target.window][target.mask] = True
    parts = measure.label(np.pad(mask, around, mode="symmetric"), connectivity=1)
    inside = parts[tuple(slice(before, before + length) for (before, _), length in zip(around, shape, strict=True))]
    return _found(np.isin(parts, np.unique(inside[mask])).astype(np.int32), 1, target, 1.0)


def cropped(one: LabelledPlane, targets: Sequence[Target]) -> Iterator[Variant]:
    """A separate small plane for each object."""
    for target in targets:
        spans = []
        for span, length in zip(target.window, one.plane.shape[:2], strict=True):
            lack = max(SMALLEST - (span.stop - span.start), 2 * MARGIN) // 2
            spans.append(slice(max(span.start - lack, 0), min(span.stop + lack, length)))
        yield Variant(one.plane[spans[0], spans[1]], _placed([target], -spans[0].start, -spans[1].start))


def magnified(factor: float) -> Callable[[LabelledPlane, Sequence[Target]], Iterator[Variant]]:
    """Resized; objects that become smaller than two pixels are measured all the same."""

    def make(one: LabelledPlane, targets: Sequence[Target]) -> Iterator[Variant]:
        shape = [max(round(n * factor), 1) for n in one.plane.shape[:2]]
        plane = resize(one.plane, (*shape, 3), order=1, anti_aliasing=factor < 1, preserve_range=True)
        labels = np.zeros(one.plane.shape[:2], np.int32)
        for number, target in enumerate(targets, start=1):
            labels[target.window][target.mask] = number
        rows, columns = (
            np.clip(((np.arange(steps) + 0.5) / factor).astype(int), 0, length - 1)
            for steps, length in zip(shape, one.plane.shape[:2], strict=True)
        )
        small = labels[np.ix_(rows, columns)]
        yield Variant(
            plane.round().astype(np.uint8), tuple(_found(small, n + 1, t, factor) for n, t in enumerate(targets))
        )

    return make


def _found(labels: np.ndarray, number: int, target: Target, factor: float) -> Target:
    """The object of this number; where it vanished, the pixel that its middle lies in."""
    rows, columns = np.nonzero(labels == number)
    if not rows.size:
        rows = np.array([min(int((target.point.y + 0.5) * factor), labels.shape[0] - 1)])
        columns = np.array([min(int((target.point.x + 0.5) * factor), labels.shape[1] - 1)])
    window = slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)
    mask = np.zeros([span.stop - span.start for span in window], bool)
    mask[rows - window[0].start, columns - window[1].start] = True
    return Target(window, mask)


UNCHANGED = "as it is"

VARIANTS: dict[str, Callable[[LabelledPlane, Sequence[Target]], Iterator[Variant]]] = {
    UNCHANGED: unchanged,
    "cropped": cropped,
    "padded to 1024": padded(1024),
    "padded to 4096": padded(4096),
    "tiled to 1024": tiled(1024),
    "tiled to 4096": tiled(4096),
    "half the magnification": magnified(0.5),
    "twice the magnification": magnified(2.0),
}
