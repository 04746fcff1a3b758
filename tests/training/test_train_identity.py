"""The training of identity queries: clips and their truth, learning, resuming, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from skimage import io

from napari_segany import cli
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.synthetic_movies import movie_style, synthetic_movie
from napari_segany.models.loading import load_segmenter
from napari_segany.models.mask2former.identity_queries import IdentityConfig, IdentityQueries, read_identity
from napari_segany.training import identity_clips
from napari_segany.training.identity_clips import LabelledClip, clip_tensors, clips_of, merged
from napari_segany.training.train_identity import IdentityTask, read_identity_config, train_identity

CONFIG = """
seed = 3
frames = 3
batch = 2
[clips]
synthetic = 2
[loop]
steps = {steps}
workers = 0
log_every = 1
save_every = 1
warmup_steps = 1
[model]
channels = 16
layers = 1
"""


@pytest.fixture(autouse=True)
def small_movies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_clips, "MOVIES", (96,))
    monkeypatch.setattr(identity_clips, "CROPS", (96,))


@pytest.fixture(scope="module")
def tensors() -> list[dict[str, torch.Tensor]]:
    segmenter = load_segmenter("tiny")
    style = replace(movie_style(np.random.default_rng(0)), radius=8.0, speed=0.2, divides=0.3)
    movies = [synthetic_movie(np.random.default_rng(seed), 6, (128, 128), style) for seed in (2, 4)]
    clips = [LabelledClip(one.images, one.labels, one.parents) for one in movies]
    return [clip_tensors(segmenter, one, np.random.default_rng(0)) for one in clips]


def test_the_truth_of_a_clip_is_consistent(tensors: list[dict[str, torch.Tensor]]) -> None:
    batch = merged(tensors)
    index, same, gap, time = (batch[name] for name in ("index", "same", "gap", "time"))
    assert (time[index[:, 1]] - time[index[:, 0]] == 1 + gap.long()).all()
    # who has a past is in the frame before, or the one before that
    known = batch["last"] >= 0
    assert set((time[known] - time[batch["last"][known]]).tolist()) <= {1, 2}
    # an object has one query at most, and says so
    parents = torch.bincount(index[same & ~gap, 1], minlength=len(time))
    assert set(parents.tolist()) <= {0, 1}
    assert torch.equal(parents == 1, batch["born"] == 1)
    children = torch.bincount(index[same & ~gap, 0], minlength=len(time))
    told = batch["ends"] >= 0
    assert torch.equal(children[told], batch["ends"][told])
    assert (children > 1).any()


def test_the_loss_falls(tensors: list[dict[str, torch.Tensor]]) -> None:
    torch.manual_seed(0)
    task = IdentityTask(IdentityQueries(IdentityConfig(channels=24, layers=1)), 0.1)
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=5e-3)
    batch, losses = merged(tensors), []
    for step in range(25):
        loss = task.training_forward(batch, step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_slices_and_pictures_become_clips(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "volume").mkdir()
    for name, kind in (("image", np.uint8), ("labels", np.uint16)):
        tifffile.imwrite(tmp_path / "volume" / f"{name}.tif", rng.integers(0, 9, (30, 28, 32)).astype(kind))
    for kind in ("images", "labels"):
        (tmp_path / "pictures" / kind).mkdir(parents=True)
    labels = np.zeros((120, 110), np.uint16)
    labels[30:50, 40:60] = 4
    io.imsave(tmp_path / "pictures/labels/a.png", labels, check_contrast=False)
    io.imsave(tmp_path / "pictures/images/a.png", labels.astype(np.uint8) * 50, check_contrast=False)
    clips = list(clips_of(tmp_path, {"volume": 3, "pictures": 2, "synthetic": 1}, 4, 0))
    assert len(clips) == 6
    for clip in clips:
        assert clip.images.shape == (*clip.labels.shape, 3)
        assert len(clip.labels) == 4
    again = list(clips_of(tmp_path, {"volume": 3, "pictures": 2, "synthetic": 1}, 4, 0))
    assert all(np.array_equal(one.labels, other.labels) for one, other in zip(clips, again, strict=True))
    with pytest.raises(InputError, match="too few slices"):
        list(clips_of(tmp_path, {"volume": 1}, 12, 0))
    with pytest.raises(InputError, match="'nowhere' is not in"):
        list(clips_of(tmp_path, {"nowhere": 1}, 4, 0))


def train(folder: Path, out: str, steps: int, config: str = CONFIG) -> list[int]:
    path = folder / "config.toml"
    path.write_text(config.format(steps=steps))
    (folder / "data").mkdir(exist_ok=True)
    return list(train_identity(path, folder / "data", folder / out, torch.device("cpu")))


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    assert train(tmp_path, "whole", 4) == [1, 2, 3, 4]
    assert train(tmp_path, "parts", 2) == [1, 2]
    assert train(tmp_path, "parts", 4) == [3, 4]
    rows = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert read_identity(tmp_path / "parts" / "weights.safetensors").config.channels == 16


def test_another_run_is_not_continued(tmp_path: Path) -> None:
    train(tmp_path, "out", 1)
    with pytest.raises(InputError, match="was trained with"):
        train(tmp_path, "out", 2, CONFIG.replace("seed = 3", "seed = 4"))


def test_what_cannot_be_trained_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="trained on 99 features"):
        train(tmp_path, "out", 1, CONFIG + "content = 99\n")
    path = tmp_path / "wrong.toml"
    path.write_text("[clips]\nsynthetic = 1\n[loop]\nspeed = 3\n")
    command = ["train", "identity", str(path), "--data", str(tmp_path), "--out", str(tmp_path / "o")]
    assert cli.main(command) == 2
    assert "speed" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_the_shipped_configuration_can_be_read() -> None:
    config = read_identity_config(Path(identity_clips.__file__).parent / "configs" / "tiny-identity.toml")
    assert config.clips["synthetic"] > 100
