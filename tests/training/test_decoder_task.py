"""Fine-tuning of the mask decoder of a published SAM, here a small one with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.core.synthetic import synthetic_image
from napari_segany.models.inference_config import read_metadata
from napari_segany.models.loading import load_segmenter, weights_of
from napari_segany.models.sam.model import ENCODERS, Sam, build_sam
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.training import fine_tune as module
from napari_segany.training.data import Sample
from napari_segany.training.decoder_task import DecoderTask, EmbeddedDataset, EmbeddedSample
from napari_segany.training.fine_tune import FineTuneConfig, fine_tune
from napari_segany.training.fine_tune_report import read_report
from napari_segany.training.sam_task import TaskConfig
from tests.models.conftest import SMALL, randomised


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a small model that pass for those of ``vit_b``."""
    monkeypatch.setitem(ENCODERS, "vit_b", SMALL)
    torch.manual_seed(0)
    path = tmp_path / "parent.safetensors"
    safetensors.torch.save_file(
        {name: value.contiguous() for name, value in randomised(build_sam(SMALL)).state_dict().items()}, path
    )
    return path


def sample(seed: int, shape: tuple[int, int] = (96, 160)) -> Sample:
    made = synthetic_image(np.random.default_rng(seed), shape, kind="fluorescence", radius=12)
    return Sample(made.image, made.levels[:1], complete=False)


@pytest.fixture
def samples() -> dict[str, Sample]:
    return {f"image {k}": sample(k) for k in range(4)}


def sam() -> Sam:
    torch.manual_seed(0)
    return randomised(build_sam(SMALL)).requires_grad_(False)


@pytest.mark.parametrize("shape", [(96, 160), (300, 64), (512, 512)])
def test_prompts_lie_on_their_objects_in_the_frame(shape: tuple[int, int]) -> None:
    model, one = sam(), sample(3, shape)
    dataset = EmbeddedDataset({"own": [EmbeddedSample(one, torch.zeros(256, 16, 16))]}, {"own": 1.0}, model, 6, 0)
    stride = model.image_size // model.mask_size[0]
    for index in range(4):
        item = dataset[index]
        assert item["masks"].shape == (6, *model.mask_size)
        for mask, xy, kinds in zip(item["masks"], item["xy"], item["kinds"], strict=True):
            rows, columns = np.nonzero(mask.numpy() > 0)
            if kinds[0] == 1:
                x, y = (int(place // stride) for place in xy[0])
                assert mask[y - 1 : y + 2, x - 1 : x + 2].max() > 0
            else:
                middle = xy.mean(0) / stride
                assert abs(float(middle[0]) - columns.mean()) < 0.3 * np.ptp(columns) + 2
                assert abs(float(middle[1]) - rows.mean()) < 0.3 * np.ptp(rows) + 2


def test_only_the_decoder_learns_and_the_loss_falls() -> None:
    model, one = sam(), sample(3)
    features = SamSegmenter(model, "a").embed(one.image).features["image_embed"]
    decoder = model.mask_decoder.requires_grad_(True)
    data = EmbeddedDataset({"own": [EmbeddedSample(one, torch.from_numpy(features)[0])]}, {"own": 1.0}, model, 3, 0)
    batch = {name: torch.stack([data[0][name], data[0][name]]) for name in data[0]}
    task = DecoderTask(model, TaskConfig(dense_steps=0, together_steps=0, mask_share=0.0, rounds={1: 1.0}))
    optimizer = torch.optim.AdamW(decoder.parameters(), 1e-3)
    losses = []
    for _ in range(15):
        loss = task.training_forward(batch, 0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    others = [value for name, value in model.named_parameters() if not name.startswith("mask_decoder")]
    assert all(value.grad is None for value in others)


@pytest.mark.parametrize("better", [True, False])
def test_a_decoder_is_fine_tuned_and_refused_like_tiny(
    parent: Path, samples: dict[str, Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, better: bool
) -> None:
    monkeypatch.setattr(module, "ALPHAS", (1.0,))
    real = module.click_trials
    monkeypatch.setattr(module, "click_trials", lambda samples, seed, objects=24: real(samples, seed, 2))
    monkeypatch.setattr(module, "gauge_trials", lambda: real({"gauge": sample(9)}, 0, 1))
    seen = iter([0.5, 0.9, 0.8 if better else 0.4, 0.9])
    scores = module._DecoderFineTuning._scores
    monkeypatch.setattr(
        module._DecoderFineTuning, "_scores", lambda run, model, trials: 0 * scores(run, model, trials) + next(seen)
    )
    out = tmp_path / "mine.safetensors"
    *stages, last = fine_tune(samples, out, FineTuneConfig(parent=str(parent), steps=2, synthetic=8))
    names = [one.stage for one in stages]
    assert names == ["encode"] * names.count("encode") + ["measure", "train", "train", "choose"]
    assert [one.done for one in (*stages, last)] == sorted(one.done for one in (*stages, last))
    assert last.done == last.total
    assert last.report is not None
    assert last.report.accepted is better
    assert out.exists() is better
    if better:
        old, new = weights_of(parent), weights_of(out)
        changed = {name for name in old if not torch.allclose(old[name].half(), new[name].half(), atol=1e-3)}
        same = {name for name in old if torch.equal(old[name].half(), new[name].half())}
        assert all(name in same for name in old if not name.startswith("mask_decoder."))
        assert not {name for name in changed if not name.startswith("mask_decoder.")}
        assert any(name not in same for name in old if name.startswith("mask_decoder."))
        assert read_report(read_metadata(out)) == last.report
        segmenter = load_segmenter(out)
        assert isinstance(segmenter.embed(next(iter(samples.values())).image), ImageEmbedding)


def test_a_sam_of_other_sizes_is_fine_tuned_too(
    samples: dict[str, Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALPHAS", (1.0,))
    real = module.click_trials
    monkeypatch.setattr(module, "click_trials", lambda samples, seed, objects=24: real(samples, seed, 2))
    monkeypatch.setattr(module, "gauge_trials", lambda: real({"gauge": sample(9)}, 0, 1))
    path = tmp_path / "parent.safetensors"
    state = randomised(build_sam(SMALL)).state_dict()
    safetensors.torch.save_file({name: value.contiguous() for name, value in state.items()}, path)
    *stages, last = fine_tune(samples, tmp_path / "a.safetensors", FineTuneConfig(str(path), steps=2, synthetic=8))
    assert "encode" in {one.stage for one in stages}
    assert last.report is not None


def test_a_run_that_was_stopped_goes_on(
    parent: Path, samples: dict[str, Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_EVERY", 2)
    real = module.click_trials
    monkeypatch.setattr(module, "click_trials", lambda samples, seed, objects=24: real(samples, seed, 2))
    monkeypatch.setattr(module, "gauge_trials", lambda: real({"gauge": sample(9)}, 0, 1))
    config = FineTuneConfig(parent=str(parent), steps=4, synthetic=8)
    run = fine_tune(samples, tmp_path / "a.safetensors", config)
    trained: list[int] = []
    while len(trained) < 3:
        progress = next(run)
        trained += [progress.done] if progress.stage == "train" else []
    run.close()
    again = [one.done for one in fine_tune(samples, tmp_path / "a.safetensors", config) if one.stage == "train"]
    assert again == [trained[-1], trained[-1] + 1]
