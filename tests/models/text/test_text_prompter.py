from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_segany.core.automatic_masks import Candidate, generate_candidates
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.terms import TERMS
from napari_segany.core.text_query import Phrase, UnknownWord, Vocabulary
from napari_segany.models.inference_config import TextConfig
from napari_segany.models.sam_segmenter import SamSegmenter, choose_mask, combine_masks
from napari_segany.models.text.prompt_head import TextPromptHead
from napari_segany.models.text.text_prompter import TextPath, TextPrompter, embedded_info, head_info, load_text_prompter
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.models.tiny.zoom import ZoomSegmenter


class FakeClip:
    """Vectors by chance, the same for the same name."""

    vocabulary = Vocabulary(TERMS)

    def phrases(self, text: str) -> list[Phrase]:
        return self.vocabulary.phrases(text)

    def name_vector(self, name: str, attributes=(), modality: str = "") -> np.ndarray:
        seed = sum(ord(letter) * (i + 1) for i, letter in enumerate(name))
        return np.random.default_rng(seed).standard_normal(32).astype(np.float32)


def texts_for(sam) -> TextPrompter:
    torch.manual_seed(1)
    head = TextPromptHead(32, sam.prompt_encoder.embed_dim)
    decoder = copy.deepcopy(sam.mask_decoder)
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
        head.seen[2].bias.fill_(5.0)
        head.level.bias.fill_(-2.0)  # relevance decides, not the foreground of random weights
    return TextPrompter(FakeClip, head, decoder, torch.device("cpu"))


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["any SAM", "tiny"])
def texted(request, small_sam) -> SamSegmenter:
    if request.param == "any SAM":
        return SamSegmenter(small_sam, "small", texts=texts_for(small_sam))
    torch.manual_seed(0)
    tiny = TinySam().eval()
    return ZoomSegmenter(tiny, "tiny", texts=texts_for(tiny))


@pytest.fixture(scope="module")
def embedding(texted, plane):
    return texted.embed(plane)


def test_a_text_alone_is_answered_by_one_mask_of_the_plane(texted, embedding):
    (masks,) = texted.segment(embedding, [Prompt(text="nucleus")])
    assert len(masks) == 1
    assert masks[0].pixels.shape == (120, 200)
    assert np.isfinite(masks[0].score)


def test_another_text_gets_another_answer(texted, embedding):
    nucleus, cell, again = texted.segment(embedding, [Prompt(text=name) for name in ("nucleus", "cell", "nuclei")])
    assert not np.allclose(nucleus[0].logits, cell[0].logits)
    np.testing.assert_allclose(nucleus[0].logits, again[0].logits, atol=1e-4)


def test_text_and_click_go_the_way_of_a_click(texted, embedding):
    point = Point(60, 100)
    prompts = [Prompt((point,)), Prompt((point,), text="cell"), Prompt(box=Box(20, 20, 80, 90), text="cell")]
    click, both, box = texted.segment(embedding, prompts)
    assert [len(masks) for masks in (click, both, box)] == [3, 1, 1]
    alone = texted.segment(embedding, prompts[:1])[0]
    for one, other in zip(click, alone, strict=True):
        np.testing.assert_array_equal(one.logits, other.logits)
    refined = texted.segment(embedding, [Prompt((point, Point(10, 10, False)), text="cell", mask=both[0].logits)])
    assert len(refined[0]) == 1


@pytest.mark.parametrize("path", list(TextPath))
def test_each_path_finds_what_its_parts_tell(texted, embedding, path, monkeypatch):
    monkeypatch.setattr(texted, "texts", texted.texts.with_path(path))
    nucleus, cell = (masks[0] for masks in texted.segment(embedding, [Prompt(text=t) for t in ("nucleus", "cell")]))
    assert nucleus.pixels.shape == (120, 200)
    assert np.allclose(nucleus.logits, cell.logits, atol=1e-4) == (path is TextPath.NONE)
    monkeypatch.setattr(texted, "texts", texted.texts.with_path(TextPath.NONE))
    (without,) = texted.segment(embedding, [Prompt(text="nucleus")])[0]
    assert np.allclose(nucleus.logits, without.logits, atol=1e-4) == (path is TextPath.NONE)


