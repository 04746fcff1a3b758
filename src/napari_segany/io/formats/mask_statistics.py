"""What the masks of a data set are like, as numbers and as a picture (Kirillov et al. 2023, section 5)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy

from napari_segany.io.formats.labelled_image import LabelledImage, Piece

BINS = 8
"""Parts of the height and of the width, in each of which the centres of masks are counted."""
WIDTH, HEIGHT, GAP, TOP, LEFT = 200, 150, 60, 60, 50
"""Of a panel and its surroundings, in pixels of the picture."""
Row = dict[str, Any]


class CutOut(Protocol):
    """A mask, cut out: ``mask`` is (h, w) bool, ``corner`` where it begins in its image, (y, x)."""

    @property
    def mask(self) -> np.ndarray: ...  # noqa: D102

    @property
    def corner(self) -> tuple[int, int]: ...  # noqa: D102


@dataclass(slots=True)
class MaskStatistics:
    """Statistics that grow image by image.

    Attributes
    ----------
    counts : list of int
        Masks of each image.
    overlaps : list of float
        Share of the annotated pixels of each image that lie in several masks.
    sizes, concavities : list of float
        Of each mask: sqrt(area of the mask / area of the image), and :func:`concavity`.
    centres : list of (y, x)
        Centroid of each mask as shares of height and width.
    """

    counts: list[int] = field(default_factory=list)
    overlaps: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    concavities: list[float] = field(default_factory=list)
    centres: list[tuple[float, float]] = field(default_factory=list)

    def add(self, shape: tuple[int, int], masks: Sequence[CutOut]) -> None:
        """Count the masks of an image of a shape (y, x)."""
        times = np.zeros(shape, np.uint16)
        for one in masks:
            (top, left), (height, width) = one.corner, one.mask.shape
            times[top : top + height, left : left + width] += one.mask
            y, x = (float(places.mean()) for places in np.nonzero(one.mask))
            self.sizes.append(math.sqrt(int(np.count_nonzero(one.mask)) / math.prod(shape)))
            self.concavities.append(concavity(one.mask))
            self.centres.append(((y + top + 0.5) / shape[0], (x + left + 0.5) / shape[1]))
        covered = int(np.count_nonzero(times))
        self.counts.append(len(masks))
        self.overlaps.append(int(np.count_nonzero(times > 1)) / covered if covered else 0.0)

    def rows(self) -> list[Row]:
        """A row for each statistic; see :func:`~napari_segany.batch.sa1b_dataset.report_dataset`."""
        spreads: dict[str, Sequence[float]] = {
            "masks per image": self.counts,
            "relative mask size": self.sizes,
            "concavity": self.concavities,
            "overlap": self.overlaps,
        }
        rows: list[Row] = [{"what": "images", "n": len(self.counts)}]
        rows += [spread(what, values) for what, values in spreads.items()]
        rows.append({"what": "centres", "n": len(self.centres), "heat_map": heat_map(self.centres)})
        return rows


def spread(what: str, values: Sequence[float]) -> Row:
    """Number, mean, median and extremes of values; the number alone where there are none."""
    row: Row = {"what": what, "n": len(values)}
    if values:
        row |= {"mean": float(np.mean(values)), "median": float(np.median(values))}
        row |= {"min": float(min(values)), "max": float(max(values))}
    return row


def concavity(mask: np.ndarray) -> float:
    """How much of its convex hull a mask leaves free, 0 for what is convex: 1 - area / area of the hull.

    Parameters
    ----------
    mask : ndarray
        (h, w) bool, not empty. Its hull is that of the corners of its pixels, so that rectangles have 0.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - mask[rows][:, ::-1].argmax(axis=1)
    corners = [np.stack([rows + down, side], axis=1) for down in (0, 1) for side in (first, last)]
    hull = scipy.spatial.ConvexHull(np.concatenate(corners).astype(float))
    # (the area of a hull in two dimensions is its "volume")
    return max(0.0, 1 - int(np.count_nonzero(mask)) / float(hull.volume))


