"""The training of names: views are made once, runs go on, and certainty is measured on what was left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy
import torch
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.models.tiny.mask_classes import MaskClassesConfig, read_classes
from napari_segany.training import train_classes as module
from napari_segany.training.named_images import NamedImage
from napari_segany.training.named_masks import (
    NamedObject,
    drawn,
    empty_places,
    read_pictures,
    synthetic_pictures,
    with_dark_bodies,
)
from napari_segany.training.train_classes import calibrated, least_certainty, read_classes_config, train_classes

CONFIG = """
seed = 3
synthetic = 15
views = 32
held_out_views = 16
sources = ["synthetic", "dsb2018"]
batch = 8
folds = [["dsb2018"]]
fold_share = 0.5
[shares]
nucleus = 1.0
cell = 1.0
other = 0.5
[loop]
steps = {steps}
warmup_steps = 1
decay_steps = 1
save_every = 2
log_every = 1
[model]
width = 16
layers = 1
heads = 2
"""
CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path, samples) -> Path:
    for kind in ("images", "labels"):
        (tmp_path / "data" / "dsb2018" / kind).mkdir(parents=True)
    for number, sample in enumerate(samples):
        io.imsave(tmp_path / "data/dsb2018/images" / f"{number}.png", sample.image, check_contrast=False)
        labels = sample.levels[0].astype(np.uint16)
        io.imsave(tmp_path / "data/dsb2018/labels" / f"{number}.png", labels, check_contrast=False)
    return tmp_path


def config_of(folder: Path, steps: int, **changes: str) -> Path:
    text = CONFIG.format(steps=steps)
    for old, new in changes.items():
        text = text.replace(*new.split(" -> ")) if old.startswith("swap") else text
    (folder / "names.toml").write_text(text)
    return folder / "names.toml"


def run(folder: Path, steps: int) -> list[tuple[str, int, int]]:
    return list(train_classes(config_of(folder, steps), folder / "data", folder / "run", CPU))


def test_names_are_trained_and_a_run_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = run(folder, 4)
    assert [stage for stage, _, _ in stages][-4:] == ["steps"] * 4
    assert stages[-1] == ("steps", 4, 4)
    branch = read_classes(folder / "run" / "weights.safetensors")
    assert branch.config.names == ("nucleus", "cell", "other")
    report = json.loads((folder / "run" / "report.json").read_text())
    assert report["held_out_pictures"]["views"] == 16
    assert "left_out_sources" in report
    assert branch.config.temperature == report["temperature"]

    def unexpected(*given: object) -> None:
        raise AssertionError("the views were made already")

    monkeypatch.setattr(module, "read_pictures", unexpected)
    assert [done for stage, done, _ in run(folder, 6) if stage == "steps"] == [5, 6]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ('[["dsb2018"]] -> [["spores"]]', "spores"),
        ("other = 0.5 -> else = 0.5", "other"),
        ('["synthetic", "dsb2018"] -> []', "sources"),
        ("seed = 3 -> sede = 3", "sede"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(folder: Path, change: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        read_classes_config(config_of(folder, 1, swap=change))
    assert "\n" not in str(caught.value)


def test_the_configuration_in_the_package_can_be_read() -> None:
    config = read_classes_config(Path(module.__file__).parent / "configs" / "tiny-classes.toml")
    assert config.model.names[-1] == "other"
    assert set(config.shares) == set(config.model.names)


def test_held_out_pictures_are_not_learned_from(folder: Path) -> None:
    config = read_classes_config(config_of(folder, 1))
    pictures = read_pictures(folder / "data", config.sources, config.model.names, synthetic=15, seed=1)
    held = {(one.source, one.picture) for one in pictures.objects if module.is_held_out(one, pictures)}
    learned = {(one.source, one.picture) for one in pictures.objects if not module.is_held_out(one, pictures)}
    assert held
    assert not held & learned
    assert {one.name for one in pictures.objects} <= set(config.model.names)


@pytest.mark.parametrize("times", [1.0, 4.0])
def test_the_temperature_makes_probabilities_true(times: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 3))
    chances = scipy.special.softmax(logits, axis=1)
    truth = np.array([rng.choice(3, p=row) for row in chances])
    found = calibrated(MaskClassesConfig(("a", "b", "other")), [(times * logits, truth)])
    assert found.temperature == pytest.approx(times, rel=0.1)


def test_names_begin_where_half_of_them_are_right() -> None:
    sure = np.concatenate([np.full(500, 0.55), np.full(500, 0.85)])
    logits = np.log(np.stack([sure, 1 - sure], axis=1))
    wrong_below = np.concatenate([np.ones(500, int), np.zeros(500, int)])
    assert least_certainty(logits, np.zeros(1000, int)) < 0.6
    assert 0.6 <= least_certainty(logits, wrong_below) < 0.85


def test_synthetic_pictures_have_names_and_empty_places() -> None:
    for picture in synthetic_pictures(15, 0):
        assert len(picture.levels) == len(picture.names)
        taken = np.max(picture.levels[:-1], axis=0) > 0
        assert not (taken & (picture.levels[-1] > 0)).any()
    taken = np.ones((64, 64), np.int32)
    assert not empty_places([taken], np.random.default_rng(0), 5).any()


def test_dark_bodies_of_a_volume_are_mitochondria(tmp_path: Path) -> None:
    """Dark compact bodies, and neither membranes nor what is merely small."""
    rng = np.random.default_rng(0)
    z, y, x = np.indices((64, 64, 64))
    image = np.full((64, 64, 64), 190.0)
    body = (z - 30) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 < 12**2
    image[body], image[:, :, 44:46], image[:, 50:54, 8:12] = 60, 130, 60
    io.imsave(tmp_path / "image.tif", (image + rng.normal(0, 5, image.shape)).clip(0, 255).astype(np.uint8))
    empty = np.zeros((64, 64), np.int32)
    slices = [NamedImage(np.zeros((64, 64, 3), np.uint8), (empty,), ({},)) for _ in range(48)]
    found = with_dark_bodies(tmp_path, slices)
    middle = found[7].levels[-1]
    assert middle[20, 20]
    assert (middle > 0).sum() == pytest.approx(np.pi * 12**2, rel=0.35)
    assert set(found[7].names[-1].values()) == {"mitochondrion"}


def test_each_name_is_drawn_by_its_share_and_each_source_alike() -> None:
    objects = [NamedObject("large", n, 0, 1, "cell") for n in range(90)]
    objects += [NamedObject("small", 0, 0, k, "cell") for k in range(2)]
    objects += [NamedObject("small", 1, 0, 5, "nucleus")]
    found = drawn(objects, {"cell": 0.75, "nucleus": 0.25, "other": 0.5}, 2000, np.random.default_rng(0))
    assert sum(one.name == "nucleus" for one in found) == pytest.approx(500, abs=80)
    assert sum(one.source == "small" for one in found if one.name == "cell") == pytest.approx(750, abs=100)
