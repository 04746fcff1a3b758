from __future__ import annotations

import pytest
import torch

from napari_segany.models.text.prompt_head import CERTAIN, KEY_DIM, TextPromptHead, rough_mask


@pytest.fixture
def head() -> TextPromptHead:
    torch.manual_seed(0)
    return TextPromptHead(32, 16, tokens=2)


VALID = torch.ones(1, 8, 8, dtype=torch.bool)


def test_shapes(head):
    vectors = head.centred(torch.randn(5, 32))
    assert head(vectors).shape == (5, 2, 16)
    relevance, presence = head.found(vectors, torch.randn(1, 16, 8, 8), VALID)
    assert relevance.shape == (5, 8, 8)
    assert presence.shape == (5,)
    relevance, _ = head.found(vectors, torch.randn(5, 16, 8, 8), VALID.expand(5, -1, -1))
    assert relevance.shape == (5, 8, 8)


def test_every_weight_learns(head):
    vectors = head.centred(torch.randn(3, 32))
    relevance, presence = head.found(vectors, torch.randn(1, 16, 8, 8), VALID)
    (head(vectors).square().sum() + relevance.square().sum() + presence.sum()).backward()
    for name, weight in head.named_parameters():
        if name.startswith("scene"):
            continue  # learned apart, see training/scenes.py
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_each_kind_of_vector_has_its_mean_taken_off(head):
    head.text_mean.fill_(0.5)
    head.image_mean.fill_(-0.5)
    shared = torch.randn(4, 32)
    torch.testing.assert_close(head.centred(shared + 0.5), head.centred(shared - 0.5, image=True))
    torch.testing.assert_close(head.centred(shared + 0.5).norm(dim=1), torch.ones(4))


def test_a_text_is_asked_by_the_crops_that_it_is_nearest_to(head):
    crops, text = torch.nn.functional.one_hot(torch.tensor([0, 0, 3]), 32).float(), torch.zeros(1, 32)
    text[0, :4] = torch.tensor([1.0, 0.2, 0.0, 0.1])
    plain = head.centred(text)
    head.remember(5 * crops)
    torch.testing.assert_close(head.centred(text), head.centred(crops[:1], image=True))
    assert not torch.allclose(plain, head.centred(text))
    # crops themselves are asked as they are
    torch.testing.assert_close(head.centred(text, image=True), torch.nn.functional.normalize(text, dim=-1))


def test_padding_says_nothing_of_presence(head):
    vectors, image = head.centred(torch.randn(2, 32)), torch.randn(1, 16, 8, 8)
    valid = VALID.clone()
    valid[:, 5:] = False
    other = image.clone()
    other[:, :, 7:] = 100.0  # beyond the reach of the 3 x 3 convolution from what is valid
    torch.testing.assert_close(head.found(vectors, image, valid)[1], head.found(vectors, other, valid)[1])


def test_a_batch_does_not_change_an_answer(head):
    vectors, image = head.centred(torch.randn(6, 32)), torch.randn(1, 16, 8, 8)
    together = head.found(vectors, image, VALID)
    alone = head.found(vectors[4:5], image, VALID)
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[4:5], b)


def test_a_rough_mask_is_finite_and_off_the_padding_surely_nothing():
    relevance = torch.full((1, 4, 4), 1e6)
    valid = torch.ones(1, 4, 4, dtype=torch.bool)
    valid[:, :, 2:] = False
    mask = rough_mask(relevance, valid, (16, 16))
    assert mask.shape == (1, 1, 16, 16)
    assert mask[..., :6].min() == CERTAIN
    assert mask[..., 10:].max() == -CERTAIN
    assert KEY_DIM % 2 == 0