def heat_map(centres: Sequence[tuple[float, float]], bins: int = BINS) -> list[list[float]]:
    """The share of centres in each part of the image, rows from the top; zeros when there are none.

    Parameters
    ----------
    centres : sequence of (y, x)
        As shares of height and width, 0..1.
    bins : int
        Parts along each axis.
    """
    counts = np.zeros((bins, bins))
    for y, x in centres:
        counts[min(int(y * bins), bins - 1), min(int(x * bins), bins - 1)] += 1
    shares: list[list[float]] = (counts / max(len(centres), 1)).tolist()
    return shares


def write_statistics(image: LabelledImage, path: Path) -> None:
    """Write the picture of the masks of a label image, each slice or time as an image."""
    planes: dict[int, list[Piece]] = {number: [] for number in range(math.prod(image.labels.shape[:-2]))}
    for piece in image.pieces():
        planes[piece.plane].append(piece)
    found = MaskStatistics()
    for pieces in planes.values():
        found.add(image.plane_shape, pieces)
    path.write_text(picture(found), encoding="utf-8")


def picture(found: MaskStatistics) -> str:
    """An SVG: histograms of relative mask size, of concavity and of masks per image, and where the centres are."""
    histograms: tuple[tuple[str, Sequence[float], float], ...] = (
        ("relative mask size", found.sizes, 1.0),
        ("concavity", found.concavities, 1.0),
        ("masks per image", found.counts, float(max(found.counts, default=1))),
    )
    width, height = LEFT + 4 * (WIDTH + GAP), TOP + HEIGHT + 50
    title = f"{len(found.counts)} images, {len(found.sizes)} masks"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">{title}</text>',
    ]
    for number, (name, values, most) in enumerate(histograms):
        parts += _bars(name, values, most, LEFT + number * (WIDTH + GAP))
    parts += _heat("centres of masks", heat_map(found.centres), LEFT + 3 * (WIDTH + GAP))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bars(name: str, values: Iterable[float], most: float, left: float) -> list[str]:
    """A histogram of twenty bars from 0 to `most`; the share of the values in each."""
    counts, _ = np.histogram(list(values), bins=20, range=(0.0, most))
    shares = counts / max(int(counts.sum()), 1)
    highest, step = max(float(shares.max()), 1e-9), WIDTH / len(shares)
    parts = [f'<text x="{left}" y="{TOP - 10}">{name}</text>']
    for number, share in enumerate(shares.tolist()):
        tall = HEIGHT * share / highest
        place = f'x="{left + number * step:.1f}" y="{TOP + HEIGHT - tall:.1f}"'
        parts.append(f'<rect {place} width="{step - 1:.1f}" height="{tall:.1f}" fill="#0072b2"/>')
    foot = TOP + HEIGHT
    parts.append(f'<path d="M{left},{TOP} V{foot} H{left + WIDTH}" fill="none" stroke="black"/>')
    parts.append(f'<text x="{left - 6}" y="{TOP + 5}" text-anchor="end">{highest:.0%}</text>')
    parts.append(f'<text x="{left}" y="{foot + 16}" text-anchor="middle">0</text>')
    parts.append(f'<text x="{left + WIDTH}" y="{foot + 16}" text-anchor="middle">{most:g}</text>')
    return parts


def _heat(name: str, shares: Sequence[Sequence[float]], left: float) -> list[str]:
    """Shares of a grid as grey squares, the largest one black."""
    side, highest = HEIGHT / len(shares), max(max(max(line) for line in shares), 1e-9)
    parts = [f'<text x="{left}" y="{TOP - 10}">{name}, {highest:.1%} at most</text>']
    for row, line in enumerate(shares):
        for column, share in enumerate(line):
            grey = round(255 * (1 - share / highest))
            place = f'x="{left + column * side:.1f}" y="{TOP + row * side:.1f}"'
            parts.append(f'<rect {place} width="{side:.1f}" height="{side:.1f}" fill="rgb({grey},{grey},{grey})"/>')
    parts.append(f'<rect x="{left}" y="{TOP}" width="{HEIGHT}" height="{HEIGHT}" fill="none" stroke="black"/>')
    return parts
