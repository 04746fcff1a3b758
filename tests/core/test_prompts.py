import numpy as np
import pytest

from napari_segany.core.errors import InputError
from napari_segany.core.masks import box_of, paintable
from napari_segany.core.prompts import Box, Point, Prompt


def test_box_corners_come_in_any_order():
    assert Box(9, 8, 1, 2) == Box(1, 2, 9, 8)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_places_are_finite(bad):
    with pytest.raises(InputError, match="finite"):
        Point(bad, 0)
    with pytest.raises(InputError, match="finite"):
        Box(0, 0, 1, bad)


def test_only_a_lone_positive_point_is_ambiguous():
    assert Prompt((Point(1, 1),)).ambiguous
    assert not Prompt((Point(1, 1, positive=False),)).ambiguous
    assert not Prompt((Point(1, 1), Point(2, 2))).ambiguous
    assert not Prompt((Point(1, 1),), Box(0, 0, 3, 3)).ambiguous
    assert not Prompt((Point(1, 1),), text="nucleus").ambiguous


def test_an_empty_prompt_is_false():
    assert not Prompt()
    assert not Prompt(text="  ")
    assert Prompt(mask=np.zeros((2, 2), bool))


def test_masks_are_bool_or_logits():
    with pytest.raises(InputError, match="mask prompt"):
        Prompt(mask=np.zeros((2, 2), int))


def test_says_the_same():
    mask = np.eye(3, dtype=bool)
    assert Prompt((Point(1, 1),), mask=mask).says_the_same(Prompt((Point(1, 1),), mask=mask.copy()))
    assert not Prompt((Point(1, 1),), mask=mask).says_the_same(Prompt((Point(1, 1),), mask=~mask))
    assert not Prompt((Point(1, 1),), mask=mask).says_the_same(Prompt((Point(1, 1),)))


def test_box_of():
    mask = np.zeros((9, 9), bool)
    assert box_of(mask) is None
    mask[2:5, 3:8] = True
    assert box_of(mask) == Box(2, 3, 4, 7)


def test_other_labels_are_left_alone_unless_asked():
    labels = np.array([[0, 1], [2, 0]])
    everything = np.ones((2, 2), bool)
    assert sorted(zip(*paintable(labels, everything), strict=True)) == [(0, 0), (1, 1)]
    assert len(paintable(labels, everything, overwrite=True)[0]) == 4
