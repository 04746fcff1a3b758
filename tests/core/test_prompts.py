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


@pytest.mark.parametrize("bad", [None, "3", [1.0], True, 1j, float("nan"), float("inf"), np.zeros(2)])
@pytest.mark.parametrize(("make", "names"), [(Point, ("y", "x")), (Box, ("y0", "x0", "y1", "x1"))])
def test_coordinates_that_are_no_numbers_are_named(make, names, bad):
    for name in names:
        with pytest.raises(InputError, match=rf"\b{name}\b"):
            make(**{**dict.fromkeys(names, 1.0), name: bad})


@pytest.mark.parametrize("good", [3, 3.5, np.float32(3), np.int64(3), np.uint8(3)])
def test_any_number_is_a_coordinate(good):
    assert Point(good, good).y == good
    assert Box(good, good, good, good).x1 == good


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"points": Point(1, 1)}, "points"),
        ({"points": ((1, 1),)}, "points"),
        ({"points": 3}, "points"),
        ({"box": (0, 0, 1, 1)}, "box"),
        ({"text": 3}, "text"),
        ({"text": None}, "text"),
        ({"mask": [[True]]}, "mask"),
    ],
)
def test_prompts_of_other_types_are_refused_by_name(given, name):
    with pytest.raises(InputError, match=name):
        Prompt(**given)


@pytest.mark.parametrize("beyond", [0.5, 80, 1e3, 1e9, 1e300])
def test_a_box_is_cut_to_its_plane(beyond):
    prompt = Prompt(box=Box(-beyond, 10, 30, 40 + beyond)).on_plane((50, 40))
    assert prompt.box == Box(-0.5, 10, 30, 39.5)
    inside = Prompt(box=Box(1, 2, 3, 4))
    assert inside.on_plane((50, 40)) is inside


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (Prompt(), "empty prompt"),
        (Prompt((Point(-300, 3),)), "far outside the plane of 50 x 40"),
        (Prompt((Point(3, 3), Point(3, 1e12))), "far outside the plane"),
        (Prompt(box=Box(60, 0, 70, 10)), "outside the plane"),
        (Prompt(box=Box(0, -20, 10, -1)), "outside the plane"),
    ],
)
def test_what_cannot_be_answered_on_a_plane(prompt, says):
    with pytest.raises(InputError, match=says):
        prompt.on_plane((50, 40))


def test_what_says_where_an_object_is():
    off, nothing = (Point(1, 1, positive=False),), np.zeros((50, 40), bool)
    assert not Prompt(off).says_where
    assert not Prompt(off, mask=nothing).says_where
    assert Prompt((*off, Point(3, 3))).says_where
    for more in ({"box": Box(0, 0, 9, 9)}, {"mask": ~nothing}, {"text": "nucleus"}):
        prompt = Prompt(off, **more)
        assert prompt.says_where
        assert prompt.on_plane((50, 40)).points == off
    near = Prompt((Point(-5, 3),))
    assert near.on_plane((50, 40)) is near
