"""micro-sam's decoders: checkpoints as its trainer writes them, the maps, and objects and clicks from them."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from napari_segany import cli
from napari_segany.core.automatic_masks import Proposals
from napari_segany.core.errors import ModelError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.query import query_for
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.models import loading, weights
from napari_segany.models.loading import load_segmenter
from napari_segany.models.micro_sam.decoder_segmenter import APG, DecoderSegmenter
from napari_segany.models.micro_sam.instance_readout import DecodedMaps, ReadoutConfig, clicks_of, segment_instances
from napari_segany.models.micro_sam.unetr_decoder import UnetrDecoder, load_decoder
from napari_segany.models.registry import find, list_models
from napari_segany.models.sam.model import Sam
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.models.weights import fetch_decoder, load_decoder_state
from tests.fakes import FakeSegmenter, KnowingSegmenter

CPU = torch.device("cpu"), torch.float32
KINDS = [{}, dict.fromkeys(("deconv_transposed", "sampler_transposed", "out_transposed"), True)]


def random_decoder(**kinds: bool) -> UnetrDecoder:
    torch.manual_seed(3)
    decoder = UnetrDecoder(**kinds)
    with torch.no_grad():
        for name, value in decoder.named_buffers():
            if "running" in name:
                value.add_(0.3 * torch.rand_like(value))
    return decoder.eval()


def as_torch_em(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The decoder written down once more, from the weights alone, by the names that torch-em gives them."""

    def double(name: str, x: Tensor) -> Tensor:
        for k in (1, 4):
            x = F.relu(
                F.conv2d(
                    F.instance_norm(x), state[f"{name}.block.{k}.weight"], state[f"{name}.block.{k}.bias"], padding=1
                )
            )
        return x

    def larger(name: str, x: Tensor) -> Tensor:
        if f"{name}.block.weight" in state:
            return F.conv_transpose2d(x, state[f"{name}.block.weight"], state[f"{name}.block.bias"], stride=2)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return F.conv2d(x, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"])

    def deconv(name: str, x: Tensor) -> Tensor:
        x = larger(f"{name}.block.0", x)
        x = F.conv2d(x, state[f"{name}.block.1.block.weight"], state[f"{name}.block.1.block.bias"], padding=1)
        norm = [state[f"{name}.block.2.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.relu(F.batch_norm(x, *norm))

    z9 = deconv("deconv1", x)
    z6 = deconv("deconv2", z9)
    z3 = deconv("deconv3", z6)
    z0 = deconv("deconv4", z3)
    x = double("base", x)
    for k, side in enumerate((z9[:, 128:384], z6[:, 64:192], z3[:, 32:96])):
        x = double(f"decoder.blocks.{k}", torch.cat([larger(f"decoder.samplers.{k}", x), side], 1))
    x = double("decoder_head", torch.cat([larger("deconv_out", x), z0], 1))
    return torch.sigmoid(F.conv2d(x, state["out_conv.weight"], state["out_conv.bias"]))


@pytest.mark.parametrize("kinds", KINDS, ids=["bilinear", "transposed"])
def test_the_maps_are_those_of_the_weights(kinds) -> None:
    decoder = random_decoder(**kinds)
    x = torch.randn(1, 256, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(decoder(x), as_torch_em(decoder.state_dict(), x), atol=1e-5, rtol=1e-5)
    assert decoder(x).shape == (1, 3, 128, 128)


@pytest.mark.parametrize("kinds", KINDS, ids=["bilinear", "transposed"])
def test_a_decoder_is_known_by_its_weights(kinds) -> None:
    decoder = random_decoder(**kinds)
    found = load_decoder({**decoder.state_dict(), "encoder.a": torch.ones(1)}, "a.pt")
    x = torch.randn(1, 256, 4, 4)
    torch.testing.assert_close(found(x), decoder(x))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda state: state.pop("out_conv.bias"), "does not fit: 1 weights, first 'out_conv.bias'"),
        (lambda state: state.update(more=torch.ones(1)), "first 'more'"),
        (lambda state: state.pop("base.block.1.weight"), "unknown kind"),
        (lambda state: state["out_conv.bias"].fill_(torch.nan), "NaN"),
    ],
)
def test_a_decoder_that_does_not_fit_is_one_line(change, line) -> None:
    state = random_decoder().state_dict()
    change(state)
    with pytest.raises(ModelError, match=line) as caught:
        load_decoder(state, "a.pt")
    assert "\n" not in str(caught.value)


class TheirDataset:
    """A class of another program, as a trainer stores it with how it was set up."""

    def __init__(self, path: str) -> None:
        self.path = path


def their_transform(x: Any, more: int) -> Any:
    return x


def trainer_checkpoint(sam: dict[str, Tensor], decoder: dict[str, Tensor]) -> dict[str, Any]:
    """As `JointSamTrainer` of micro-sam saves it, by the trainer of torch-em."""
    return {
        "iteration": 250, "epoch": 10, "best_epoch": 9, "best_metric": np.float64(0.25),
        "current_metric": np.float32(0.5),
        "model_state": {f"sam.{name}": value for name, value in sam.items()},
        "optimizer_state": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-5}]},
        "decoder_state": decoder,
        "init": {
            "name": "lm", "device": torch.device("cpu"), "trainer_class": "micro_sam.training.JointSamTrainer",
            "train_dataset": TheirDataset("/data"), "transform": functools.partial(their_transform, more=3),
            "save_root": pathlib.Path("/tmp"), "mixed_precision": True,
        },
        "train_time": 12.5, "timestamp": "2025-11-29",
    }  # fmt: skip


