"""Random crops and random light: an object at other places, at another scale, with another camera."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from napari_segany.core.masks import box_of
from napari_segany.core.planes import Region
from napari_segany.training.data import Sample

MIN_PIXELS = 16
"""Objects count from this size on."""
CLOSE_SIDE = 95.0
"""Longest side, in pixels of the crop, of the object that is magnified: the middle of the range at inference."""
CLOSE_SHARE = 0.45
"""The same in small crops, as a share of their side: the surroundings of an object help to recognise it."""

MAGNIFICATION = 4.0
"""Pixels of a view per pixel of the picture, at most, where an object is named."""

Random = np.random.Generator


def _object_centre(sample: Sample, rng: Random) -> tuple[np.ndarray, float]:
    """Centre (y, x) and size (root of the area) of a random object, or of the whole picture when it has none."""
    level = sample.levels[rng.integers(len(sample.levels))]
    rows, columns = np.nonzero(level)
    if not rows.size:
        return np.array(level.shape) / 2, 40.0
    pick = rng.integers(rows.size)
    if rng.random() < 0.7:
        labels = np.unique(level[rows, columns])
        members = np.flatnonzero(level[rows, columns] == rng.choice(labels))
        pick = rng.choice(members)
    label = level[rows[pick], columns[pick]]
    return np.array([rows[pick], columns[pick]], float), float(np.sqrt((level == label).sum()))


def _scale(shape: tuple[int, ...], size: float, rng: Random, frame: int) -> float:
    """Magnification: often near the one that the model will see, else one that gives the object a wanted size."""
    natural = frame / max(shape)
    if rng.random() < 0.55:
        return float(np.clip(natural * np.exp(rng.normal(0, 0.25)), 0.3, 3.2))
    wanted = np.exp(rng.uniform(np.log(9), np.log(130)))
    return float(np.clip(wanted / size, 0.3, 3.2))


def _close_view(sample: Sample, rng: Random, size: int) -> tuple[np.ndarray, float] | None:
    """Return the middle of a random object and a magnification as in the refinement pass; None without an object."""
    level = sample.levels[rng.integers(len(sample.levels))]
    labels = np.flatnonzero(np.bincount(level.ravel()) >= MIN_PIXELS)
    labels = labels[labels > 0]
    if not labels.size:
        return None
    box = box_of(level == rng.choice(labels))
    if box is None:
        return None
    longest = max(box.y1 - box.y0, box.x1 - box.x0) + 1
    wanted = min(CLOSE_SIDE, CLOSE_SHARE * size)
    scale = float(np.clip(wanted / longest * np.exp(rng.normal(0, 0.38)), 0.2, 4.0))
    centre = np.array([box.y0 + box.y1, box.x0 + box.x1]) / 2
    # A box lies in the middle of its window; what only a click hints at may lie anywhere.
    reach = 0.35 * size / scale if rng.random() < 0.4 else 0.04 * size / scale
    return centre + rng.uniform(-reach, reach, 2), scale


def _overview(sample: Sample, rng: Random, size: int, frame: int) -> tuple[np.ndarray, float]:
    """Middle and magnification of a view as in the model's input frame, of a random object and what is around."""
    centre, object_size = _object_centre(sample, rng)
    shape = np.array(sample.image.shape[:2])
    scale = _scale(sample.image.shape[:2], object_size, rng, frame)
    half = size / 2 / scale
    centre = centre + rng.uniform(-0.7, 0.7, 2) * half
    if rng.random() < 0.85:
        centre = np.where(shape > 2 * half, np.clip(centre, half, shape - half), shape / 2)
    return centre, scale


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _stretch(rng: Random) -> np.ndarray:
    """Seldom not at all, often a little, sometimes to half or double: round cells become slender ones."""
    spread = rng.choice([0.0, 0.08, 0.3], p=[0.3, 0.45, 0.25])
    along = _rotation(rng.uniform(0, np.pi))
    stretched: np.ndarray = along @ np.diag(np.exp(rng.normal(0, spread, 2))) @ along.T
    return stretched


