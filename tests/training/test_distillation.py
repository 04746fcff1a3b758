"""The masks of a reference as a second target."""

import copy

import pytest
import torch

from napari_segany.core.errors import InputError
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.training.batches import BatchConfig, CropDataset, stream
from napari_segany.training.distillation import DistilledSamTask
from napari_segany.training.sam_task import SamTask, TaskConfig
from napari_segany.training.train_sam import read_config

CONFIG = TaskConfig(dense_steps=0, together_steps=0, frozen_norms=True, rounds={1: 1.0}, mask_share=0.0)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TinySam().eval()


def batch_of(samples, distilled):
    config = BatchConfig(crops=2, masks=3, sizes={64: 1.0}, frame=128)
    return next(stream(CropDataset({"made": samples}, {"made": 1.0}, config, 1, distilled), 0, workers=0))


def test_a_model_is_no_distance_from_itself(model, samples):
    task = DistilledSamTask(model, CONFIG, copy.deepcopy(model), weight=2.0)
    assert float(task.training_forward(batch_of(samples, ["made"]), 0)["distilled"]) == pytest.approx(0, abs=1e-6)


def test_only_crops_of_distilled_sources_have_the_second_target(model, samples):
    other = TinySam().eval()
    task = DistilledSamTask(model, CONFIG, other, weight=2.0)
    batch = batch_of(samples, [])
    found = task.training_forward(batch, 0)
    assert "distilled" not in found
    torch.testing.assert_close(found["loss"], SamTask(model, CONFIG).training_forward(batch, 0)["loss"])
    whole = task.training_forward(batch_of(samples, ["made"]), 0)
    torch.testing.assert_close(whole["loss"], found["loss"] + 2.0 * whole["distilled"])


def test_training_brings_a_model_nearer_to_the_reference_which_stays(model, samples):
    reference = TinySam().eval()
    kept = copy.deepcopy(reference.state_dict())
    task = DistilledSamTask(model, CONFIG, reference, weight=100.0)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    batch = batch_of(samples, ["made"])
    apart = []
    for _ in range(15):
        found = task.training_forward(batch, 0)
        optimizer.zero_grad()
        found["loss"].backward()
        optimizer.step()
        apart.append(float(found["distilled"]))
    assert apart[-1] < 0.5 * apart[0]
    assert all(torch.equal(kept[name], value) for name, value in reference.state_dict().items())


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('distilled = ["other"]\nreference = "tiny"', "distilled names other, which is none of the"),
        ('distilled = ["made"]', "'distilled' sources need a 'reference' model"),
        ('reference = "tiny"', "a reference needs such sources"),
    ],
)
def test_a_second_target_needs_a_reference_and_sources(tmp_path, lines, problem):
    path = tmp_path / "run.toml"
    path.write_text(f"{lines}\n[sources]\nmade = 1.0\n")
    with pytest.raises(InputError, match=problem):
        read_config(path)