def light(size: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in loading.build_sam(size).state_dict().items()}
    return {name: torch.tensor(0.01).expand(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("size", ["vit_t", "vit_b"])
def test_a_checkpoint_of_the_trainer(size, tmp_path) -> None:
    decoder = random_decoder().state_dict()
    torch.save(trainer_checkpoint(light(size), decoder), tmp_path / "best.pt")
    segmenter = load_segmenter(tmp_path / "best.pt", "cpu", "float32")
    assert type(segmenter) is DecoderSegmenter
    assert segmenter.capabilities.draws
    for name, value in segmenter.decoder.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, decoder[name])


def test_an_exported_checkpoint_and_a_file_next_to_the_weights(tmp_path) -> None:
    decoder, sam = random_decoder().state_dict(), light("vit_t")
    torch.save({"model_state": sam, "decoder_state": decoder}, tmp_path / "exported.pt")
    torch.save(sam, tmp_path / "own.pt")
    torch.save(decoder, tmp_path / "own_decoder.pt")
    torch.save({"model_state": sam}, tmp_path / "none.pt")
    found = [load_segmenter(tmp_path / f"{name}.pt", "cpu") for name in ("exported", "own", "none")]
    assert [type(one) for one in found] == [DecoderSegmenter, DecoderSegmenter, SamSegmenter]
    assert load_decoder_state(tmp_path / "none.pt") is None


class Harmful:
    def __init__(self, what: tuple[Callable[..., Any], tuple[Any, ...]]) -> None:
        self.what = what

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.what


@pytest.mark.parametrize("what", ["system", "exec", "write"])
def test_code_in_how_it_was_set_up_is_not_run(tmp_path, what) -> None:
    target = tmp_path / "was run"
    calls: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "system": (os.system, (f"touch '{target}'",)),
        "exec": (exec, (f"open({str(target)!r}, 'w').close()",)),
        "write": (pathlib.Path.touch, (target,)),
    }
    saved = trainer_checkpoint(light("vit_t"), random_decoder().state_dict())
    saved["init"]["more"] = Harmful(calls[what])
    torch.save(saved, tmp_path / "bad.pt")
    with contextlib.suppress(ModelError):
        load_segmenter(tmp_path / "bad.pt", "cpu")
    assert not target.exists()


@pytest.fixture(scope="module")
def plane() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 140, 3), dtype=np.uint8)


def discs() -> DecodedMaps:
    """Two objects that touch, and one apart, as a perfect decoder maps them."""
    rows, columns = np.indices((90, 140), dtype=np.float32)
    centre = np.ones((90, 140), np.float32)
    inside = np.zeros((90, 140), bool)
    for y, x in ((40, 40), (40, 61), (60, 110)):
        distance = np.hypot(rows - y, columns - x) / 11
        inside |= distance < 1
        centre = np.minimum(centre, distance)
    return DecodedMaps(inside.astype(np.float32), centre.clip(0, 1), centre.clip(0, 1) ** 2)


def test_objects_that_touch_are_apart() -> None:
    labels = segment_instances(discs(), ReadoutConfig())
    assert np.unique(labels).tolist() == [0, 1, 2, 3]
    assert len({labels[40, 40], labels[40, 61], labels[60, 110]}) == 3
    clicks = clicks_of(discs(), ReadoutConfig())
    assert sorted((round(one.x), round(one.y)) for one in clicks) == [(40, 40), (61, 40), (110, 60)]


def test_nothing_is_found_where_nothing_is() -> None:
    empty = DecodedMaps(*np.full((3, 40, 50), 0.2, np.float32))
    assert not segment_instances(empty, ReadoutConfig()).any()
    assert clicks_of(empty, ReadoutConfig()) == []


def decoding(small_sam: Sam, monkeypatch: pytest.MonkeyPatch) -> DecoderSegmenter:
    segmenter = DecoderSegmenter(small_sam, random_decoder(), "small", CPU)
    monkeypatch.setattr(DecoderSegmenter, "maps", lambda self, embedding: discs())
    return segmenter


def test_automatic_masks_are_the_decoders(small_sam, plane, monkeypatch) -> None:
    segmenter = decoding(small_sam, monkeypatch)
    query = query_for(segmenter)
    found = query.select(query.candidates(segmenter, plane))
    assert len(found.objects) == 3
    labels = segment_instances(discs(), ReadoutConfig())
    for number in (1, 2, 3):
        own = found.labels[labels == number]
        assert np.unique(own).size == 1