def test_crops_of_objects_are_a_word(texted, embedding, monkeypatch):
    """Also one that the vocabulary lacks; other names mean what they did."""
    before = texted.segment(embedding, [Prompt(text="cell")])[0][0]
    crops = np.random.default_rng(0).normal(size=(3, texted.texts.head.text_mean.shape[0])).astype(np.float32)
    taught = texted.texts.with_pictures({"My  Spores": crops, "nucleus": crops}).with_path(TextPath.TOKENS)
    assert [phrase.name for phrase in taught.phrases("my spores")] == ["my spores"]
    spores, nucleus = taught.vectors([*taught.phrases("my spores"), *taught.phrases("nucleus")])
    assert torch.allclose(spores, nucleus)
    mean = torch.from_numpy(crops.mean(axis=0))
    expected = texted.texts.head.centred(torch.nn.functional.normalize(mean[None], dim=-1), image=True)[0]
    assert torch.allclose(spores, expected, atol=1e-6)
    with pytest.raises(UnknownWord):
        texted.texts.phrases("my spores")
    monkeypatch.setattr(texted, "texts", taught.with_path(texted.texts.path))
    after = texted.segment(embedding, [Prompt(text="cell")])[0][0]
    np.testing.assert_array_equal(before.logits, after.logits)
    assert texted.segment(embedding, [Prompt(text="my spores")])[0][0].pixels.shape == (120, 200)


def test_a_large_plane_is_searched_at_its_own_resolution(texted, plane, monkeypatch):
    monkeypatch.setattr(texted, "texts", texted.texts.with_path(TextPath.TOKENS))
    large = np.tile(plane, (10, 6, 1))
    (masks,) = texted.segment(texted.embed(large), [Prompt(text="nucleus")])
    assert masks[0].pixels.shape == large.shape[:2]


def test_a_text_chooses_among_what_a_click_means():
    def disc(radius: int, score: float) -> Mask:
        y, x = np.mgrid[:40, :40]
        return Mask((y - 20) ** 2 + (x - 20) ** 2 <= radius**2, score, np.zeros((4, 4), np.float32), 1.0)

    meanings = [disc(5, 0.8), disc(10, 0.79), disc(18, 0.5)]
    chosen = choose_mask(disc(11, 0.9), meanings, TextConfig())
    assert [mask.pixels.sum() for mask in chosen] == [meanings[k].pixels.sum() for k in (1, 0, 2)]
    assert chosen[0].score == pytest.approx((0.79 + 0.9) / 2)
    for unsure in (disc(11, 0.4), disc(0, 0.1)):
        assert choose_mask(unsure, meanings, TextConfig())[0].pixels.sum() == meanings[0].pixels.sum()


def test_what_follows_not_is_taken_away(texted, embedding):
    plain, avoided, without = (
        texted.segment(embedding, [Prompt(text=text)])[0][0] for text in ("cell", "nucleus", "cell, not nucleus")
    )
    np.testing.assert_array_equal(without.pixels, plain.pixels & ~avoided.pixels)


def test_several_names_mean_all_of_them(texted, embedding):
    cell, nucleus, both = (
        texted.segment(embedding, [Prompt(text=text)])[0][0] for text in ("cell", "nucleus", "cell; nucleus")
    )
    np.testing.assert_array_equal(both.pixels, cell.pixels | nucleus.pixels)
    assert both.score == pytest.approx(max(cell.score, nucleus.score), abs=1e-5)


def test_at_least_holds_for_texts(texted, embedding):
    assert texted.segment(embedding, [Prompt(text="cell")], at_least=1e9) == [[]]


def test_unknown_words_are_refused(texted, embedding):
    with pytest.raises(UnknownWord, match="nearest"):
        texted.segment(embedding, [Prompt(text="zebra")])


@pytest.mark.parametrize("text", ["x" * 10_000, "🦠", "\x00!", "蛋白质", "'; DROP TABLE"])
def test_strange_texts_are_one_clear_line(texted, embedding, text):
    with pytest.raises(InputError) as caught:
        texted.segment(embedding, [Prompt(text=text)])
    assert "\n" not in str(caught.value)


def test_where_it_is(texted, embedding):
    found = texted.found(embedding, Phrase("cell"))
    grid = embedding.features["image_embed"].shape[-1]
    assert found.relevance.shape == (grid, grid)
    assert 0 <= found.relevance.min() <= found.relevance.max() <= 1
    assert found.relevance[int(0.7 * grid) :].max() == 0, "padding is nothing"
    lowered = texted.found(embedding, Phrase("cell", avoided=("nucleus",))).relevance
    assert (lowered <= found.relevance + 1e-5).all()
    assert lowered.sum() < found.relevance.sum()


