"""Sample data under *File > Open Sample*: made-up nuclei with their truth, and pictures that scikit-image ships.

Nothing is downloaded, and the same picture comes out every time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage
from skimage import data
from skimage.segmentation import relabel_sequential

from napari_segany.core.synthetic import Outlines, scatter

LayerData = tuple[np.ndarray, dict[str, Any], str]


def nuclei() -> list[LayerData]:
    """Textured nuclei, many of which touch, as in a fluorescence microscope.

    Returns
    -------
    list of LayerData
        The image, (512, 512) uint16, and its truth, (512, 512) uint16 labels, hidden at first.
    """
    rng = np.random.default_rng(7)
    truth = scatter(rng, (512, 512), 28.0, count=75, crowding=0.7, outlines=Outlines(0.12))
    # the part of a nucleus that the edge of the picture leaves may be too small to be recognised
    truth = relabel_sequential(np.where(np.bincount(truth.ravel())[truth] < 300, 0, truth))[0]
    image = _photograph(rng, _stain(rng, truth, grain=6.0), blur=1.2, haze=25.0)
    return _with_truth(image, truth, scale=(1.0, 1.0))


def nuclei_stack() -> list[LayerData]:
    """A stack of ellipsoidal nuclei, some of which touch, its slices twice as far apart as its pixels.

    Returns
    -------
    list of LayerData
        The image, (24, 256, 256) uint16 (z, y, x), and its truth, uint16 labels of that shape, hidden at first; both
        with a scale of (2, 1, 1).
    """
    rng = np.random.default_rng(11)
    scale = (2.0, 1.0, 1.0)
    truth = _ellipsoids(rng, (24, 256, 256), scale, count=40)
    image = _photograph(rng, _stain(rng, truth, grain=4.0), blur=1.5, haze=12.0, scale=scale)
    return _with_truth(image, truth, scale=scale)


def cell() -> list[LayerData]:
    """A cell, from scikit-image: (660, 550) uint8."""
    return [(data.cell(), {"name": "Cell"}, "image")]


def tissue() -> list[LayerData]:
    """Colon tissue, stained brown and blue, from scikit-image: (512, 512, 3) uint8."""
    return [(data.immunohistochemistry(), {"name": "Stained tissue", "rgb": True}, "image")]


def coins() -> list[LayerData]:
    """Greek coins from Pompeii, from scikit-image: (303, 384) uint8."""
    return [(data.coins(), {"name": "Coins"}, "image")]


def _with_truth(image: np.ndarray, truth: np.ndarray, scale: tuple[float, ...]) -> list[LayerData]:
    return [
        (image, {"name": "Nuclei", "scale": scale}, "image"),
        (truth.astype(np.uint16), {"name": "Truth", "scale": scale, "visible": False}, "labels"),
    ]


def _stain(rng: np.random.Generator, truth: np.ndarray, grain: float) -> np.ndarray:
    """Brightness of the stain, float32: differs from nucleus to nucleus, grainy within, darker in a few spots."""
    shade = rng.uniform(0.45, 1.0, int(truth.max()) + 1).astype(np.float32)
    shade[0] = 0
    texture = ndimage.gaussian_filter(rng.standard_normal(truth.shape).astype(np.float32), grain / 2)
    texture /= texture.std()
    stain: np.ndarray = shade[truth] * np.clip(1 + 0.18 * texture, 0.4, None)
    return stain


def _photograph(
    rng: np.random.Generator, stain: np.ndarray, *, blur: float, haze: float, scale: tuple[float, ...] = (1.0, 1.0)
) -> np.ndarray:
    """uint16 picture of a stain: blurred (more along z), hazy, with shot and read-out noise."""
    steps = np.asarray(scale)
    # out of focus light spreads farthest along z
    widths = blur / steps * np.where(np.arange(steps.size) == steps.size - 3, 1.5, 1.0)
    light = ndimage.gaussian_filter(stain, widths) + 0.25 * ndimage.gaussian_filter(stain, haze / steps)
    photons = rng.poisson(20 + 900 * np.clip(light, 0, None))
    return np.clip(photons + rng.normal(100, 6, photons.shape), 0, 65535).astype(np.uint16)


def _ellipsoids(
    rng: np.random.Generator, shape: tuple[int, int, int], scale: tuple[float, ...], count: int
) -> np.ndarray:
    """(z, y, x) int32 labels of ellipsoids that may touch; where two would overlap, the nearer centre wins."""
    steps = np.asarray(scale)
    size = np.asarray(shape) * steps
    nearest = np.ones(shape, np.float32)
    truth = np.zeros(shape, np.int32)
    centres: list[np.ndarray] = []
    while len(centres) < count:
        radii = rng.uniform((9, 12, 12), (12, 19, 19))
        centre = rng.uniform(0.6 * radii, size - 0.6 * radii)
        if any(np.linalg.norm((centre - other) / (1.4 * radii)) < 1 for other in centres):
            continue
        centres.append(centre)
        turn, grid = rng.uniform(0, np.pi), np.indices(shape, np.float32, sparse=True)
        z, y, x = (axis * step - middle for axis, step, middle in zip(grid, steps, centre, strict=True))
        along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
        distance = np.sqrt((z / radii[0]) ** 2 + (across / radii[1]) ** 2 + (along / radii[2]) ** 2)
        inside = distance < nearest
        nearest[inside], truth[inside] = distance[inside], len(centres)
    return truth
