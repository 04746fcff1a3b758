"""Synthetic microscopy in which one click has several right masks, or in which objects cross, bud and crowd.

Parts, objects and wholes are distinguished by their levels: lobes and granules belong to their nucleus and cell, a
lumen to its gland, a bud is a separate cell.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.draw import disk, line

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

Scene = tuple[np.ndarray, tuple[np.ndarray, ...]]


def _spots(rng: Random, within: np.ndarray, radius: float, share: float) -> np.ndarray:
    """(y, x) float32 of 0 to 1: blurred grains of about `radius` pixels on a `share` of a mask."""
    count = int(np.clip(within.sum() * share / (np.pi * radius**2), 0, 4000))
    spots = np.zeros(within.shape, np.float32)
    places = np.argwhere(within)
    if count and len(places):
        y, x = places[rng.integers(len(places), size=count)].T
        spots[y, x] = rng.uniform(0.5, 1, count)
        spots = ndimage.gaussian_filter(spots, radius) * (2 * np.pi * radius**2)
    kept: np.ndarray = np.clip(spots, 0, 1) * within
    return kept


def _granulocytes(rng: Random, shape: tuple[int, int], radius: float) -> Scene:
    """Stained cells with lobed nuclei, granules and vacuoles, among pale cells without a nucleus."""
    radius = max(radius, 12)
    room = shape[0] * shape[1] / (np.pi * radius**2)
    count = int(np.clip(room * rng.uniform(0.1, 0.7), 1, 200))
    cells = scatter(rng, shape, radius, count=count, crowding=0.5, outlines=Outlines(rng.uniform(0, 0.15), 1.2))
    pale = scatter(rng, shape, radius * rng.uniform(0.5, 1), count=count, crowding=0.5, outlines=Outlines(0.05, 1.2))
    pale[ndimage.binary_dilation(cells > 0, iterations=1)] = 0
    lobes = np.max([inner_blobs(rng, cells, rng.uniform(0.3, 0.6)) for _ in range(rng.integers(2, 5))], axis=0)
    glass = np.array([0.9, 0.87, 0.85], np.float32) + rng.normal(0, 0.05, 3)
    tints = np.array([[0.12, 0.35, 0.25], [0.3, 0.3, 0.1], [0.8, 1.1, 0.4], [0.4, 0.7, 0.5]]) * rng.uniform(0.5, 1.5)
    tints = np.clip(tints + rng.normal(0, 0.06, tints.shape), 0, None)
    body = per_object(rng, cells, 0.2) * (1 + 0.25 * smooth_noise(rng, shape, max(radius * 0.2, 1.5)))
    density = (per_object(rng, pale, 0.15) * (1 - 0.5 * depth_inside(pale, radius) ** 2))[..., None] * tints[0]
    density += body[..., None] * tints[1] + per_object(rng, lobes, 0.15)[..., None] * tints[2]
    grain = _spots(rng, (cells > 0) & (lobes == 0), rng.uniform(0.6, 0.06 * radius + 0.7), rng.uniform(0, 0.5))
    holes = _spots(rng, cells > 0, rng.uniform(1, 0.1 * radius + 1), rng.uniform(0, 0.15))
    density = (density + grain[..., None] * tints[3] * rng.uniform(0, 1)) * (1 - 0.7 * holes[..., None])
    return glass * np.exp(-np.clip(density, 0, None)), (cells, lobes.astype(np.int32), pale)


def _budding(rng: Random, shape: tuple[int, int], radius: float) -> Scene:
    """Yeast-like cells, each with a bright or dark rim, a vacuole and often a smaller bud at its side."""
    radius = max(radius, 6)
    mothers = scattered(rng, shape, radius, 0.03)
    labels = mothers.copy()
    for label, window in enumerate(ndimage.find_objects(mothers), start=1):
        if window is None or rng.random() < 0.4:
            continue
        rows, columns = np.nonzero(mothers[window] == label)
        own = np.sqrt(len(rows) / np.pi)
        size, angle = own * rng.uniform(0.3, 0.8), rng.uniform(0, 2 * np.pi)
        reach = (own + 0.85 * size) * np.array([np.sin(angle), np.cos(angle)])
        middle = np.array([rows.mean() + window[0].start, columns.mean() + window[1].start]) + reach
        y, x = disk(tuple(middle), size, shape=shape)  # type: ignore[no-untyped-call]
        free = labels[y, x] == 0
        if free.sum() > 0.7 * np.pi * size**2:
            labels[y[free], x[free]] = labels.max() + 1
    depth = depth_inside(labels, radius * rng.uniform(0.15, 0.5))
    inside = labels > 0
    sign = rng.choice([-1, 1])
    vacuoles = inner_blobs(rng, labels, rng.uniform(0.3, 0.7)) > 0
    halo = ndimage.gaussian_filter(1.0 * inside, rng.uniform(1, 0.3 * radius + 1)) * ~inside
    gray = 0.5 + sign * (rng.uniform(0.1, 0.5) * halo - rng.uniform(0.1, 0.5) * (1 - depth) * inside)
    gray = gray + sign * rng.uniform(-0.2, 0.35) * depth * inside + rng.uniform(-0.25, 0.25) * vacuoles
    gray += rng.uniform(0, 0.08) * smooth_noise(rng, shape, max(radius / 3, 2)) * (inside + 0.3)
    gray += rng.uniform(0, 0.06) * smooth_noise(rng, shape, rng.uniform(20, 200), 1)
    return np.repeat(ndimage.gaussian_filter(gray, 0.6)[..., None], 3, 2), (labels,)


def _rod(rng: Random, shape: tuple[int, int], width: float, length: float) -> np.ndarray:
    """(y, x) bool: a straight or bent rod with round ends."""
    mask = np.zeros(shape, bool)
    place, angle = rng.uniform(0, shape, 2), rng.uniform(0, 2 * np.pi)
    bend = rng.normal(0, 0.25) / max(length / width, 1)
    for _ in range(int(length / 4) + 1):
        step = place + 4 * np.array([np.sin(angle), np.cos(angle)])
        y, x = line(*np.rint(place).astype(int), *np.rint(step).astype(int))  # type: ignore[no-untyped-call]
        held = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        mask[y[held], x[held]] = True
        place, angle = step, angle + bend
    near: np.ndarray = ndimage.distance_transform_edt(~mask) < width / 2
    return near if mask.any() else mask


def _rods(rng: Random, shape: tuple[int, int], radius: float) -> Scene:
    """Rods and filaments that touch and cross, bright or dark, of different strength."""
    width = max(radius * rng.uniform(0.25, 0.5), 3)
    levels: list[np.ndarray] = [np.zeros(shape, np.int32)]
    gray = np.zeros(shape, np.float32)
    crossing = rng.random() < 0.5
    for label in range(1, int(rng.uniform(5, 45)) + 1):
        mask = _rod(rng, shape, width * rng.uniform(0.8, 1.2), width * rng.uniform(2, 14))
        if mask.sum() < 16:
            continue
        free = [level for level in levels if not level[mask].any()]
        if not free and (not crossing or len(levels) == 3):
            continue
        if not free:
            free = [np.zeros(shape, np.int32)]
            levels.append(free[0])
        free[0][mask] = label
        soft = np.clip(ndimage.distance_transform_edt(mask) / (width / 2), 0, 1)
        gray += np.exp(rng.normal(0, 0.5)) * (0.4 + 0.6 * soft) * mask
    gray = ndimage.gaussian_filter(gray, rng.uniform(0.5, 1.5)) * rng.uniform(0.2, 0.7)
    if rng.random() < 0.5:
        # dark in bright field, with a bright rim
        gray = 0.6 - 0.6 * gray + rng.uniform(0, 0.4) * (ndimage.gaussian_filter(gray, width / 2) - gray)
        return np.repeat(gray[..., None], 3, 2), tuple(levels)
    return coloured(rng, gray + rng.uniform(0.02, 0.15)), tuple(levels)


def _flat_cells(rng: Random, shape: tuple[int, int], radius: float) -> Scene:
    """Large flat cells, faint at their rims, with a bright or dark nucleus in a thicker middle."""
    radius = max(radius, 15)
    packed = rng.random() < 0.5
    cells = tessellated(rng, shape, radius) if packed else scattered(rng, shape, radius, rng.uniform(0.2, 0.5))
    if packed:
        cells = np.where(seams(cells, rng.uniform(0, 2)), 0, cells).astype(np.int32)
        cells[np.isin(cells, np.flatnonzero(rng.random(cells.max() + 1) < rng.uniform(0, 0.5)))] = 0
    nuclei = inner_blobs(rng, cells, rng.uniform(0.3, 0.55))
    thick = depth_inside(cells, radius) ** rng.uniform(0.5, 2)
    texture = 1 + rng.uniform(0.1, 0.5) * smooth_noise(rng, shape, max(radius * rng.uniform(0.08, 0.4), 1.5))
    body = per_object(rng, cells, 0.3) * (rng.uniform(0.05, 0.3) + thick * rng.uniform(0.2, 0.8)) * texture
    core = per_object(rng, nuclei, 0.2) * rng.choice([-0.3, 0.3, 0.8])
    gray = np.clip(body * (1 + core), 0, None) * rng.uniform(0.4, 1)
    gray += _spots(rng, cells > 0, rng.uniform(0.7, 2), rng.uniform(0, 0.1)) * rng.uniform(-0.3, 0.3)
    if rng.random() < 0.4:
        gray = 0.5 + 0.5 * (gray - ndimage.gaussian_filter(gray, radius * 0.4))
    return coloured(rng, gray + rng.uniform(0.02, 0.1)), (cells, nuclei)


def _glands(rng: Random, shape: tuple[int, int], radius: float) -> Scene:
    """Stained sections: rings of nuclei around bright lumina, in stroma that contains separate nuclei."""
    small = max(radius * rng.uniform(0.15, 0.3), 4)
    glands = scattered(rng, shape, max(radius * 1.5, 25), 0.15)
    lumina = inner_blobs(rng, glands, rng.uniform(0.3, 0.6))
    nuclei = scatter(rng, shape, small, count=600, crowding=0.4, outlines=Outlines(0.1, 2.0))
    wall = (glands > 0) & (lumina == 0)
    elsewhere = np.unique(nuclei[~wall])
    nuclei[np.isin(nuclei, elsewhere[rng.random(elsewhere.size) < rng.uniform(0.5, 1)])] = 0
    nuclei[lumina > 0] = 0
    paper = np.array([0.94, 0.9, 0.93], np.float32) + rng.normal(0, 0.03, 3)
    pink = np.clip(np.array([0.08, 0.4, 0.15]) + rng.normal(0, 0.06, 3), 0, None) * rng.uniform(0.4, 1.2)
    blue = np.clip(np.array([0.7, 0.8, 0.3]) + rng.normal(0, 0.1, 3), 0, None) * rng.uniform(0.5, 1.3)
    strands = np.clip(0.6 + 0.5 * smooth_noise(rng, shape, rng.uniform(5, 40), 4), 0, 2)
    tissue = np.where(wall, rng.uniform(0.6, 1.4), strands) * (lumina == 0)
    core = per_object(rng, nuclei, 0.3) * (1 + 0.3 * smooth_noise(rng, shape, max(small * 0.5, 1.5)))
    density = tissue[..., None] * pink + core[..., None] * blue
    return paper * np.exp(-np.clip(density, 0, None)), (nuclei, glands, lumina)


def _crowded_tissue(rng: Random, shape: tuple[int, int], radius: float) -> Scene:
    """Sections in which dark nuclei lie over one another on textured stroma; each is known as a whole."""
    radius = min(radius, 30)
    first = scatter(rng, shape, radius, count=300, crowding=0.8, outlines=Outlines(0.15, 1.8))
    second = scatter(rng, shape, radius, count=120, crowding=0.3, outlines=Outlines(0.15, 1.8))
    # those above hide no more than a part of those below
    hidden = np.bincount(second.ravel(), (first > 0).ravel()) / np.maximum(np.bincount(second.ravel()), 1)
    second[np.isin(second, np.flatnonzero(hidden > 0.35))] = 0
    paper = np.array([0.92, 0.86, 0.9], np.float32) + rng.normal(0, 0.04, 3)
    stroma = np.clip(np.array([0.15, 0.4, 0.2]) * rng.uniform(0.4, 1.5) + rng.normal(0, 0.05, 3), 0, None)
    stain = np.clip(np.array([0.6, 0.7, 0.35]) * rng.uniform(0.4, 1.2) + rng.normal(0, 0.1, 3), 0, None)
    fibres = np.clip(0.5 + 0.6 * smooth_noise(rng, shape, rng.uniform(3, 30), 4), 0, 2)
    chromatin = 1 + rng.uniform(0.1, 0.5) * smooth_noise(rng, shape, max(radius * 0.25, 1.5))
    rim = 1 + rng.uniform(0, 0.6) * (1 - depth_inside(first, radius * 0.3))
    core = per_object(rng, first, 0.35) * rim + 0.7 * per_object(rng, second, 0.35)
    density = fibres[..., None] * stroma + (core * chromatin)[..., None] * stain
    levels = (first, second) if second.any() else (first,)
    return paper * np.exp(-np.clip(density, 0, None)), levels


NESTED_KINDS: dict[str, Callable[[Random, tuple[int, int], float], Scene]] = {
    "granulocytes": _granulocytes,
    "budding cells": _budding,
    "rods and filaments": _rods,
    "flat cells": _flat_cells,
    "glands": _glands,
    "crowded tissue": _crowded_tissue,
}
