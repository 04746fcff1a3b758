"""Fine-tuning on a user's masks: what is held out, what is refused, and what a run writes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_segany import cli
from napari_segany.cli.train import _own_samples
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.planes import Stack
from napari_segany.core.synthetic import synthetic_image
from napari_segany.io.labels import write_labels
from napari_segany.models import registry
from napari_segany.models.inference_config import read_metadata, tiny_inference_config
from napari_segany.models.loading import load_segmenter
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.training import fine_tune as module
from napari_segany.training.batches import BatchConfig
from napari_segany.training.data import Sample
from napari_segany.training.fine_tune import FineTuneConfig, TriedMixture, choose, fine_tune, mixture
from napari_segany.training.fine_tune_report import read_examples, read_report
from napari_segany.training.held_out import click_trials, count_masks, hold_out
from napari_segany.training.train_sam import begin
from napari_segany.widgets.controllers.learning_controller import write_labelled


def sample(seed: int, side: int = 160) -> Sample:
    made = synthetic_image(np.random.default_rng(seed), (side, side), kind="fluorescence", radius=12)
    return Sample(made.image, made.levels[:1], complete=False)


@pytest.fixture
def samples() -> dict[str, Sample]:
    return {f"image {k}": sample(k) for k in range(5)}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of seconds."""
    monkeypatch.setattr(module, "ALPHAS", (1.0,))
    monkeypatch.setattr(module, "SAVE_EVERY", 2)
    monkeypatch.setattr(module, "BatchConfig", lambda **_: BatchConfig(crops=2, masks=2, sizes={96: 1.0}))
    real = module.click_trials
    monkeypatch.setattr(module, "click_trials", lambda samples, seed, objects=24: real(samples, seed, 2)[:3])
    monkeypatch.setattr(module, "gauge_trials", lambda: real({"gauge": sample(9)}, 0, 1)[:1])


QUICK = FineTuneConfig(steps=2, synthetic=2)


def test_whole_images_are_held_out(samples: dict[str, Sample]) -> None:
    learned, held = hold_out(samples, 0.2)
    assert sorted([*learned, *held]) == sorted(samples)
    total = sum(map(count_masks, samples.values()))
    assert 0.2 * total <= sum(map(count_masks, held.values())) < 0.6 * total


@pytest.mark.parametrize("shape", [(160, 240), (240, 160)])
def test_of_one_image_a_part_is_held_out_and_no_object_is_in_both(shape: tuple[int, int]) -> None:
    made = synthetic_image(np.random.default_rng(3), shape, kind="fluorescence", radius=10)
    learned, held = hold_out({"one": Sample(made.image, made.levels[:1])}, 0.25)
    (a,), (b,) = learned.values(), held.values()
    assert not set(np.unique(a.levels[0])[1:]) & set(np.unique(b.levels[0])[1:])
    assert count_masks(a) > count_masks(b) >= 1
    assert not a.complete