def test_automatic_prompts_are_answered_by_sam(small_sam, plane, monkeypatch) -> None:
    segmenter = decoding(small_sam, monkeypatch)
    asked = []
    before = SamSegmenter.segment
    monkeypatch.setattr(
        SamSegmenter,
        "segment",
        lambda self, e, prompts, **more: asked.extend(prompts) or before(self, e, prompts, **more),
    )
    query = query_for(segmenter, grid=Proposals())
    assert query.filters == APG
    query.candidates(segmenter, plane)
    assert sorted(round(prompt.points[0].x) for prompt in asked) == [40, 61, 110]


def test_the_maps_have_the_planes_shape(small_sam, plane) -> None:
    segmenter = DecoderSegmenter(small_sam, random_decoder(), "small", CPU)
    embedding = segmenter.embed(plane)
    maps = segmenter.maps(embedding)
    assert maps.foreground.shape == maps.centre.shape == maps.boundary.shape == (90, 140)
    assert segmenter.maps(embedding) is maps
    expected = segmenter.decoder(torch.tensor(embedding.features["image_embed"]))[..., :165, :256]
    expected = F.interpolate(expected, (90, 140), mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(maps.centre, expected[1], atol=1e-5)
    other = ImageEmbedding(
        {**embedding.features, "image_embed": embedding.features["image_embed"] + 1}, (90, 140), "small"
    )
    assert segmenter.maps(other) is not maps


@pytest.mark.parametrize(("options", "asked"), [([], 0), (["--clicks"], 3)])
def test_the_command_line_chooses_between_both(small_sam, plane, monkeypatch, tmp_path, options, asked) -> None:
    segmenter, count = decoding(small_sam, monkeypatch), list[int]()
    before = SamSegmenter.segment
    monkeypatch.setattr(
        SamSegmenter, "segment", lambda self, e, p, **more: count.append(len(p)) or before(self, e, p, **more)
    )
    monkeypatch.setattr(loading, "load_segmenter", lambda *given, **named: segmenter)
    Image.fromarray(plane).save(tmp_path / "cells.png")
    command = ["segment", str(tmp_path / "cells.png"), "-o", str(tmp_path / "out"), "--everything", *options]
    assert cli.main(command) == 0
    assert sum(count) == asked
    settings = json.loads((tmp_path / "out" / "everything.json").read_text())
    assert settings["grid"] == ("proposals" if asked else None)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--everything", "--clicks", "--grid", "8"], "leave --grid and --crop-layers out"),
        (["--everything", "--clicks", "--crop-layers", "1"], "leave --grid and --crop-layers out"),
        (["--clicks", "--point", "3,4"], "belong to --everything"),
    ],
)
def test_clicks_that_fit_nothing_are_one_line(plane, tmp_path, capsys, options, reason) -> None:
    Image.fromarray(plane).save(tmp_path / "cells.png")
    assert cli.main(["segment", str(tmp_path / "cells.png"), "-o", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_models_that_only_propose_do_so_in_either_way() -> None:
    known = KnowingSegmenter([Point(20, 30)])
    plane = np.zeros((60, 80, 3), np.uint8)
    for grid in (None, Proposals()):
        query = query_for(known, grid=grid)
        assert query.filters == known.capabilities.filters
        assert len(query.candidates(known, plane)) == 1
    plain = FakeSegmenter()
    assert len(query_for(plain, grid=Proposals()).candidates(plain, plane)) == 3 * 32 * 32


def test_clicks_are_those_of_the_sam(small_sam, plane) -> None:
    with_decoder, plain = DecoderSegmenter(small_sam, random_decoder(), "small", CPU), SamSegmenter(small_sam, "small")
    embedding = plain.embed(plane)
    prompts = [Prompt((Point(30, 40),))]
    for one, two in zip(with_decoder.segment(embedding, prompts)[0], plain.segment(embedding, prompts)[0], strict=True):
        np.testing.assert_array_equal(one.logits, two.logits)


def test_published_decoders_are_in_the_registry(monkeypatch, tmp_path) -> None:
    with_decoder = [spec for spec in list_models() if spec.decoder_hash]
    assert {spec.name for spec in with_decoder} >= {"vit_b_lm", "vit_l_em_organelles", "vit_b_histopathology"}
    assert len({spec.decoder_hash for spec in with_decoder}) == len(with_decoder) == 10
    assert find("vit_b_lm").decoder_path.name == "vit_b_lm_decoder.pt"
    asked: list[tuple[str, str, str]] = []
    monkeypatch.setattr(
        weights.pooch, "retrieve", lambda url, known_hash, fname, **more: asked.append((url, known_hash, fname))
    )
    fetch_decoder(find("vit_b_lm"))
    fetch_decoder(find("vit_b"))
    assert [(name, digest.split(":")[0]) for _, digest, name in asked] == [("vit_b_lm_decoder.pt", "xxh128")]


def test_a_decoder_that_cannot_be_had_is_a_warning(monkeypatch, caplog) -> None:
    def retrieve(*given: Any, **more: Any) -> None:
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(weights.pooch, "retrieve", retrieve)
    fetch_decoder(find("vit_b_lm"))
    assert "no network" in caplog.text
