"""Between a plane of any size and the square frame of a model.

This is the only place in the project that turns (y, x) into (x, y). A plane is resized so that its longest side fills
the frame, and padded to the right and below; masks come the same way back. Pillow does the resizing, because the
published models were trained and measured with it: the numbers are the same to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from napari_segany.core.errors import InputError
from napari_segany.core.masks import box_of
from napari_segany.core.prompts import Box, Point, Prompt

# A rough mask is taken as this sure of its pixels: logits of -6.9 and 6.9, within what the models themselves say.
SURE = 1e-3
SURELY_NOT = -10.0
# A mask is stable when its logits, so much higher or lower, would draw nearly the same.
STEADY = 1.0
# Logits that a closer look hands back are so many times finer than the model's own, at most.
FINEST = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """How a plane lies in the square input frame of a model.

    Parameters
    ----------
    plane : tuple of int
        (y, x) of the plane in pixels.
    side : int
        Side of the frame in pixels.
    """

    plane: tuple[int, int]
    side: int

    @property
    def resized(self) -> tuple[int, int]:
        """(y, x) of the plane once its longest side fills the frame, rounded half up, at least 1."""
        scale = self.side * 1.0 / max(self.plane)
        height, width = (max(1, int(length * scale + 0.5)) for length in self.plane)
        return height, width

    @property
    def scale(self) -> tuple[float, float]:
        """Frame pixels per plane pixel along y and x; rounding makes the two differ a little."""
        (height, width), (y, x) = self.resized, self.plane
        return height / y, width / x


@dataclass(frozen=True, slots=True, eq=False)
class PromptTensors:
    """Prompts of B objects as the prompt encoder takes them.

    Parameters
    ----------
    points : tuple of Tensor, optional
        (B, N, 2) float32 x and y in frame pixels, and (B, N) int64 labels, 1 on the object, 0 off it.
    boxes : Tensor, optional
        (B, 4) float32 x0, y0, x1, y1 in frame pixels.
    masks : Tensor, optional
        (B, 1, h, w) float32 logits.
    """

    points: tuple[Tensor, Tensor] | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None

    def to(self, device: torch.device) -> PromptTensors:
        """The same prompts on another device."""
        points = None if self.points is None else (self.points[0].to(device), self.points[1].to(device))
        boxes, masks = (None if tensor is None else tensor.to(device) for tensor in (self.boxes, self.masks))
        return PromptTensors(points, boxes, masks)


def image_tensor(plane: np.ndarray, frame: Frame) -> Tensor:
    """Resize a plane to its place in the frame.

    Parameters
    ----------
    plane : ndarray
        (y, x, 3) uint8 RGB.
    frame : Frame
        Of this plane.

    Returns
    -------
    Tensor
        (1, 3, h, w) float32 from 0 to 255: bilinear with antialiasing on uint8, as the ``ResizeLongestSide`` of
        segment-anything does it; not padded.
    """
    height, width = frame.resized
    resized = Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float()


def _xy(places: Sequence[Sequence[tuple[float, float]]], frame: Frame) -> Tensor:
    """B lists of N places (y, x) in plane pixels -> (B, N, 2) float32 (x, y) in frame pixels."""
    yx = np.asarray(places, dtype=np.float64) * frame.scale
    return torch.from_numpy(np.ascontiguousarray(yx[..., ::-1], dtype=np.float32))


def prompt_tensors(prompts: Sequence[Prompt], frame: Frame, mask_size: tuple[int, int]) -> PromptTensors:
    """Turn prompts of one kind into tensors.

    One padding token more or less changes what the decoder answers, so nothing is padded here: all prompts must have
    the same number of points, and all or none of them a box and a mask.

    Parameters
    ----------
    prompts : sequence of Prompt
        One per object, B of them, alike in kind.
    frame : Frame
        Of the plane that they were given on.
    mask_size : tuple of int
        (h, w) of the model's mask logits.

    Raises
    ------
    InputError
        A mask prompt does not fit the plane or the model.
    """
    points = boxes = masks = None
    if prompts[0].points:
        xy = _xy([[(point.y, point.x) for point in prompt.points] for prompt in prompts], frame)
        points = xy, torch.tensor([[int(point.positive) for point in prompt.points] for prompt in prompts])
    if prompts[0].box is not None:
        corners = [((box.y0, box.x0), (box.y1, box.x1)) for prompt in prompts if (box := prompt.box) is not None]
        boxes = _xy(corners, frame).flatten(1)
    if prompts[0].mask is not None:
        rough = [prompt.mask for prompt in prompts if prompt.mask is not None]
        masks = torch.stack([mask_logits(mask, frame, mask_size) for mask in rough])
    return PromptTensors(points, boxes, masks)


def mask_logits(mask: np.ndarray, frame: Frame, mask_size: tuple[int, int]) -> Tensor:
    """Turn a mask prompt into logits of the model's own frame.

    Parameters
    ----------
    mask : ndarray
        (y, x) bool, a rough mask of the plane; or (h, w) floating-point logits of an earlier answer, taken as they are.
    frame : Frame
        Of the plane.
    mask_size : tuple of int
        (h, w) of the model's mask logits.

    Returns
    -------
    Tensor
        (1, h, w) float32. For a rough mask, the logit of the share of each low-resolution pixel that it covers, that
        share kept within .001 to .999; what is padding is outside.

    Raises
    ------
    InputError
        The mask has neither shape, or its logits are not all finite.
    """
    if mask.dtype.kind == "f":
        given = _given_logits(mask, mask_size)
        return F.avg_pool2d(given, given.shape[-1] // mask_size[1])
    if mask.shape != frame.plane:
        raise InputError(f"a mask prompt must have the plane's shape {frame.plane}, got {mask.shape}")
    height, width = frame.resized
    covered = torch.tensor(np.ascontiguousarray(mask), dtype=torch.float32)[None, None]
    covered = F.interpolate(covered, (height, width), mode="bilinear", antialias=True)
    covered = F.pad(covered, (0, frame.side - width, 0, frame.side - height))
    covered = F.interpolate(covered, mask_size, mode="area")
    return covered[0].clamp(SURE, 1 - SURE).logit()


def _given_logits(mask: np.ndarray, mask_size: tuple[int, int]) -> Tensor:
    """Logits that were handed back, (1, k h, k w) float32: those of a closer look are finer."""
    finer = max(mask.shape[0] // mask_size[0], 1)
    if mask.shape != (finer * mask_size[0], finer * mask_size[1]) or not np.isfinite(mask).all():
        raise InputError(f"mask logits must be finite and of shape {mask_size} for this model, got {mask.shape}")
    return torch.tensor(np.ascontiguousarray(mask), dtype=torch.float32)[None]


def _drawn(logits: Tensor, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Masks (C, y, x) at a threshold, and how stable each is (C,)."""
    inside = torch.empty_like(logits, dtype=torch.bool)
    sizes = []
    for offset in (STEADY, -STEADY):
        drawn = torch.gt(logits, threshold + offset, out=inside).cpu().numpy()
        # numpy counts pixels several times faster than torch does
        sizes.append(np.array([np.count_nonzero(mask) for mask in drawn], np.float32))
    masks: np.ndarray = torch.gt(logits, threshold, out=inside).cpu().numpy()
    return masks, sizes[0] / np.maximum(sizes[1], 1)


