"""Classes are learned from a few objects of each."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segany.core.errors import InputError
from napari_segany.core.object_classes import (
    APPEARANCE,
    ClassDescriptors,
    appearance,
    describe_for_classes,
    learn_classes,
)
from tests.core.test_exemplars import LABELS, PLANE, DescribingSegmenter
from tests.fakes import FakeSegmenter

BRIGHT, DARK, LARGE = range(1, 7), range(7, 10), range(10, 12)
TRUTH = ["bright"] * 6 + ["dark"] * 3 + ["large"] * 2


@pytest.fixture(params=[False, True], ids=["features", "features and vectors"])
def objects(request: pytest.FixtureRequest) -> ClassDescriptors:
    segmenter = DescribingSegmenter() if request.param else FakeSegmenter()
    windows, masks = [], []
    for label in range(1, 12):
        rows, columns = np.nonzero(label == LABELS)
        window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        windows.append(window)
        masks.append(LABELS[window] == label)
    return describe_for_classes(segmenter, PLANE, windows, masks)


def drawn(classes: int, each: int, distance: float, seed: int = 0) -> tuple[ClassDescriptors, list[str]]:
    """Objects of classes whose mask features lie some standard deviations apart."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(classes), each)
    features = rng.normal(size=(len(kinds), 4))
    features[np.arange(len(kinds)), kinds] += distance
    vectors = rng.normal(size=(len(kinds), 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    looks = rng.normal(size=(len(kinds), APPEARANCE))
    return ClassDescriptors(features, looks, vectors), [f"class {kind}" for kind in kinds]


@pytest.mark.parametrize("known", [(0, 6, 9), (2, 3, 7, 10), (0, 1, 2, 6, 7, 9, 10)], ids=str)
def test_one_object_of_each_class_suffices_where_they_are_plain(
    objects: ClassDescriptors, known: tuple[int, ...]
) -> None:
    classifier = learn_classes(objects.chosen(known), [TRUTH[k] for k in known], objects)
    assert classifier.names == tuple(sorted({TRUTH[k] for k in known}))
    assert [name for name, _ in classifier.suggest(objects)] == TRUTH


@pytest.mark.parametrize(
    ("names", "line"), [([], "no object has a class yet"), (["cell"], "'cell'"), (["cell"] * 3, "'cell'")]
)
def test_a_single_class_is_refused(objects: ClassDescriptors, names: list[str], line: str) -> None:
    with pytest.raises(InputError, match=line):
        learn_classes(objects.chosen(range(len(names))), names)


def test_other_models_are_refused() -> None:
    objects, names = drawn(2, 3, 3.0)
    without = ClassDescriptors(objects.features, objects.appearance, np.zeros((6, 0)))
    with pytest.raises(InputError, match="different models"):
        learn_classes(objects, names, without)
    with pytest.raises(InputError, match="different models"):
        learn_classes(objects, names).suggest(without)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_probabilities_add_up_and_do_not_depend_on_the_order(classes: int) -> None:
    objects, names = drawn(classes, 4, 2.0)
    found = learn_classes(objects, names).probabilities(objects)
    assert found.shape == (len(names), classes)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_array_equal(found, learn_classes(objects, names).probabilities(objects))


@pytest.mark.parametrize(("distance", "excess"), [(0.0, 0.3), (2.0, 0.15), (4.0, 0.1)])
def test_probabilities_say_how_sure_it_is(distance: float, excess: float) -> None:
    """Five of each cannot tell for certain that nothing is to be learned, and the more they differ the surer it is."""
    told, right = [], []
    for seed in range(8):
        objects, names = drawn(2, 40, distance, seed)
        known = [*range(5), *range(40, 45)]
        rest = sorted(set(range(80)) - set(known))
        found = learn_classes(objects.chosen(known), [names[k] for k in known], objects).suggest(objects.chosen(rest))
        told += [probability for _, probability in found]
        right += [name == names[k] for k, (name, _) in zip(rest, found, strict=True)]
    assert abs(np.mean(told) - np.mean(right)) < excess
    assert distance < 4 or np.mean(right) > 0.85


def test_a_class_with_few_objects_counts_as_much_as_one_with_many() -> None:
    objects, names = drawn(2, 40, 3.0)
    known = [*range(30), 40, 41]
    found = learn_classes(objects.chosen(known), [names[k] for k in known], objects).suggest(objects)
    right = np.array([name == truth for (name, _), truth in zip(found, names, strict=True)])
    assert right[:40].mean() > 0.8
    assert right[40:].mean() > 0.8


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (200, 3), (2, 2)])
def test_any_object_has_an_appearance(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).integers(0, 255, (320, 320, 3), np.uint8)
    window = slice(5, 5 + shape[0]), slice(5, 5 + shape[1])
    found = appearance(plane, window, np.ones(shape, bool))
    assert found.shape == (APPEARANCE,)
    assert np.isfinite(found).all()
    thin = np.zeros(shape, bool)
    thin[-1, -1] = True
    assert np.isfinite(appearance(plane, window, thin)).all()


def test_identical_objects_are_as_likely_one_as_the_other() -> None:
    objects, _ = drawn(1, 1, 0.0)
    same = objects.chosen([0, 0, 0, 0])
    found = learn_classes(same, ["a", "b", "a", "b"]).probabilities(same)
    np.testing.assert_allclose(found, 0.5, atol=1e-3)
