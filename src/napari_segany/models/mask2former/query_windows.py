"""Queries in windows that cover a plane: a plane may contain more objects than there are queries.

Small windows at the resolution of the object proposals find most objects; one window of the whole plane finds objects
that are too large for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from torch import Tensor

from napari_segany.core.planes import Region
from napari_segany.models.mask2former.query_decoder import QueryPrediction
from napari_segany.models.mask2former.readouts import mask_certainty
from napari_segany.models.mask2former.tiny_queries import WINDOW, TinyQueries, tiny_pyramid
from napari_segany.models.tiny.tiny_sam import TinySam

OVERLAP = 96
"""Pixels that neighbouring windows share: what is no larger is whole in one of them."""
LARGE = 72
"""Longest side, in pixels of the small windows, from which on objects are taken from the window of the whole plane."""
TOGETHER = 8
"""Windows that are encoded at once."""
LEAST = 0.2
"""Score below which a query is no object."""
REPEATED = 0.5
"""Of masks whose IoU is higher only the one of the higher score stays."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryMask:
    """An object that a query drew.

    Parameters
    ----------
    window : tuple of slice
        Rows and columns of the plane.
    mask : ndarray
        Bool, of the window's shape.
    score : float
        Probability that it is an object, times the mean probability inside its mask.
    class_index : int
        The likeliest class.
    stability : float
        IoU of the masks at a logit of 1 above and below the threshold.
    """

    window: Region
    mask: np.ndarray
    score: float
    class_index: int
    stability: float


@dataclass(frozen=True, slots=True)
class _View:
    """A window of a resized plane.

    Parameters
    ----------
    corner : tuple of int
        Its first pixel (y, x).
    scale : tuple of float
        Resized pixels per plane pixel along y and x.
    resized, plane : tuple of int
        (y, x) of the resized plane, and of the plane.
    """

    corner: tuple[int, int]
    scale: tuple[float, float]
    resized: tuple[int, int]
    plane: tuple[int, int]

    def cuts(self, rows: slice, columns: slice, step: int) -> bool:
        """Whether cells of the window come to an edge within which the plane goes on."""
        for at, first, length in zip((rows, columns), self.corner, self.resized, strict=True):
            if (at.start == 0 and first > 0) or (at.stop * step >= WINDOW and first + WINDOW < length):
                return True
        return False

    def part(self, rows: slice, columns: slice, step: int) -> Region:
        """Rows and columns of the plane that hold cells of the window, and one cell more on each side."""
        spans = []
        for at, first, scale, length in zip((rows, columns), self.corner, self.scale, self.plane, strict=True):
            low, high = (((end * step) + first) / scale for end in (at.start - 1, at.stop + 1))
            spans.append(slice(max(int(low), 0), min(int(np.ceil(high)), length)))
        return spans[0], spans[1]

    def grid(self, part: Region) -> Tensor:
        """Where the pixels of a part of the plane lie in the window: (1, h, w, 2) x and y from -1 to 1."""
        y, x = (
            ((torch.arange(span.start, span.stop) + 0.5) * scale - first) / WINDOW * 2 - 1
            for span, scale, first in zip(part, self.scale, self.corner, strict=True)
        )
        return torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)[None].float()


def query_masks(model: TinySam, queries: TinyQueries, plane: np.ndarray, scale: float) -> list[QueryMask]:
    """The objects that queries find on a plane, the highest score first, none twice.

    Parameters
    ----------
    model : TinySam
        What the queries were trained on.
    queries : TinyQueries
        In evaluation mode.
    plane : ndarray
        (y, x, 3) or (y, x, 1) uint8.
    scale : float
        Pixels of the small windows per plane pixel.
    """
    height, width = plane.shape[:2]
    fine = _resized((height, width), scale)
    found = list(_seen(model, queries, plane, fine))
    if max(fine) > WINDOW:
        whole = _resized((height, width), WINDOW / max(height, width))
        found += [
            one
            for one in _seen(model, queries, plane, whole)
            if scale * max(span.stop - span.start for span in one.window) >= LARGE
        ]
    return without_repeats(found)


