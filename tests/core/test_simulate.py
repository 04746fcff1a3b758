import numpy as np
import pytest

from napari_segany.core.prompts import Point
from napari_segany.core.simulate import centre_point, correction_point, noisy_box, random_point


@pytest.fixture
def square() -> np.ndarray:
    mask = np.zeros((40, 40), bool)
    mask[10:21, 5:16] = True
    return mask


def test_the_centre_is_farthest_from_the_boundary(square):
    assert centre_point(square) == Point(15.0, 10.0)


def test_random_points_lie_on_the_mask(square):
    rng = np.random.default_rng(0)
    for _ in range(50):
        point = random_point(square, rng)
        assert square[int(point.y), int(point.x)]


def test_box_noise_is_a_tenth_of_the_side(square):
    rng = np.random.default_rng(0)
    lows = np.array([noisy_box(square, rng).y0 for _ in range(2000)])
    assert lows.mean() == pytest.approx(10, abs=0.2)
    assert lows.std() == pytest.approx(1.1, rel=0.1)
    with pytest.raises(ValueError, match="empty"):
        noisy_box(np.zeros((3, 3), bool), rng)


def test_the_next_click_goes_into_the_largest_error(square):
    found = square.copy()
    found[10:13] = False
    found[30:32, 30:32] = True
    click = correction_point(square, found)
    assert click is not None
    assert (click.y, click.positive) == (11.0, True)
    surplus = square.copy()
    surplus[10:21, 16:30] = True
    click = correction_point(square, surplus)
    assert click is not None
    assert not click.positive
    assert correction_point(square, square) is None


def test_touching_errors_of_different_sign_are_two_regions():
    truth, found = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    truth[5:15, 2:10] = True
    found[5:15, 10:13] = True
    click = correction_point(truth, found)
    assert click is not None
    assert click.positive
