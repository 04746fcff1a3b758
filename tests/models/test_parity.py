"""The same weights give the same numbers here and in the `segment-anything` 1.0 package."""

from functools import partial

import numpy as np
import pytest
import segment_anything
import torch
from segment_anything import modeling
from segment_anything.modeling.image_encoder import get_rel_pos
from segment_anything.utils.transforms import ResizeLongestSide

from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.models.geometry import Frame, image_tensor
from napari_segany.models.sam.image_encoder import EncoderConfig, relative_positions
from napari_segany.models.sam.model import Sam, build_sam
from napari_segany.models.sam_segmenter import SamSegmenter

TOLERANCE = 1e-4  # of the largest value
SHAPES = [(256, 256), (150, 233), (301, 97)]
POINTS = (Point(40.25, 61.5), Point(90, 20, positive=False), Point(71, 44))
BOX = Box(20.5, 11, 101, 80.75)
LOGITS = np.random.default_rng(5).normal(0, 4, (64, 64)).astype(np.float32)
PROMPTS = {
    "point": Prompt(POINTS[:1]),
    "background point": Prompt(POINTS[1:2]),
    "points": Prompt(POINTS),
    "box": Prompt(box=BOX),
    "points and box": Prompt(POINTS[:2], box=BOX),
    "mask": Prompt(mask=LOGITS),
    "point and mask": Prompt(POINTS[:1], mask=LOGITS),
    "points, box and mask": Prompt(POINTS, box=BOX, mask=LOGITS),
    "points outside": Prompt((Point(-30, 12), Point(44, 900))),
}


def reference_like(config: EncoderConfig, weights: dict[str, torch.Tensor]) -> modeling.Sam:
    """The reference implementation in the same sizes, with the very same weights."""
    channels, grid, frame = config.out_channels, config.grid, config.image_size
    encoder = modeling.ImageEncoderViT(
        depth=config.depth,
        embed_dim=config.width,
        img_size=frame,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=config.heads,
        patch_size=config.patch_size,
        use_rel_pos=True,
        global_attn_indexes=config.global_blocks,
        window_size=config.window,
        out_chans=channels,
    )
    prompts = modeling.PromptEncoder(channels, (grid, grid), (frame, frame), 16)
    transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=channels, mlp_dim=2048, num_heads=8)
    model = modeling.Sam(encoder, prompts, modeling.MaskDecoder(transformer_dim=channels, transformer=transformer))
    model.load_state_dict(weights, assign=True)
    return model.eval()


@pytest.fixture(scope="module")
def reference(small_sam: Sam, small_config: EncoderConfig) -> segment_anything.SamPredictor:
    return segment_anything.SamPredictor(reference_like(small_config, small_sam.state_dict()))


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def scene(request, segmenter, reference):
    plane = np.random.default_rng(1).integers(0, 256, (*request.param, 3), dtype=np.uint8)
    reference.set_image(plane)
    return segmenter.embed(plane), reference


def ask(reference: segment_anything.SamPredictor, prompt: Prompt, candidates: int):
    """The reference's answer: logits of the plane, predicted IoU, low-resolution logits; most confident first."""
    points = np.array([(point.x, point.y) for point in prompt.points]) if prompt.points else None
    masks, iou, low = reference.predict(
        point_coords=points,
        point_labels=np.array([int(point.positive) for point in prompt.points]) if prompt.points else None,
        box=None if prompt.box is None else np.array([prompt.box.x0, prompt.box.y0, prompt.box.x1, prompt.box.y1]),
        mask_input=None if prompt.mask is None else prompt.mask[None],
        multimask_output=candidates == 3,
        return_logits=True,
    )
    order = np.argsort(-iou, kind="stable")
    return masks[order], iou[order], low[order]


def assert_close(ours: np.ndarray, theirs: np.ndarray, least: float = 0.0) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * max(np.abs(theirs).max(), least))


def assert_same_answer(answer, expected) -> None:
    masks, iou, low = expected
    # a lone predicted IoU may lie as near to zero as its rounding: what it is a sum of is of the order of 1
    # the reference's is a free number, ours an IoU
    assert_close(np.array([mask.score for mask in answer]), np.clip(iou, 0, 1), least=0.01)
    assert_close(np.array([mask.logits for mask in answer]), low)
    clear = np.abs(masks) > TOLERANCE * np.abs(low).max()
    assert clear.mean() > 0.9
    pixels = np.array([mask.pixels for mask in answer])
    assert pixels.shape == masks.shape
    np.testing.assert_array_equal(pixels[clear], masks[clear] > 0)


def test_embedding(scene):
    embedding, reference = scene
    assert_close(embedding.features["image_embed"], reference.get_image_embedding().numpy())


@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_answers(segmenter, scene, prompt, candidates):
    embedding, reference = scene
    (answer,) = segmenter.segment(embedding, [prompt], candidates=candidates)
    assert_same_answer(answer, ask(reference, prompt, candidates))


def test_prompts_asked_together_are_answered_as_if_alone(segmenter, scene):
    embedding, reference = scene
    answers = segmenter.segment(embedding, list(PROMPTS.values()), candidates=3)
    for answer, prompt in zip(answers, PROMPTS.values(), strict=True):
        assert_same_answer(answer, ask(reference, prompt, 3))


def test_full_size_vit_b(randomise):
    model = randomise(build_sam("vit_b"))
    theirs = segment_anything.SamPredictor(reference_like(EncoderConfig(), model.state_dict()))
    plane = np.random.default_rng(2).integers(0, 256, (520, 696, 3), dtype=np.uint8)
    theirs.set_image(plane)
    ours = SamSegmenter(model, "vit_b")
    embedding = ours.embed(plane)
    assert_close(embedding.features["image_embed"], theirs.get_image_embedding().numpy())
    for prompt, candidates in ((PROMPTS["point"], 3), (PROMPTS["points and box"], 1)):
        (answer,) = ours.segment(embedding, [prompt])
        assert_same_answer(answer, ask(theirs, prompt, candidates))


@pytest.mark.parametrize("size", ["vit_b", "vit_l", "vit_h"])
def test_names_and_shapes_are_those_of_the_published_checkpoints(size):
    with torch.device("meta"):
        ours, theirs = build_sam(size), segment_anything.sam_model_registry[size]()
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in theirs.state_dict().items()
    }


@pytest.mark.parametrize("size", [5, 14, 16, 31])
def test_relative_positions_of_another_size(size):
    table = torch.randn(27, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(relative_positions(table, size), get_rel_pos(size, size, table))


@pytest.mark.parametrize("side", [256, 1024])
@pytest.mark.parametrize("seed", range(6))
def test_resizing_is_the_same_to_the_bit(seed, side):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(20, 1500, 2) | 1
    plane = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    ours = image_tensor(plane, Frame((int(height), int(width)), side))
    theirs = ResizeLongestSide(side).apply_image(plane)
    np.testing.assert_array_equal(ours[0].permute(1, 2, 0).numpy(), theirs)
