"""Shapes of objects that are known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy
from skimage.draw import ellipse
from skimage.measure import regionprops_table
from skimage.segmentation import relabel_sequential

from napari_segany.io.formats.shapes import measured_shapes, nearest_distances, shape_columns, touching


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
    assert set(found) == {"length [um]", "width [um]", "neighbour_distance [um]", "neighbours"}
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


def blobs(shape: tuple[int, ...]) -> np.ndarray:
    """Objects of many shapes, some of which touch the border, in pieces or with holes."""
    seeds = np.random.default_rng(1).random(shape)
    places = np.array([scipy.ndimage.gaussian_filter(seeds, 2), np.roll(seeds, 3)])
    labels, _ = scipy.ndimage.label(places[0] > np.quantile(places[0], 0.6))
    labels[labels == 2] = 1
    return relabel_sequential(np.asarray(labels))[0]


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.5), (2.0, 0.5)])
def test_planes_are_measured_as_by_skimage(spacing: tuple[float, float]) -> None:
    labels = blobs((70, 90))
    names = ("axis_major_length", "axis_minor_length", "eccentricity", "solidity", "centroid")
    names += ("perimeter",) if spacing[0] == spacing[1] else ()
    wanted = regionprops_table(labels, properties=names, spacing=spacing)
    places = np.column_stack([wanted["centroid-0"], wanted["centroid-1"]])
    found = dict(zip(shape_columns("yx", "px"), measured_shapes(labels, places, spacing).T, strict=True))
    np.testing.assert_allclose(found["length [px]"], wanted["axis_major_length"], atol=1e-6)
    np.testing.assert_allclose(found["width [px]"], wanted["axis_minor_length"], atol=1e-6)
    extended = wanted["axis_major_length"] > 0
    np.testing.assert_allclose(found["eccentricity"][extended], wanted["eccentricity"][extended], atol=1e-6)
    np.testing.assert_allclose(found["solidity"], wanted["solidity"])
    if "perimeter" in wanted:
        outlined = wanted["perimeter"] > 0
        np.testing.assert_allclose(found["perimeter [px]"][outlined], wanted["perimeter"][outlined])


def test_volumes_are_measured_as_by_skimage() -> None:
    labels, spacing = blobs((12, 30, 40)), (3.0, 1.0, 1.0)
    wanted = regionprops_table(labels, properties=("axis_major_length", "centroid"), spacing=spacing)
    places = np.column_stack([wanted[f"centroid-{axis}"] for axis in range(3)])
    np.testing.assert_allclose(measured_shapes(labels, places, spacing)[:, 0], wanted["axis_major_length"], atol=1e-6)


def test_neighbours_touch_at_sides_and_corners() -> None:
    labels = np.array([[1, 1, 0, 5], [2, 0, 3, 0], [2, 0, 0, 0], [0, 0, 0, 4]])
    np.testing.assert_array_equal(touching(labels, 5), [2, 1, 2, 0, 1])


def test_a_square_has_no_direction() -> None:
    labels = np.zeros((9, 9), int)
    labels[2:6, 2:6] = 1
    assert math.isnan(measure(labels, (1.0, 1.0))["orientation [deg]"])
