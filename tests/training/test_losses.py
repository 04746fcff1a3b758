import pytest
import torch

from napari_segany.training.losses import dense_loss, dice, focal, iou


def square(low: int, high: int) -> torch.Tensor:
    target = torch.zeros(1, 16, 16)
    target[:, low:high, low:high] = 1
    return target


def test_a_perfect_mask_costs_nothing_and_a_wrong_one_much():
    target = square(4, 12)
    right, wrong = 20 * (target - 0.5), -20 * (target - 0.5)
    assert focal(right, target).item() == pytest.approx(0, abs=1e-3)
    assert dice(right, target).item() == pytest.approx(0, abs=1e-2)
    assert focal(wrong, target).item() > 5
    assert dice(wrong, target).item() > 0.9


def test_focal_does_not_forget_small_objects():
    small, large = square(7, 9), square(2, 14)
    missed = [focal(torch.full((1, 16, 16), -4.0), target).item() for target in (small, large)]
    assert missed[0] > missed[1] / 10


def test_iou_of_what_should_be_empty_is_zero():
    empty = torch.zeros(1, 16, 16)
    assert iou(torch.full_like(empty, -5), empty).item() == 0
    assert iou(torch.full_like(empty, 5), empty).item() == 0
    target = square(4, 12)
    half = target.clone()
    half[:, 8:] = 0
    assert iou(half - 0.5, target).item() == pytest.approx(0.5)


def test_dense_loss_ignores_what_is_not_known():
    predicted, target = torch.randn(2, 5, 8, 8), torch.rand(2, 5, 8, 8).round()
    alone = dense_loss(predicted[:1], target[:1], torch.ones(1, 8, 8))
    known = torch.stack([torch.ones(8, 8), torch.zeros(8, 8)])
    assert dense_loss(predicted, target, known).item() == pytest.approx(alone.item())
    assert dense_loss(predicted, target, torch.zeros(2, 8, 8)).item() == 0


def test_dense_loss_ignores_unknown_ground():
    predicted, target = torch.randn(1, 5, 8, 8), torch.rand(1, 5, 8, 8).round()
    known = torch.zeros(1, 8, 8)
    known[:, :4] = 1
    other = predicted.clone()
    other[..., 4:, :] = 7
    assert dense_loss(predicted, target, known).item() == pytest.approx(dense_loss(other, target, known).item())
