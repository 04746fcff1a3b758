"""Windows: parts of a plane that are magnified, each at a separate scale.

Together with :mod:`napari_segany.models.geometry` the only place that turns (y, x) into (x, y).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.models.geometry import (
    FINEST,
    STEADY,
    SURE,
    SURELY_NOT,
    Frame,
    PromptTensors,
    box_of_logits,
    drawn_masks,
    given_logits,
    interpolated,
)

STRIP = 64
"""Places that are sampled together where a window is no smaller than its part of the plane; else fewer."""


@dataclass(frozen=True, slots=True)
class Window:
    """A square part of a plane, magnified.

    Parameters
    ----------
    centre : tuple of float
        (y, x) of its middle in plane pixels.
    scale : float
        Window pixels per plane pixel.
    side : int
        Side of the window in its own pixels.
    """

    centre: tuple[float, float]
    scale: float
    side: int

    def region(self, plane: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of the plane that the window sees; empty when it lies next to the plane."""
        reach = self.side / 2 / self.scale
        rows, columns = (
            _within(middle - reach, middle + reach, length) for middle, length in zip(self.centre, plane, strict=True)
        )
        return rows, columns

    def cuts(self, box: Box, plane: tuple[int, int]) -> bool:
        """Whether a box in the window reaches an edge of it within which the plane goes on."""
        reach = self.side / 2 / self.scale
        near = 4 / self.scale
        sides = zip(self.centre, plane, ((box.y0, box.y1), (box.x0, box.x1)), strict=True)
        return any(
            0 < middle - reach > low - near or length - 1 > middle + reach < high + near
            for middle, length, (low, high) in sides
        )

    def xy(self, places: Sequence[tuple[float, float]]) -> Tensor:
        """N places (y, x) in plane pixels -> (N, 2) float32 (x, y) in window pixels."""
        yx = (np.asarray(places, dtype=np.float64) - self.centre) * self.scale + self.side / 2 - 0.5
        return torch.from_numpy(np.ascontiguousarray(yx[:, ::-1], dtype=np.float32))

    def places(self, steps: int) -> tuple[Tensor, Tensor]:
        """Rows and columns, in plane pixels, of `steps` x `steps` places spread evenly over the window."""
        along = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps - 0.5
        y, x = (middle + along * (self.side / self.scale) for middle in self.centre)
        return y, x


def middle_of(points: Sequence[Point]) -> tuple[float, float]:
    """Mean place (y, x) of the positive points."""
    y, x = np.mean([(point.y, point.x) for point in points if point.positive], axis=0)
    return float(y), float(x)


def corner_around(points: Sequence[Point], frame: Frame, side: int, step: int) -> tuple[int, int]:
    """First pixel (y, x), a multiple of `step`, of the part of a frame that lies around the positive points."""
    middle = np.multiply(middle_of(points), frame.scale)
    corner = np.clip(np.round((middle - side / 2) / step) * step, 0, frame.side - side).astype(int)
    return int(corner[0]), int(corner[1])


def part_of_frame(corner: tuple[int, int], frame: Frame, side: int) -> Window:
    """The window that is the part of a frame with this first pixel (y, x)."""
    y, x = (np.array(corner) + (side - 1) / 2) / frame.scale
    return Window((float(y), float(x)), min(frame.scale), side)


def window_image(plane: np.ndarray, window: Window) -> Tensor:
    """Return a magnified crop of a plane.

    Parameters
    ----------
    plane : ndarray
        (y, x, 3) uint8, or (y, x, 1) where all three channels are equal.
    window : Window
        The part to crop; pixels beyond the plane are black.

    Returns
    -------
    Tensor
        (1, 3, side, side) float32 from 0 to 255, bilinear, antialiased where it shrinks.
    """
    return _sampled(plane, window, window.side).expand(3, -1, -1)[None]


def _sampled(values: np.ndarray, window: Window, steps: int) -> Tensor:
    """A plane, (y, x, C), at `steps` x `steps` places of a window: (C, steps, steps) float32, zero beyond the plane."""
    reach = max(1.0, window.side / window.scale / steps)
    rows, columns = window.places(steps)
    seen, depth = _near(columns, reach, values.shape[1]), values.shape[2]
    # Each place is a mean of few: strip by strip, most of what a large part of a plane adds up to nothing is left out.
    some = max(int(STRIP / reach), 16)
    down = torch.cat([_down(values[:, seen], places, reach) for places in rows.split(some)])
    along = [_along(down, places, reach, depth) for places in (columns - seen.start).split(some)]
    return torch.cat(along, dim=1).unflatten(1, (steps, depth)).permute(2, 0, 1)


