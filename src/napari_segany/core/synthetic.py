"""Made-up microscopy with known truth: nuclei, phase contrast, stained tissue, smears, membranes, walled tissue, EM.

The pictures need not fool anyone. They vary what differs between laboratories (size, shape, crowding, texture, blur,
noise, background, polarity, halos), so that a model that learns from them does not depend on any of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_segany.core.synthetic_nested import NESTED_KINDS
from napari_segany.core.synthetic_shapes import (
    Outlines,
    Random,
    coloured,
    depth_inside,
    inner_blobs,
    per_object,
    scatter,
    scattered,
    seams,
    smooth_noise,
    tessellated,
)

__all__ = ["KINDS", "Outlines", "SyntheticImage", "scatter", "synthetic_image"]


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticImage:
    """A picture and its truth.

    Parameters
    ----------
    image : ndarray
        (y, x, 3) uint8.
    levels : tuple of ndarray
        One or more (y, x) int32 label images; a second one holds objects that lie inside those of the first.
    kind : str
        Name of the kind of picture, one of ``KINDS``.
    """

    image: np.ndarray
    levels: tuple[np.ndarray, ...]
    kind: str


def _fluorescence(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    labels = scattered(rng, shape, radius, rng.uniform(0, 0.25))
    texture = 1 + rng.uniform(0, 0.35) * smooth_noise(rng, shape, max(radius * rng.uniform(0.2, 0.8), 1.5))
    shade = (1 - rng.uniform(0, 0.6) * (1 - depth_inside(labels, radius * 0.6))) * texture
    gray = per_object(rng, labels, rng.uniform(0.05, 0.6)) * np.clip(shade, 0.15, None)
    glow = ndimage.gaussian_filter(gray, radius) * rng.uniform(0, 0.4)
    if rng.random() < 0.3:
        # what lies far out of focus is visible, but belongs to no object of the truth
        glow += ndimage.gaussian_filter(1.0 * (scattered(rng, shape, radius, 0.1) > 0), radius) * rng.uniform(0.1, 0.4)
    return coloured(rng, 0.7 * gray + glow + rng.uniform(0.01, 0.15)), (labels,)


def _two_stains(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    cells = scattered(rng, shape, radius, rng.uniform(0.1, 0.4))
    nuclei = inner_blobs(rng, cells, rng.uniform(0.4, 0.75))
    body = per_object(rng, cells, 0.3) * (1 + 0.3 * smooth_noise(rng, shape, max(radius / 2, 2)))
    core = per_object(rng, nuclei, 0.2) * (1 + 0.2 * smooth_noise(rng, shape, max(radius / 4, 2)))
    colours = rng.uniform(0, 1, (2, 3)).astype(np.float32)
    if rng.random() < 0.4:
        colours[:] = 0.7
    image = body[..., None] * colours[0] * rng.uniform(0.25, 0.7) + core[..., None] * colours[1]
    return image * 0.6 + rng.uniform(0, 0.12), (cells, nuclei)


def _phase(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    labels = scattered(rng, shape, radius, rng.uniform(0.1, 0.45))
    inside = (labels > 0).astype(np.float32)
    width = rng.uniform(1.0, 0.25 * radius + 1.5)
    halo = ndimage.gaussian_filter(inside, width) - ndimage.gaussian_filter(inside, 2.5 * width)
    rim = np.exp(-depth_inside(labels, radius) * rng.uniform(4, 12)) * inside
    grain = smooth_noise(rng, shape, max(radius * 0.3, 2)) * inside
    gray = 0.5 + rng.choice([-1, 1]) * rng.uniform(0.2, 0.9) * halo + rng.uniform(-0.3, 0.3) * rim
    gray += rng.uniform(0.03, 0.16) * grain + rng.uniform(-0.12, 0.12) * per_object(rng, labels, 0.4)
    return coloured(rng, gray) if rng.random() < 0.1 else np.repeat(gray[..., None], 3, 2), (labels,)


def _relief(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Unstained cells in slanted light (DIC) or bright field: slopes and rims show, not heights."""
    labels = scattered(rng, shape, radius, rng.uniform(0.05, 0.4))
    height = ndimage.gaussian_filter(depth_inside(labels, radius * rng.uniform(0.3, 0.8)), rng.uniform(0.6, 2))
    height = height * (1 + rng.uniform(0, 0.3) * smooth_noise(rng, shape, max(radius * 0.4, 2)))
    angle = rng.uniform(0, 2 * np.pi)
    slope = sum(np.gradient(height, axis=i) * s for i, s in enumerate((np.sin(angle), np.cos(angle))))
    lens = ndimage.laplace(ndimage.gaussian_filter(height, rng.uniform(0.8, 2)))
    parts = [slope / (np.abs(slope).max() + 1e-6), lens / (np.abs(lens).max() + 1e-6)]
    gray = 0.5 + rng.choice([-1, 1]) * sum(
        part * share for part, share in zip(parts, rng.uniform(0, 0.5, 2), strict=True)
    )
    gray += rng.uniform(-0.08, 0.08) * height + rng.uniform(0, 0.05) * smooth_noise(rng, shape, rng.uniform(2, 30))
    return np.repeat(gray[..., None], 3, 2), (labels,)


