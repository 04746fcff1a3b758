"""What makes the models fast: operations, sizes and calls are counted, as seconds depend on the machine."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import segment_anything
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from napari_segany.core.automatic_masks import Grid, generate_candidates
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.synthetic import synthetic_image
from napari_segany.models.geometry import Frame, plane_masks
from napari_segany.models.loading import load_model
from napari_segany.models.sam import transformer
from napari_segany.models.sam.image_encoder import SCORES
from napari_segany.models.sam.layers import linear
from napari_segany.models.sam.mask_decoder import Choice, MaskDecoder
from napari_segany.models.sam.model import build_sam
from napari_segany.models.sam.transformer import TwoWayTransformer
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.models.tiny.zoom import ZoomSegmenter

CLICK = Prompt((Point(40, 60),))


class Sizes(TorchDispatchMode):
    """Notes how many numbers each operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.made.append(result.numel())
        return result


def operations(work) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@pytest.fixture(scope="module")
def vit_b():
    """ViT-B without numbers: only shapes are computed."""
    with torch.device("meta"):
        return build_sam("vit_b").eval().requires_grad_(False)


def test_no_attention_of_a_whole_picture_is_ever_held(vit_b):
    with Sizes() as sizes, torch.inference_mode():
        vit_b.encode(torch.empty(1, 3, 1024, 1024, device="meta"))
    # The largest is what lies between the two layers of an MLP; scores would be 12 x 4096 x 4096.
    assert max(sizes.made) <= 4096 * 4 * 768


def test_encoding_costs_little_more_than_its_layers(vit_b):
    tokens, windowed, width = 64 * 64, 25 * 14 * 14, 768
    attention = 4 * 2 * 2 * tokens**2 * width + 8 * 2 * 2 * windowed * 14 * 14 * width
    linear = 2 * width**2 * (12 * 8 * tokens + 4 * 4 * tokens + 8 * 4 * windowed)
    with torch.inference_mode():
        count = operations(lambda: vit_b.encode(torch.empty(1, 3, 1024, 1024, device="meta")))
    assert count < 1.06 * (attention + linear)


def test_a_click_takes_a_third_of_the_operations_of_the_reference(vit_b):
    decoder = segment_anything.sam_model_registry["vit_b"]().mask_decoder.eval()
    image, position = torch.randn(1, 256, 64, 64), torch.randn(1, 256, 64, 64)
    sparse = torch.randn(4, 2, 256)
    ours = copy.deepcopy(vit_b.mask_decoder).to_empty(device="cpu")
    with torch.inference_mode():
        theirs = operations(lambda: decoder(image, position, sparse, torch.zeros(4, 256, 64, 64), True))
        mine = operations(lambda: ours(image, position, sparse, torch.zeros(1, 256, 1, 1)))
        three = operations(lambda: ours(image, position, sparse, torch.zeros(1, 256, 1, 1), choice=Choice(3)))
    assert mine < 0.325 * theirs
    # Of seven tokens, four are read then: the others do not look at the image for the last time.
    of_a_token = 4 * 2 * 2 * 8 * 256 * 64**2
    assert three < mine - of_a_token


@pytest.mark.parametrize("images", [1, 3])
def test_an_image_is_dealt_with_in_strips_that_stay_in_the_cache(monkeypatch, images):
    model = TwoWayTransformer(depth=2, embedding_dim=32, num_heads=2, mlp_dim=8).requires_grad_(False)
    image, position, tokens = torch.randn(images, 32, 10, 10), torch.randn(1, 32, 10, 10), torch.randn(3, 5, 32)
    given, whole = image.clone(), model(image, position, tokens)
    # seven places of three images at a time; a hundred are no multiple of that
    monkeypatch.setattr(transformer, "STRIP", 7 * 3 * 32 * 4)
    with Sizes() as sizes, torch.inference_mode():
        in_strips = model(image, position, tokens)
    torch.testing.assert_close(in_strips, whole)
    assert torch.equal(image, given)
    made = [size for size in sizes.made if size == whole[1].numel()]
    # The image in the order of its places, as three where it is one of each prompt; what is made of it, written over.
    assert len(made) <= (1 if images == 1 else 4)


