"""Object proposals of the embedded model: the peaks of its dense heads.

A picture that is coarse in the input frame is encoded in tiles at full resolution, so that small nuclei are found.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy import ndimage
from skimage.feature import peak_local_max
from torch import Tensor

from napari_segany.core.prompts import Point, Prompt
from napari_segany.models.geometry import Frame
from napari_segany.models.inference_config import ProposalConfig
from napari_segany.models.tiny.tiny_sam import DENSE_CHANNELS, TinySam

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
    height, width = plane.shape[:2]
    rows, columns = (max(-(-length // 32) * 32, TILE) for length in (height, width))
    whole = np.zeros((len(DENSE_CHANNELS), rows // DENSE_STRIDE, columns // DENSE_STRIDE), np.float32)
    for y in _starts(rows):
        for x in _starts(columns):
            part = plane[y : y + TILE, x : x + TILE]
            tile = np.zeros((TILE, TILE, 3), np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            image = torch.from_numpy(tile).permute(2, 0, 1)[None].float().to(device)
            features = {name: feature.float() for name, feature in model.encode_windows(image).items()}
            dense = model.dense_head(features)[0].cpu().numpy()
            # Near its inner edges the tile before has seen more.
            top, left = (MARGIN // DENSE_STRIDE if start else 0 for start in (y, x))
            target = whole[:, y // DENSE_STRIDE :, x // DENSE_STRIDE :]
            target[:, top : TILE // DENSE_STRIDE, left : TILE // DENSE_STRIDE] = dense[:, top:, left:]
    return whole[:, : -(-height // DENSE_STRIDE), : -(-width // DENSE_STRIDE)]


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
