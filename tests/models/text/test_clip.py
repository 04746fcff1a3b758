from __future__ import annotations

import builtins
import json
import socket
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.text_query import Phrase, prompt_sentences
from napari_segany.models.text import clip as module
from napari_segany.models.text.clip import Clip, build_towers, load_clip, object_vectors, short_tokenizer, square_crop

SMALL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 1024, "width": 32, "heads": 2, "layers": 2},
}
HARMLESS = "nucleus"


@pytest.fixture(scope="module")
def towers():
    torch.manual_seed(0)
    return build_towers(SMALL).eval()


@pytest.fixture(scope="module")
def small(towers) -> Clip:
    return Clip(towers, short_tokenizer(1024, 12), "small")


@pytest.fixture(scope="module")
def embedded() -> Clip:
    return load_clip()


@pytest.fixture
def offline(monkeypatch) -> None:
    def refuse(*arguments, **options):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


class TestTexts:
    def test_vectors_have_length_one(self, small):
        vectors = small.text_vectors(["nucleus", "a cell", ""])
        assert vectors.shape == (3, 32)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)

    @pytest.mark.parametrize("others", [0, 1, 7, 100])
    def test_a_text_has_one_vector_in_any_batch(self, towers, others):
        alone = Clip(towers, short_tokenizer(1024, 12), "small").text_vectors([HARMLESS])[0]
        fresh = Clip(towers, short_tokenizer(1024, 12), "small")
        batch = [f"{number} other things" for number in range(others)] + [HARMLESS]
        assert float(fresh.text_vectors(batch)[-1] @ alone) >= 0.9999

    def test_a_text_has_one_vector_with_any_number_of_threads(self, towers):
        threads = torch.get_num_threads()
        vectors = []
        try:
            for count in (1, 2):
                torch.set_num_threads(count)
                vectors.append(Clip(towers, short_tokenizer(1024, 12), "small").text_vectors([HARMLESS])[0])
        finally:
            torch.set_num_threads(threads)
        assert float(vectors[0] @ vectors[1]) >= 0.9999

    def test_a_model_in_half_precision_gives_the_same_vector(self, embedded):
        half = load_clip()
        half.model.half()
        again = Clip(half.model, short_tokenizer(4096, 20), "again", vocabulary=embedded.vocabulary)
        for name in ("nucleus", "cell", "person"):
            assert float(again.name_vector(name) @ embedded.name_vector(name)) >= 0.9999

    def test_what_was_encoded_is_kept_and_the_oldest_goes(self, towers, monkeypatch):
        clip = Clip(towers, short_tokenizer(1024, 12), "small")
        asked = []
        monkeypatch.setattr(
            towers, "encode_text", lambda tokens: (asked.append(len(tokens)), torch.ones(len(tokens), 32))[1]
        )
        monkeypatch.setattr(module, "KEPT", 3)
        clip.text_vectors(["a", "b", "a"])
        clip.text_vectors(["b", "a"])
        assert asked == [2]
        clip.text_vectors(["c", "d", "e"])
        clip.text_vectors(["a"])
        assert asked == [2, 3, 1]

    @settings(deadline=None, max_examples=30)
    @given(st.text(max_size=200))
    def test_any_text_has_a_finite_vector(self, small, text):
        assert np.isfinite(small.text_vectors([text])).all()

    @pytest.mark.parametrize("text", ["", "x" * 10_000, "🦠🔬", "细胞核", "\x00\x1b[31m", "'; DROP TABLE cells; --"])
    def test_strange_texts(self, small, text):
        assert np.isfinite(small.text_vectors([text])).all()


class TestTokenizer:
    def test_it_has_so_many_words(self):
        tokenizer = short_tokenizer(1024, 12)
        assert tokenizer.vocab_size == 1024
        tokens = tokenizer(["nucleus " * 50, ""])
        assert tokens.shape == (2, 12)
        assert tokens.max() == 1023
        assert tokens[0, -1] == 1023

    def test_every_name_fits(self, embedded):
        tokenizer = short_tokenizer(4096, 200)
        for term in embedded.vocabulary.terms.values():
            assert (tokenizer(prompt_sentences(term.name, term.plural)) > 0).sum(1).max() <= 20