def without_repeats(found: Sequence[QueryMask]) -> list[QueryMask]:
    """Masks by score, without those that one of a higher score has shown."""
    kept: list[QueryMask] = []
    for one in sorted(found, key=lambda each: -each.score):
        if all(_overlap(one, other) <= REPEATED for other in kept):
            kept.append(one)
    return kept


def _overlap(one: QueryMask, other: QueryMask) -> float:
    """IoU of two masks."""
    shared = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one.window, other.window, strict=True)]
    if any(span.stop <= span.start for span in shared):
        return 0.0
    parts = [
        each.mask[tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(shared, each.window, strict=True))]
        for each in (one, other)
    ]
    both = int(np.count_nonzero(parts[0] & parts[1]))
    return both / (int(np.count_nonzero(one.mask)) + int(np.count_nonzero(other.mask)) - both)


def _resized(shape: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _starts(length: int) -> list[int]:
    """First pixels of windows that share at least ``OVERLAP`` and end with the plane."""
    if length <= WINDOW:
        return [0]
    count = -(-(length - OVERLAP) // (WINDOW - OVERLAP))
    return [round(i * (length - WINDOW) / (count - 1)) for i in range(count)]


def _seen(model: TinySam, queries: TinyQueries, plane: np.ndarray, resized: tuple[int, int]) -> Iterator[QueryMask]:
    """What queries find in all windows of a plane at one size."""
    shape = (plane.shape[0], plane.shape[1])
    picture = np.broadcast_to(plane, (*shape, 3))
    if resized != shape:
        size = resized[::-1]
        picture = np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.BILINEAR))
    scale = (resized[0] / shape[0], resized[1] / shape[1])
    views = [_View((y, x), scale, resized, shape) for y in _starts(resized[0]) for x in _starts(resized[1])]
    device = next(queries.parameters()).device
    for start in range(0, len(views), TOGETHER):
        group = views[start : start + TOGETHER]
        windows = np.zeros((len(group), WINDOW, WINDOW, 3), np.uint8)
        for window, view in zip(windows, group, strict=True):
            part = picture[view.corner[0] : view.corner[0] + WINDOW, view.corner[1] : view.corner[1] + WINDOW]
            window[: part.shape[0], : part.shape[1]] = part
        pixels = torch.from_numpy(windows).permute(0, 3, 1, 2).to(device)
        last = queries(tiny_pyramid(model, pixels))[-1]
        for number, view in enumerate(group):
            yield from _objects(
                QueryPrediction(last.classes[number : number + 1], last.masks[number : number + 1]), view
            )


def _objects(prediction: QueryPrediction, view: _View) -> Iterator[QueryMask]:
    """Objects of one window that none of its inner edges cuts."""
    masks = prediction.masks[0].float().cpu()
    shares = prediction.classes[0].float().softmax(-1).cpu()
    scores = (1 - shares[:, -1]) * mask_certainty(masks)
    names = shares[:, :-1].argmax(-1)
    step = WINDOW // masks.shape[-1]
    for query in torch.nonzero(scores >= LEAST).flatten().tolist():
        logits = masks[query]
        rows, columns = (torch.nonzero((logits > 0).any(1 - axis)).flatten() for axis in (0, 1))
        cells = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        part = view.part(*cells, step)
        if view.cuts(*cells, step) or any(span.stop <= span.start for span in part):
            continue
        pixels = F.grid_sample(logits[None, None], view.grid(part), padding_mode="border", align_corners=False)[0, 0]
        drawn = _largest_part((pixels > 0).numpy())
        if drawn is not None:
            inner, mask = drawn
            window = tuple(slice(p.start + i.start, p.start + i.stop) for p, i in zip(part, inner, strict=True))
            steady = int((pixels > 1).sum()) / int((pixels > -1).sum())
            yield QueryMask((window[0], window[1]), mask, float(scores[query]), int(names[query]), steady)


def _largest_part(mask: np.ndarray) -> tuple[Region, np.ndarray] | None:
    """The largest connected part of a mask, and its rows and columns; None when the mask is empty."""
    parts, count = ndimage.label(mask)
    if not count:
        return None
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
    window = ndimage.find_objects(parts, max_label=largest)[largest - 1]
    return window, parts[window] == largest
