"""From layers to prompts. Here, and only here, world coordinates become pixels of the image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import skimage
from napari.components import Dims
from napari.layers import Image, Layer, Points, Shapes

from napari_segany.core.errors import InputError
from napari_segany.core.planes import MEASURED, ChannelSettings, LazyArray, Stack
from napari_segany.core.prompts import Box, ExampleBox, Point, Prompt
from napari_segany.core.views import View, planes_of
from napari_segany.layers.compat import space_of

SIGN = "sign"
POSITIVE, NEGATIVE = "positive", "negative"
LINES = ("line", "path")
SCRIBBLE_STEP = 12.0
"""Pixels between the clicks that a line stands for."""
SMALL = 2**12
"""Pixels in the window around a polygon up to which it is worth remembering what lies inside."""
BETWEEN = 1e-6
"""Pixels within which a place is half-way between two planes."""


def image_array(image: Image) -> LazyArray:
    """The image's values, of the finest level when there are several."""
    return image.data[0] if image.multiscale else image.data


def image_shape(image: Image) -> tuple[int, ...]:
    """Shape of the image without its colours: that of its labels."""
    shape = tuple(int(length) for length in image_array(image).shape)
    return shape[:-1] if image.rgb else shape


def current_view(image: Image, dims: Dims) -> View:
    """Which plane of the image the viewer shows.

    Raises
    ------
    InputError
        In 3D display, when a shown axis is none of the image's, or when the slice lies outside the image.
    """
    if dims.ndisplay != 2:
        raise InputError("prompts work on slices: switch the display from 3D to 2D (the cube button, or Ctrl+Y)")
    extra = dims.ndim - image.ndim
    axes = tuple(axis - extra for axis in dims.displayed)
    if min(axes) < 0:
        raise InputError(f"the axes shown are not all axes of {image.name!r}")
    place = np.rint(image.world_to_data(np.asarray(dims.point, float))).astype(int)
    place[list(axes)] = 0
    view = View((axes[0], axes[1]), tuple(int(position) for position in place))
    if not view.inside(image_shape(image)):
        raise InputError(f"this slice lies outside {image.name!r}")
    return view


def stack_of(image: Image, view: View, settings: ChannelSettings = MEASURED) -> Stack:
    """Planes of the image parallel to a view, see :func:`~napari_segany.core.views.planes_of`."""
    return planes_of(image_array(image), view, rgb=image.rgb, settings=settings)


def to_image(layer: Layer, coordinates: np.ndarray, image: Image) -> np.ndarray:
    """Pixels of a layer -> pixels of the image, by way of the world; (n, axes) float both.

    A layer with fewer axes than the image has no position on the image's first ones: there the result is NaN.
    """
    lacking = max(image.ndim - layer.ndim, 0)
    world = _mapped(data_to_world_matrix(layer), np.asarray(coordinates, float).reshape(-1, layer.ndim))
    world = np.hstack([np.zeros((len(world), lacking)), world])[:, -image.ndim :]
    found = _mapped(np.linalg.inv(data_to_world_matrix(image)), world)
    found[:, :lacking] = np.nan
    return found


def data_to_world_matrix(layer: Layer) -> np.ndarray:
    """(axes + 1, axes + 1) homogeneous matrix from a layer's pixels to the world."""
    ndim = layer.ndim
    origin = np.asarray(layer.data_to_world(np.zeros(ndim)), float)
    matrix = np.eye(ndim + 1)
    matrix[:ndim, ndim] = origin
    for axis, unit in enumerate(np.eye(ndim)):
        matrix[:ndim, axis] = np.asarray(layer.data_to_world(unit), float) - origin
    return matrix


def lying_on(image: Image) -> dict[str, Any]:
    """Keyword arguments that put a layer of the image's axes on the image, in its units.

    napari draws no layer in its units when one of them has others.
    """
    return {"affine": data_to_world_matrix(image), **space_of(image)}


