"""A copy of a Labels layer in which objects were drawn again."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_segany.core.errors import InputError
from napari_segany.core.label_refinement import RefinedObject
from napari_segany.core.views import View
from napari_segany.layers.refined_labels import RefinedLabels

FIRST, SECOND = View((1, 2), (0, 0, 0)), View((1, 2), (1, 0, 0))


@pytest.fixture
def source() -> Labels:
    values = np.zeros((2, 20, 30), np.uint16)
    values[:, 4:8, 4:8], values[0, 10:14, 10:20] = 3, 5
    return Labels(values, name="cellpose", scale=(3, 1, 1), translate=(1, 2, 3))


@pytest.fixture
def image() -> Image:
    return Image(np.zeros((2, 20, 30)), name="cells", scale=(3, 1, 1), translate=(1, 2, 3))


def grown(label: int, rows: slice, columns: slice, by: int, score: float = 0.9) -> RefinedObject:
    """An object whose new mask is the old one with so many more columns."""
    window = rows, slice(columns.start, columns.stop + by)
    before, after = np.ones((2, rows.stop - rows.start, columns.stop - columns.start + by), bool)
    before[:, columns.stop - columns.start :] = False
    return RefinedObject(label, window, before, after, score)


def both() -> list[RefinedObject]:
    return [grown(3, slice(4, 8), slice(4, 8), 2), grown(5, slice(10, 14), slice(10, 20), 1)]


def test_the_new_layer_lies_on_the_old_one_which_does_not_change(source: Labels, image: Image) -> None:
    before = source.data.copy()
    refined = RefinedLabels(source, image)
    viewer = ViewerModel()
    for layer in (image, source, Labels(np.zeros((2, 20, 30), int))):
        viewer.add_layer(layer)
    viewer.layers.selection.active = image
    refined.show(viewer)
    assert viewer.layers.index(refined.layer) == viewer.layers.index(source) + 1
    assert viewer.layers.selection.active is image
    assert refined.layer.name == "cellpose refined"
    assert refined.layer.scale.tolist() == [3, 1, 1]
    assert refined.layer.translate.tolist() == [1, 2, 3]
    assert np.array_equal(refined.layer.data, before)
    refined.add(FIRST, both())
    assert np.array_equal(source.data, before)
    assert (refined.layer.data[0] == 3).sum() == 4 * 6
    assert (refined.layer.data[0] == 5).sum() == 4 * 11
    assert np.array_equal(refined.layer.data[1], before[1])


def test_old_and_new_masks_are_chosen_one_by_one_and_all_at_once(source: Labels, image: Image) -> None:
    refined = RefinedLabels(source, image)
    refined.add(FIRST, both())
    refined.add(SECOND, both()[:1])
    assert [(view, one.label) for view, one in refined.ranked] == [(FIRST, 3), (SECOND, 3), (FIRST, 5)]
    new = refined.layer.data.copy()
    refined.use([(FIRST, 3)], new=False)
    assert not refined.shows_new(FIRST, 3)
    assert refined.shows_new(SECOND, 3)
    assert np.array_equal(refined.layer.data[0] == 3, source.data[0] == 3)
    assert np.array_equal(refined.layer.data[0] == 5, new[0] == 5)
    refined.use([(view, one.label) for view, one in refined.ranked], new=False)
    assert np.array_equal(refined.layer.data, source.data)
    # all of it is one step
    refined.layer.undo()
    assert np.array_equal(refined.layer.data[1], new[1])
    refined.layer.redo()
    refined.use([(view, one.label) for view, one in refined.ranked], new=True)
    assert np.array_equal(refined.layer.data, new)


def test_what_the_user_paints_stays(source: Labels, image: Image) -> None:
    refined = RefinedLabels(source, image)
    refined.add(FIRST, both())
    refined.layer.data[0, 4:8, 9] = 77
    refined.use([(FIRST, 3)], new=False)
    assert (refined.layer.data[0] == 77).sum() == 4
    assert (refined.layer.data[0] == 3).sum() == 16


def test_what_is_elsewhere_keeps_its_old_mask_until_it_is_wanted(source: Labels, image: Image) -> None:
    refined = RefinedLabels(source, image)
    before, after = np.zeros((2, 4, 20), bool)
    before[:, :4] = after[:, 10:] = True
    refined.add(FIRST, [RefinedObject(3, (slice(4, 8), slice(4, 24)), before, after, 0.2)])
    assert not refined.shows_new(FIRST, 3)
    assert np.array_equal(refined.layer.data, source.data)
    refined.use([(FIRST, 3)], new=True)
    assert (refined.layer.data[0, 4:8, 14:24] == 3).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((2, 20, 30), int), "holds no object"),
        (np.ones((2, 30, 20), int), "has shape"),
        (np.ones((20, 30), int), "has shape"),
        ([np.ones((2, 20, 30), int), np.ones((2, 10, 15), int)], "is multiscale"),
    ],
)
def test_labels_that_cannot_be_refined_are_one_line(image: Image, values, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        RefinedLabels(Labels(values, name="mine"), image)
    assert "\n" not in str(caught.value)


def test_a_replaced_array_is_not_written_to(source: Labels, image: Image) -> None:
    refined = RefinedLabels(source, image)
    refined.add(FIRST, both())
    refined.layer.data = np.zeros((2, 20, 30), int)
    with pytest.raises(InputError, match="were replaced"):
        refined.use([(FIRST, 3)], new=False)
    assert not refined.layer.data.any()


def test_labels_of_two_values_are_refined(image: Image) -> None:
    values = np.zeros((2, 20, 30), bool)
    values[0, 4:8, 4:8] = True
    refined = RefinedLabels(Labels(values), image)
    refined.add(FIRST, [grown(1, slice(4, 8), slice(4, 8), 2)])
    assert (refined.layer.data[0] == 1).sum() == 24
