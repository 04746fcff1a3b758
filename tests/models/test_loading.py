import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.models import loading
from napari_segany.models.geometry import Frame, image_tensor
from napari_segany.models.loading import architecture_of, load_segmenter, load_weights
from napari_segany.models.registry import list_models
from napari_segany.models.sam.image_encoder import EncoderConfig
from napari_segany.models.sam.model import build_sam
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.models.text.prompt_head import TextPromptHead
from napari_segany.models.text.text_prompter import text_file
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.models.tiny.zoom import ZoomSegmenter
from napari_segany.models.weights import load_state
from napari_segany.training.train_text import save_head

CLICK = Prompt((Point(8, 9),))


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return TinySam().eval()


@pytest.fixture(scope="module")
def plane():
    return np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


def light(size):
    """Weights of full size that share one number each, so that a checkpoint of them is small."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in build_sam(size).state_dict().items()}
    return {name: torch.tensor(0.01).expand(shape) for name, shape in shapes.items()}


def test_a_checkpoint_of_the_tiny_model(tiny, plane, tmp_path):
    half = {name: value.half() if value.is_floating_point() else value for name, value in tiny.state_dict().items()}
    safetensors.torch.save_file(half, tmp_path / "mine.safetensors")
    torch.save({"model_state": {f"module.{name}": value for name, value in half.items()}}, tmp_path / "mine.pt")
    first, second = (
        load_segmenter(tmp_path / name, device="cpu", precision="float32") for name in ("mine.safetensors", "mine.pt")
    )
    answers = [segmenter.segment(segmenter.embed(plane), [CLICK])[0] for segmenter in (first, second)]
    np.testing.assert_array_equal(answers[0][0].logits, answers[1][0].logits)
    assert all(weight.dtype == torch.float32 for weight in first.model.parameters())
    assert type(first) is type(second) is ZoomSegmenter
    assert first.name.startswith("mine-")
    assert first.name != second.name


@pytest.mark.parametrize("size", ["vit_b", "vit_l", "vit_h", "vit_t"])
def test_published_sizes_are_recognised(size, tmp_path):
    state = light(size)
    assert architecture_of(state) == size
    torch.save({"model_state": {f"sam.{name}": value for name, value in state.items()}}, tmp_path / "a.pth")
    segmenter = load_segmenter(str(tmp_path / "a.pth"), device="cpu")
    assert type(segmenter) is SamSegmenter
    assert segmenter.model.image_size == 1024
    assert not any(weight.is_meta for weight in segmenter.model.state_dict().values())


@pytest.mark.parametrize(
    "sizes",
    [
        EncoderConfig(32, 2, 2, (1,), 64, 8, 3, 32),
        EncoderConfig(48, 3, 4, (), 96, 16, 14, 16),
        EncoderConfig(64, 1, 2, (0,), 128, 16, 8, 64),
    ],
)
def test_a_vision_transformer_of_other_sizes_is_recognised(sizes, plane, tmp_path):
    model = build_sam(sizes)
    assert loading.own_sizes(model.state_dict()) == sizes
    safetensors.torch.save_file(model.state_dict(), tmp_path / "a.safetensors")
    segmenter = load_segmenter(tmp_path / "a.safetensors", device="cpu", precision="float32")
    assert type(segmenter) is SamSegmenter
    assert segmenter.model.image_size == sizes.image_size
    assert len(segmenter.segment(segmenter.embed(plane), [CLICK])[0]) == 3


@pytest.mark.parametrize("lost", ["pos_embed", "neck.0.weight", "blocks.0.attn.rel_pos_h"])
def test_a_part_of_a_vision_transformer_is_no_model(lost, tmp_path):
    state = build_sam(EncoderConfig(32, 2, 2, (1,), 64, 8, 3, 32)).state_dict()
    del state[f"image_encoder.{lost}"]
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r"unknown architecture|do not fit"):
        load_segmenter(tmp_path / "a.safetensors", device="cpu")


def test_a_name_is_fetched_and_keeps_its_name(monkeypatch, tmp_path):
    def fetch(spec, progress):
        torch.save({**light(spec.architecture), "pixel_mean": torch.zeros(3, 1, 1)}, tmp_path / "a.pt")
        return tmp_path / "a.pt"

    monkeypatch.setattr(loading, "fetch", fetch)
    assert load_segmenter("vit_b_lm", device="cpu").name == "vit_b_lm"


def test_weights_of_another_size_than_promised_are_refused(monkeypatch, tmp_path):
    torch.save(light("vit_l"), tmp_path / "a.pt")
    monkeypatch.setattr(loading, "fetch", lambda spec, progress: tmp_path / "a.pt")
    with pytest.raises(ModelError, match="'vit_l'"):
        load_segmenter("vit_b", device="cpu")


def test_all_models_of_the_registry_can_be_built():
    assert {spec.architecture for spec in list_models() if not spec.folder} == set(loading._builders())


def test_mobile_sam_as_it_is_published(plane, tmp_path):
    torch.manual_seed(0)
    model = build_sam("vit_t").eval()
    classifier = {f"image_encoder.{name}": torch.ones(3) for name in ("norm_head.weight", "head.weight", "head.bias")}
    torch.save({**model.state_dict(), **classifier}, tmp_path / "mobile.pt")
    segmenter = load_segmenter(tmp_path / "mobile.pt", device="cpu", precision="float32")
    assert type(segmenter) is SamSegmenter
    embedding = segmenter.embed(plane)
    with torch.inference_mode():
        expected = model.encode(image_tensor(plane, Frame((32, 48), 1024)))["image_embed"]
    np.testing.assert_allclose(embedding.features["image_embed"], expected, atol=1e-5)
    assert len(segmenter.segment(embedding, [CLICK])[0]) == 3


def test_what_is_not_supported_is_said(tmp_path):
    torch.save({"layer.weight": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="unknown architecture"):
        load_segmenter(tmp_path / "other.pt")


def test_weights_that_do_not_fit_are_refused(tiny, tmp_path):
    state = tiny.state_dict()
    state["mask_decoder.iou_token.weight"] = torch.ones(1, 3)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"1 weights do not fit, first 'mask_decoder.iou_token.weight'"):
        load_segmenter(tmp_path / "a.pt", device="cpu")


def test_unknown_names_files_devices_and_precisions_are_said(tmp_path):
    with pytest.raises(ModelError, match="did you mean vit_b"):
        load_segmenter("vit-b")
    for missing in (tmp_path / "a.pt", "no/such/file", "vit_b.pth"):
        with pytest.raises(ModelError, match="there is no checkpoint"):
            load_segmenter(missing)
    with pytest.raises(InputError, match="precision"):
        load_segmenter("tiny", precision="int4")
    with pytest.raises(InputError, match="device"):
        load_segmenter("tiny", device="abacus")


@pytest.fixture(scope="module")
def shipped():
    return load_weights("tiny")


@pytest.mark.parametrize("name", ["mine.ckpt", "MINE.PTH", "mine", "mine.bin", "Mine.SafeTensors"])
def test_a_file_in_the_current_folder_is_a_path(shipped, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if name.lower().endswith("safetensors"):
        safetensors.torch.save_file(shipped, name)
    else:
        torch.save(shipped, name)
    assert load_segmenter(name, "cpu").name.lower().startswith("mine-")


def test_a_name_is_no_file_that_is_called_like_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").write_bytes(b"mine")
    (tmp_path / "vit_b_lm").mkdir()
    assert load_segmenter("tiny", "cpu").name == "tiny"
    for name in ("x" * 300, "~nobody-of-that-name/a.pt", "", "."):
        with pytest.raises(ModelError):
            load_segmenter(name, "cpu")
    for wrong in (7, None, b"tiny", ["tiny"]):
        with pytest.raises(InputError, match="model"):
            load_segmenter(wrong, "cpu")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda value: value.to(torch.int64), "int64"),
        (lambda value: torch.full_like(value, torch.nan) if value.is_floating_point() else value, "no numbers"),
    ],
)
def test_weights_that_compute_nothing_are_refused(shipped, tmp_path, change, line):
    torch.save({name: change(value) for name, value in shipped.items()}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=line):
        load_segmenter(tmp_path / "a.pt", "cpu")


def test_a_weight_that_is_missing_is_named(shipped, tmp_path):
    left = dict(list(shipped.items())[1:])
    torch.save(left, tmp_path / "a.pt")
    with pytest.raises(ModelError):
        load_segmenter(tmp_path / "a.pt", "cpu")


@pytest.mark.skipif(not text_file().is_file(), reason="this package has no text prompts")
class TestTexts:
    def test_they_stay_where_the_encoder_is_that_of_tiny(self, shipped, tmp_path):
        decoder = {
            k: v + 0.01 if k.startswith("mask_decoder") and v.is_floating_point() else v for k, v in shipped.items()
        }
        safetensors.torch.save_file(decoder, tmp_path / "decoder.safetensors")
        torch.save({"model_state": shipped}, tmp_path / "same.pt")
        for name in ("decoder.safetensors", "same.pt"):
            assert load_segmenter(tmp_path / name, "cpu").texts is not None

    @pytest.mark.parametrize("change", [0.007, 0.05])
    def test_they_stay_where_the_encoder_was_fine_tuned(self, shipped, tmp_path, change):
        generator = torch.Generator().manual_seed(0)
        tuned = {
            k: v + change * v.float().std(correction=0) * torch.randn(v.shape, generator=generator)
            if k.startswith("image_encoder") and v.is_floating_point() and "running" not in k
            else v
            for k, v in shipped.items()
        }
        safetensors.torch.save_file({k: v.contiguous() for k, v in tuned.items()}, tmp_path / "tuned.safetensors")
        segmenter = load_segmenter(tmp_path / "tuned.safetensors", "cpu")
        assert segmenter.capabilities.texts
        assert segmenter.capabilities.describes, "exemplars are compared by the same towers"

    def test_they_go_where_an_encoder_was_trained_from_random_weights(self, shipped, tmp_path):
        state = {name: value.contiguous() for name, value in TinySam().state_dict().items()}
        safetensors.torch.save_file(state, tmp_path / "other.safetensors")
        segmenter = load_segmenter(tmp_path / "other.safetensors", "cpu")
        assert not segmenter.capabilities.texts

    def test_they_go_where_another_encoder_sees(self, shipped, tmp_path):
        other = {
            k: v * 1.5 if k.startswith("image_encoder") and v.is_floating_point() else v for k, v in shipped.items()
        }
        safetensors.torch.save_file(other, tmp_path / "other.safetensors")
        assert load_segmenter(tmp_path / "other.safetensors", "cpu").texts is None

    @pytest.mark.parametrize("alone", [True, False])
    def test_a_head_of_its_own_is_taken(self, shipped, tmp_path, alone):
        with safe_open(text_file(), "pt") as file:
            metadata = file.metadata()
        head = load_state(text_file())
        head = {name: value * 0.5 if name.startswith("decoder.") else value for name, value in head.items()}
        safetensors.torch.save_file(head if alone else {**shipped, **head}, tmp_path / "a.safetensors", metadata)
        segmenter = load_segmenter(tmp_path / "a.safetensors", "cpu")
        name, value = next((k, v) for k, v in head.items() if k.startswith("decoder.") and v.numel() > 1)
        own = segmenter.texts.decoder.state_dict()[name.removeprefix("decoder.")]
        torch.testing.assert_close(own, value.float())

    def test_a_head_that_does_not_fit_is_refused(self, shipped, tmp_path):
        head = {"head.a": torch.ones(3), "decoder.b": torch.ones(3)}
        safetensors.torch.save_file({**shipped, **head}, tmp_path / "a.safetensors")
        with pytest.raises(ModelError, match="no text prompts"):
            load_segmenter(tmp_path / "a.safetensors", "cpu")


def test_a_text_head_of_a_file_goes_with_any_sam(plane, tmp_path):
    torch.manual_seed(0)
    model = build_sam("vit_t").eval()
    torch.save(model.state_dict(), tmp_path / "mobile.pt")
    head = TextPromptHead(256, model.prompt_encoder.embed_dim)
    about = {"vector_dim": 256, "embed_dim": model.prompt_encoder.embed_dim, "tokens": 2, "path": "tokens"}
    path = save_head(
        torch.nn.ModuleDict({"head": head, "decoder": model.mask_decoder}), about, tmp_path / "head.safetensors"
    )
    segmenter = load_segmenter(tmp_path / "mobile.pt", "cpu", "float32", text=path)
    assert segmenter.capabilities.texts
    embedding = segmenter.embed(plane)
    nucleus, cell = segmenter.segment(embedding, [Prompt(text="nuclei"), Prompt(text="cell")])
    assert nucleus[0].pixels.shape == (32, 48)
    assert not np.array_equal(nucleus[0].logits, cell[0].logits)
    assert not load_segmenter(tmp_path / "mobile.pt", "cpu", "float32").capabilities.texts
    for model_name, text, message in (
        ("tiny", path, "holds no text prompts for this model"),
        ("tiny", tmp_path / "gone.safetensors", "gone.safetensors"),
        (f"mask2former:{tmp_path}", path, "takes no text head"),
    ):
        with pytest.raises(ModelError, match=message):
            load_segmenter(model_name, "cpu", text=text)
