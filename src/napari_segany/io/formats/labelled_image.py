"""A label image with known facts about its objects, and its objects plane by plane, each in a separate window."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy
import skimage

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """All of one object that lies on one plane.

    Parameters
    ----------
    about : ObjectInfo
        What is known of the object.
    plane : int
        Number of the plane, in the order of :meth:`LabelledImage.positions`.
    corner : (y, x)
        Where the window begins in the plane.
    mask : ndarray
        (h, w) bool, the object within the tightest window around it.
    """

    about: ObjectInfo
    plane: int
    corner: tuple[int, int]
    mask: np.ndarray

    @property
    def area(self) -> int:
        """How many pixels it has."""
        return int(np.count_nonzero(self.mask))

    @property
    def box(self) -> list[int]:
        """Its box as COCO has it: [x, y, width, height], in pixels, from the corner of the first pixel."""
        return [self.corner[1], self.corner[0], self.mask.shape[1], self.mask.shape[0]]


def _nobody(done: float, total: float) -> None:
    """Ignore the progress; the default."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """A label image and all information that its files may contain.

    Parameters
    ----------
    labels : ndarray
        (y, x), (z, y, x), (t, y, x) or (t, z, y, x) uint16 or uint32, 0 is background.
    axes : str
        Letter of each axis.
    about : mapping of int to ObjectInfo
        Known facts about the objects, by label. Labels without pixels do not count.
    scale : tuple of float
        Distance of neighbouring pixels along each axis, in `unit` where the axis is one of space.
    unit : str
        Of length, as it is to be written, for example "µm" or "pixel".
    channels : mapping of str to array
        Pictures of the labels' shape, by their names; that of a single one may be empty.
    name : str
        Name of the picture.
    nameless : tuple of str
        Letters of axes that are treated as such, and which the image does not call so: tables name them by their
        number, "axis-0".
    columns : collection of str, optional
        Columns of tables that are written; by default all.
    left_out : frozenset of int
        Objects that tables have no rows of; they are measured with the others, and count as neighbours.
    report : callable
        Called with the amount that is written, and the total; an exception that it raises stops the writing.

    Raises
    ------
    InputError
        When the axes are others, or scale or channels do not fit the labels.
    """

    labels: np.ndarray
    axes: str
    about: Mapping[int, ObjectInfo]
    scale: tuple[float, ...]
    unit: str = "pixel"
    channels: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    nameless: tuple[str, ...] = ()
    columns: Collection[str] | None = None
    left_out: frozenset[int] = frozenset()
    report: Callable[[float, float], None] = _nobody

    def __post_init__(self) -> None:
        shape = self.labels.shape
        if self.axes not in ("yx", "zyx", "tyx", "tzyx"):
            raise InputError(f"objects are separated on the axes (t)(z)yx only, not {self.axes}; a .tif takes any axes")
        if len(self.scale) != len(shape) or not all(math.isfinite(step) and step > 0 for step in self.scale):
            raise InputError(f"labels of {len(shape)} axes do not fit the scale {self.scale}")
        for values in self.channels.values():
            if values.shape != shape:
                raise InputError(f"an image of shape {values.shape} does not fit labels of shape {shape}")

    @property
    def plane_shape(self) -> tuple[int, int]:
        """(height, width) of a plane."""
        height, width = self.labels.shape[-2:]
        return height, width

    def name_of(self, axis: str) -> str:
        """What tables call an axis: its letter, or its number where the image does not call it so."""
        return f"axis-{self.axes.index(axis)}" if axis in self.nameless else axis

    def positions(self) -> list[dict[str, int]]:
        """Where each plane lies: its index, from 0, on each axis before y and x."""
        return [dict(zip(self.axes, index, strict=False)) for index in np.ndindex(self.labels.shape[:-2])]

    def pieces(self) -> Iterator[Piece]:
        """All objects of all planes, one after the other, by plane and then by label."""
        planes = math.prod(self.labels.shape[:-2])
        for number, index in enumerate(np.ndindex(self.labels.shape[:-2])):
            plane, labels = numbered(self.labels[index])
            for position, window in enumerate(scipy.ndimage.find_objects(plane)):
                about = self.known(int(labels[position]))
                corner = (window[0].start, window[1].start)
                self.report(number + position / len(labels), planes)
                yield Piece(about, number, corner, plane[window] == position + 1)

    def known(self, label: int) -> ObjectInfo:
        """What is known of the object with a label, be it the label alone."""
        return self.about.get(label, ObjectInfo(label))


def numbered(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number objects from 1 without gaps: tools that list objects make one entry for every number up to the largest.

    Returns
    -------
    tuple of ndarray
        The numbers, of the labels' shape; and the label that belongs to each number, that of 1 first.
    """
    dense, _, labels_of = skimage.segmentation.relabel_sequential(labels)
    return dense, np.asarray(labels_of[np.arange(1, int(dense.max()) + 1)])


def by_label(objects: tuple[ObjectInfo, ...]) -> dict[int, ObjectInfo]:
    """Objects by their label.

    Raises
    ------
    InputError
        When two have the same.
    """
    about = {int(known.label): replace(known, label=int(known.label)) for known in objects}
    if len(about) != len(objects):
        raise InputError("two of the objects have the same label")
    return about
