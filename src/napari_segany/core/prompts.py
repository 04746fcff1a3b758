"""Prompts for ONE object on ONE plane: points, a box, a text, a rough mask.

Coordinates are continuous data coordinates of the plane, as napari uses them: ``y`` before ``x``, in pixels, with the
centre of the first pixel at (0, 0).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from napari_segany.core.errors import InputError

FAR = 4
"""Sides of a plane that a click may lie beyond it, where a window shows what is around."""


def _check_coordinates(owner: object, names: tuple[str, ...], what: str) -> None:
    """Make coordinates plain floats; InputError, with the argument's name, for what is no finite number."""
    for name in names:
        value = getattr(owner, name)
        # bool is a number to Python, and never meant as a coordinate
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (Real, np.number)):
            raise InputError(f"{what} needs a number for {name}, got {value!r}")
        try:
            plain = float(value)
        except (TypeError, OverflowError):
            raise InputError(f"{what} needs a number for {name}, got {value!r}") from None
        if not math.isfinite(plain):
            raise InputError(f"{what} needs finite coordinates, got {name}={value}")
        object.__setattr__(owner, name, plain)


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
        _check_coordinates(self, ("y", "x"), "a point")
        if not isinstance(self.positive, (bool, np.bool_)):
            raise InputError(f"a point needs True or False for positive, got {self.positive!r}")


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
        _check_coordinates(self, ("y0", "x0", "y1", "x1"), "a box")
        for low, high in (("y0", "y1"), ("x0", "x1")):
            first, second = getattr(self, low), getattr(self, high)
            if first > second:
                object.__setattr__(self, low, second)
                object.__setattr__(self, high, first)

    def within(self, shape: tuple[int, ...]) -> Box | None:
        """The part of the box that lies on a plane of `shape` (y, x); None where there is none.

        Pixels reach half a pixel beyond their centres.
        """
        lows = [min(max(low, -0.5), length - 0.5) for low, length in zip((self.y0, self.x0), shape, strict=True)]
        highs = [min(max(high, -0.5), length - 0.5) for high, length in zip((self.y1, self.x1), shape, strict=True)]
        outside = self.y1 < -0.5 or self.x1 < -0.5 or self.y0 > shape[0] - 0.5 or self.x0 > shape[1] - 0.5
        return None if outside else Box(*lows, *highs)


@dataclass(frozen=True, slots=True)
class ExampleBox:
    """A box around an object that is like those to find, or unlike them.

    Parameters
    ----------
    box : Box
        In pixels of the plane.
    positive : bool
        Whether it is like them.
    """

    box: Box
    positive: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """All prompts for one object on one plane.

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
        given: object = self.points
        if isinstance(given, Point) or not isinstance(given, Iterable):
            raise InputError(f"a prompt needs a tuple of Point for points, got {self.points!r}")
        object.__setattr__(self, "points", tuple(self.points))
        for point in self.points:
            if not isinstance(point, Point):
                raise InputError(f"a prompt needs a tuple of Point for points, got one with {point!r}")
        if self.box is not None and not isinstance(self.box, Box):
            raise InputError(f"a prompt needs a Box for box, got {self.box!r}")
        if not isinstance(self.text, str):
            raise InputError(f"a prompt needs a string for text, got {self.text!r}")
        if self.mask is not None and not isinstance(self.mask, np.ndarray):
            raise InputError(f"a prompt needs an array for mask, got {type(self.mask).__name__}")
        if self.mask is not None and (self.mask.ndim != 2 or self.mask.dtype.kind not in "bf"):
            raise InputError(
                "a mask prompt is a 2D boolean mask of the plane or 2D floating-point logits, "
                f"got {self.mask.dtype} of shape {self.mask.shape}"
            )

    def __bool__(self) -> bool:
        return bool(self.points or self.text.strip()) or self.box is not None or self.mask is not None

    @property
    def says_where(self) -> bool:
        """Whether the prompt says where the object is, and not only where it is not."""
        drawn = self.mask is not None and bool((self.mask > 0).any())
        return drawn or self.box is not None or bool(self.text.strip()) or any(point.positive for point in self.points)

    def on_plane(self, shape: tuple[int, ...]) -> Prompt:
        """The same prompt, its box cut to a plane of `shape` (y, x), as no pixel lies beyond.

        Raises
        ------
        InputError
            When the prompt is empty, the whole box lies outside, or a point so far outside that it can be no click.
        """
        if not self:
            raise InputError("an empty prompt: give at least a point, a box, a mask or a text")
        size, reach = f"the plane of {shape[0]} x {shape[1]} pixels", FAR * max(shape)
        for point in self.points:
            beyond = max(-point.y, point.y - shape[0], -point.x, point.x - shape[1])
            if beyond > reach:
                raise InputError(f"the point ({point.y:g}, {point.x:g}) lies far outside {size}")
        if self.box is None:
            return self
        box = self.box.within(shape)
        if box is None:
            corners = ", ".join(f"{value:g}" for value in (self.box.y0, self.box.x0, self.box.y1, self.box.x1))
            raise InputError(f"the box ({corners}) lies outside {size}")
        return self if box == self.box else replace(self, box=box)

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