def test_masks_that_are_wanted_are_the_same_without_the_others(small_sam):
    points = torch.tensor([[[90.0, 40.0]], [[20.0, 200.0]]]), torch.ones(2, 1, dtype=torch.long)
    with torch.inference_mode():
        features = small_sam.encode(torch.rand(1, 3, 256, 256) * 255)
        masks, iou = small_sam.decode(features, points)
        for count, chosen in ((1, slice(0, 1)), (3, slice(1, 4))):
            some = small_sam.decode(features, points, choice=Choice(count))
            torch.testing.assert_close(some, (masks[:, chosen], iou[:, chosen]))


def test_masks_that_are_not_wanted_are_not_drawn(segmenter, monkeypatch):
    plane = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    embedding = segmenter.embed(plane)
    drawn = []
    upscale = MaskDecoder._upscale
    monkeypatch.setattr(MaskDecoder, "_upscale", lambda self, *args: drawn.append(1) or upscale(self, *args))
    assert segmenter.segment(embedding, [CLICK], candidates=3, at_least=1e9) == [[]]
    assert not drawn
    assert len(segmenter.segment(embedding, [CLICK])[0]) == 3
    assert drawn
    assert not [
        one
        for _, batch in generate_candidates(segmenter, plane, Grid(2), embedding=embedding, least=1e9)
        for one in batch
    ]
    assert len(drawn) == 1


def test_a_small_object_in_a_large_plane_costs_what_it_is_large():
    logits = torch.full((3, 256, 256), -9.0)
    logits[:, 100:110, 40:52] = 9
    with Sizes() as sizes:
        masks, stability = plane_masks(logits, Frame((4096, 4096), 1024))
    assert masks.shape == (3, 4096, 4096)
    assert masks[0, 1700, 700]
    assert masks[0].sum() == pytest.approx(160 * 192, rel=0.1)
    assert stability.min() > 0.8
    # The logits themselves are compared once.
    assert max(sizes.made) <= max(3 * 256 * 256, (15 * 16) * (17 * 16) * 2)


@pytest.mark.parametrize("plane", [(1024, 1024), (700, 1024), (512, 301), (37, 90), (2000, 2500)])
def test_a_part_is_drawn_as_the_whole_would_be(plane):
    rng = np.random.default_rng(3)
    logits = torch.full((2, 256, 256), -5.0)
    logits[0, 120:150, 5:30] = torch.from_numpy(rng.normal(0, 3, (30, 25)).astype(np.float32))
    logits[1, :9, :] = torch.from_numpy(rng.normal(0, 3, (9, 256)).astype(np.float32))
    frame = Frame(plane, 1024)
    height, width = frame.resized
    full = torch.nn.functional.interpolate(logits[None], (1024, 1024), mode="bilinear")[..., :height, :width]
    full = torch.nn.functional.interpolate(full, plane, mode="bilinear")[0]
    masks, stability = plane_masks(logits, frame)
    clear = full.abs() > 1e-2
    np.testing.assert_array_equal(masks[clear.numpy()], (full > 0)[clear].numpy())
    expected = [float((one > 1).sum() / (one > -1).sum().clamp_min(1)) for one in full]
    np.testing.assert_allclose(stability, expected, atol=0.02)


def test_what_stays_the_same_from_click_to_click_is_made_once(small_sam, monkeypatch):
    segmenter = SamSegmenter(small_sam, "small")
    embedding = segmenter.embed(np.zeros((64, 64, 3), np.uint8))
    segmenter.segment(embedding, [CLICK])
    maps = segmenter._maps(embedding)
    monkeypatch.setattr(type(small_sam.prompt_encoder), "dense_pe", lambda self: pytest.fail("made again"))
    segmenter.segment(embedding, [CLICK])
    assert segmenter._maps(embedding) is maps
    assert segmenter._maps(segmenter.embed(np.ones((64, 64, 3), np.uint8))) is not maps