def crop(
    sample: Sample, rng: Random, size: int, frame: int, *, close: bool = False
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A random view around a random object: scaled, rotated, mirrored, stretched.

    Parameters
    ----------
    sample : Sample
        Source of the crop.
    rng : numpy.random.Generator
        Source of chance.
    size : int
        Side of the crop in pixels.
    frame : int
        Side of the model's input frame; the longest side of a picture is resized to it when the model is used.
    close : bool
        Magnify as in the refinement pass (:mod:`napari_segany.models.tiny.zoom`), not as for the whole picture.

    Returns
    -------
    image : ndarray
        (size, size, 3) uint8; black beyond the picture.
    levels : list of ndarray
        (size, size) int32.
    """
    view = _close_view(sample, rng, size) if close else None
    centre, scale = view or _overview(sample, rng, size, frame)
    angle = np.pi / 2 * rng.integers(4) + (rng.uniform(-0.6, 0.6) if rng.random() < 0.35 else 0)
    mirror = rng.choice([-1, 1])
    matrix = _rotation(angle) @ np.diag([1, mirror]) @ _stretch(rng) / scale
    return _sample(sample, centre, matrix, size, scale)


def window_view(
    sample: Sample, window: Region, rng: Random, size: int, wanted: float, *, plain: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A view around an object: as at inference, or scaled, rotated, mirrored and stretched.

    Parameters
    ----------
    sample : Sample
        Of one level.
    window : tuple of slice
        Rows and columns of the box of the object.
    rng : numpy.random.Generator
        Source of chance.
    size : int
        Side of the view.
    wanted : float
        Longest side of the object in it.
    plain : bool
        Whether nothing is left to chance.

    Returns
    -------
    image : ndarray
        (size, size, 3) uint8; black beyond the picture.
    level : ndarray
        (size, size) int32.
    """
    longest = max(side.stop - side.start for side in window)
    centre = np.array([(side.start + side.stop - 1) / 2 for side in window])
    scale = min(wanted / longest, MAGNIFICATION)
    matrix = np.eye(2)
    if not plain:
        scale = min(scale * float(np.exp(rng.normal(0, 0.2))), MAGNIFICATION)
        angle = np.pi / 2 * rng.integers(4) + (rng.uniform(-0.6, 0.6) if rng.random() < 0.35 else 0)
        matrix = _rotation(angle) @ np.diag([1, rng.choice([-1, 1])]) @ _stretch(rng)
        centre = centre + rng.normal(0, 2, 2) / scale
    image, levels = _sample(sample, centre, matrix / scale, size, scale)
    return image, levels[0]


def _sample(
    sample: Sample, centre: np.ndarray, matrix: np.ndarray, size: int, scale: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Read the crop whose pixel p (from its middle) lies at ``centre + matrix @ p`` of the picture."""
    reach = np.abs(matrix).sum(1) * size / 2 + 2
    low = np.clip((centre - reach).astype(int), 0, None)
    high = np.clip((centre + reach).astype(int) + 1, low + 1, sample.image.shape[:2])
    low = np.minimum(low, high - 1)
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    image = torch.from_numpy(np.ascontiguousarray(sample.image[window])).permute(2, 0, 1)[None].float()
    grid_p = np.stack(np.meshgrid(*[np.arange(size) - size / 2 + 0.5] * 2, indexing="ij"), -1)
    places = (grid_p @ matrix.T + (centre - low)) / (high - low) * 2 - 1
    grid = torch.from_numpy(places[..., ::-1].astype(np.float32))[None]
    if scale < 0.8:
        smaller = [max(round(n * scale), 1) for n in image.shape[-2:]]
        image = F.interpolate(image, size=smaller, mode="bilinear", antialias=True, align_corners=False)
    seen = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    levels = []
    for level in sample.levels:
        labels = torch.from_numpy(np.ascontiguousarray(level[window])).float()[None, None]
        cut = F.grid_sample(labels, grid, mode="nearest", padding_mode="zeros", align_corners=False)
        levels.append(cut[0, 0].numpy().astype(np.int32))
    return seen[0].permute(1, 2, 0).clamp(0, 255).byte().numpy(), levels


def _recolour(image: np.ndarray, rng: Random) -> np.ndarray:
    """Gray from colour, or colour from gray: (y, x, 3) float from 0 to 1."""
    choice = rng.random()
    if choice < 0.15:
        return np.repeat((image @ rng.dirichlet([1, 1, 1]))[..., None], 3, axis=-1)
    if choice < 0.3:
        gray = image.mean(-1, keepdims=True)
        dark, bright = rng.uniform(0, 0.35, 3), rng.uniform(0.2, 1, 3)
        return dark + gray * (bright - dark)
    if choice < 0.4:
        return image[..., rng.permutation(3)]
    if choice < 0.55:
        # Another batch of stain, another white balance.
        return image @ (np.eye(3) + rng.normal(0, 0.12, (3, 3))).astype(np.float32)
    return image


def relight(image: np.ndarray, rng: Random) -> np.ndarray:
    """Change polarity, colour, contrast, evenness, sharpness and noise.

    Parameters
    ----------
    image : ndarray
        (y, x, 3) uint8.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    ndarray
        (y, x, 3) uint8.
    """
    x = _recolour(image.astype(np.float32) / 255, rng)
    if rng.random() < 0.2:
        x = 1 - x
    if rng.random() < 0.5:
        x = np.clip(x, 0, 1) ** np.exp(rng.normal(0, 0.35))
    if rng.random() < 0.6:
        gain = np.exp(rng.uniform(np.log(0.15), np.log(1.4)))
        x = x * gain + rng.uniform(0, max(1 - gain, 0.1)) * rng.integers(2)
    if rng.random() < 0.25:
        ramp = np.linspace(rng.uniform(0.4, 1), rng.uniform(0.8, 1.2), len(x))
        x = x * (ramp[:, None, None] if rng.random() < 0.5 else ramp[None, :, None])
    if rng.random() < 0.2:
        # Halos of phase contrast, or somebody's sharpening filter: bright next to dark, at any width.
        width = rng.uniform(1, 8)
        x = x + rng.uniform(-0.5, 1.5) * (x - ndimage.gaussian_filter(x, (width, width, 0)))
    if rng.random() < 0.25:
        sigma = rng.uniform(0.4, 1.8)
        x = ndimage.gaussian_filter(x, (sigma, sigma, 0))
    if rng.random() < 0.35:
        noise = rng.standard_normal((*x.shape[:2], 3 if rng.random() < 0.3 else 1)).astype(np.float32)
        x = x + noise * rng.uniform(0.005, 0.08) * np.sqrt(np.clip(x, 0.02, 1))
    return (255 * np.clip(x, 0, 1)).astype(np.uint8)
