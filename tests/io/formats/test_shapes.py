"""Shapes of objects that are known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.draw import ellipse

from napari_segany.io.formats.shapes import measured_shapes, nearest_distances, shape_columns


def drawn(angle: float) -> np.ndarray:
    """An ellipse of half axes 30 and 12, its length at an angle to the x axis, counter-clockwise."""
    labels = np.zeros((100, 100), int)
    rows, columns = ellipse(50, 50, 12, 30, rotation=math.radians(angle))
    labels[rows, columns] = 1
    return labels


def measure(labels: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    count = int(labels.max())
    places = np.array([np.mean(np.nonzero(labels == number), axis=1) for number in range(1, count + 1)]) * spacing
    values = measured_shapes(labels, places, spacing)
    return dict(zip(shape_columns("zyx"[-labels.ndim :], "um"), values[0].tolist(), strict=True))


@pytest.mark.parametrize("angle", [0, 30, -60, 80])
@pytest.mark.parametrize("pixel", [1.0, 0.5])
def test_an_ellipse(angle: float, pixel: float) -> None:
    found = measure(drawn(angle), (pixel, pixel))
    assert found["length [um]"] == pytest.approx(60 * pixel, rel=0.03)
    assert found["width [um]"] == pytest.approx(24 * pixel, rel=0.03)
    assert found["orientation [deg]"] == pytest.approx(angle, abs=2)
    assert found["solidity"] > 0.95
    assert math.isnan(found["neighbour_distance [um]"])


def test_a_disc_is_round_and_a_rod_is_not() -> None:
    rows, columns = np.indices((80, 80))
    disc = ((rows - 40) ** 2 + (columns - 40) ** 2 <= 30**2).astype(int)
    rod = np.zeros((80, 80), int)
    rod[38:42, 5:75] = 1
    assert measure(disc, (1.0, 1.0))["roundness"] > 0.9
    assert measure(rod, (1.0, 1.0))["roundness"] < 0.3


def test_the_perimeter_needs_square_pixels() -> None:
    assert math.isnan(measure(drawn(0), (2.0, 1.0))["perimeter [um]"])
    assert measure(drawn(0), (2.0, 1.0))["width [um]"] == pytest.approx(48, rel=0.03)


def test_a_volume_has_a_length() -> None:
    labels = np.zeros((9, 40, 9), int)
    labels[3:6, 5:35, 3:6] = 1
    found = measure(labels, (2.0, 1.0, 1.0))
    assert set(found) == {"length [um]", "neighbour_distance [um]"}
    assert found["length [um]"] == pytest.approx(math.sqrt(5 / 3) * 30, rel=0.1)


def test_single_pixels_have_no_shape() -> None:
    labels = np.zeros((9, 9), int)
    labels[4, 4] = 1
    found = measure(labels, (1.0, 1.0))
    assert math.isnan(found["perimeter [um]"])
    assert math.isnan(found["roundness"])


def test_distances_to_the_nearest_neighbour() -> None:
    np.testing.assert_allclose(nearest_distances(np.array([[0, 0], [0, 3], [4, 3.0]])), [3, 3, 4])
    assert nearest_distances(np.zeros((0, 2))).shape == (0,)
