import numpy as np
import pytest
import torch

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.models.geometry import Frame, image_tensor, mask_logits, plane_masks, prompt_tensors

LOW = (64, 64)


@pytest.mark.parametrize(
    ("plane", "resized"),
    [
        ((256, 256), (256, 256)),
        ((128, 64), (256, 128)),
        ((1, 5000), (1, 256)),
        ((5000, 1), (256, 1)),
        ((3, 2), (256, 171)),
    ],
)
def test_the_longest_side_fills_the_frame(plane, resized):
    frame = Frame(plane, 256)
    assert frame.resized == resized
    image = image_tensor(np.zeros((*plane, 3), np.uint8), frame)
    assert image.shape == (1, 3, *resized)


def test_a_read_only_strided_plane_is_taken():
    plane = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    view = plane[::2, ::-1, ::-1]
    view.flags.writeable = False
    frame = Frame(view.shape[:2], 64)
    assert torch.equal(image_tensor(view, frame), image_tensor(view.copy(), frame))


def test_y_and_x_change_places_once():
    frame = Frame((100, 50), 200)
    prompts = [Prompt((Point(10, 20), Point(3, 4, positive=False)), box=Box(1, 2, 30, 40)), Prompt((Point(0, 0),) * 2)]
    tensors = prompt_tensors(prompts[:1], frame, LOW)
    xy, labels = tensors.points
    assert xy.tolist() == [[[40, 20], [8, 6]]]
    assert labels.tolist() == [[1, 0]]
    assert tensors.boxes.tolist() == [[4, 2, 80, 60]]
    assert tensors.masks is None
    assert prompt_tensors(prompts[1:], frame, LOW).boxes is None


def test_a_rough_mask_comes_back_where_it_was():
    plane = np.zeros((90, 160), bool)
    plane[20:70, 100:150] = True
    frame = Frame(plane.shape, 256)
    logits = mask_logits(plane, frame, LOW)
    assert logits.shape == (1, *LOW)
    assert logits.min() == pytest.approx(-6.907, abs=1e-3)
    assert logits.max() == pytest.approx(6.907, abs=1e-3)
    (back,) = plane_masks(logits, frame)
    assert (back & plane).sum() / (back | plane).sum() > 0.95


def test_padding_is_cut_off():
    logits = torch.full((1, *LOW), 3.0)
    logits[:, :, 32:] = -3.0
    (back,) = plane_masks(logits, Frame((200, 100), 256))
    assert back.shape == (200, 100)
    assert back[:, :-1].all()


def test_logits_pass_through():
    logits = np.random.default_rng(0).normal(size=LOW).astype(np.float16)
    logits.flags.writeable = False
    assert torch.equal(mask_logits(logits, Frame((9, 9), 256), LOW)[0], torch.tensor(logits).float())


@pytest.mark.parametrize(
    "mask", [np.ones((9, 8), bool), np.ones((9, 9), np.float32), np.full(LOW, np.nan), np.ones((1, 1), bool)]
)
def test_a_mask_that_does_not_fit_is_refused(mask):
    with pytest.raises(InputError, match=r"\(9, 9\)|finite"):
        mask_logits(mask, Frame((9, 9), 256), LOW)