def _down(values: np.ndarray, places: Tensor, reach: float) -> Tensor:
    """Means of the columns of (y, x, C) around places, which are in order: (places, x * C) float32."""
    span = _near(places, reach, len(values))
    return _weights(places, span, reach) @ torch.from_numpy(values[span].astype(np.float32)).flatten(1)


def _along(rows: Tensor, places: Tensor, reach: float, depth: int) -> Tensor:
    """Means of rows (h, x * depth) around places, which are in order: (h, places * depth)."""
    span = _near(places, reach, rows.shape[1] // depth)
    # The channels of a pixel stay next to each other: to move them would take longer than to multiply with zeros.
    weights = torch.kron(_weights(places, span, reach), torch.eye(depth))
    return rows[:, depth * span.start : depth * span.stop] @ weights.T


def _near(places: Tensor, reach: float, length: int) -> slice:
    """Which of the pixels 0 to `length` have a part in places, which are in order."""
    return _within(float(places[0]) - reach, float(places[-1]) + reach, length)


def _weights(places: Tensor, span: slice, reach: float) -> Tensor:
    """What each pixel of a span contributes to each place, (places, span): a triangle as wide as `reach` to each side.

    It is normalised over all pixels, in or beyond the plane, so that what is seen depends on the window only.
    """
    offsets = torch.arange(-int(np.ceil(reach)), int(np.ceil(reach)) + 2)
    around = places.floor()[:, None] + offsets
    whole = (reach - (around - places[:, None]).abs()).clamp_min(0).sum(dim=1, keepdim=True)
    pixels = torch.arange(span.start, span.stop)
    return ((reach - (pixels - places[:, None]).abs()).clamp_min(0) / whole).float()


def _within(low: float, high: float, length: int) -> slice:
    """Pixels from `low` to `high`, and those that they lie between, as far as there are any."""
    start = min(max(int(np.floor(low)), 0), length)
    return slice(start, max(min(int(np.ceil(high)) + 1, length), start))


def window_prompts(
    prompts: Sequence[Prompt], windows: Sequence[Window], frame: Frame, mask_size: tuple[int, int]
) -> PromptTensors:
    """Turn prompts of one kind, each with a separate window, into tensors; see :func:`prompt_tensors`.

    Parameters
    ----------
    prompts, windows : sequence of Prompt, sequence of Window
        B of each; the windows are of one size.
    frame : Frame
        Of the plane; floating-point mask prompts lie in it.
    mask_size : tuple of int
        (h, w) of the model's mask logits.

    Raises
    ------
    InputError
        A mask prompt does not fit the plane or the model.
    """
    points = boxes = masks = None
    pairs = list(zip(prompts, windows, strict=True))
    if prompts[0].points:
        xy = torch.stack([window.xy([(point.y, point.x) for point in prompt.points]) for prompt, window in pairs])
        points = xy, torch.tensor([[int(point.positive) for point in prompt.points] for prompt in prompts])
    if prompts[0].box is not None:
        boxes = torch.stack(
            [w.xy([(b.y0, b.x0), (b.y1, b.x1)]).flatten() for p, w in pairs if (b := p.box) is not None]
        )
    if prompts[0].mask is not None:
        masks = torch.stack([window_logits(p.mask, w, frame, mask_size) for p, w in pairs if p.mask is not None])
    return PromptTensors(points, boxes, masks)


def window_logits(mask: np.ndarray, window: Window, frame: Frame, mask_size: tuple[int, int]) -> Tensor:
    """Turn a mask prompt into logits of a window; see :func:`mask_logits`, result (1, side / 2, side / 2)."""
    if mask.dtype.kind == "f":
        given = given_logits(mask, mask_size)
        axes = [
            (places + 0.5) * scale / frame.side * 2 - 1
            for places, scale in zip(window.places(window.side // 2), frame.scale, strict=True)
        ]
        return interpolated(given, axes[0], axes[1])
    if mask.shape != frame.plane:
        raise InputError(f"a mask prompt must have the plane's shape {frame.plane}, got {mask.shape}")
    return _sampled(mask[..., None], window, window.side // 2).clamp(SURE, 1 - SURE).logit()


def window_masks(
    logits: Tensor, window: Window, plane: tuple[int, int], threshold: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Bring logits of a window back to the plane.

    Parameters
    ----------
    logits : Tensor
        (C, h, w) of the window.
    window : Window
        Where they were found.
    plane : tuple of int
        (y, x) of the plane in pixels.
    threshold : float
        A pixel above it belongs to the mask.

    Returns
    -------
    masks : ndarray
        (C, y, x) bool, bilinear; beyond the window nothing is found.
    stability : ndarray
        (C,) float32, see :class:`~napari_segany.core.masks.Mask`.
    """
    rows, columns = _drawn(logits > threshold - STEADY, window, plane)
    masks = np.zeros((len(logits), *plane), bool)
    if rows.start == rows.stop or columns.start == columns.stop:
        return masks, np.zeros(len(logits), np.float32)
    places = [torch.arange(span.start, span.stop, dtype=torch.float64) for span in (rows, columns)]
    masks[:, rows, columns], stability = drawn_masks(_at(logits, window, places[0], places[1]), threshold)
    return masks, stability


def _drawn(seen: Tensor, window: Window, plane: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the plane that cells (C, h, w) of a window have any part in, when they are interpolated."""
    box = window_box(seen.any(dim=0), window)
    if box is None:
        return slice(0, 0), slice(0, 0)
    margin = 1 + window.side / window.scale / seen.shape[-1]
    rows, columns = (
        _within(max(low - margin, within.start), min(high + margin, within.stop - 1), within.stop)
        for within, low, high in zip(window.region(plane), (box.y0, box.x0), (box.y1, box.x1), strict=True)
    )
    return rows, columns


def frame_logits(logits: Tensor, window: Window, frame: Frame, size: tuple[int, int]) -> Tensor:
    """Bring logits of a window to the input frame, the way they are handed back in a prompt.

    Parameters
    ----------
    logits : Tensor
        (C, h, w) of the window.
    window : Window
        Where they were found.
    frame : Frame
        Of the plane.
    size : tuple of int
        (h, w) of the model's mask logits.

    Returns
    -------
    Tensor
        (C, k h, k w); beyond the window surely nothing. k is 1, or more where the window is finer, up to ``FINEST``.
    """
    finer = 1
    while (
        finer < FINEST and finer * size[0] * frame.scale[0] / frame.side < logits.shape[-1] / window.side * window.scale
    ):
        finer *= 2
    whole = [finer * n for n in size]
    reach = window.side / 2 / window.scale
    axes = []
    for n, scale, middle in zip(whole, frame.scale, window.centre, strict=True):
        step = frame.side / n / scale
        span = _within((middle - reach + 0.5) / step, (middle + reach + 0.5) / step, n)
        axes.append((span, (torch.arange(span.start, span.stop, dtype=torch.float64) + 0.5) * step - 0.5))
    (rows, y), (columns, x) = axes
    result = logits.new_full((len(logits), *whole), SURELY_NOT)
    if len(y) and len(x):
        result[:, rows, columns] = _at(logits, window, y, x)
    return result


def _at(logits: Tensor, window: Window, rows: Tensor, columns: Tensor) -> Tensor:
    """Window logits (C, h, w) at the plane's rows and columns: (C, rows, columns)."""
    axes = [
        (places - middle) * window.scale / window.side * 2
        for places, middle in zip((rows, columns), window.centre, strict=True)
    ]
    found = interpolated(logits, axes[0], axes[1])
    for axis, places in enumerate(axes, start=1):
        # mostly there are none, or a few at the border
        beyond = (places.abs() > 1).nonzero().flatten()
        found.index_fill_(axis, beyond.to(found.device), SURELY_NOT)
    return found


def window_box(logits: Tensor, window: Window) -> Box | None:
    """Box in plane pixels around what is found in logits (h, w) of a window; None when that is nothing."""
    reach = window.side / 2 / window.scale
    step = [2 * reach / n for n in logits.shape]
    return box_of_logits(logits, (window.centre[0] - reach, window.centre[1] - reach), (step[0], step[1]))