def _mapped(matrix: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(n, axes) places through a homogeneous matrix."""
    mapped: np.ndarray = places @ matrix[:-1, :-1].T + matrix[:-1, -1]
    return mapped


def _on_plane(
    layer: Layer, coordinates: np.ndarray, image: Image, view: View, dims: Dims | None
) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) places in the plane, and which of the coordinates lie on it.

    What lacks an axis lies on every slice; what is nowhere (NaN) on none; all else on one, the one that napari shows.
    """
    coordinates = np.asarray(coordinates, float).reshape(-1, layer.ndim)
    places = to_image(layer, coordinates, image)
    lacking, leading = max(image.ndim - layer.ndim, 0), list(view.leading)
    places[:, :lacking] = view.position[:lacking]
    here = np.isfinite(places).all(axis=1)
    between = np.zeros(len(places), bool)
    if leading:
        depth = np.where(here[:, None], places[:, leading], 0.0)
        between = (np.abs(np.abs(depth - np.floor(depth)) - 0.5) < BETWEEN).any(axis=1) & here
        here &= (np.rint(depth) == np.array(view.position)[leading]).all(axis=1)
    for row in np.flatnonzero(between):
        depth = _shown_at(layer, coordinates[row], places[row], image, dims)[leading]
        here[row] = (depth == np.array(view.position)[leading]).all()
    return places[:, list(view.axes)], here


def _shown_at(layer: Layer, place: np.ndarray, pixel: np.ndarray, image: Image, dims: Dims | None) -> np.ndarray:
    """(axes,) the pixel that is shown where the slider stands at a place half-way between planes of the image.

    Such a place is at a plane but for the last bits of its number, which are lost on the way into a layer. So it is put
    back on the stop of the slider that it came from.
    """
    if dims is None or layer.ndim < image.ndim or dims.ndim < layer.ndim:
        return np.rint(np.round(pixel, 6))
    world = np.asarray(layer.data_to_world(place), float)
    for axis in range(layer.ndim):
        start, _, step = dims.range[axis + dims.ndim - layer.ndim]
        stop = start + round((world[axis] - start) / step) * step if step else start
        point = dims.point[axis + dims.ndim - layer.ndim]
        near = [there for there in (point, stop) if abs(there - world[axis]) < BETWEEN * max(abs(step), BETWEEN)]
        world[axis] = near[0] if near else world[axis]
    return np.rint(image.world_to_data(world[-image.ndim :]))


def points_here(points: Points, image: Image, view: View, dims: Dims | None = None) -> np.ndarray:
    """Indices of the layer's points that lie on the plane."""
    return np.flatnonzero(_on_plane(points, points.data, image, view, dims)[1])


def shapes_here(shapes: Shapes, image: Image, view: View, dims: Dims | None = None) -> np.ndarray:
    """Indices of the layer's shapes all of whose corners lie on the plane."""
    data = shapes.data
    if not len(data):
        return np.zeros(0, int)
    here = _on_plane(shapes, np.concatenate(data), image, view, dims)[1]
    firsts = np.cumsum([0, *(len(corners) for corners in data[:-1])])
    return np.flatnonzero(np.logical_and.reduceat(here, firsts))


@lru_cache(maxsize=2**16)
def _point(y: float, x: float, positive: bool) -> Point:
    """A click; those of a moment ago are not made again."""
    return Point(y, x, positive)


def _clicks(points: Points, image: Image, view: View, dims: Dims | None) -> list[Point]:
    places, here = _on_plane(points, points.data, image, view, dims)
    rows = np.flatnonzero(here)
    signs = points.features[SIGN].to_numpy(object)[rows] if SIGN in points.features else [POSITIVE] * len(rows)
    return [_point(y, x, sign != NEGATIVE) for (y, x), sign in zip(places[rows].tolist(), signs, strict=True)]


@dataclass(frozen=True, slots=True)
class _Shape:
    """A shape on the plane: what kind it is, its corners (n, 2) there, and its sign."""

    kind: str
    corners: np.ndarray
    positive: bool


def _shapes_of(shapes: Shapes, image: Image, view: View, dims: Dims | None) -> list[_Shape]:
    """The shapes all of whose corners lie on the plane, in the layer's order."""
    data = shapes.data
    if not len(data):
        return []
    places, here = _on_plane(shapes, np.concatenate(data), image, view, dims)
    ends = np.cumsum([len(corners) for corners in data])
    firsts = ends - [len(corners) for corners in data]
    kinds = shapes.shape_type
    signs = shapes.features[SIGN].to_numpy(object) if SIGN in shapes.features else [POSITIVE] * len(data)
    return [
        _Shape(str(kinds[i]), places[firsts[i] : ends[i]], signs[i] != NEGATIVE)
        for i in np.flatnonzero(np.logical_and.reduceat(here, firsts)).tolist()
    ]


def _scribble(corners: np.ndarray, positive: bool) -> list[Point]:
    """Clicks along a line, ``SCRIBBLE_STEP`` pixels apart, its ends included."""
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    along = np.concatenate([[0], np.cumsum(lengths)])
    count = max(int(along[-1] / SCRIBBLE_STEP), 1) + 1
    stops = np.linspace(0, along[-1], count)
    return [
        Point(float(y), float(x), positive)
        for y, x in zip(*(np.interp(stops, along, c) for c in corners.T), strict=True)
    ]


def _ellipse(corners: np.ndarray) -> np.ndarray:
    """Outline (n, 2) of the ellipse that fills a rectangle given by its corners."""
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)[:, None]
    first, second = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    return corners.mean(axis=0) + np.cos(angle) * first + np.sin(angle) * second


