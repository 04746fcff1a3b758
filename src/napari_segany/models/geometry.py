"""Between a plane of any size and the square frame of a model.

This, with :mod:`~napari_segany.models.windows`, is the only place in the project that turns (y, x) into (x, y). A plane
is resized so that its longest side fills the frame, and padded to the right and below; masks come the same way back.
Pillow does the resizing, because the published models were trained and measured with it: the numbers are the same to
the bit. Later models (SAM 2, SAM 3) stretch both sides over the frame, each by its own factor.
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
from napari_segany.core.prompts import Box, Prompt

# Logits of a binary rough mask: -6.9 and 6.9, within the range of the models' own logits.
SURE = 1e-3
SURELY_NOT = -10.0
# A mask is stable when its logits, so much higher or lower, would draw nearly the same.
STEADY = 1.0
# Logits of a magnified crop are at most so many times finer than the model's own.
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
    stretched : bool
        Both sides fill the frame, each with its own scale, and nothing is padded.
    """

    plane: tuple[int, int]
    side: int
    stretched: bool = False

    @property
    def resized(self) -> tuple[int, int]:
        """(y, x) of the plane once its longest side fills the frame, rounded half up, at least 1; or both sides do."""
        if self.stretched:
            return self.side, self.side
        scale = self.side * 1.0 / max(self.plane)
        height, width = (max(1, int(length * scale + 0.5)) for length in self.plane)
        return height, width

    @property
    def scale(self) -> tuple[float, float]:
        """Frame pixels per plane pixel along y and x; rounding makes the two differ a little, stretching a lot."""
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


def resized_tensor(plane: np.ndarray, frame: Frame) -> Tensor:
    """Resize a plane to its place in the frame, as the image processors of ``transformers`` do.

    Returns
    -------
    Tensor
        (1, 3, h, w) float32, whole numbers from 0 to 255: bilinear with antialiasing; not padded.
    """
    pixels = torch.from_numpy(np.array(plane)).permute(2, 0, 1)[None].contiguous()
    # torch has this operation for bytes only where the processor has such instructions, as torchvision knows too
    if not any(kind in torch.backends.cpu.get_cpu_capability() for kind in ("AVX2", "AVX512")):
        pixels = pixels.float()
    resized = F.interpolate(pixels, frame.resized, mode="bilinear", antialias=True, align_corners=False)
    return resized.float().round().clamp(0, 255)


def _xy(places: Sequence[Sequence[tuple[float, float]]], frame: Frame) -> Tensor:
    """B lists of N places (y, x) in plane pixels -> (B, N, 2) float32 (x, y) in frame pixels."""
    yx = np.asarray(places, dtype=np.float64) * frame.scale
    return torch.from_numpy(np.ascontiguousarray(yx[..., ::-1], dtype=np.float32))