def test_seeds_carry_their_names(texted, embedding):
    texted.config = replace(texted.config, text=replace(texted.config.text, relevance=0.0))
    seeds = texted.named_proposals(embedding, texted.texts.phrases("small nuclei; cell"))
    for seed in seeds:
        assert seed.text in ("small nucleus", "cell")
        assert 0 <= seed.points[0].y < 120
        assert 0 <= seed.points[0].x < 200
    if not isinstance(texted, ZoomSegmenter):
        assert {seed.text for seed in seeds} == {"small nucleus", "cell"}


def test_what_is_absent_has_no_seeds_and_no_candidates(texted, embedding, plane):
    bias = texted.texts.head.seen[2].bias
    before = bias.clone()
    bias.fill_(-50.0)
    try:
        assert texted.named_proposals(embedding, [Phrase("cell")]) == []
        assert [
            one
            for _, batch in generate_candidates(texted, plane, embedding=embedding, phrases=[Phrase("cell")])
            for one in batch
        ] == []
    finally:
        bias.copy_(before)


def test_a_model_without_texts_says_so(small_sam, plane):
    plain = SamSegmenter(small_sam, "plain")
    with pytest.raises(ModelError, match="no text"):
        plain.segment(plain.embed(plane), [Prompt(text="cell")])
    with pytest.raises(ModelError, match="no text"):
        list(generate_candidates(plain, plane, phrases=[Phrase("cell")]))


def test_combined_masks_of_other_sizes():
    pixels = np.zeros((4, 4), bool)
    pixels[:2] = True
    fine, coarse = (Mask(pixels, 0.5, np.where(np.eye(n) > 0, 3.0, -3.0).astype(np.float32), 1.0) for n in (8, 4))
    assert combine_masks(fine, coarse, meant=True).logits.shape == (8, 8)
    assert not combine_masks(fine, coarse, meant=False).pixels.any()


@pytest.mark.parametrize("crops", [0, 3])
def test_head_and_decoder_of_a_file(tmp_path, small_sam, crops):
    texts = texts_for(small_sam)
    if crops:
        texts.head.remember(torch.randn(crops, 32))
    state = {f"head.{k}": v for k, v in texts.head.state_dict().items()}
    state |= {f"decoder.{k}": v for k, v in texts.decoder.state_dict().items()}
    about = {"vector_dim": 32, "embed_dim": small_sam.prompt_encoder.embed_dim, "tokens": 2, "clip": "tiny-text"}
    about["path"] = "both"
    path = tmp_path / "text.safetensors"
    save_file({k: v.contiguous() for k, v in state.items()}, path, metadata={"text": json.dumps(about)})
    loaded = load_text_prompter(copy.deepcopy(small_sam.mask_decoder), path, torch.device("cpu"))
    torch.testing.assert_close(loaded.decoder.state_dict(), texts.decoder.state_dict())
    torch.testing.assert_close(loaded.head.state_dict(), texts.head.state_dict())
    assert len(loaded.head.memory) == crops
    assert loaded.path is TextPath.BOTH
    facts = head_info(path)
    assert (facts["clip"], facts["path"]) == ("tiny-text", "both")
    assert facts["vocabulary"].startswith("closed: nucleus, cell")
    with pytest.raises(ModelError, match="holds no text prompts for this model"):
        load_text_prompter(TinySam().mask_decoder, path, torch.device("cpu"))
    save_file({"head.kind": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="holds no text prompts"):
        load_text_prompter(copy.deepcopy(small_sam.mask_decoder), path, torch.device("cpu"))


def test_what_is_told_of_it():
    about = embedded_info()
    assert "nucleus (nuclei" in about["knows"]
    assert "elongated" in about["attributes"]


def test_candidates_have_the_name_that_they_are_of(texted, embedding, plane, monkeypatch):
    monkeypatch.setattr(texted, "named_proposals", lambda *_: [Prompt((Point(60, 100),), text="cell")])
    found = [
        one
        for _, batch in generate_candidates(texted, plane, embedding=embedding, phrases=[Phrase("cell")], least=-9)
        for one in batch
    ]
    assert all(isinstance(one, Candidate) and one.prompt.text == "cell" for one in found)
    assert len(found) <= 1
