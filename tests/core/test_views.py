import dask.array as da
import numpy as np
import pytest

from napari_segany.core.errors import InputError
from napari_segany.core.views import View, rows_and_columns_last

VOLUME = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View((2, 3), (1, 2, 0, 0)), VOLUME[1, 2]),
        (View((1, 3), (1, 0, 3, 0)), VOLUME[1, :, 3]),
        (View((3, 2), (1, 2, 0, 0)), VOLUME[1, 2].T),
        (View((2, 0), (0, 1, 0, 4)), VOLUME[:, 1, :, 4].T),
    ],
)
def test_read_indices_and_number_agree(view, expected):
    np.testing.assert_array_equal(view.read(VOLUME), expected)
    assert view.plane_shape(VOLUME.shape) == expected.shape
    rows, columns = np.nonzero(np.ones(expected.shape))
    np.testing.assert_array_equal(VOLUME[view.indices(rows, columns)].reshape(expected.shape), expected)
    for array in (VOLUME, da.from_array(VOLUME)):
        moved = rows_and_columns_last(array, view, rgb=False)
        planes = np.asarray(moved).reshape(-1, *expected.shape)
        np.testing.assert_array_equal(planes[view.number(VOLUME.shape)], expected)


def test_what_cannot_be_turned_says_so():
    class Untransposable:
        shape, dtype = (3, 4, 5), np.dtype(float)

        def __getitem__(self, key):
            raise AssertionError("nothing may be read")

    array = Untransposable()
    assert rows_and_columns_last(array, View((1, 2), (0, 0, 0)), rgb=False) is array
    with pytest.raises(InputError, match="dask"):
        rows_and_columns_last(array, View((0, 2), (0, 0, 0)), rgb=False)


def test_points_lie_on_the_plane_within_half_a_pixel():
    yx, here = View((1, 2), (4, 0, 0)).on_plane(np.array([[4.4, 1, 2], [3.4, 1, 2], [4, -1, 7.5]]))
    assert here.tolist() == [True, False, True]
    np.testing.assert_array_equal(yx[2], [-1, 7.5])
    assert not View((1, 2), (4, 0, 0)).inside((4, 9, 9))
