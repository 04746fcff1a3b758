"""Shapes and textures of synthetic microscopy: outlines, scattered and tessellated objects, smooth noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

Random = np.random.Generator


def smooth_noise(rng: Random, shape: tuple[int, int], scale: float, octaves: int = 3) -> np.ndarray:
    """Smooth random field (y, x) of about zero mean and unit deviation, its coarsest grains `scale` pixels wide."""
    field = np.zeros(shape, np.float32)
    for octave in range(octaves):
        grain = max(scale / 2**octave, 1.0)
        coarse = rng.standard_normal([int(n / grain) + 3 for n in shape]).astype(np.float32)
        start = rng.uniform(0, 1, 2)
        field += ndimage.affine_transform(coarse, [1 / grain, 1 / grain], start, shape, order=1) / 2**octave
    field -= field.mean()
    field /= field.std() + 1e-6
    return field


@dataclass(frozen=True, slots=True)
class Outlines:
    """Parameters of random outlines.

    Parameters
    ----------
    wobble : float
        0 for ellipses, 0.4 for very uneven outlines.
    slender : float
        Length over width of the most slender ones, when `wobble` is 0.
    """

    wobble: float
    slender: float = 1.5


def random_outline(rng: Random, radius: float, outlines: Outlines) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A random star-shaped outline; returns a function of (y, x) that is below 1 inside."""
    orders = np.arange(2, 6)
    amplitude = outlines.wobble * rng.standard_normal(orders.size) / orders
    phase = rng.uniform(0, 2 * np.pi, orders.size)
    stretch, angle = np.sqrt(rng.uniform(1.0, 3 * outlines.wobble + outlines.slender)), rng.uniform(0, np.pi)
    cos, sin = np.cos(angle), np.sin(angle)

    def relative_distance(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        along, across = (cos * x + sin * y) / stretch, (cos * y - sin * x) * stretch
        theta = np.arctan2(across, along)[..., None]
        edge = radius * (1 + (amplitude * np.cos(orders * theta + phase)).sum(-1))
        distance: np.ndarray = np.hypot(along, across) / np.maximum(edge, 0.3 * radius)
        return distance

    return relative_distance


def scatter(
    rng: Random,
    shape: tuple[int, int],
    radius: float,
    *,
    count: int,
    crowding: float,
    outlines: Outlines,
) -> np.ndarray:
    """Place objects that may touch but hardly overlap.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    shape : tuple of int
        (y, x) of the label image.
    radius : float
        Typical radius in pixels; each object's own lies within 0.6 to 1.5 of it.
    count : int
        Objects that are tried; those that would mostly overlap others are left out.
    crowding : float
        Share of the objects that are placed next to an earlier one.
    outlines : Outlines
        Parameters of their outlines.

    Returns
    -------
    ndarray
        (y, x) int32 labels from 1.
    """
    labels = np.zeros(shape, np.int32)
    placed: list[tuple[float, float, float]] = []
    for _ in range(count):
        own = radius * rng.uniform(0.6, 1.5)
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        if placed and rng.random() < crowding:
            near_y, near_x, near = placed[rng.integers(len(placed))]
            angle = rng.uniform(0, 2 * np.pi)
            y, x = near_y + (near + own) * np.sin(angle), near_x + (near + own) * np.cos(angle)
        reach = int(own * 2.5) + 2
        rows = slice(max(int(y) - reach, 0), min(int(y) + reach, shape[0]))
        columns = slice(max(int(x) - reach, 0), min(int(x) + reach, shape[1]))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        grid_y, grid_x = np.mgrid[rows, columns]
        inside = random_outline(rng, own, outlines)(grid_y - y, grid_x - x) < 1
        free = inside & (labels[rows, columns] == 0)
        if free.sum() < max(0.75 * inside.sum(), 12):
            continue
        placed.append((y, x, own))
        labels[rows, columns][free] = len(placed)
    return labels


def tessellated(rng: Random, shape: tuple[int, int], radius: float) -> np.ndarray:
    """(y, x) int32 labels of cells that fill the plane, as in plant tissue, epithelia or neuropil."""
    step = 2 * radius
    seeds = np.mgrid[-step : shape[0] + step : step, -step : shape[1] + step : step].reshape(2, -1).T
    seeds = seeds + rng.normal(0, 0.3 * step, seeds.shape)
    bend = radius * 0.4
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y + bend * smooth_noise(rng, shape, 2 * radius, 2), x + bend * smooth_noise(rng, shape, 2 * radius, 2)
    distance = np.full(shape, np.inf, np.float32)
    labels = np.zeros(shape, np.int32)
    weights = rng.uniform(0.7, 1.3, len(seeds))
    for label, ((seed_y, seed_x), weight) in enumerate(zip(seeds, weights, strict=True), start=1):
        reach = int(3.5 * step)
        rows = slice(max(int(seed_y) - reach, 0), max(int(seed_y) + reach, 0))
        columns = slice(max(int(seed_x) - reach, 0), max(int(seed_x) + reach, 0))
        own = ((y[rows, columns] - seed_y) ** 2 + (x[rows, columns] - seed_x) ** 2) * weight
        nearer = own < distance[rows, columns]
        distance[rows, columns][nearer] = own[nearer]
        labels[rows, columns][nearer] = label
    return labels


def seams(labels: np.ndarray, width: float) -> np.ndarray:
    """(y, x) bool, the seams between labels, about `width` pixels wide."""
    steps = np.zeros(labels.shape, bool)
    steps[1:] |= labels[1:] != labels[:-1]
    steps[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    near: np.ndarray = ndimage.distance_transform_edt(~steps) <= width / 2
    return near


def inner_blobs(rng: Random, outer: np.ndarray, share: float) -> np.ndarray:
    """One blob inside each object of `outer`, about `share` of its radius; labels are kept."""
    inner = np.zeros_like(outer)
    for label, window in enumerate(ndimage.find_objects(outer), start=1):
        if window is None:
            continue
        depth = ndimage.distance_transform_edt(np.pad(outer[window] == label, 1))[1:-1, 1:-1]
        radius = depth.max() * share * rng.uniform(0.7, 1.2)
        if radius < 2.5:
            continue
        y, x = np.unravel_index(np.argmax(depth * rng.uniform(0.7, 1, depth.shape)), depth.shape)
        grid_y, grid_x = np.mgrid[: depth.shape[0], : depth.shape[1]]
        inside = (random_outline(rng, radius, Outlines(0.1))(grid_y - y, grid_x - x) < 1) & (depth > 1)
        inner[window][inside] = label
    return inner


def per_object(rng: Random, labels: np.ndarray, spread: float) -> np.ndarray:
    """(y, x) float32: 0 off the objects, about 1 on them, differing from object to object."""
    values = np.exp(spread * rng.standard_normal(labels.max() + 1)).astype(np.float32)
    values[0] = 0
    spread_out: np.ndarray = values[labels]
    return spread_out


def depth_inside(labels: np.ndarray, radius: float) -> np.ndarray:
    """(y, x) float32 from 0 at an object's rim to 1 at `radius` inside it."""
    rim = seams(labels, 1.0) | (labels == 0)
    depth: np.ndarray = np.clip(ndimage.distance_transform_edt(~rim) / max(radius, 1), 0, 1).astype(np.float32)
    return depth


def scattered(rng: Random, shape: tuple[int, int], radius: float, wobble: float) -> np.ndarray:
    """(y, x) int32 labels of objects that cover a random part of the plane, a fifth of the time slender ones."""
    room = shape[0] * shape[1] / (np.pi * radius**2)
    count = int(np.clip(room * rng.uniform(0.15, 1.3), 2, 400))
    slender = rng.uniform(2.5, 7) if rng.random() < 0.2 else 1.5
    return scatter(rng, shape, radius, count=count, crowding=rng.uniform(0, 0.8), outlines=Outlines(wobble, slender))


def coloured(rng: Random, gray: np.ndarray) -> np.ndarray:
    """A gray picture (y, x) shown as gray or, half the time, in one colour, as fluorescence often is."""
    tint = np.ones(3) if rng.random() < 0.5 else rng.dirichlet([0.6] * 3) * 2
    return gray[..., None] * np.clip(tint, 0, 1.2).astype(np.float32)