def plane_masks(logits: Tensor, frame: Frame, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Bring low-resolution logits back to the plane.

    Parameters
    ----------
    logits : Tensor
        (C, h, w) of the model's own frame.
    frame : Frame
        Of the plane.
    threshold : float
        A pixel above it belongs to the mask.

    Returns
    -------
    masks : ndarray
        (C, y, x) bool. Up-sampled to the frame, cut free of padding, then brought to the plane's size, bilinear both
        times, as the ``postprocess_masks`` of segment-anything does it; but only where there is something to be seen.
    stability : ndarray
        (C,) float32, see :class:`~napari_segany.core.masks.Mask`.
    """
    masks = np.zeros((len(logits), *frame.plane), bool)
    stability = np.zeros(len(logits), np.float32)
    step = frame.side // logits.shape[-1]
    seen = (logits > threshold - STEADY).cpu().numpy()
    for number, one in enumerate(logits):
        (rows, height, y_span, y), (columns, width, x_span, x) = (
            _part(seen[number].any(axis=axis), step, frame.resized[1 - axis], frame.plane[1 - axis]) for axis in (1, 0)
        )
        if not (len(y) and len(x)):
            continue
        part = one[None, None, rows, columns]
        size = step * part.shape[-2], step * part.shape[-1]
        part = F.interpolate(part, size, mode="bilinear", align_corners=False)[0, :, :height, :width]
        if frame.resized != frame.plane:
            part = _interpolated(part, y, x)
        drawn, steady = _drawn(part, threshold)
        masks[number, y_span, x_span], stability[number] = drawn[0], steady[0]
    return masks, stability


def _part(seen: np.ndarray, step: int, resized: int, plane: int) -> tuple[slice, int, slice, Tensor]:
    """Along one axis, the part in which logits see something, and so much around it as interpolation reaches.

    Parameters
    ----------
    seen : ndarray
        (h,) bool, whether there is anything.
    step : int
        Frame pixels per logit.
    resized, plane : int
        Length of the picture in the frame, and in the plane.

    Returns
    -------
    part : slice
        Of the logits.
    length : int
        Pixels of it in the frame, without padding.
    span : slice
        The pixels of the plane that lie there.
    places : Tensor
        Where in this part, -1 to 1 from edge to edge.
    """
    found = np.flatnonzero(seen)
    first, last = (found[0], found[-1]) if len(found) else (0, -3)
    part = slice(max(int(first) - 2, 0), min(int(last) + 3, len(seen)))
    start, stop = part.start * step, min(part.stop * step, resized)
    scale = resized / plane
    low, high = (min(max(math.ceil(at / scale - 0.5), 0), plane) for at in (start, max(start, stop)))
    places = ((torch.arange(low, high, dtype=torch.float64) + 0.5) * scale - start) / max(stop - start, 1) * 2 - 1
    return part, max(stop - start, 0), slice(low, high), places


def plane_logits(logits: Tensor, frame: Frame) -> Tensor:
    """Low-resolution logits (C, h, w) of the frame at the places of the plane's pixels, bilinear: (C, y, x)."""
    height, width = frame.resized
    full = F.interpolate(logits[None].float(), (frame.side, frame.side), mode="bilinear", align_corners=False)
    return F.interpolate(full[..., :height, :width], frame.plane, mode="bilinear", align_corners=False)[0]


def mask_values(logits: Tensor, frame: Frame, size: tuple[int, int]) -> Tensor:
    """Logits (C, y, x) of the plane as low-resolution logits (C, *size) of the frame; padding is surely nothing."""
    height, width = frame.resized
    full = F.interpolate(logits[None], (height, width), mode="bilinear", antialias=True, align_corners=False)
    full = F.pad(full, (0, frame.side - width, 0, frame.side - height), value=SURELY_NOT)
    return F.interpolate(full, size, mode="area")[0]


@dataclass(frozen=True, slots=True)
class Window:
    """A square part of a plane, magnified for a closer look.

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
        """Rows and columns of the plane that the window sees; empty when it lies beside the plane."""
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
    """Look closer at a part of a plane.

    Parameters
    ----------
    plane : ndarray
        (y, x, 3) uint8.
    window : Window
        Which part; what lies beyond the plane is black.

    Returns
    -------
    Tensor
        (1, 3, side, side) float32 from 0 to 255, bilinear, antialiased where it shrinks.
    """
    return _sampled(plane, window, window.side)[None]


def _sampled(values: np.ndarray, window: Window, steps: int) -> Tensor:
    """A plane, (y, x, C), at `steps` x `steps` places of a window: (C, steps, steps) float32, zero beyond the plane."""
    reach = max(1.0, window.side / window.scale / steps)
    rows, columns = window.places(steps)
    spans = [
        _within(float(places[0]) - reach, float(places[-1]) + reach, length)
        for places, length in zip((rows, columns), values.shape[:2], strict=True)
    ]
    seen = torch.tensor(np.ascontiguousarray(values[spans[0], spans[1]]), dtype=torch.float32)
    return torch.einsum("hi,ijc,wj->chw", _weights(rows, spans[0], reach), seen, _weights(columns, spans[1], reach))


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
    """Turn prompts of one kind, each with a window of its own, into tensors; see :func:`prompt_tensors`.

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
        given = _given_logits(mask, mask_size)
        axes = [
            (places + 0.5) * scale / frame.side * 2 - 1
            for places, scale in zip(window.places(window.side // 2), frame.scale, strict=True)
        ]
        return _interpolated(given, axes[0], axes[1])
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
    rows, columns = window.region(plane)
    masks = np.zeros((len(logits), *plane), bool)
    if rows.start == rows.stop or columns.start == columns.stop:
        return masks, np.zeros(len(logits), np.float32)
    places = [torch.arange(span.start, span.stop, dtype=torch.float64) for span in (rows, columns)]
    masks[:, rows, columns], stability = _drawn(_at(logits, window, places[0], places[1]), threshold)
    return masks, stability


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
    beyond = (axes[0].abs() > 1)[:, None] | (axes[1].abs() > 1)
    return _interpolated(logits, axes[0], axes[1]).masked_fill(beyond.to(logits.device), SURELY_NOT)


def _interpolated(logits: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Logits (C, h, w) at rows and columns, each -1 to 1 from edge to edge, bilinear: (C, y, x)."""
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1)[None].to(logits.dtype).to(logits.device)
    return F.grid_sample(logits[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0]


def frame_box(logits: Tensor, frame: Frame) -> Box | None:
    """Box in plane pixels around what is found in logits (h, w) of the frame; None when that is nothing."""
    step = [frame.side / n / scale for n, scale in zip(logits.shape, frame.scale, strict=True)]
    return _box(logits, (-0.5, -0.5), (step[0], step[1]))


def window_box(logits: Tensor, window: Window) -> Box | None:
    """Box in plane pixels around what is found in logits (h, w) of a window; None when that is nothing."""
    reach = window.side / 2 / window.scale
    step = [2 * reach / n for n in logits.shape]
    return _box(logits, (window.centre[0] - reach, window.centre[1] - reach), (step[0], step[1]))


def _box(logits: Tensor, origin: tuple[float, float], step: tuple[float, float]) -> Box | None:
    """The same for cells of `step` plane pixels, the first of which begins at `origin`."""
    cells = box_of((logits > 0).cpu().numpy())
    if cells is None:
        return None
    corners = np.array([[cells.y0, cells.x0], [cells.y1 + 1, cells.x1 + 1]]) * step + origin
    (y0, x0), (y1, x1) = corners[0] + 0.5, corners[1] - 0.5
    return Box(float(y0), float(x0), float(y1), float(x1))