def prompt_tensors(prompts: Sequence[Prompt], frame: Frame, mask_size: tuple[int, int]) -> PromptTensors:
    """Turn prompts of one kind into tensors.

    One padding token more or less changes what the decoder predicts, so nothing is padded here: all prompts must have
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
        (y, x) bool, a rough mask of the plane; or (h, w) floating-point logits of an earlier mask, used unchanged.
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
        given = given_logits(mask, mask_size)
        return F.avg_pool2d(given, given.shape[-1] // mask_size[1])
    if mask.shape != frame.plane:
        raise InputError(f"a mask prompt must have the plane's shape {frame.plane}, got {mask.shape}")
    height, width = frame.resized
    covered = torch.tensor(np.ascontiguousarray(mask), dtype=torch.float32)[None, None]
    covered = F.interpolate(covered, (height, width), mode="bilinear", antialias=True)
    covered = F.pad(covered, (0, frame.side - width, 0, frame.side - height))
    covered = F.interpolate(covered, mask_size, mode="area")
    return covered[0].clamp(SURE, 1 - SURE).logit()


def relative_boxes(boxes: Sequence[Box], plane: tuple[int, int]) -> Tensor:
    """Boxes as shares of the plane: (1, N, 4) float32 centre x, centre y, width, height."""
    height, width = plane
    corners = torch.tensor([[box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height] for box in boxes])
    first, last = corners[:, :2], corners[:, 2:]
    return torch.cat([(first + last) / 2, last - first], 1)[None].float()


def mask_in_frame(mask: np.ndarray, frame: Frame) -> Tensor:
    """A mask (y, x) bool of the plane in a stretched frame: (1, side, side) float32 of 0 and 1."""
    covered = torch.tensor(np.ascontiguousarray(mask), dtype=torch.float32)[None, None]
    if mask.shape != frame.resized:
        covered = F.interpolate(covered, frame.resized, mode="bilinear", antialias=True, align_corners=False)
    return (covered[0] >= 0.5).float()


def given_logits(mask: np.ndarray, mask_size: tuple[int, int]) -> Tensor:
    """Logits that are passed back to the model, (1, k h, k w) float32; those of a magnified crop are finer."""
    finer = max(mask.shape[0] // mask_size[0], 1)
    if mask.shape != (finer * mask_size[0], finer * mask_size[1]) or not np.isfinite(mask).all():
        raise InputError(f"mask logits must be finite and of shape {mask_size} for this model, got {mask.shape}")
    return torch.tensor(np.ascontiguousarray(mask), dtype=torch.float32)[None]


def drawn_masks(logits: Tensor, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Masks (C, y, x) at a threshold, and how stable each is (C,)."""
    # numpy compares and counts pixels several times faster than torch does
    values = logits.cpu().numpy()
    inside = np.empty(values.shape, bool)
    sizes = []
    for offset in (STEADY, -STEADY):
        drawn = np.greater(values, threshold + offset, out=inside)
        sizes.append(np.array([np.count_nonzero(mask) for mask in drawn], np.float32))
    return np.greater(values, threshold, out=inside), sizes[0] / np.maximum(sizes[1], 1)


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
        part = enlarged(one[rows, columns], step)[None, :height, :width]
        if frame.resized != frame.plane:
            part = interpolated(part, y, x)
        drawn, steady = drawn_masks(part, threshold)
        masks[number, y_span, x_span], stability[number] = drawn[0], steady[0]
    return masks, stability


def enlarged(logits: Tensor, times: int) -> Tensor:
    """Logits (h, w) so many times larger, bilinear: (times h, times w). ``F.interpolate`` takes longer for the same.

    With a whole factor, all that lies between the same two is made with one of a few weights. Columns come first, while
    there is little of them.
    """
    return _denser(_denser(logits, times, 1), times, 0)


def _denser(values: Tensor, times: int, dim: int) -> Tensor:
    length = values.shape[dim]
    padded = torch.cat([values.narrow(dim, 0, 1), values, values.narrow(dim, length - 1, 1)], dim)
    made = values.new_empty(*values.shape[: dim + 1], times, *values.shape[dim + 1 :])
    for k in range(times):
        place = (k + 0.5) / times + 0.5
        before, after = (padded.narrow(dim, int(place) + step, length) for step in (0, 1))
        torch.lerp(before, after, place % 1, out=made.select(dim + 1, k))
    return made.flatten(dim, dim + 1)


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


def frame_box(logits: Tensor, frame: Frame) -> Box | None:
    """Box in plane pixels around what is found in logits (h, w) of the frame; None when that is nothing."""
    step = [frame.side / n / scale for n, scale in zip(logits.shape, frame.scale, strict=True)]
    return box_of_logits(logits, (-0.5, -0.5), (step[0], step[1]))


def box_of_logits(logits: Tensor, origin: tuple[float, float], step: tuple[float, float]) -> Box | None:
    """The same for cells of `step` plane pixels, the first of which begins at `origin`."""
    cells = box_of((logits > 0).cpu().numpy())
    if cells is None:
        return None
    corners = np.array([[cells.y0, cells.x0], [cells.y1 + 1, cells.x1 + 1]]) * step + origin
    (y0, x0), (y1, x1) = corners[0] + 0.5, corners[1] - 0.5
    return Box(float(y0), float(x0), float(y1), float(x1))


def interpolated(logits: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Logits (C, h, w) at rows and columns, each -1 to 1 from edge to edge, bilinear: (C, y, x)."""
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1)[None].to(logits.dtype).to(logits.device)
    return F.grid_sample(logits[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[0]
