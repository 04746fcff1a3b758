"""From layers to prompts. Here, and only here, world coordinates become pixels of the image."""

from __future__ import annotations

import numpy as np
import skimage
from napari.components import Dims
from napari.layers import Image, Layer, Points, Shapes

from napari_segany.core.errors import InputError
from napari_segany.core.planes import MEASURED, LazyArray, Look, Stack
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.views import View, planes_of

SIGN = "sign"
POSITIVE, NEGATIVE = "positive", "negative"
SCRIBBLE_STEP = 12.0
"""Pixels between the clicks that a line stands for."""


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


def stack_of(image: Image, view: View, look: Look = MEASURED) -> Stack:
    """Planes of the image parallel to a view, see :func:`~napari_segany.core.views.planes_of`."""
    return planes_of(image_array(image), view, rgb=image.rgb, look=look)


def to_image(layer: Layer, coordinates: np.ndarray, image: Image) -> np.ndarray:
    """Pixels of a layer -> pixels of the image, by way of the world; (n, axes) float both.

    A layer with fewer axes than the image says nothing of the image's first ones: there the result is NaN.
    """
    lacking = max(image.ndim - layer.ndim, 0)
    found = np.full((len(coordinates), image.ndim), np.nan)
    for row, place in enumerate(coordinates):
        world = np.asarray(layer.data_to_world(place), float)
        found[row] = image.world_to_data(np.concatenate([np.zeros(lacking), world]))
        found[row, :lacking] = np.nan
    return found


def _on_plane(layer: Layer, coordinates: np.ndarray, image: Image, view: View) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) places in the plane, and which of the coordinates lie on it; what lacks an axis lies on every slice."""
    places = to_image(layer, np.asarray(coordinates, float), image)
    return view.on_plane(np.where(np.isnan(places), np.array(view.position, float), places))


def points_here(points: Points, image: Image, view: View) -> np.ndarray:
    """Indices of the layer's points that lie on the plane."""
    return np.flatnonzero(_on_plane(points, points.data, image, view)[1]) if len(points.data) else np.zeros(0, int)


def shapes_here(shapes: Shapes, image: Image, view: View) -> np.ndarray:
    """Indices of the layer's shapes all of whose corners lie on the plane."""
    here = [_on_plane(shapes, corners, image, view)[1].all() for corners in shapes.data]
    return np.flatnonzero(np.array(here, bool))


def _clicks(points: Points, image: Image, view: View) -> list[Point]:
    if not len(points.data):
        return []
    places, here = _on_plane(points, points.data, image, view)
    signs = points.features[SIGN] if SIGN in points.features else [POSITIVE] * len(places)
    return [
        Point(float(y), float(x), sign != NEGATIVE)
        for (y, x), sign, shown in zip(places, signs, here, strict=True)
        if shown
    ]


def _positive(shapes: Shapes, index: int) -> bool:
    return SIGN not in shapes.features or shapes.features[SIGN].iloc[index] != NEGATIVE


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


def _drawn(shapes: Shapes, index: int, image: Image, view: View) -> Box | list[Point] | np.ndarray:
    """What a shape stands for: a box, clicks along it, or a rough mask (rows, columns)."""
    corners, _ = _on_plane(shapes, shapes.data[index], image, view)
    kind = shapes.shape_type[index]
    if kind == "rectangle":
        (y0, x0), (y1, x1) = corners.min(axis=0), corners.max(axis=0)
        return Box(float(y0), float(x0), float(y1), float(x1))
    if kind in ("line", "path"):
        return _scribble(corners, _positive(shapes, index))
    rough: np.ndarray = skimage.draw.polygon2mask(
        view.plane_shape(image_shape(image)), _ellipse(corners) if kind == "ellipse" else corners
    )
    return rough


def read_prompts(points: Points | None, shapes: Shapes | None, image: Image, view: View) -> list[Prompt]:
    """The same where everything stands for an object of its own: each positive click, and each positive shape.

    A negative click belongs to the positive one that is nearest; negative shapes stand for nothing.
    """
    clicks = _clicks(points, image, view) if points is not None else []
    objects = [[click] for click in clicks if click.positive]
    for off in clicks:
        if not off.positive and objects:
            min(objects, key=lambda one: np.hypot(one[0].y - off.y, one[0].x - off.x)).append(off)
    prompts = [Prompt(tuple(one)) for one in objects]
    for index in shapes_here(shapes, image, view) if shapes is not None else ():
        if not _positive(shapes, index):
            continue
        drawn = _drawn(shapes, index, image, view)
        if isinstance(drawn, Box):
            prompts.append(Prompt(box=drawn))
        elif isinstance(drawn, list):
            prompts.append(Prompt(tuple(drawn)))
        elif drawn.any():
            prompts.append(Prompt(mask=drawn))
    return prompts


def read_prompt(points: Points | None, shapes: Shapes | None, image: Image, view: View) -> Prompt:
    """What the prompt layers say of the plane.

    Points are clicks, their sign in the feature ``sign``. Lines and paths are scribbles, as good as clicks along them.
    Polygons and ellipses are a rough mask, together; negative ones are cut out of it. The last rectangle is the box.

    Parameters
    ----------
    points, shapes : Points, Shapes, optional
        Layers with any transform of their own.
    image : Image
        What is prompted.
    view : View
        The plane, from :func:`current_view`.
    """
    clicks = _clicks(points, image, view) if points is not None else []
    box: Box | None = None
    rough: np.ndarray | None = None
    plane_shape = view.plane_shape(image_shape(image))
    if shapes is None:
        return Prompt(tuple(clicks))
    for index in shapes_here(shapes, image, view):
        drawn = _drawn(shapes, index, image, view)
        if isinstance(drawn, Box):
            box = drawn
        elif isinstance(drawn, list):
            clicks += drawn
        else:
            before = np.zeros(plane_shape, bool) if rough is None else rough
            rough = before | drawn if _positive(shapes, index) else before & ~drawn
    return Prompt(tuple(clicks), box, "", rough if rough is not None and rough.any() else None)
