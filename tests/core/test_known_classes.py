"""Names that a model knows: what is given, what is not sure enough, and what counts as right."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_segany.core.known_classes import KnownClasses
from napari_segany.core.masks import Mask
from napari_segany.core.metrics import calibration_error
from napari_segany.core.object_classes import describe_for_classes, learn_classes, named_masks
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.terms import is_kind_of
from tests.fakes import FakeSegmenter, NamingSegmenter

PLANE = np.full((40, 60, 3), 96, np.uint8)
PLANE[:, :20], PLANE[:, 40:] = 250, 5


def mask(left: int) -> Mask:
    pixels = np.zeros((40, 60), bool)
    pixels[10:20, left : left + 8] = True
    return Mask(pixels, 0.9, np.zeros((10, 15), np.float32))


@pytest.mark.parametrize(("least", "names"), [(0.5, ["a", "b", ""]), (0.9, ["a", "", ""]), (0.0, ["a", "b", "a"])])
def test_no_name_is_given_below_the_least_probability(least: float, names: list[str]) -> None:
    known = KnownClasses(("a", "b", "other"), np.eye(3), np.zeros(3), least)
    found = known.suggest(np.array([[5.0, 0, 0], [0, 2.0, 0], [0.1, 0, 0]]))
    assert [name for name, _ in found] == names
    np.testing.assert_allclose(known.probabilities(np.zeros((4, 3))).sum(axis=1), 1)
    assert known.suggest(np.zeros((0, 3))) == []


def test_the_same_numbers_are_equal_and_others_are_not() -> None:
    """Capabilities, which hold them, are compared after a journey between processes."""
    one, same = (KnownClasses(("a", "other"), np.eye(2), np.zeros(2)) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != KnownClasses(("a", "other"), np.eye(2), np.ones(2))
    assert one != KnownClasses(("a", "other"), np.eye(2), np.zeros(2), 0.9)


@pytest.mark.parametrize(("left", "name"), [(5, "nucleus"), (50, "cell"), (25, "")])
def test_masks_get_names_where_the_model_is_sure(left: int, name: str) -> None:
    (found,) = named_masks(NamingSegmenter(), PLANE, [mask(left)])
    assert found.class_name == name
    assert math.isnan(found.class_probability) == (not name)
    assert found.pixels is not None


def test_empty_masks_and_models_without_names_change_nothing() -> None:
    empty = Mask(np.zeros((40, 60), bool), 0.1, np.zeros((10, 15), np.float32))
    assert named_masks(NamingSegmenter(), PLANE, [empty, mask(5)])[0] is empty
    given = [mask(5)]
    assert named_masks(FakeSegmenter(), PLANE, given) == given
    assert named_masks(NamingSegmenter(), PLANE, []) == []


def test_the_users_classes_are_learned_from_the_same_vectors() -> None:
    """One mechanism: what names are known by tells the classes of the user apart as well."""
    windows = [(slice(10, 20), slice(left, left + 8)) for left in (2, 8, 42, 48)]
    found = describe_for_classes(NamingSegmenter(), PLANE, windows, [np.ones((10, 8), bool)] * 4)
    assert found.named.shape == (4, 1)
    assert found.blocks[2].shape == (4, found.length)
    classifier = learn_classes(found.chosen([0, 2]), ["mine", "yours"], found)
    assert [name for name, _ in classifier.suggest(found)] == ["mine", "mine", "yours", "yours"]
    assert found.joined(found).chosen([5]).named == pytest.approx(found.named[[1]])


@pytest.mark.parametrize(
    ("name", "what", "right"),
    [
        ("nucleus", "nucleus", True),
        ("yeast", "cell", True),
        ("cell", "yeast", False),
        ("neurite", "neuron", True),
        ("axon", "neuron", True),
        ("other", "other", True),
        ("other", "cell", False),
        ("Nuclei", "nucleus", True),
        ("my own", "my own", True),
        ("my own", "cell", False),
    ],
)
def test_a_kind_of_what_is_true_is_right(name: str, what: str, right: bool) -> None:
    assert is_kind_of(name, what) is right


def test_calibration_error_is_the_gap_between_probability_and_share() -> None:
    right = np.arange(100) < 70
    assert calibration_error(np.full(100, 0.7), right) == pytest.approx(0.0)
    assert calibration_error(np.full(100, 0.95), right) == pytest.approx(0.25)
    assert calibration_error(np.ones(10), np.ones(10, bool)) == pytest.approx(0.0)
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == 0.0


def test_a_given_class_and_a_name_by_the_model_are_told_apart() -> None:
    named = ObjectInfo(1).with_class("", ("nucleus", 0.9))
    assert (named.class_name, named.class_probability, named.given_class) == ("nucleus", 0.9, "")
    given = named.with_class("mine")
    assert (given.class_name, given.class_probability, given.given_class) == ("mine", None, "mine")
    assert given.with_class("", ("nucleus", 0.9)) == named
    assert given.with_class("").class_name == ""
