"""Object proposals of the embedded model: the peaks of its dense heads.

A picture that is coarse in the input frame is encoded in tiles at full resolution, so that small nuclei are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy import ndimage
from skimage.feature import peak_local_max
from torch import Tensor

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.models.geometry import Frame
from napari_segany.models.inference_config import ProposalConfig
from napari_segany.models.tiny.tiny_sam import TinySam

DENSE_STRIDE = 4
TILE = 512
MARGIN = 64
"""Pixels along the inner edges of a tile that its neighbour sees better."""


def dense_of_frame(model: TinySam, maps: dict[str, Tensor], frame: Frame) -> np.ndarray:
    """Dense heads of a plane in the input frame, (5, h, w) float32 without the padding; `maps` as encoded."""
    height, width = (-(-length // DENSE_STRIDE) for length in frame.resized)
    dense = model.dense_head({name: feature.float() for name, feature in maps.items()})
    return dense[0, :, :height, :width].cpu().numpy()


def dense_of_tiles(model: TinySam, plane: np.ndarray, device: torch.device) -> np.ndarray:
    """Dense heads of a plane (y, x, 3 or 1) at its own resolution, tile by tile: (5, y / 4, x / 4) float32."""
    return maps_of_tiles(model, plane, device, model.dense_head, DENSE_STRIDE)


def maps_of_tiles(
    model: TinySam,
    plane: np.ndarray,
    device: torch.device,
    compute: Callable[[dict[str, Tensor]], Tensor],
    stride: int,
) -> np.ndarray:
    """Compute maps of a plane at its own resolution, tile by tile.

    Parameters
    ----------
    model : TinySam
        Whose encoder is used.
    plane : ndarray
        (y, x, 3 or 1) uint8.
    device : torch.device
        Where to compute.
    compute : callable
        Features of a tile -> (1, C, h, w) maps.
    stride : int
        Pixels of the plane per pixel of the maps.

    Returns
    -------
    ndarray
        (C, y / stride, x / stride) float32.
    """
    height, width = plane.shape[:2]
    rows, columns = (max(-(-length // 32) * 32, TILE) for length in (height, width))
    whole: np.ndarray | None = None
    for y in _starts(rows):
        for x in _starts(columns):
            part = plane[y : y + TILE, x : x + TILE]
            tile = np.zeros((TILE, TILE, 3), np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            image = torch.from_numpy(tile).permute(2, 0, 1)[None].float().to(device)
            features = {name: feature.float() for name, feature in model.encode_windows(image).items()}
            found = compute(features)[0].cpu().numpy()
            if whole is None:
                whole = np.zeros((len(found), rows // stride, columns // stride), np.float32)
            # near its inner edges the previous tile has more context
            top, left = (MARGIN // stride if start else 0 for start in (y, x))
            target = whole[:, y // stride :, x // stride :]
            target[:, top : TILE // stride, left : TILE // stride] = found[:, top:, left:]
    if whole is None:
        raise InputError("a plane without pixels has no maps")
    return whole[:, : -(-height // stride), : -(-width // stride)]


def _starts(length: int) -> Iterator[int]:
    """First pixels of tiles that overlap by two margins and end with the plane."""
    for start in range(0, max(length - 2 * MARGIN, 1), TILE - 2 * MARGIN):
        yield max(min(start, length - TILE), 0)


def proposal_peaks(
    dense: np.ndarray, scale: tuple[float, float], shape: tuple[int, int], config: ProposalConfig
) -> list[Prompt]:
    """A click in the middle of everything that seems to be an object.

    Parameters
    ----------
    dense : ndarray
        (5, h, w) logits of ``DENSE_CHANNELS``, vectors after the first three.
    scale : tuple of float
        Dense pixels, before the stride, per plane pixel along y and x.
    shape : tuple of int
        (y, x) of the plane.
    config : ProposalConfig
        Of the model.

    Returns
    -------
    list of Prompt
        The highest-scoring first.
    """
    foreground, _, centre = 1 / (1 + np.exp(-dense[:3]))
    heat = ndimage.gaussian_filter(foreground * centre, config.blur)
    cells = peak_local_max(heat, min_distance=1, threshold_abs=config.least_heat, exclude_border=False)
    places = (cells + 0.5) * DENSE_STRIDE / scale - 0.5
    inside = np.clip(places, 0, np.array(shape) - 1.0)
    return [Prompt((Point(float(y), float(x)),)) for y, x in inside]
