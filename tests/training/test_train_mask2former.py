"""The training of queries: it learns, resumes, and does not teach that unknown ground is empty."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.models.loading import load_model
from napari_segany.models.mask2former.set_loss import SetLossConfig
from napari_segany.models.mask2former.tiny_queries import TinyQueries, TinyQueriesConfig, pyramid_channels
from napari_segany.training.batches import stream
from napari_segany.training.object_batches import ObjectBatchConfig, ObjectDataset, object_set
from napari_segany.training.train_mask2former import QueryTask, read_query_config, train_mask2former

CONFIG = """
seed = 3
synthetic = 2
[sources]
synthetic = 1.0
dsb2018 = 1.0
[classes]
dsb2018 = "nucleus"
[loop]
steps = {steps}
workers = 0
log_every = 1
save_every = 1
warmup_steps = 1
[model]
channels = 32
pixel_layers = 1
layers = 2
width = 32
learned = 4
proposed = 12
[loss]
points = 64
[batch]
crops = 2
size = 64
"""


@pytest.fixture
def folder(tmp_path, samples) -> Path:
    for kind in ("images", "labels"):
        (tmp_path / "data" / "dsb2018" / kind).mkdir(parents=True)
    for number, sample in enumerate(samples):
        io.imsave(tmp_path / "data/dsb2018/images" / f"{number}.png", sample.image, check_contrast=False)
        labels = sample.levels[0].astype(np.uint16)
        io.imsave(tmp_path / "data/dsb2018/labels" / f"{number}.png", labels, check_contrast=False)
    return tmp_path


def train(folder: Path, out: str, steps: int, config: str = CONFIG) -> list[int]:
    path = folder / "config.toml"
    path.write_text(config.format(steps=steps))
    return list(train_mask2former(path, folder / "data", folder / out, torch.device("cpu")))


def test_the_loss_falls_on_crops_that_it_sees_again(samples):
    base = load_model("tiny").float()
    torch.manual_seed(1)
    model = TinyQueries(
        pyramid_channels(base), TinyQueriesConfig(channels=32, pixel_layers=1, layers=2, learned=4, proposed=12)
    )
    task = QueryTask(base, model, SetLossConfig(points=256))
    dataset = ObjectDataset({"made": samples}, {"made": 1.0}, {"made": 0}, ObjectBatchConfig(crops=2, size=64), seed=1)
    batch = next(stream(dataset, 0, workers=0))
    before = {name: value.clone() for name, value in base.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(20):
        with torch.autocast("cpu", torch.bfloat16):
            loss = task.training_forward(batch, step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())


def test_training_resumes_and_says_how_far_it_is(folder):
    assert train(folder, "stopped", 2) == [1, 2]
    assert train(folder, "stopped", 3) == [3]
    train(folder, "straight", 3)
    rows = [json.loads((folder / out / "log.jsonl").read_text().splitlines()[-1]) for out in ("stopped", "straight")]
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-2)
    assert (folder / "stopped" / "weights.safetensors").is_file()


def test_a_run_that_is_left_early_keeps_its_checkpoint(folder):
    path = folder / "config.toml"
    path.write_text(CONFIG.format(steps=5))
    run = train_mask2former(path, folder / "data", folder / "out", torch.device("cpu"))
    next(run)
    run.close()
    assert train(folder, "out", 2) == [2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('dsb2018 = "nucleus"', 'yeast = "yeast"'), r"\[classes\] names yeast"),
        (("points = 64", "point = 64"), r"unknown setting in \[loss\]: point"),
        (("steps = {steps}", "steps = true"), r"steps in \[loop\]"),
        (("[sources]\nsynthetic = 1.0\ndsb2018 = 1.0", "[other]"), r"\[classes\]|sources"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(folder, change, message):
    with pytest.raises(InputError, match=message) as caught:
        train(folder, "out", 1, CONFIG.replace(*change))
    assert "\n" not in str(caught.value)


def test_objects_of_all_levels_of_sixteen_pixels_and_more():
    labels = torch.zeros(2, 32, 32, dtype=torch.int32)
    labels[0, :10, :10], labels[0, 20, :10], labels[1, 2:8, 2:8] = 1, 2, 1
    found = object_set(labels, 3, complete=False)
    assert found.masks.shape == (2, 16, 16)
    assert found.classes.tolist() == [3, 3]
    assert not found.complete


def test_the_configuration_of_the_package_can_be_read():
    import napari_segany.training

    path = Path(napari_segany.training.__file__).parent / "configs" / "tiny-queries.toml"
    config = read_query_config(path)
    assert set(config.source_classes.values()) == set(range(len(config.model.names)))