def _stained(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    labels = scattered(rng, shape, radius, rng.uniform(0, 0.3))
    paper = np.array([0.93, 0.88, 0.92], np.float32) + rng.normal(0, 0.04, 3)
    stroma = np.array([0.1, 0.35, 0.15]) * rng.uniform(0.3, 1.2) + rng.normal(0, 0.05, 3)
    stain = np.array([0.5, 0.6, 0.3]) * rng.uniform(0.5, 1.3) + rng.normal(0, 0.1, 3)
    tissue = np.clip(0.5 + 0.5 * smooth_noise(rng, shape, radius * rng.uniform(1, 4), 4), 0, 2)
    core = per_object(rng, labels, 0.3) * (1 + 0.3 * smooth_noise(rng, shape, max(radius * 0.4, 1.5)))
    density = tissue[..., None] * np.clip(stroma, 0, None) + core[..., None] * np.clip(stain, 0, None)
    return paper * np.exp(-density), (labels,)


def _smear(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Stained cells spread on glass, as of blood: pale ones without a nucleus, some with a dark, often lobed one."""
    cells = scatter(
        rng,
        shape,
        radius,
        count=int(np.clip(shape[0] * shape[1] / (np.pi * radius**2) * rng.uniform(0.2, 1), 2, 300)),
        crowding=rng.uniform(0, 0.6),
        outlines=Outlines(rng.uniform(0, 0.12), 1.2),
    )
    nucleated = rng.random(cells.max() + 1) < rng.uniform(0.1, 1)
    nucleated[1 + rng.integers(max(cells.max(), 1)) :][:1] = True
    white = nucleated[cells] & (cells > 0)
    # Lobes that hang together or do not: the parts of one nucleus keep one label.
    lobes = [inner_blobs(rng, cells, rng.uniform(0.45, 0.9)) for _ in range(rng.integers(1, 4))]
    nuclei = np.where(white, np.max(lobes, axis=0), 0).astype(np.int32)
    pallor = 1 - rng.uniform(0, 0.7) * depth_inside(cells, radius) ** 2
    glass = np.array([0.9, 0.88, 0.84], np.float32) + rng.normal(0, 0.05, 3)
    tints = np.array([[0.1, 0.35, 0.3], [0.35, 0.3, 0.1], [0.8, 1.1, 0.4]])
    red, blue, core = tints * rng.uniform(0.5, 1.5, 3)[:, None]
    density = (per_object(rng, np.where(white, 0, cells), 0.2) * pallor)[..., None] * (red + rng.normal(0, 0.04, 3))
    grain = 1 + 0.25 * smooth_noise(rng, shape, max(radius * 0.15, 1.5))
    density += (per_object(rng, np.where(white, cells, 0), 0.3) * grain)[..., None] * (blue + rng.normal(0, 0.06, 3))
    density += (per_object(rng, nuclei, 0.2) * grain)[..., None] * (core + rng.normal(0, 0.1, 3))
    return glass * np.exp(-np.clip(density, 0, None)), (cells, nuclei) if nuclei.any() else (cells,)


def _membranes(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    cells = tessellated(rng, shape, radius)
    width = rng.uniform(1.2, 0.15 * radius + 2)
    wall = ndimage.gaussian_filter(seams(cells, width).astype(np.float32), rng.uniform(0.4, 1.2))
    wall *= 1 + rng.uniform(0, 0.4) * smooth_noise(rng, shape, 2 * radius)
    body = rng.uniform(0, 0.25) * per_object(rng, cells, 0.5) + 0.05 * smooth_noise(rng, shape, max(radius / 3, 2))
    gray = body + rng.uniform(0.3, 0.9) * wall
    nuclei = inner_blobs(rng, cells, rng.uniform(0.35, 0.6))
    levels: tuple[np.ndarray, ...] = (np.where(seams(cells, width * 0.6), 0, cells).astype(np.int32),)
    if rng.random() < 0.4:
        gray += rng.uniform(0.2, 0.5) * per_object(rng, nuclei, 0.2)
        levels = (*levels, nuclei)
    return coloured(rng, np.clip(gray, 0, None)), levels


def _wall_strength(rng: Random, cells: np.ndarray) -> np.ndarray:
    """(y, x) float32: how bright a wall is there; each side of a cell differs, and some hardly show."""
    own = rng.uniform(0.15, 1, cells.max() + 1).astype(np.float32)
    # The larger of both neighbours decides, so that a wall has one brightness from both sides.
    strength: np.ndarray = ndimage.grey_dilation(own[cells], 3)
    return strength


def _tissue(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """An optical slice through walled tissue, as of plants: cells reach to the middle of blurred, uneven walls."""
    stretch = rng.uniform(1, 2.5)
    squeezed = (int(shape[0] / stretch) + 1, shape[1])
    rows = (np.arange(shape[0]) / stretch).astype(int)
    cells = tessellated(rng, squeezed, radius / np.sqrt(stretch))[rows]
    wall = seams(cells, rng.uniform(1, 0.08 * radius + 1.5)) * _wall_strength(rng, cells)
    # Tilted walls are smeared out, and what lies above and below the slice shines through.
    wall = ndimage.gaussian_filter(wall.astype(np.float32), rng.uniform(0.6, 0.1 * radius + 1))
    haze = ndimage.gaussian_filter(wall, radius * rng.uniform(0.3, 1)) * rng.uniform(0, 1.5)
    body = rng.uniform(0, 0.3) * per_object(rng, cells, 0.6) * (1 + 0.2 * smooth_noise(rng, shape, max(radius / 3, 2)))
    nuclei = inner_blobs(rng, cells, rng.uniform(0.25, 0.5))
    nuclei[np.isin(nuclei, np.flatnonzero(rng.random(cells.max() + 1) < 0.6))] = 0
    gray = rng.uniform(0.3, 1.2) * wall + haze + body + rng.uniform(0, 0.35) * per_object(rng, nuclei, 0.2)
    levels = (cells, nuclei) if nuclei.any() else (cells,)
    return coloured(rng, np.clip(gray, 0, None) * rng.uniform(0.25, 1)), levels


def _organelles(rng: Random, cells: np.ndarray, width: float) -> np.ndarray:
    """Mitochondria, (y, x) int32: round and slender bodies, each within one cell and off its membrane."""
    radius = max(np.sqrt(cells.size / max(cells.max(), 1)) * rng.uniform(0.12, 0.3), 6)
    count = int(np.clip(cells.size / (np.pi * radius**2) * rng.uniform(0.05, 0.3), 2, 300))
    bodies = scatter(rng, cells.shape, radius, count=count, crowding=0.1, outlines=Outlines(0.1, rng.uniform(1.5, 5)))
    bodies[seams(cells, width + 4)] = 0
    for label, window in enumerate(ndimage.find_objects(bodies), start=1):
        if window is not None:
            own = bodies[window] == label
            # What lies across a membrane is cut to its larger part; scraps are none.
            most = np.bincount(cells[window][own]).argmax() if own.any() else 0
            whole = np.count_nonzero(own & (cells[window] == most)) > radius**2
            bodies[window][own & ((cells[window] != most) | (not whole))] = 0
    return bodies


def _electron(rng: Random, shape: tuple[int, int], radius: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    cells = tessellated(rng, shape, radius * rng.uniform(1, 2))
    width = rng.uniform(1.2, 3.5)
    organelles = _organelles(rng, cells, width)
    gray = 0.65 + 0.12 * smooth_noise(rng, shape, rng.uniform(2, 8), 3) + 0.06 * per_object(rng, cells, 0.5)
    gray -= rng.uniform(0.25, 0.5) * ndimage.gaussian_filter(seams(cells, width).astype(np.float32), 0.7)
    stripes = np.sin(smooth_noise(rng, shape, max(radius, 4), 2) * rng.uniform(4, 10))
    dark = per_object(rng, organelles, 0.2) * (1 + 0.25 * stripes) * rng.uniform(0.15, 0.4)
    rim = ((organelles > 0) & seams(organelles, 2.0)).astype(np.float32)
    gray = gray - dark - 0.25 * ndimage.gaussian_filter(rim, 0.6)
    levels = (np.where(seams(cells, width * 0.7), 0, cells).astype(np.int32), organelles)
    return np.repeat(gray[..., None], 3, 2), levels


KINDS: dict[str, Callable[[Random, tuple[int, int], float], tuple[np.ndarray, tuple[np.ndarray, ...]]]] = {
    "fluorescence": _fluorescence,
    "two stains": _two_stains,
    "phase contrast": _phase,
    "relief": _relief,
    "stained tissue": _stained,
    "smear": _smear,
    "membranes": _membranes,
    "walled tissue": _tissue,
    "electron microscopy": _electron,
    **NESTED_KINDS,
}


def _camera(rng: Random, scene: np.ndarray) -> np.ndarray:
    """Blur, uneven light, shot and read noise, eight bits: (y, x, 3) float -> uint8."""
    shape = scene.shape[:2]
    blur = rng.uniform(0, 2) if rng.random() < 0.6 else 0.0
    scene = ndimage.gaussian_filter(scene, (blur, blur, 0)) if blur > 0.3 else scene
    if rng.random() < 0.5:
        light = 1 + rng.uniform(0, 0.35) * smooth_noise(rng, shape, max(shape), 1)
        scene = scene * np.clip(light, 0.3, 2)[..., None]
    photons = 10 ** rng.uniform(0.8, 3.5)
    noise = rng.standard_normal(scene.shape if rng.random() < 0.4 else (*shape, 1)).astype(np.float32)
    scene = scene + noise * np.sqrt(np.clip(scene, 0, None) / photons + rng.uniform(0, 0.03) ** 2)
    picture: np.ndarray = (255 * np.clip(scene, 0, 1)).astype(np.uint8)
    return picture


def synthetic_image(
    rng: Random, shape: tuple[int, int] = (384, 384), *, kind: str | None = None, radius: float | None = None
) -> SyntheticImage:
    """Make one picture with its truth.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance; the same state gives the same picture.
    shape : tuple of int
        (y, x) in pixels.
    kind : str, optional
        One of ``KINDS``; drawn at random when not given.
    radius : float, optional
        Typical radius of the objects in pixels; drawn from 4 to 60 (more small ones) when not given.
    """
    kind = kind or str(rng.choice(list(KINDS)))
    radius = radius or float(np.exp(rng.uniform(np.log(5), np.log(60))))
    scene, levels = KINDS[kind](rng, shape, radius)
    return SyntheticImage(_camera(rng, scene.astype(np.float32)), levels, kind)
