"""Edges of objects on the plane that is shown."""

from __future__ import annotations

import time

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_segany.layers.object_edges import ShownPlane, crosses, edge_lines, object_lines


def pixel_edges(mask: np.ndarray) -> set[tuple[float, float, float, float]]:
    """Each side of a pixel that has another pixel behind it."""
    padded, found = np.pad(mask, 1), set()
    for y, x in zip(*np.nonzero(mask), strict=True):
        for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            if not padded[y + 1 + dy, x + 1 + dx]:
                middle = (y + dy / 2, x + dx / 2)
                found.add(
                    (middle[0] - abs(dx) / 2, middle[1] - abs(dy) / 2, middle[0] + abs(dx) / 2, middle[1] + abs(dy) / 2)
                )
    return found


def pieces(lines: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Lines cut into sides of single pixels."""
    found = []
    for start, stop in lines:
        count = round(np.abs(stop - start).sum())
        step = (stop - start) / count
        found += [(*(start + k * step), *(start + (k + 1) * step)) for k in range(count)]
    return found


@pytest.mark.parametrize("seed", range(5))
def test_lines_are_the_sides_of_pixels_each_once(seed: int) -> None:
    mask = np.random.default_rng(seed).random((9, 7)) < 0.6
    found = pieces(edge_lines(mask))
    assert len(found) == len(set(found))
    assert set(found) == pixel_edges(mask)


def test_the_lines_of_a_box_are_four() -> None:
    mask = np.zeros((5, 6), bool)
    mask[1:4, 2:5] = True
    assert len(edge_lines(mask)) == 4


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_of_a_stack_only_the_plane_that_is_shown_counts(order: tuple[int, int, int]) -> None:
    data = np.zeros((6, 8, 10), np.uint8)
    data[2:4, 3:5, 4:9] = 7
    viewer = ViewerModel()
    layer = viewer.add_labels(data, scale=(2, 0.5, 3), translate=(1, 2, 3))
    viewer.dims.order = order
    hidden, *shown = order
    window = (slice(2, 4), slice(3, 5), slice(4, 9))
    for place in range(data.shape[hidden]):
        viewer.dims.set_point(hidden, layer.data_to_world([place] * 3)[hidden])
        plane = ShownPlane.of(viewer, layer)
        lines = object_lines(layer, plane, 7, window)
        cross = crosses(plane, np.array([[2, 3, 4]]), np.array([[4, 5, 9]]))
        if not window[hidden].start <= place < window[hidden].stop:
            assert not len(lines)
            assert not len(cross)
            continue
        low, high = (np.array(layer.data_to_world(corner))[shown] for corner in ((1.5, 2.5, 3.5), (3.5, 4.5, 8.5)))
        np.testing.assert_allclose(lines.reshape(-1, 2).min(axis=0), low)
        np.testing.assert_allclose(lines.reshape(-1, 2).max(axis=0), high)
        assert len(cross) == 2
    viewer.dims.ndisplay = 3
    assert ShownPlane.of(viewer, layer) is None


def test_an_object_as_large_as_a_plane_takes_milliseconds() -> None:
    rows, columns = np.ogrid[:2048, :2048]
    mask = (rows - 1024) ** 2 + (columns - 1024) ** 2 < 1000**2
    data = mask.astype(np.int32)
    viewer = ViewerModel()
    layer = viewer.add_labels(data)
    plane = ShownPlane.of(viewer, layer)
    took = []
    for _ in range(5):
        begin = time.perf_counter()
        object_lines(layer, plane, 1, (slice(24, 2025), slice(24, 2025)))
        took.append(time.perf_counter() - begin)
    assert min(took) < 0.05
