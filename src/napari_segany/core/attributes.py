"""Measurements of objects, and the words that follow from them: small, bright, elongated ….

Size, brightness and texture are relative to the other objects of a plane: the small ones are its smallest third. Shape
and touching the border are properties of a single object. The same rules write the captions that the text model learns
from, and select the objects that a text such as "small bright nuclei" describes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from napari_segany.core.planes import Plane, Region

THIRD = 1 / 3
FEW = 4
"""Of fewer objects none is called small or bright: there is nothing to compare them with."""
ROUND = 1.35
"""Length over width, at most, of what is round; it must be ``SOLID`` too."""
SOLID = 0.88
"""Share of its ellipse that a round object fills."""
ELONGATED = 1.8
"""Length over width, at least, of what is elongated."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectMeasures:
    """Objects of a plane, measured; each array is (n,).

    Parameters
    ----------
    area : ndarray
        Pixels.
    brightness : ndarray
        Mean gray value inside, 0 to 255.
    texture : ndarray
        Standard deviation inside over the mean.
    elongation : ndarray
        Length over width of the ellipse of the same second moments.
    filling : ndarray
        Area over that of the ellipse, at most 1.
    border : ndarray
        bool, whether the object reaches the border of the plane.
    """

    area: np.ndarray
    brightness: np.ndarray
    texture: np.ndarray
    elongation: np.ndarray
    filling: np.ndarray
    border: np.ndarray

    def holds(self, attribute: str) -> np.ndarray:
        """Of which objects an attribute, a key of ``words.ATTRIBUTES``, is true: (n,) bool."""
        low_high = {
            "small": (self.area, True),
            "large": (self.area, False),
            "dark": (self.brightness, True),
            "bright": (self.brightness, False),
            "smooth": (self.texture, True),
            "textured": (self.texture, False),
        }
        if attribute in low_high:
            return _third(*low_high[attribute])
        if attribute == "round":
            round_ones: np.ndarray = (self.elongation <= ROUND) & (self.filling >= SOLID)
            return round_ones
        if attribute == "elongated":
            long_ones: np.ndarray = self.elongation >= ELONGATED
            return long_ones
        return self.border

    def satisfying(self, attributes: Sequence[str], lacking: Sequence[str] = ()) -> np.ndarray:
        """Which objects have all of some attributes and none of others: (n,) bool."""
        good = np.ones(len(self.area), bool)
        for attribute in attributes:
            good &= self.holds(attribute)
        for attribute in lacking:
            good &= ~self.holds(attribute)
        return good


def _third(values: np.ndarray, lowest: bool) -> np.ndarray:
    """The third of the values that is lowest or highest; none of a few."""
    if len(values) < FEW:
        return np.zeros(len(values), bool)
    if lowest:
        low: np.ndarray = values <= np.quantile(values, THIRD)
        return low
    high: np.ndarray = values >= np.quantile(values, 1 - THIRD)
    return high


def measure_objects(plane: Plane, windows: Sequence[Region], masks: Sequence[np.ndarray]) -> ObjectMeasures:
    """Measure the objects of a plane.

    Parameters
    ----------
    plane : ndarray
        (y, x, 3) uint8.
    windows : sequence of tuple of slice
        Rows and columns of each object's bounding box.
    masks : sequence of ndarray
        bool, of the windows' shapes, none of them empty.
    """
    rows = [_one(plane, window, mask) for window, mask in zip(windows, masks, strict=True)]
    columns = np.array(rows, float).reshape(-1, 6).T
    area, brightness, texture, elongation, filling, border = columns
    return ObjectMeasures(area, brightness, texture, elongation, filling, border > 0)


def _one(plane: Plane, window: Region, mask: np.ndarray) -> tuple[float, ...]:
    values = plane[window].mean(axis=-1)[mask]
    places = np.argwhere(mask).astype(float)
    area = float(len(places))
    # A pixel is not a point: its own variance is one twelfth along each axis.
    spread = np.cov(places.T, bias=True) + np.eye(2) / 12 if area > 1 else np.eye(2) / 12
    width, length = np.sqrt(np.clip(np.linalg.eigvalsh(spread), 1e-9, None))
    touches = any(s.start <= 0 or s.stop >= n for s, n in zip(window, plane.shape[:2], strict=True))
    mean = float(values.mean())
    filling = min(area / (4 * np.pi * width * length), 1.0)
    return area, mean, float(values.std() / (mean + 1)), float(length / width), filling, float(touches)


def measure_labels(plane: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ObjectMeasures]:
    """The numbers of a label image (y, x), ascending without 0, and what is measured of each object."""
    values, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape) + (0 if values[0] == 0 else 1)
    windows = [window for window in scipy.ndimage.find_objects(compact) if window is not None]
    masks = [compact[window] == number for number, window in enumerate(windows, start=1)]
    return values[values != 0], measure_objects(plane, windows, masks)
