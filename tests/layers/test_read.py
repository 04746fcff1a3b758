import numpy as np
import pytest
from napari.components import Dims, ViewerModel
from napari.layers import Image, Points, Shapes

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Box, Point
from napari_segany.core.views import View
from napari_segany.layers.read import current_view, read_prompt, stack_of

VOLUME = np.random.default_rng(0).integers(0, 255, (6, 20, 30), dtype=np.uint8)
TRANSFORMS = [
    {},
    {"scale": (4, 0.5, 0.25)},
    {"scale": (4, 0.5, 0.25), "translate": (7, -3, 11)},
    {"rotate": 30, "scale": (1, 0.5, 2)},
    {"affine": np.array([[1, 0, 0, 3], [0, 0.8, -0.6, 2], [0, 0.6, 0.8, -5], [0, 0, 0, 1]])},
]


def shown(image: Image, z: int = 2, order: tuple[int, ...] = (0, 1, 2)) -> tuple[ViewerModel, View]:
    viewer = ViewerModel()
    viewer.add_layer(image)
    viewer.dims.order = order
    place = [0, 0, 0]
    place[order[0]] = z
    viewer.dims.point = image.data_to_world(place)
    return viewer, current_view(image, viewer.dims)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_points_of_any_layer_land_on_the_same_pixel(transform):
    image = Image(VOLUME, **transform)
    _, view = shown(image)
    assert view == View((1, 2), (2, 0, 0))
    clicks = np.array([[2, 5.0, 7.0], [3, 5.0, 7.0], [2, -1.5, 31.0]])
    same_place = Points(clicks, **transform)
    in_the_world = Points([image.data_to_world(click) for click in clicks])
    for points in (same_place, in_the_world):
        prompt = read_prompt(points, None, image, view)
        assert [point.positive for point in prompt.points] == [True, True]
        np.testing.assert_allclose([(p.y, p.x) for p in prompt.points], [(5, 7), (-1.5, 31)], atol=1e-9)


@pytest.mark.parametrize(("order", "axes"), [((1, 0, 2), (0, 2)), ((2, 0, 1), (0, 1)), ((0, 2, 1), (2, 1))])
def test_rolled_axes(order, axes):
    image = Image(VOLUME, scale=(2, 1, 1))
    _, view = shown(image, 3, order)
    assert view.axes == axes
    stack = stack_of(image, view)
    plane = stack.plane(view.number(VOLUME.shape))[..., 0]
    expected = view.read(VOLUME)
    assert plane.shape == expected.shape
    assert np.corrcoef(plane.ravel(), expected.ravel())[0, 1] > 0.999
    place = [0.0, 0.0, 0.0]
    place[order[0]], place[axes[0]], place[axes[1]] = 3, 4, 8
    prompt = read_prompt(Points([place], scale=(2, 1, 1)), None, image, view)
    assert prompt.points == (Point(4, 8),)


def test_signs_come_from_the_feature():
    image = Image(VOLUME[0])
    points = Points([[1, 1], [2, 2]], features={"sign": ["negative", "positive"]})
    prompt = read_prompt(points, None, image, View((0, 1), (0, 0)))
    assert [point.positive for point in prompt.points] == [False, True]


def test_points_without_a_z_lie_on_every_slice():
    image = Image(VOLUME)
    _, view = shown(image, 4)
    assert read_prompt(Points([[3, 5]]), None, image, view).points == (Point(3, 5),)


def test_shapes_are_boxes_scribbles_and_rough_masks():
    image = Image(np.zeros((60, 60), np.uint8))
    view = View((0, 1), (0, 0))
    shapes = Shapes()
    shapes.add_rectangles(np.array([[10, 8], [30, 40]]))
    assert read_prompt(None, shapes, image, view).box == Box(10, 8, 30, 40)
    shapes.data = []
    shapes.add_paths(np.array([[5, 5], [5, 29], [29, 29]]))
    scribble = read_prompt(None, shapes, image, view).points
    assert (scribble[0], scribble[-1], len(scribble)) == (Point(5, 5), Point(29, 29), 5)
    shapes.data = []
    shapes.add_polygons(np.array([[10, 10], [10, 30], [30, 30], [30, 10]]))
    shapes.add_ellipses(np.array([[40, 40], [40, 50], [50, 50], [50, 40]]))
    rough = read_prompt(None, shapes, image, view).mask
    assert rough is not None
    assert rough[20, 20]
    assert rough[45, 45]
    assert not rough[41, 41]
    assert rough.sum() == pytest.approx(400 + np.pi * 25, rel=0.12)


def test_negative_outlines_are_cut_out():
    image = Image(np.zeros((60, 60), np.uint8))
    square = np.array([[10, 10], [10, 30], [30, 30], [30, 10]])
    shapes = Shapes([square, square + 10], shape_type="polygon", features={"sign": ["positive", "negative"]})
    rough = read_prompt(None, shapes, image, View((0, 1), (0, 0))).mask
    assert rough is not None
    assert rough[15, 15]
    assert not rough[25, 25]
    assert not rough[35, 35]


def test_what_cannot_be_prompted_says_why():
    image = Image(VOLUME)
    with pytest.raises(InputError, match="2D"):
        current_view(image, Dims(ndim=3, ndisplay=3))
    far = Dims(ndim=3, range=((0, 100, 1),) * 3, point=(50, 0, 0))
    with pytest.raises(InputError, match="outside"):
        current_view(image, far)
    with pytest.raises(InputError, match="axes"):
        current_view(Image(VOLUME[0]), Dims(ndim=3, order=(2, 0, 1)))


def test_an_rgb_stack_keeps_its_colours():
    colours = np.random.default_rng(0).integers(0, 255, (4, 12, 10, 3), dtype=np.uint8)
    image = Image(colours, rgb=True)
    _, view = shown(image, 1, (1, 0, 2))
    np.testing.assert_array_equal(stack_of(image, view).plane(view.number((4, 12, 10))), colours[:, 1])
