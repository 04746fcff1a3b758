"""From the maps of micro-sam's decoder to objects: a seeded watershed, and clicks.

As micro-sam does it (Archit et al. 2025): a seed is where both distances are low and there is foreground.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from skimage.filters import gaussian
from skimage.measure import label
from skimage.segmentation import watershed

from napari_segany.core.masks import windows_of
from napari_segany.core.prompts import Point
from napari_segany.core.simulate import centre_point


@dataclass(frozen=True, slots=True)
class ReadoutConfig:
    """Numbers of the readout; the defaults are those of micro-sam.

    Parameters
    ----------
    centre, boundary : float
        Distances below which a pixel belongs to a seed; both are 0 in the middle of an object, 1 at its outline.
    foreground : float
        Probability above which a pixel belongs to an object.
    foreground_smoothing, distance_smoothing : float
        Standard deviations in pixels with which the maps are smoothed.
    """

    centre: float = 0.5
    boundary: float = 0.5
    foreground: float = 0.5
    foreground_smoothing: float = 1.0
    distance_smoothing: float = 1.6


@dataclass(frozen=True, slots=True, eq=False)
class DecodedMaps:
    """The maps of a plane, each (y, x) float32 from 0 to 1."""

    foreground: np.ndarray
    centre: np.ndarray
    boundary: np.ndarray


def seeds_of(maps: DecodedMaps, config: ReadoutConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return seeds (y, x) int with a number each, the foreground bool, and the smoothed boundary distance."""
    centre, boundary = (gaussian(each, config.distance_smoothing) for each in (maps.centre, maps.boundary))
    inside = gaussian(maps.foreground, config.foreground_smoothing) > config.foreground
    seeds = label((centre < config.centre) & (boundary < config.boundary) & inside)
    return seeds, inside, boundary


def segment_instances(maps: DecodedMaps, config: ReadoutConfig) -> np.ndarray:
    """Labels (y, x) of the objects: a watershed of the boundary distance from the seeds, within the foreground."""
    seeds, inside, boundary = seeds_of(maps, config)
    found: np.ndarray = watershed(boundary, markers=seeds, mask=inside)
    return found


def clicks_of(maps: DecodedMaps, config: ReadoutConfig) -> list[Point]:
    """A click on each seed: the pixel farthest from its outline."""
    seeds, _, _ = seeds_of(maps, config)
    clicks = []
    for (rows, columns), mask in windows_of(seeds).values():
        point = centre_point(np.pad(mask, 1))
        clicks.append(Point(point.y - 1 + rows.start, point.x - 1 + columns.start))
    return clicks


def mean_foreground(maps: DecodedMaps, labels: np.ndarray) -> dict[int, float]:
    """The mean probability of foreground of each object, which serves as its score."""
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    means = scipy.ndimage.mean(maps.foreground, labels, numbers)
    return {int(number): float(mean) for number, mean in zip(numbers, means, strict=True)}
