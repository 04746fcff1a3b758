"""What was said of ONE object on ONE plane: points, a box, a text, a rough mask.

Coordinates are continuous data coordinates of the plane, as napari uses them: ``y`` before ``x``, in pixels, with the
centre of the first pixel at (0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_segany.core.errors import InputError


def _finite(values: tuple[float, ...], what: str) -> None:
    if not all(math.isfinite(value) for value in values):
        raise InputError(f"{what} needs finite coordinates, got {values}")


@dataclass(frozen=True, slots=True)
class Point:
    """A click.

    Parameters
    ----------
    y, x : float
        Position in pixels; the centre of the first pixel is (0, 0).
    positive : bool
        True when the point lies on the object, False when it lies outside it.
    """

    y: float
    x: float
    positive: bool = True

    def __post_init__(self) -> None:
        _finite((self.y, self.x), "a point")


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle around the object; corners in any order are sorted.

    Parameters
    ----------
    y0, x0, y1, x1 : float
        Opposite corners in pixels.
    """

    y0: float
    x0: float
    y1: float
    x1: float

    def __post_init__(self) -> None:
        _finite((self.y0, self.x0, self.y1, self.x1), "a box")
        for low, high in (("y0", "y1"), ("x0", "x1")):
            first, second = getattr(self, low), getattr(self, high)
            if first > second:
                object.__setattr__(self, low, second)
                object.__setattr__(self, high, first)


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Everything said of one object on one plane.

    Parameters
    ----------
    points : tuple of Point
        Positive and negative clicks, in the order they were made.
    box : Box, optional
        A rectangle around the object.
    text : str
        What the object is called; empty for none.
    mask : ndarray, optional
        Either a rough mask, boolean, of the plane's shape (y, x), or the low-resolution ``logits`` of an earlier
        :class:`~napari_segany.core.masks.Mask`, floating point, in the model's own frame.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    text: str = ""
    mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple(self.points))
        if self.mask is not None and (self.mask.ndim != 2 or self.mask.dtype.kind not in "bf"):
            raise InputError(
                "a mask prompt is a 2D boolean mask of the plane or 2D floating-point logits, "
                f"got {self.mask.dtype} of shape {self.mask.shape}"
            )

    def __bool__(self) -> bool:
        return bool(self.points or self.text.strip()) or self.box is not None or self.mask is not None

    def says_the_same(self, other: Prompt) -> bool:
        """Whether another prompt holds the same points, box, text and mask."""
        same_mask = self.mask is other.mask or (
            self.mask is not None and other.mask is not None and np.array_equal(self.mask, other.mask)
        )
        return same_mask and (self.points, self.box, self.text) == (other.points, other.box, other.text)

    @property
    def ambiguous(self) -> bool:
        """True for a lone positive point, which may mean a part, the object, or the whole it belongs to."""
        return (
            len(self.points) == 1
            and self.points[0].positive
            and self.box is None
            and self.mask is None
            and not self.text.strip()
        )
