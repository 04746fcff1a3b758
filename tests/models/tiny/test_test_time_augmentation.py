import pytest
import torch

from napari_segany.models.tiny.test_time_augmentation import SIDES, Flip, flip_boxes, flip_window

LENGTH = 16


@pytest.mark.parametrize("side", SIDES)
def test_turning_over_undoes_itself(side):
    maps = torch.rand(2, 3, LENGTH, LENGTH)
    boxes = torch.tensor([[1.0, 2.0, 5.0, 11.0], [0.0, 0.0, 15.0, 15.0]])
    assert torch.equal(flip_window(side, flip_window(side, maps)), maps)
    assert torch.equal(flip_boxes(side, flip_boxes(side, boxes, LENGTH), LENGTH), boxes)


@pytest.mark.parametrize("side", SIDES)
def test_a_box_is_turned_over_with_what_is_in_it(side):
    image = torch.zeros(1, LENGTH, LENGTH)
    image[0, 2:12, 1:6] = 1
    found = flip_window(side, image)[0].nonzero()
    around = [*found.min(dim=0).values.flip(0).tolist(), *found.max(dim=0).values.flip(0).tolist()]
    assert flip_boxes(side, torch.tensor([[1.0, 2.0, 5.0, 11.0]]), LENGTH).tolist() == [around]


def test_no_two_sides_are_the_same():
    image = torch.arange(LENGTH**2).reshape(LENGTH, LENGTH)
    seen = [flip_window(side, image).flatten().tolist() for side in SIDES]
    assert SIDES[0] is Flip.AS_IT_IS
    assert all(one != other for i, one in enumerate(seen) for other in seen[:i])
