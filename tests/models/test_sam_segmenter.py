import dataclasses

import numpy as np
import pytest
import torch

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.models import sam_segmenter
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.models.tiny.tiny_sam import TinySam

CLICK = Prompt((Point(30, 20),))
BOX = Prompt(box=Box(10, 5, 60, 50))


@pytest.fixture(scope="module")
def plane():
    return np.random.default_rng(0).integers(0, 256, (70, 110, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def embedding(segmenter, plane):
    return segmenter.embed(plane)


def test_embedding(segmenter, embedding):
    assert embedding.model == segmenter.name
    assert embedding.shape == (70, 110)
    assert {name: (array.shape, array.dtype) for name, array in embedding.features.items()} == {
        "image_embed": ((1, 256, 16, 16), np.float32)
    }


@pytest.mark.parametrize("candidates", [None, 1, 3])
def test_number_of_candidates(segmenter, embedding, candidates):
    lone, clear = segmenter.segment(embedding, [CLICK, BOX], candidates=candidates)
    assert len(lone) == (candidates or 3)
    assert len(clear) == (candidates or 1)


def test_best_first_and_in_the_shape_of_the_plane(segmenter, embedding):
    (answer,) = segmenter.segment(embedding, [CLICK])
    assert [mask.score for mask in answer] == sorted((mask.score for mask in answer), reverse=True)
    for mask in answer:
        assert mask.pixels.shape == (70, 110)
        assert mask.pixels.dtype == bool
        assert mask.logits.shape == (64, 64)
        assert mask.logits.dtype == np.float32
        assert type(mask.score) is float


def test_logits_can_be_handed_back(segmenter, embedding):
    (first,) = segmenter.segment(embedding, [CLICK])
    (second,) = segmenter.segment(embedding, [Prompt(CLICK.points, mask=first[0].logits)])
    assert len(second) == 1


def test_many_prompts_keep_their_order(segmenter, embedding, monkeypatch):
    monkeypatch.setattr(sam_segmenter, "BATCH", 2)
    prompts = [CLICK, BOX, Prompt((Point(1, 1),)), Prompt(mask=np.ones((70, 110), bool)), Prompt((Point(60, 100),))]
    together = segmenter.segment(embedding, prompts)
    for answer, prompt in zip(together, prompts, strict=True):
        (alone,) = segmenter.segment(embedding, [prompt])
        np.testing.assert_allclose([m.score for m in answer], [m.score for m in alone], atol=1e-5)


def test_no_prompts_no_answers(segmenter, embedding):
    assert segmenter.segment(embedding, []) == []


def test_clicks_just_outside_are_fine(segmenter, embedding):
    (answer,) = segmenter.segment(embedding, [Prompt((Point(-5, 200),), box=Box(-10, -10, 500, 500))])
    assert len(answer) == 1


def test_read_only_features_are_taken(segmenter, embedding):
    frozen = {name: array.copy() for name, array in embedding.features.items()}
    for array in frozen.values():
        array.flags.writeable = False
    segmenter.segment(dataclasses.replace(embedding, features=frozen), [CLICK])


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (300, 1)])
def test_planes_one_pixel_wide(segmenter, shape):
    embedding = segmenter.embed(np.full((*shape, 3), 7, np.uint8))
    (answer,) = segmenter.segment(embedding, [Prompt((Point(0, 0),), mask=np.ones(shape, bool))])
    assert answer[0].pixels.shape == shape


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((9, 9, 3)), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((0, 9, 3), np.uint8)],
)
def test_a_wrong_plane_is_refused(segmenter, wrong):
    with pytest.raises(InputError, match="a plane is"):
        segmenter.embed(wrong)


@pytest.mark.parametrize(
    ("prompt", "error", "says"),
    [
        (Prompt(), InputError, "empty prompt"),
        (Prompt(text="  "), InputError, "empty prompt"),
        (Prompt(text="nucleus"), ModelError, "no text"),
        (Prompt(mask=np.ones((70, 111), bool)), InputError, "the plane's shape"),
        (Prompt(mask=np.ones((70, 110), np.float32)), InputError, "mask logits"),
    ],
)
def test_a_wrong_prompt_is_refused(segmenter, embedding, prompt, error, says):
    with pytest.raises(error, match=says):
        segmenter.segment(embedding, [CLICK, prompt])


@pytest.mark.parametrize("candidates", [0, 2, 4, -1])
def test_other_numbers_of_candidates_are_refused(segmenter, embedding, candidates):
    with pytest.raises(InputError, match="candidates"):
        segmenter.segment(embedding, [CLICK], candidates=candidates)


def test_an_embedding_of_another_model_is_refused(segmenter, embedding):
    with pytest.raises(InputError, match="'other'"):
        segmenter.segment(dataclasses.replace(embedding, model="other"), [CLICK])


def test_reduced_precision_keeps_half_the_bytes(small_sam, segmenter, plane, embedding):
    reduced = SamSegmenter(small_sam, "small", dtype=torch.bfloat16)
    half = reduced.embed(plane).features["image_embed"]
    whole = embedding.features["image_embed"]
    assert half.dtype == np.float16
    assert np.linalg.norm(half - whole) < 0.05 * np.linalg.norm(whole)
    (answer,) = reduced.segment(reduced.embed(plane), [CLICK])
    assert answer[0].logits.dtype == np.float32


def test_the_tiny_model_answers_through_the_same_calls(plane):
    torch.manual_seed(0)
    tiny = SamSegmenter(TinySam(), "tiny")
    embedding = tiny.embed(plane)
    assert {name: array.shape[1:] for name, array in embedding.features.items()} == {
        "image_embed": (128, 64, 64),
        "high_res_0": (16, 256, 256),
        "high_res_1": (32, 128, 128),
    }
    lone, clear = tiny.segment(embedding, [CLICK, BOX])
    assert [len(lone), len(clear)] == [3, 1]
    assert lone[0].pixels.shape == (70, 110)
