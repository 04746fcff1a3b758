from __future__ import annotations

import numpy as np
import pytest
from skimage.draw import ellipse

from napari_segany.core.attributes import measure_labels
from napari_segany.core.text_query import ATTRIBUTES


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray]:
    """Six objects: 1 small, 2 and 3 round, 4 elongated, 5 large and dark, 6 at the border and bright."""
    plane, labels = np.full((200, 200, 3), 10, np.uint8), np.zeros((200, 200), int)
    places = [(20, 20, 4, 4, 100), (20, 80, 9, 9, 110), (60, 30, 10, 10, 120), (60, 100, 6, 18, 105)]
    places += [(120, 120, 25, 25, 60), (199, 40, 12, 12, 240)]
    for number, (y, x, height, width, value) in enumerate(places, start=1):
        here = ellipse(y, x, height, width, labels.shape)
        labels[here], plane[here] = number, value
    return plane, labels


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("small", {1, 6}),
        ("large", {4, 5}),
        ("bright", {3, 6}),
        ("dark", {1, 5}),
        ("elongated", {4, 6}),
        ("border", {6}),
    ],
)
def test_which_objects_a_word_is_true_of(scene, attribute, expected):
    numbers, found = measure_labels(*scene)
    assert set(numbers[found.holds(attribute)].tolist()) == expected


def test_round_ones(scene):
    numbers, found = measure_labels(*scene)
    assert {2, 3, 5} <= set(numbers[found.holds("round")].tolist())
    assert not {4, 6} & set(numbers[found.holds("round")].tolist())


def test_texture_is_what_varies_inside(scene):
    plane, labels = scene
    plane = plane.copy()
    plane[::2][labels[::2] == 5] = 120
    numbers, found = measure_labels(plane, labels)
    assert numbers[found.texture.argmax()] == 5
    assert 5 in numbers[found.holds("textured")]


def test_several_attributes_together(scene):
    numbers, found = measure_labels(*scene)
    assert numbers[found.satisfying(("large",), ("dark",))].tolist() == [4]
    assert len(numbers[found.satisfying(())]) == 6


def test_every_attribute_has_a_rule(scene):
    _, found = measure_labels(*scene)
    for attribute in ATTRIBUTES:
        assert found.holds(attribute).dtype == np.bool_


def test_none_of_a_few_is_called_small(scene):
    plane, labels = scene
    _, found = measure_labels(plane, np.where(labels < 4, labels, 0))
    assert not found.holds("small").any()
    assert len(measure_labels(plane, np.zeros_like(labels))[0]) == 0
