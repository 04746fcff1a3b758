"""Clicks and boxes as a user would make them, from a known mask: for training, experiments and tests."""

from __future__ import annotations

import numpy as np
import scipy

from napari_segany.core.masks import box_of
from napari_segany.core.prompts import Box, Point


def inner_distance(mask: np.ndarray) -> np.ndarray:
    """(y, x) bool -> (y, x) float distance in pixels to the nearest pixel off the mask; beyond the picture is off."""
    distance: np.ndarray = scipy.ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return distance


def centre_point(mask: np.ndarray) -> Point:
    """The point farthest from the mask's boundary, the click of the paper's zero-shot protocol (section 7.1).

    Parameters
    ----------
    mask : ndarray
        (y, x) bool, not empty.
    """
    y, x = np.unravel_index(np.argmax(inner_distance(mask)), mask.shape)
    return Point(float(y), float(x))


def random_point(mask: np.ndarray, rng: np.random.Generator) -> Point:
    """A click on the object: half the time anywhere on it, else somewhere near its middle.

    Parameters
    ----------
    mask : ndarray
        (y, x) bool, not empty.
    rng : numpy.random.Generator
        Source of chance.
    """
    if rng.random() < 0.5:
        depth = inner_distance(mask)
        place = int(np.argmax(depth * rng.uniform(0.6, 1, mask.shape)))
    else:
        place = int(rng.choice(np.flatnonzero(mask)))
    y, x = np.unravel_index(place, mask.shape)
    return Point(float(y), float(x))


def noisy_box(mask: np.ndarray, rng: np.random.Generator, noise: float = 0.1) -> Box:
    """The mask's box with each side moved by noise, 10% of its length as in the paper, 20 pixels at most (appendix A).

    Parameters
    ----------
    mask : ndarray
        (y, x) bool, not empty.
    rng : numpy.random.Generator
        Source of chance.
    noise : float
        Standard deviation, in shares of the side.
    """
    box = box_of(mask)
    if box is None:
        raise ValueError("an empty mask has no box")
    height, width = box.y1 - box.y0 + 1, box.x1 - box.x0 + 1
    move = rng.normal(0, noise, 4) * [height, width, height, width]
    y0, x0, y1, x1 = np.array([box.y0, box.x0, box.y1, box.x1]) + np.clip(move, -20, 20)
    return Box(float(y0), float(x0), float(y1), float(x1))


def correction_point(truth: np.ndarray, found: np.ndarray) -> Point | None:
    """The next click: in the middle of the largest error region, positive where the mask lacks, else negative.

    Parameters
    ----------
    truth, found : ndarray
        (y, x) bool.

    Returns
    -------
    Point or None
        None when the two masks agree everywhere.
    """
    wrong = truth ^ found
    if not wrong.any():
        return None
    # Missing and surplus pixels that touch are two regions: they need clicks of different signs.
    missing, count = scipy.ndimage.label(truth & ~found)
    surplus, _ = scipy.ndimage.label(found & ~truth)
    regions = np.where(surplus > 0, surplus + count, missing)
    largest = regions == np.bincount(regions[wrong]).argmax()
    point = centre_point(largest)
    return Point(point.y, point.x, bool(truth[int(point.y), int(point.x)]))