class TestCrops:
    def test_a_crop_shows_the_object_in_its_middle(self):
        plane = np.zeros((60, 80, 3), np.uint8)
        plane[20:30, 40:50] = (200, 100, 50)
        crop = square_crop(plane, (slice(20, 30), slice(40, 50)), np.ones((10, 10), bool), 2.0, 40)
        assert crop.shape == (4, 40, 40)
        np.testing.assert_allclose(crop[:, 20, 20], [200, 100, 50, 255], atol=1)
        assert crop[3, :8].max() < 1
        assert crop[3].mean() / 255 == pytest.approx(0.25, abs=0.05)

    @pytest.mark.parametrize("corner", [(0, 0), (50, 70)])
    def test_beyond_the_plane_it_is_black(self, corner):
        plane = np.full((60, 80, 3), 100, np.uint8)
        window = slice(corner[0], corner[0] + 10), slice(corner[1], corner[1] + 10)
        crop = square_crop(plane, window, np.ones((10, 10), bool), 2.0, 40)
        assert crop[0].min() == 0
        assert crop[0].max() == 100
        assert crop[3].max() == 255

    def test_the_last_layer_looks_at_the_object_only(self, towers):
        generator = torch.Generator().manual_seed(1)
        crops = torch.rand(2, 4, 32, 32, generator=generator) * 255
        crops[:, 3] = 0
        crops[:, 3, 8:24, 8:24] = 255
        with torch.inference_mode():
            seen, alone = (object_vectors(towers, crops, torch.tensor([flag] * 2)) for flag in (False, True))
            whole = crops.clone()
            whole[:, 3] = 255
            everything = object_vectors(towers, whole, torch.tensor([False] * 2))
            plain = towers.encode_image((crops[:, :3] / 255 - 0.5) / 0.25)
        assert not torch.allclose(seen, alone, atol=1e-4)
        assert not torch.allclose(seen, everything, atol=1e-4)
        # With nothing hidden it is the tower's own forward pass.
        torch.testing.assert_close(everything, plain, rtol=1e-4, atol=1e-5)

    def test_nothing_at_all_has_a_vector_too(self, towers):
        crops = torch.zeros(1, 4, 32, 32)
        for alone in (True, False):
            assert torch.isfinite(object_vectors(towers, crops, torch.tensor([alone]))).all()

    def test_another_tower_sees_the_object_alone(self, towers):
        class Other:
            visual = object()

            @staticmethod
            def encode_image(pixels):
                return pixels.flatten(1)

        crops = torch.full((1, 4, 8, 8), 255.0)
        crops[:, 3, :4] = 0
        seen = object_vectors(Other(), crops, torch.tensor([False])).unflatten(1, (3, 8, 8))
        assert seen[:, :, :4].max() < seen[:, :, 4:].min()

    def test_many_objects(self, small):
        plane = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        windows, masks = [(slice(i, i + 8), slice(0, 9)) for i in range(50)] * 2, [np.ones((8, 9), bool)] * 100
        vectors = small.crop_vectors(plane, windows, masks)
        assert vectors.shape == (100, 32)
        np.testing.assert_allclose(vectors[0], vectors[50], atol=1e-5)
        assert small.crop_vectors(plane, [], []).shape[0] == 0


class TestEmbedded:
    def test_it_loads_without_a_network(self, offline):
        assert load_clip().name_vector("nucleus").shape == (256,)

    def test_it_knows_its_words(self, embedded):
        assert embedded.phrases("small nuclei") == [Phrase("nucleus", ("small",))]
        with pytest.raises(InputError, match="not known to this model; nearest:"):
            embedded.phrases("zebra stripes")

    def test_synonyms_are_nearer_than_other_names(self, embedded):
        nucleus, cell, person = (embedded.name_vector(name) for name in ("nucleus", "cell", "person"))
        (nuclei,) = embedded.text_vectors(["cell nuclei"])
        assert nuclei @ nucleus > max(nuclei @ cell, nuclei @ person)

    def test_open_clip_reads_the_folder(self):
        import open_clip

        model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{module.embedded_folder()}")
        vector = model.encode_text(short_tokenizer(4096, 20)(["nucleus"]))
        assert vector.shape == (1, 256)

    def test_it_is_small(self):
        size = sum(path.stat().st_size for path in module.embedded_folder().iterdir())
        head = module.embedded_folder().with_suffix(".safetensors")
        assert size + (head.stat().st_size if head.is_file() else 0) <= 14e6