@pytest.mark.parametrize(
    "masks",
    [{}, {"empty": Sample(np.zeros((64, 64, 3), np.uint8), (np.zeros((64, 64), np.int32),))}],
    ids=["no image", "no mask"],
)
def test_too_few_masks_are_refused_in_one_line(masks: dict[str, Sample], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0 masks.*needs 4"):
        next(fine_tune(masks, tmp_path / "a.safetensors"))
    assert not list(tmp_path.iterdir())


def test_one_mask_is_refused(tmp_path: Path) -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[20:40, 20:40] = 1
    with pytest.raises(InputError, match="1 masks"):
        next(fine_tune({"one": Sample(np.zeros((64, 64, 3), np.uint8), (labels,))}, tmp_path / "a.safetensors"))


def test_masks_that_the_line_cuts_are_counted_in_the_refusal(tmp_path: Path) -> None:
    labels = np.zeros((100, 160), np.int32)
    for number in range(1, 7):
        labels[number * 14 : number * 14 + 10, 5:155] = number
    with pytest.raises(InputError, match=r"of 6 masks, 0 are left to train on and 0 to be held out.* another image"):
        next(fine_tune({"one": Sample(np.zeros((100, 160, 3), np.uint8), (labels,))}, tmp_path / "a.safetensors"))


def test_planes_of_a_stack_are_divided_by_a_line_and_no_object_is_on_both_sides() -> None:
    made = synthetic_image(np.random.default_rng(3), (160, 240), kind="fluorescence", radius=10)
    stack = {f"a/{z}": Sample(made.image, (np.roll(made.levels[0], z, 1),), group="a") for z in range(3)}
    learned, held = hold_out(stack, 0.25)
    seen, tested = (
        {label for one in part.values() for label in np.unique(one.levels[0]) if label} for part in (learned, held)
    )
    assert tested
    assert not seen & tested
    assert len(learned) == len(held) == 3


def test_images_of_a_group_are_held_out_together(samples: dict[str, Sample]) -> None:
    grouped = {name: replace(one, group="ab"[k % 2]) for k, (name, one) in enumerate(samples.items())}
    learned, held = hold_out(grouped, 0.2)
    assert len({one.group for one in learned.values()}) == len({one.group for one in held.values()}) == 1
    assert {*learned, *held} == set(samples)


def test_a_mixture_lies_between() -> None:
    old, new = TinySam(), TinySam()
    half = mixture(old, new, 0.5).state_dict()
    for name, value in old.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(half[name], (value + new.state_dict()[name]) / 2)
    assert torch.equal(next(mixture(old, new, 0.0).parameters()), next(old.parameters()))


def test_what_is_better_is_written_with_its_report(
    samples: dict[str, Sample], tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = iter([np.array([0.5] * 3), np.array([0.9]), np.array([0.8] * 3), np.array([0.9])])
    monkeypatch.setattr(module, "click_scores", lambda model, trials: next(seen))
    out = tmp_path / "mine.safetensors"
    *stages, last = fine_tune(samples, out, FineTuneConfig(steps=2, synthetic=2, name="mine", note="a note"))
    assert [one.stage for one in stages] == ["measure", "train", "train", "choose"]
    assert last.report is not None
    assert last.report.accepted
    assert (last.report.before, last.report.after, last.report.alpha) == pytest.approx((0.5, 0.8, 1.0))
    assert read_report(read_metadata(out)) == last.report
    assert last.report.made.startswith("20")
    assert last.report.parent_hash.startswith("sha256:")
    assert last.examples
    assert read_examples(read_metadata(out)) == last.examples
    segmenter = load_segmenter(out)
    assert segmenter.config == tiny_inference_config()
    assert "0.50 to 0.80" in last.report.sentence
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"], "the checkpoint is gone"


@pytest.mark.parametrize("after", [[0.4, 0.4, 0.4], [0.9, 0.9, 0.1]], ids=["worse", "not surely better"])
def test_what_is_not_better_is_not_written(
    samples: dict[str, Sample], tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch, after: list[float]
) -> None:
    seen = iter([np.array([0.5] * 3), np.array([0.9]), np.array(after), np.array([0.9])])
    monkeypatch.setattr(module, "click_scores", lambda model, trials: next(seen))
    trials = click_trials(samples, 0, 3)[::3]
    monkeypatch.setattr(module, "click_trials", lambda samples, seed, objects=24: trials)
    out = tmp_path / "mine.safetensors"
    *_, last = fine_tune(samples, out, QUICK)
    assert last.report is not None
    assert not last.report.accepted
    assert last.report.after == 0.5
    assert len(last.examples) == 3, "what was tried can be seen"
    assert "not surely improved" in last.report.sentence
    assert not out.exists()


def test_a_run_that_was_stopped_goes_on(samples: dict[str, Sample], tmp_path: Path, quick: None) -> None:
    config = FineTuneConfig(steps=4, synthetic=2)
    run = fine_tune(samples, tmp_path / "a.safetensors", config)
    for progress in run:
        if progress.done == 3:
            break
    run.close()
    assert (tmp_path / "a.safetensors.work" / "checkpoint.pt").is_file()
    again = [one.done for one in fine_tune(samples, tmp_path / "a.safetensors", config) if one.stage == "train"]
    assert again == [4, 5]


def test_a_run_on_other_masks_begins_again(samples: dict[str, Sample], tmp_path: Path, quick: None) -> None:
    config = FineTuneConfig(steps=3, synthetic=2)
    run = fine_tune(samples, tmp_path / "a.safetensors", config)
    next(one for one in run if one.done == 3)
    run.close()
    more = {**samples, "another": sample(11)}
    again = [one.done for one in fine_tune(more, tmp_path / "a.safetensors", config) if one.stage == "train"]
    assert again[0] == 2, "the first step"


def test_weights_of_another_architecture_are_no_parent(samples: dict[str, Sample], tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="no weights of a segmenter"):
        list(fine_tune(samples, tmp_path / "a.safetensors", FineTuneConfig(parent=str(tmp_path / "other.pt"))))


def test_from_the_command_line(tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    import tifffile

    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for k in range(4):
        one = sample(k)
        tifffile.imwrite(tmp_path / "images" / f"{k}.tif", one.image[..., 0])
        write_labels(tmp_path / "labels" / f"{k}_labels.tif", one.levels[0])
    command = ["train", "on", str(tmp_path / "images"), "--labels", str(tmp_path / "labels")]
    out = tmp_path / "mine.safetensors"
    assert cli.main([*command, "-o", str(tmp_path / "mine.txt")]) == 2
    assert ".safetensors" in capsys.readouterr().err
    out.touch()
    assert cli.main([*command, "-o", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main(["train", "on", str(tmp_path / "gone"), "-o", str(tmp_path / "b.safetensors")]) == 2
    assert "there is no file or folder" in capsys.readouterr().err


def test_batch_norms_keep_their_statistics(samples: dict[str, Sample], tmp_path: Path) -> None:
    learned, held = hold_out(samples, 0.2)
    run = module._FineTuning(learned, held, tmp_path / "a.safetensors", QUICK, tmp_path / "work")
    parent = TinySam()
    begin(parent, "tiny")
    before = {name: value.clone() for name, value in parent.state_dict().items() if "running" in name}
    loop = run._loop(parent)
    list(loop.steps(run._batches))
    after = loop.task.model.state_dict()
    assert before
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_parent_keeps_its_settings(tmp_path: Path) -> None:
    model = TinySam()
    begin(model, "tiny")
    assert model.inference == tiny_inference_config()


def test_the_planes_that_the_window_writes_are_one_group(tmp_path: Path) -> None:
    labels = np.zeros((4, 40, 50), np.int64)
    labels[1, 3:19, 3:19] = labels[2, 3:19, 4:20] = 3_000_000_000
    write_labelled(Stack(np.random.default_rng(0).integers(0, 255, (4, 40, 50), np.uint8)), labels, tmp_path)
    samples = _own_samples([tmp_path / "images"], tmp_path / "labels", None, complete=False)
    assert len(samples) == 2
    assert len({one.group for one in samples.values()}) == 1
    assert {int(one.levels[0].max()) for one in samples.values()} == {1}
    assert {one.image.shape for one in samples.values()} == {(40, 50, 3)}


@pytest.mark.parametrize(("name", "words"), [("tiny", "published"), ("vit_b", "published"), ("a,b", "no name")])
def test_a_model_is_not_called_like_a_published_one(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "on", str(tmp_path), "-o", name]) == 2
    assert words in capsys.readouterr().err


def test_sessions_find_an_own_model_by_the_name_that_they_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(registry.OWN_MODELS, str(tmp_path))
    shutil.copy(registry.find("tiny").path, tmp_path / "mine.safetensors")
    recorded = load_segmenter("mine").name
    assert recorded.startswith("mine-")
    assert load_segmenter(recorded).name == recorded
    with pytest.raises(ModelError, match="no model is called"):
        load_segmenter("mine-00000000")


@pytest.mark.parametrize(
    ("tried", "alpha"),
    [
        # (share, gain, forgotten): what is forgotten beyond .01 counts four times
        ([(1.0, 0.30, 0.00), (0.5, 0.20, 0.00)], 1.0),
        ([(1.0, 0.50, 0.03), (0.75, 0.45, 0.01)], 0.75),
        ([(1.0, 0.50, 0.03), (0.75, 0.30, 0.01)], 1.0),
        # and once where nothing would be gained then: the parent stays, too
        ([(1.0, 0.05, 0.05), (0.25, 0.01, 0.03)], 1.0),
        ([(1.0, 0.05, 0.05), (0.25, 0.01, 0.01)], 0.25),
        ([(1.0, -0.05, 0.05), (0.25, -0.01, 0.0)], 0.25),
    ],
)
def test_a_mixture_that_forgets_little_is_preferred(tried: list[tuple[float, float, float]], alpha: float) -> None:
    before, gauge = np.full(4, 0.5), np.full(4, 0.6)
    mixtures = [TriedMixture(share, before + gain, gauge - forgotten) for share, gain, forgotten in tried]
    assert choose(mixtures, before, gauge).alpha == alpha
