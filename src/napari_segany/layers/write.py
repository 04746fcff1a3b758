"""From masks to Labels layers: the preview, which is ours, and the output, in which nothing is ever lost."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import skimage
from napari.layers import Image, Labels, Layer, Points, Shapes
from napari.settings import get_settings

from napari_segany.core.errors import InputError
from napari_segany.core.masks import box_of, paintable
from napari_segany.core.prompts import Prompt
from napari_segany.core.views import View
from napari_segany.layers.colours import NameColours
from napari_segany.layers.compat import space_of, stroke_window
from napari_segany.layers.read import NEGATIVE, POSITIVE, SIGN, data_to_world_matrix, image_shape, lying_on

OUTLINE_ERROR = 0.35
"""How far, in pixels, an outline may be from the line between pixel centres: where it cuts a corner, the next centre is
sqrt(2) / 4 pixels away."""
SEARCHED = 2**12
"""How many labels are tested at a time for free ones."""
COUNTED_VOXELS = 2**27
"""Labels of larger arrays are not all read to find the highest."""


def placement(layer: Layer) -> dict[str, Any]:
    """Keyword arguments that put another layer of the same axes exactly where a layer lies."""
    placed = {name: getattr(layer, name) for name in ("scale", "translate", "rotate", "shear", "affine")}
    return placed | space_of(layer)


def new_labels(image: Image, labels: np.ndarray | None = None) -> Labels:
    """A Labels layer for the whole image, with the labels that are given or empty.

    Raises
    ------
    InputError
        When there is not the memory for it.
    """
    try:
        labels = np.zeros(image_shape(image), np.int32) if labels is None else labels
    except MemoryError:
        raise InputError(f"there is no memory for labels of {image_shape(image)}; crop {image.name!r} first") from None
    return Labels(labels, name=f"{image.name} labels", **placement(image))


def check_labels(labels: Labels, image: Image) -> None:
    """Make sure that masks of the image can be painted into a layer.

    Raises
    ------
    InputError
        When the layer has another shape, or cannot be painted into.
    """
    if labels.multiscale or not isinstance(labels.data, np.ndarray):
        raise InputError(f"{labels.name!r} is not an array in memory and cannot be painted into; choose another layer")
    if not can_be_written(labels):
        raise InputError(f"{labels.name!r} is read-only and cannot be painted into; choose another layer")
    if labels.data.shape != image_shape(image):
        raise InputError(
            f"{labels.name!r} has shape {labels.data.shape}, but {image.name!r} needs {image_shape(image)}"
        )


def fits_shape(labels: Labels, image: Image) -> bool:
    """Whether masks of an image can be painted into a layer, see :func:`check_labels`."""
    try:
        check_labels(labels, image)
    except InputError:
        return False
    return True


def can_be_written(labels: Labels) -> bool:
    """Whether the values of a layer are in memory and may be changed there."""
    return isinstance(labels.data, np.ndarray) and bool(labels.data.flags.writeable) and bool(labels.editable)


def free_label(labels: Labels, view: View | None, wanted: int, *, count: int = 1) -> int:
    """The label from `wanted` on that is above all that pixels have, with `count` - 1 more after it.

    Where the type of the layer ends before that, as in masks of 0 and 255, the lowest that lie between others.

    Raises
    ------
    InputError
        When the layer has not so many free labels in a row.
    """
    values = labels.data if labels.data.size <= COUNTED_VOXELS or view is None else view.read(labels.data)
    highest = int(np.iinfo(labels.data.dtype).max)
    label = max(wanted, int(values.max(initial=0)) + 1)
    if label + count - 1 > highest:
        label = _free_below(values, wanted, count, highest) or _free_below(values, 1, count, highest)
    if not label:
        many = "" if count == 1 else f" for {count} objects"
        raise InputError(f"{labels.name!r} is {labels.data.dtype} and has no label left{many}; make a new layer")
    return label


def _free_below(values: np.ndarray, wanted: int, count: int, highest: int) -> int:
    """The first label from `wanted` to `highest` that no value has, nor have `count` - 1 after it; 0 for none."""
    start = max(wanted, 1)
    while start + count - 1 <= highest:
        stop = min(start + count + SEARCHED, highest + 1)
        # a few at a time, so that not all values of a volume must be sorted
        used = np.unique(values[(values >= start) & (values <= stop - 1)]).tolist()
        for before, after in pairwise([start - 1, *used, stop]):
            if after - before > count:
                return int(before) + 1
        start = int(used[-1]) + 1
    return 0


def set_pixels(labels: Labels, pixels: tuple[np.ndarray, ...], values: Any) -> None:
    """Write values to pixels of a layer, and let napari draw them and emit its events.

    Parameters
    ----------
    labels : Labels
        Checked by :func:`check_labels`.
    pixels : tuple of ndarray
        Index of single pixels, an integer array for each axis.
    values : int or ndarray
        One for all, or one for each.
    """
    new = np.broadcast_to(np.asarray(values, labels.data.dtype), pixels[0].shape)
    changed = labels.data[pixels] != new
    pixels, new = tuple(axis[changed] for axis in pixels), new[changed]
    if not new.size:
        return
    if labels.visible and not get_settings().experimental.async_:
        labels.data_setitem(pixels, new)
        return
    # what is not drawn yet has no slice of the right size and type, into which napari would write as well
    before = labels.data[pixels]
    labels.data[pixels] = new
    labels.events.paint(value=[(pixels, before, new)])
    labels.refresh()


def numbered(found: np.ndarray, first: int) -> np.ndarray:
    """Labels from 1 of objects that were found, (rows, columns) -> the same from `first` on; 0 stays."""
    last = first + int(found.max(initial=0)) - 1
    kind = labels_in(last)
    return np.where(found > 0, found.astype(kind) + kind.type(first - 1), kind.type(0))


def labels_in(label: int) -> np.dtype:
    """The type in which a label is previewed."""
    kinds = (np.int32, np.int64, np.uint64)
    return np.dtype(next((kind for kind in kinds if label <= np.iinfo(kind).max), np.uint64))


def free_pixels(labels: Labels, view: View, pixels: np.ndarray, *, overwrite: bool) -> tuple[np.ndarray, ...]:
    """Rows and columns of the plane that a mask may take, see :func:`~napari_segany.core.masks.paintable`.

    Parameters
    ----------
    labels : Labels
        Checked by :func:`check_labels`.
    view : View
        The plane.
    pixels : ndarray
        (rows, columns) bool.
    overwrite : bool
        Whether pixels of other labels may be taken.
    """
    return paintable(view.read(labels.data), pixels, overwrite=overwrite)


def new_objects(existing: np.ndarray, found: np.ndarray, *, overwrite: bool, replace: bool = False) -> np.ndarray:
    """What of the objects that were found can be painted next to those that are there.

    Parameters
    ----------
    existing : ndarray
        (rows, columns) integer labels that are there, 0 is background.
    found : ndarray
        (rows, columns) integer labels from 1.
    overwrite : bool
        Whether pixels of `existing` may be taken.
    replace : bool
        Whether existing objects may be painted over: each new one has a prompt of the user.

    Returns
    -------
    ndarray
        (rows, columns) int64, numbered from 1 without gaps. An object more than half of which is taken is there
        already, and left out whole, so that no slivers are painted around it.
    """
    labelled = existing != 0
    areas = np.bincount(found.ravel())
    lost = np.bincount(found[labelled], minlength=areas.size)
    stays = (areas > 0) & ((2 * lost <= areas) | (replace and overwrite))
    stays[0] = False
    numbers = np.where(stays, np.cumsum(stays), 0)
    fresh: np.ndarray = np.where(labelled & (not overwrite), 0, numbers[found])
    return fresh


def replacement(
    labels: Labels, view: View, label: int, pixels: np.ndarray, *, overwrite: bool
) -> tuple[np.ndarray, ...]:
    """What to write so that an object has other pixels on a plane, and none of those that it had.

    Returns
    -------
    tuple of ndarray
        Rows, columns and values of what changes; pixels of other labels change only with `overwrite`.
    """
    before = view.read(labels.data)
    taken = (before != label) & (before != 0) & (not overwrite)
    after = np.where(before == label, 0, before)
    after[pixels & ~taken] = label
    rows, columns = np.nonzero(after != before)
    return rows, columns, after[rows, columns]


def _at(layer: Layer, places: Any, view: View, image: Image) -> np.ndarray:
    """(n, 2) places on a plane of the image -> (n, axes) pixels of a layer."""
    data = np.repeat(np.array([view.position], float), len(places), axis=0)
    data[:, list(view.axes)] = places
    return np.array([np.asarray(layer.world_to_data(image.data_to_world(place)))[-layer.ndim :] for place in data])


def write_outlines(pixels: np.ndarray, view: View, image: Image, shapes: Shapes) -> None:
    """Put pixels into a Shapes layer as polygons: their outlines, and negative ones around their holes.

    What :func:`~napari_segany.layers.read.read_prompt` makes of the polygons are the pixels again.

    Parameters
    ----------
    pixels : ndarray
        (rows, columns) bool.
    view : View
        Of the image; the plane they lie on.
    image, shapes : Image, Shapes
        What is prompted, and what is written into.
    """
    rings = [ring - 1 for ring in skimage.measure.find_contours(np.pad(pixels, 1).astype(float), 0.5)]
    # skimage goes around what is high one way, around holes the other; an island in a hole comes after it
    rings.sort(key=lambda ring: -abs(_turn(ring)))
    for ring in rings:
        corners = skimage.measure.approximate_polygon(ring, OUTLINE_ERROR)[:-1]
        if len(corners) > 2:
            shapes.feature_defaults = {SIGN: POSITIVE if _turn(ring) < 0 else NEGATIVE}
            shapes.add_polygons(_at(shapes, corners, view, image))
    shapes.feature_defaults = {SIGN: POSITIVE}


def _turn(ring: np.ndarray) -> float:
    """Twice the area within a closed ring (n, 2), by its direction positive or negative."""
    y, x = ring.T
    return float(np.sum(y * np.roll(x, -1) - x * np.roll(y, -1)))


def write_prompt(prompt: Prompt, view: View, image: Image, points: Points | None, shapes: Shapes | None) -> None:
    """Put the clicks and the box of a prompt into the prompt layers, on a plane of the image."""
    if points is not None and prompt.points:
        for sign, positive in ((POSITIVE, True), (NEGATIVE, False)):
            places = [(point.y, point.x) for point in prompt.points if point.positive is positive]
            if places:
                points.feature_defaults = {SIGN: sign}
                points.add(_at(points, places, view, image))
        points.feature_defaults = {SIGN: POSITIVE}
    if shapes is not None and (box := prompt.box) is not None:
        corners = [(box.y0, box.x0), (box.y0, box.x1), (box.y1, box.x1), (box.y1, box.x0)]
        shapes.add_rectangles(_at(shapes, corners, view, image))


ROOM = 768
"""Side in pixels of the window that is previewed where that is enough: it is drawn at once in any plane, and another
mask in a window of the same size is half the work."""
STEP = ROOM // 3
"""What the sides of larger windows are multiples of."""
HINT = 0.3
"""Opacity of the hover preview, half that of a requested mask."""


def _span(first: float, last: float, length: int) -> slice:
    """Pixels that are previewed along an axis of a plane, for a mask from the first to the last, around its middle."""
    size = min(max(-(-int(last + 1 - first) // STEP) * STEP, ROOM), length)
    start = min(max(int(first + last + 1 - size) // 2, 0), length - size)
    return slice(start, start + size)


class Preview:
    """A Labels layer of a part of a plane, which lies on the image wherever the image lies.

    It contains only the visible part of the plane, so that neither a large volume nor a large plane is drawn for a
    small mask; while the user paints into it, it is the whole plane.

    Parameters
    ----------
    image : Image
        What it lies on.

    Attributes
    ----------
    view : View or None
        The plane that it lies on; None before anything was shown.
    colours : NameColours
        Its colours.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self.view: View | None = None
        self._plane = (1, 1)
        self._window = (slice(0, 1), slice(0, 1))
        self.layer = Labels(
            np.zeros((1,) * image.ndim, np.int32),
            name="segmentation preview",
            opacity=2 * HINT,
            **lying_on(image),
        )
        self.colours = NameColours(self.layer)
        self.layer.events.mode.connect(self._make_room)

    def show(self, view: View, labels: np.ndarray, *, number: int = 1, hint: bool = False) -> None:
        """Show labels of a plane.

        Parameters
        ----------
        view : View
            The plane.
        labels : ndarray
            (rows, columns) integers, or bool for a single object.
        number : int
            Factor for the labels: the label of the single object.
        hint : bool
            Show them lightly, as a hover preview.
        """
        opacity = HINT if hint else 2 * HINT
        if self.layer.opacity != opacity:
            self.layer.opacity = opacity
        window = self._room(view, labels)
        part = labels[window]
        kind = labels_in(max(number, int(part.max(initial=0)) if number == 1 else 1))
        self._plane = labels.shape[0], labels.shape[1]
        self._lay(view, window, part.astype(kind, copy=number == 1) if number == 1 else part * kind.type(number))

    def expect(self, view: View, plane: tuple[int, int], place: tuple[float, float]) -> None:
        """Lie around a place (y, x) of a plane, while nothing is shown: so a mask is drawn sooner once it is there."""
        if self.painting or self.layer.data.any():
            return
        window = tuple(_span(at, at, length) for at, length in zip(place, plane, strict=True))
        if view != self.view or window != self._window:
            self._plane = plane
            self._lay(view, (window[0], window[1]), np.zeros([span.stop - span.start for span in window], np.int32))

    def follow(self) -> None:
        """The image has other units or names of axes, and so has the preview."""
        for name, value in space_of(self._image).items():
            setattr(self.layer, name, value)

    def _lay(self, view: View, window: tuple[slice, slice], plane: np.ndarray) -> None:
        """Show labels of a window of a plane."""
        self.view, self._window = view, window
        shape = [1] * len(view.position)
        shape[view.axes[0]], shape[view.axes[1]] = plane.shape
        block = (plane if view.axes[0] < view.axes[1] else plane.T).reshape(shape)
        matrix = data_to_world_matrix(self._image)
        start = [*view.position, 1]
        for axis, span in zip(view.axes, self._window, strict=True):
            start[axis] = span.start
        matrix[:, -1] = matrix @ start
        fits = (block.shape, block.dtype) == (self.layer.data.shape, self.layer.data.dtype)
        if fits and np.array_equal(matrix, self.layer.affine.affine_matrix):
            self.layer.data[...] = block
            self._redraw()
            return
        if fits:
            # to be drawn when it is where it belongs
            self.layer.data[...] = block
        else:
            self.layer.data = block
        self.layer.affine = matrix

    def _room(self, view: View, labels: np.ndarray) -> tuple[slice, slice]:
        """The window that labels (rows, columns) of a plane are shown in: the one that there is, if it suits them."""
        if self.painting:
            return slice(0, labels.shape[0]), slice(0, labels.shape[1])
        box = box_of(labels)
        # where nothing is, it is as well shown where the window lies already
        nowhere = tuple((span.start, span.start) for span in self._window)
        reach = ((box.y0, box.y1), (box.x0, box.x1)) if box is not None else nowhere
        rows, columns = (_span(*ends, length) for ends, length in zip(reach, labels.shape[:2], strict=True))
        suits = view == self.view and all(
            old.stop - old.start == new.stop - new.start and old.start <= first and last < old.stop
            for old, new, (first, last) in zip(self._window, (rows, columns), reach, strict=True)
        )
        return self._window if suits else (rows, columns)

    def _make_room(self) -> None:
        """Somebody is about to paint: anywhere."""
        if self.view is not None and self.painting:
            labels = np.zeros(self._plane, self.layer.data.dtype)
            labels[self._window] = View(self.view.axes, (0,) * self.layer.ndim).read(self.layer.data)
            self.show(self.view, labels)

    def with_strokes(self, strokes: Iterable[Any]) -> np.ndarray:
        """(rows, columns) bool: the mask that is shown, with the strokes that are painted into it.

        Parameters
        ----------
        strokes : iterable
            As in napari's event: windows that are already written, and (indices, old, new) that may not be.
        """
        painted = np.array(self.layer.data)
        for stroke in strokes:
            if stroke_window(stroke) is None:
                painted[stroke[0]] = stroke[2]
        return View(self.view.axes, (0,) * self.layer.ndim).read(painted) > 0 if self.view else painted > 0

    @property
    def painting(self) -> bool:
        """Whether the mouse paints into it."""
        return str(self.layer.mode) in ("paint", "erase")

    def clear(self) -> None:
        """Show nothing."""
        if self.layer.data.any():
            self.layer.data[...] = 0
            self._redraw()

    def _redraw(self) -> None:
        """Draw the pixels and nothing else: a new thumbnail has napari draw its whole list of layers."""
        self.layer.refresh(thumbnail=False, highlight=False, extent=False)