def test_what_stays_the_same_from_click_to_click_in_a_window_is_made_once_too():
    segmenter = ZoomSegmenter(load_model("tiny"), "tiny")
    embedding = segmenter.embed(np.zeros((64, 64, 3), np.uint8))
    segmenter.segment(embedding, [CLICK])
    _, maps = segmenter._last
    segmenter.segment(embedding, [CLICK])
    assert segmenter._last[1] is maps


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_linear_layer_is_the_same_as_a_convolution(dtype, biased):
    x, layer = torch.randn(2, 5, 7, 24).to(dtype), torch.nn.Linear(24, 40, bias=biased).to(dtype)
    expected = layer(x).detach()
    with torch.inference_mode():
        made = linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(made, expected)
    # what is learned from goes the plain way, and so do its gradients
    linear(x, layer.weight, layer.bias).sum().backward()
    assert layer.weight.grad is not None


def test_without_onednn_linear_layers_are_no_convolutions(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda *_: pytest.fail("a convolution"))
    with torch.inference_mode():
        assert linear(torch.ones(2, 3), torch.ones(4, 3), None).tolist() == [[3.0] * 4] * 2


def test_tokens_of_a_picture_keep_one_order(vit_b, monkeypatch):
    strides = []
    norm = torch.nn.LayerNorm.forward
    monkeypatch.setattr(
        torch.nn.LayerNorm, "forward", lambda self, x: strides.append(x.is_contiguous()) or norm(self, x)
    )
    with torch.inference_mode():
        vit_b.encode(torch.empty(1, 3, 1024, 1024, device="meta"))
    assert strides == [True] * 24


def test_scores_are_added_to_where_their_positions_were_written():
    """Nothing as large as scores is made but positions, and what the softmax makes of both."""
    attention = build_sam("vit_b").image_encoder.blocks[2].attn
    q = torch.randn(1, 64 * 64, 64)
    with Sizes() as sizes, torch.inference_mode():
        attention.attend(q, q, q, (64, 64))
    blocks = 64**4 // SCORES
    storages = [size for size in sizes.made if size == SCORES]
    # the sum of rows and columns, its flat view, the product that is added to it in place, the softmax
    assert len(storages) == 4 * blocks


class TestReducedPrecision:
    def test_an_embedding_differs_by_less_than_two_percent(self, small_sam):
        plane = np.random.default_rng(2).integers(0, 256, (200, 256, 3), dtype=np.uint8)
        whole, half = (
            SamSegmenter(small_sam, "small", dtype=dtype).embed(plane).features["image_embed"].astype(np.float32)
            for dtype in (torch.float32, torch.bfloat16)
        )
        assert np.linalg.norm(half - whole) < 0.02 * np.linalg.norm(whole)

    def test_the_model_that_was_given_stays_as_it_is(self, small_sam):
        SamSegmenter(small_sam, "small", dtype=torch.bfloat16)
        assert {weights.dtype for weights in small_sam.parameters()} == {torch.float32}

    def test_masks_of_the_model_in_the_wheel_agree(self):
        model = load_model("tiny")
        whole, half = (
            ZoomSegmenter(copy.deepcopy(model), "tiny", dtype=dtype) for dtype in (torch.float32, torch.bfloat16)
        )
        overlaps = []
        for seed in range(3):
            made = synthetic_image(np.random.default_rng(seed), (256, 256), kind="fluorescence", radius=14)
            places = [np.argwhere(made.levels[0] == label)[5] for label in np.unique(made.levels[0])[1:12]]
            prompts = [Prompt((Point(float(y), float(x)),)) for y, x in places]
            answers = [one.segment(one.embed(made.image), prompts) for one in (whole, half)]
            for first, second in zip(*answers, strict=True):
                both = (first[0].pixels & second[0].pixels).sum(), (first[0].pixels | second[0].pixels).sum()
                overlaps.append(both[0] / max(both[1], 1))
        assert np.mean(overlaps) >= 0.98