def _box(corners: np.ndarray) -> Box:
    (y0, x0), (y1, x1) = corners.min(axis=0), corners.max(axis=0)
    return Box(float(y0), float(x0), float(y1), float(x1))


def _fill(rough: np.ndarray, shape: _Shape) -> np.ndarray:
    """Put a polygon or an ellipse into a rough mask (rows, columns), or cut it out, by its sign."""
    small = np.prod(np.ptp(shape.corners, axis=0) + 1) <= SMALL
    inside = _remembered if small else _inside
    rough[inside(shape.kind, shape.corners.tobytes(), rough.shape)] = shape.positive
    return rough


def _inside(kind: str, corners: bytes, plane: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a plane that lie in a polygon or an ellipse with these (n, 2) float corners."""
    places = np.frombuffer(corners).reshape(-1, 2)
    outline = _ellipse(places) if kind == "ellipse" else places
    rows, columns = skimage.draw.polygon(outline[:, 0], outline[:, 1], plane)
    return rows.astype(np.int32), columns.astype(np.int32)


_remembered = lru_cache(maxsize=2**12)(_inside)


def strokes_here(shapes: Shapes | None, image: Image, view: View, dims: Dims | None = None) -> list[np.ndarray]:
    """The lines and paths on the plane: (n, 2) corners of each, in its pixels."""
    drawn = [] if shapes is None else _shapes_of(shapes, image, view, dims)
    return [shape.corners for shape in drawn if shape.kind in LINES]


def read_example_boxes(
    shapes: Shapes | None, image: Image, view: View, dims: Dims | None = None
) -> tuple[ExampleBox, ...]:
    """The rectangles on the plane as boxes of objects like those to find, or unlike them, by their sign."""
    drawn = [] if shapes is None else _shapes_of(shapes, image, view, dims)
    return tuple(ExampleBox(_box(shape.corners), shape.positive) for shape in drawn if shape.kind == "rectangle")


def read_prompts(
    points: Points | None, shapes: Shapes | None, image: Image, view: View, dims: Dims | None = None
) -> list[Prompt]:
    """The same where everything is a separate object: each positive click, and each positive shape.

    A negative click belongs to the nearest positive one; negative shapes are ignored.
    """
    clicks = _clicks(points, image, view, dims) if points is not None else []
    objects = [[click] for click in clicks if click.positive]
    for off in clicks:
        if not off.positive and objects:
            min(objects, key=lambda one: np.hypot(one[0].y - off.y, one[0].x - off.x)).append(off)
    prompts = [Prompt(tuple(one)) for one in objects]
    for shape in _shapes_of(shapes, image, view, dims) if shapes is not None else ():
        if not shape.positive:
            continue
        if shape.kind == "rectangle":
            prompts.append(Prompt(box=_box(shape.corners)))
        elif shape.kind in LINES:
            prompts.append(Prompt(tuple(_scribble(shape.corners, True))))
        elif (drawn := _fill(np.zeros(view.plane_shape(image_shape(image)), bool), shape)).any():
            prompts.append(Prompt(mask=drawn))
    return prompts


def read_prompt(
    points: Points | None, shapes: Shapes | None, image: Image, view: View, dims: Dims | None = None
) -> Prompt:
    """Return the prompt that the layers contain on the plane.

    Points are clicks, their sign in the feature ``sign``. Lines and paths are scribbles, treated as clicks along them.
    Polygons and ellipses together are a rough mask; negative ones are subtracted. The last rectangle is the box.

    Parameters
    ----------
    points, shapes : Points, Shapes, optional
        Layers with any transform.
    image : Image
        The image that is prompted.
    view : View
        The plane, from :func:`current_view`.
    dims : Dims, optional
        Of the viewer; decides on which plane a place half-way between two lies.
    """
    clicks = _clicks(points, image, view, dims) if points is not None else []
    drawn = [] if shapes is None else _shapes_of(shapes, image, view, dims)
    boxes = [shape for shape in drawn if shape.kind == "rectangle"]
    rough = np.zeros(view.plane_shape(image_shape(image)) if len(boxes) < len(drawn) else (0, 0), bool)
    for shape in drawn:
        if shape.kind in LINES:
            clicks += _scribble(shape.corners, shape.positive)
        elif shape.kind != "rectangle":
            _fill(rough, shape)
    return Prompt(tuple(clicks), _box(boxes[-1].corners) if boxes else None, "", rough if rough.any() else None)