class TestMissing:
    @pytest.fixture(
        params=[ImportError("No module named 'open_clip'"), RuntimeError("operator torchvision::nms does not exist")]
    )
    def broken(self, request, monkeypatch):
        real = builtins.__import__

        def fail(name, *arguments, **options):
            if name.partition(".")[0] == "open_clip":
                raise request.param
            return real(name, *arguments, **options)

        for name in [one for one in sys.modules if one.partition(".")[0] == "open_clip"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(builtins, "__import__", fail)

    def test_it_is_said_what_to_install(self, broken):
        with pytest.raises(ModelError, match="pip install open-clip-torch") as caught:
            load_clip()
        assert "\n" not in str(caught.value)

    def test_clicks_work_without(self, broken):
        from napari_segany.models.loading import load_segmenter

        segmenter = load_segmenter("tiny")
        embedding = segmenter.embed(np.zeros((64, 64, 3), np.uint8))
        assert len(segmenter.segment(embedding, [Prompt((Point(30, 30),))])[0]) == 3
        with pytest.raises(ModelError, match=r"open_clip|no text"):
            segmenter.segment(embedding, [Prompt(text="nucleus")])


def test_unknown_models_are_one_clear_line(tmp_path):
    for name in ("no-such-model", str(tmp_path)):
        with pytest.raises(ModelError, match=r"cannot be had|no model of open_clip") as caught:
            load_clip(name)
        assert "\n" not in str(caught.value)


class TestTransformers:
    """A CLIP that is built as BiomedCLIP: a text tower of transformers, an image tower of timm, their own tokens."""

    @pytest.fixture
    def folder(self, tmp_path):
        import open_clip
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import BertConfig, PreTrainedTokenizerFast

        words = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "nucleus", "cell", "a"))}
        tokens = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
        tokens.pre_tokenizer = pre_tokenizers.Whitespace()
        PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token="[PAD]").save_pretrained(tmp_path)
        sizes = {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "initializer_range": 1.0,
        }
        BertConfig(vocab_size=len(words), max_position_embeddings=32, **sizes).save_pretrained(tmp_path)
        towers = {
            "embed_dim": 24,
            "vision_cfg": {"timm_model_name": "resnet10t", "timm_proj": "linear", "timm_pool": "avg", "image_size": 64},
            "text_cfg": {
                "hf_model_name": str(tmp_path),
                "hf_tokenizer_name": str(tmp_path),
                "hf_model_pretrained": False,
                "hf_proj_type": "mlp",
                "hf_pooler_type": "cls_last_hidden_state_pooler",
                "context_length": 16,
            },
        }
        seen = {"mean": [0.5] * 3, "std": [0.25] * 3}
        config = {"model_cfg": towers, "preprocess_cfg": seen}
        (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
        torch.manual_seed(0)
        model = open_clip.model.CustomTextCLIP(**towers)
        save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
        return tmp_path

    def test_texts_and_objects_have_vectors(self, folder, offline):
        clip = load_clip(str(folder))
        nucleus, cell = clip.text_vectors(["a nucleus", "a cell"])
        assert nucleus.shape == (24,)
        assert nucleus @ cell < 0.99
        plane = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
        window, mask = (slice(5, 25), slice(8, 30)), np.ones((20, 22), bool)
        vectors = clip.crop_vectors(plane, [window], [mask])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)

    def test_it_is_said_which_extra_is_missing(self, folder, monkeypatch):
        from open_clip import hf_model

        monkeypatch.setattr(hf_model, "transformers", None)
        monkeypatch.setattr(module, "find_spec", lambda name: None)
        with pytest.raises(
            ModelError,
            match=r'cannot be had: it needs transformers; install it with: pip install "napari-segany\[biomedclip\]"',
        ):
            load_clip(str(folder))


def test_repositories_are_named_as_open_clip_names_them():
    assert module._source("hf-hub:owner/name", None) == ("hf-hub:owner/name", "")
    assert module._source("ViT-B-32/openai", None) == ("ViT-B-32", "openai")
