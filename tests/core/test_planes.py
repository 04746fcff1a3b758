"""Every array a microscope or a colleague may bring becomes planes, on one range for the whole volume."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from dask.callbacks import Callback
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segany.core import planes
from napari_segany.core.errors import InputError
from napari_segany.core.planes import Stack, load_array
from napari_segany.core.views import View

DTYPES = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
DTYPES += ["float16", "float32", "float64", ">u2", ">f4"]


def arrays(min_dims: int = 2) -> st.SearchStrategy[np.ndarray]:
    """Images of any type and 2 to 4 axes, with NaN, inf and the extremes of each type."""
    shapes = hnp.array_shapes(min_dims=min_dims, max_dims=4, min_side=1, max_side=6)
    return st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, shapes))


@pytest.fixture
def volume() -> np.ndarray:
    """(z, y, x) uint16 that gets brighter with z."""
    noise = np.random.default_rng(0).integers(0, 100, (5, 20, 30))
    return (noise + 200 * np.arange(5)[:, None, None]).astype(np.uint16)


@given(arrays(), st.data())
@settings(max_examples=200, deadline=None)
def test_any_array_gives_planes(array: np.ndarray, data: st.DataObject) -> None:
    channel_axis = data.draw(st.none() | st.integers(-array.ndim, array.ndim - 1)) if array.ndim > 2 else None
    before = array.copy()
    array.flags.writeable = False
    stack = Stack(array, channel_axis=channel_axis)
    for number in range(len(stack)):
        plane = stack.plane(number)
        assert plane.shape == (*stack.plane_shape, 3)
        assert plane.dtype == np.uint8
        assert plane.flags.c_contiguous
        assert plane.flags.writeable
        assert not np.shares_memory(plane, array)
        assert stack.unindex(stack.index(number)) == number
    np.testing.assert_array_equal(array, before)


@given(arrays(min_dims=3))
@settings(max_examples=100, deadline=None)
def test_the_range_does_not_depend_on_the_plane_asked_for(array: np.ndarray) -> None:
    forth, back = Stack(array, rgb=False), Stack(array, rgb=False)
    numbers = range(len(forth))
    first = [forth.plane(number) for number in numbers]
    last = [back.plane(number) for number in reversed(numbers)]
    np.testing.assert_array_equal(first, last[::-1])
    assert forth.limits == back.limits


@given(hnp.arrays(st.sampled_from(["uint8", "int16", "float32", "float64", "int64"]), (2, 4, 5)))
@settings(max_examples=100, deadline=None)
def test_brighter_stays_brighter(array: np.ndarray) -> None:
    stack = Stack(array)
    gray = np.stack([stack.plane(number)[..., 0] for number in range(2)])
    order = np.argsort(array, axis=None)
    order = order[~np.isnan(array.ravel()[order])]
    assert (np.diff(gray.ravel()[order].astype(int)) >= 0).all()


def test_one_range_for_the_volume(volume: np.ndarray) -> None:
    stack = Stack(volume)
    means = [stack.plane(z).mean() for z in range(5)]
    assert means == sorted(means)
    assert means[-1] - means[0] > 150
    ((low, high),) = stack.limits
    np.testing.assert_allclose((low, high), np.percentile(volume, (0.1, 99.9)), atol=2)


@pytest.mark.parametrize(
    "lazy", [lambda a: da.from_array(a, chunks=(1, 8, 8)), lambda a: zarr.array(a), np.ndarray.tolist]
)
def test_dask_zarr_and_lists_give_what_numpy_gives(volume: np.ndarray, lazy) -> None:
    expected, stack = Stack(volume), Stack(lazy(volume))
    assert stack.limits == expected.limits
    np.testing.assert_array_equal(stack.plane(3), expected.plane(3))


def test_a_2d_image_is_one_plane() -> None:
    stack = Stack(np.eye(4))
    assert (len(stack), stack.shape, stack.plane_shape, stack.index(0), stack.unindex(())) == (1, (), (4, 4), (), 0)
    np.testing.assert_array_equal(stack.plane(0)[..., 1], np.eye(4) * 255)


def test_leading_axes_are_counted_in_c_order() -> None:
    array = np.arange(6, dtype=np.uint16).reshape(2, 3, 1, 1) * np.ones((1, 1, 2, 2), np.uint16)
    stack = Stack(array)
    assert (len(stack), stack.shape) == (6, (2, 3))
    assert stack.index(4) == (1, 1)
    assert [stack.plane(number)[0, 0, 0] for number in range(6)] == [0, 51, 102, 153, 204, 255]


@pytest.mark.parametrize("colours", [3, 4])
def test_uint8_rgb_is_taken_as_it_is(colours: int) -> None:
    picture = np.random.default_rng(0).integers(90, 110, (3, 8, 9, colours), dtype=np.uint8)
    for stack in (Stack(picture), Stack(picture, rgb=True), Stack(picture, rgb=True, channel_axis=-1)):
        assert (len(stack), stack.limits) == (3, ((0, 255),) * 3)
        np.testing.assert_array_equal(stack.plane(2), picture[2, ..., :3])


def test_rgb_can_be_denied() -> None:
    assert Stack(np.zeros((9, 8, 3), np.uint8), rgb=False).plane_shape == (8, 3)


def test_rgb_is_guessed_as_napari_does() -> None:
    assert len(Stack(np.zeros((31, 31, 3)))) == 1
    assert len(Stack(np.zeros((30, 31, 3)))) == 30
    assert len(Stack(np.zeros((31, 31, 3), bool))) == 31
    assert len(Stack(np.zeros((31, 31, 3)), rgb=False)) == 31


def test_colours_of_a_float_picture_share_one_range() -> None:
    picture = np.random.default_rng(0).random((40, 50, 3)) * (1, 0.5, 0.25)
    stack = Stack(picture, rgb=True)
    assert len(set(stack.limits)) == 1
    np.testing.assert_allclose(stack.plane(0).max(axis=(0, 1)), (255, 128, 64), atol=4)


def test_gray_uint8_is_spread() -> None:
    dim = np.random.default_rng(0).integers(3, 21, (50, 50), dtype=np.uint8)
    plane = Stack(dim).plane(0)
    assert (plane.min(), plane.max()) == (0, 255)


def test_bool_is_black_and_white() -> None:
    np.testing.assert_array_equal(Stack(np.ones((2, 2), bool)).plane(0), 255)
    np.testing.assert_array_equal(Stack(np.zeros((2, 2), bool)).plane(0), 0)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -4])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_channels_at_any_axis(axis: int, channels: int) -> None:
    image = (
        np.random.default_rng(0).normal(100, 10, (channels, 2, 7, 8)) * np.arange(1, channels + 1)[:, None, None, None]
    )
    stack = Stack(np.moveaxis(image, 0, axis), channel_axis=axis)
    assert (len(stack), stack.plane_shape, stack.channels) == (2, (7, 8), min(3, channels))
    plane = stack.plane(1)
    for colour in range(3):
        if channels == 1:
            np.testing.assert_array_equal(plane[..., colour], Stack(image[0]).plane(1)[..., 0])
        elif colour < channels:
            np.testing.assert_array_equal(plane[..., colour], Stack(image[colour]).plane(1)[..., 0])
        else:
            assert not plane[..., colour].any()


def test_nan_and_inf() -> None:
    image = np.linspace(0, 1, 64).reshape(8, 8)
    image[0, :3] = np.nan, np.inf, -np.inf
    plane = Stack(image).plane(0)[..., 0]
    assert list(plane[0, :3]) == [0, 255, 0]
    assert plane[7, 7] == 255


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, 7.5])
def test_constant(value: float) -> None:
    plane = Stack(np.full((3, 4), value)).plane(0)
    np.testing.assert_array_equal(plane, 255 if value == np.inf else 0)


def test_a_tiny_object_does_not_vanish() -> None:
    image = np.zeros((200, 200), np.uint16)
    image[100:103, 100:103] = 40
    assert Stack(image).plane(0)[101, 101, 0] == 255


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64"])
def test_extremes_do_not_overflow(dtype: str) -> None:
    info = np.finfo(dtype) if dtype.startswith("f") else np.iinfo(dtype)
    image = np.array([[info.min, 0, info.max]], dtype)
    np.testing.assert_array_equal(Stack(image).plane(0)[0, :, 0], (0, 128, 255))


def test_small_differences_on_a_large_offset() -> None:
    image = 1e8 + np.arange(4, dtype=np.float64).reshape(2, 2)
    np.testing.assert_array_equal(Stack(image).plane(0)[..., 0], [[0, 85], [170, 255]])


def test_given_limits() -> None:
    image = np.array([[0, 5, 10, 20]], np.float32)
    stack = Stack(image, limits=(0, 10))
    assert stack.limits == ((0, 10),)
    np.testing.assert_array_equal(stack.plane(0)[0, :, 0], (0, 128, 255, 255))
    two = Stack(np.stack([image, image]), channel_axis=0, limits=[(0, 10), (0, 20)])
    np.testing.assert_array_equal(two.plane(0)[0, -2:], [(255, 128, 0), (255, 255, 0)])
    rgb = Stack(np.full((2, 2, 3), 50, np.uint8), limits=(0, 100))
    np.testing.assert_array_equal(rgb.plane(0), 128)


class Counting:
    """A huge lazy image that counts what is read of it."""

    dtype = np.dtype(np.uint16)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.pixels = shape, 0

    def __getitem__(self, key: tuple[int | slice, ...]) -> np.ndarray:
        lengths = [len(range(n)[k]) for k, n in zip(key, self.shape, strict=True) if isinstance(k, slice)]
        self.pixels += int(np.prod(lengths))
        return np.random.default_rng(self.pixels).integers(0, 1000, lengths, dtype=np.uint16)


@pytest.mark.parametrize("shape", [(2000, 500, 512), (3, 200_000, 100_000), (50, 3, 1_000_000, 40)])
def test_a_huge_array_is_never_read_whole(shape: tuple[int, ...]) -> None:
    image = Counting(shape)
    ((low, high),) = Stack(image).limits
    assert image.pixels <= planes.SAMPLED_PLANES * planes.WHOLE_PLANE
    np.testing.assert_allclose((low, high), (1, 998), atol=1.5)


def test_the_sample_meets_every_depth_of_every_time() -> None:
    """Equal steps through 15 time points of 24 slices would always meet the same slice."""
    depths = {number % 24 for number in planes._spread(15 * 24, 16)}
    assert max(depths) - min(depths) > 12


@pytest.mark.parametrize(
    ("array", "options", "line"),
    [
        (np.zeros(5), {}, "at least two axes"),
        (np.float64(3), {}, "at least two axes"),
        (np.zeros((0, 5)), {}, "no empty one"),
        (np.zeros((4, 5), complex), {}, "got complex128"),
        (np.zeros((4, 5), object), {}, "got object"),
        (np.zeros((4, 5), "M8[s]"), {}, "got datetime64"),
        ([["a", "b"]], {}, "got <U1"),
        (np.zeros((4, 5)), {"channel_axis": 0}, "at least two axes"),
        (np.zeros((4, 5, 6)), {"channel_axis": 3}, "does not exist"),
        (np.zeros((4, 5, 6)), {"rgb": True}, "length 3 or 4"),
        (np.zeros((4, 5, 3)), {"rgb": True, "channel_axis": 0}, "rgb means"),
        (np.zeros((4, 5)), {"limits": (1, 0)}, "the lower first"),
        (np.zeros((4, 5)), {"limits": (0, np.nan)}, "finite"),
        (np.zeros((4, 5)), {"limits": (1, 2, 3)}, "one pair"),
        (np.zeros((4, 5)), {"limits": "low"}, "one pair"),
    ],
)
def test_bad_input_is_one_clear_line(array, options: dict, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        Stack(array, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", [-1, 5])
def test_no_such_plane(volume: np.ndarray, number: int) -> None:
    with pytest.raises(InputError, match="there is no plane"):
        Stack(volume).plane(number)


@pytest.mark.parametrize("index", [(), (5,), (-1,), (1, 1)])
def test_no_such_position(volume: np.ndarray, index: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="there is no plane"):
        Stack(volume).unindex(index)


def test_dask_is_computed_beside_whoever_computes_too() -> None:
    """napari's cache of dask results is shared by all threads, and raises where two of them compute."""
    seen: list[object] = []
    array = da.from_array(np.arange(4 * 6 * 8).reshape(4, 6, 8), chunks=(1, 6, 4))
    with Callback(pretask=lambda *args: seen.append(args)):
        np.testing.assert_array_equal(load_array(array[2]), np.asarray(array[2]))
        asked = len(seen)
        Stack(array).plane(1)
        View((1, 2), (3, 0, 0)).read(array)
    assert asked
    assert len(seen) == asked, "ours are heard by nobody"
