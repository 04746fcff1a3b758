"""Masked autoencoding: hidden patches are predicted, and a SAM begins with the encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_segany.core.errors import InputError
from napari_segany.models.loading import load_weights
from napari_segany.models.sam.image_encoder import EncoderConfig, ImageEncoder, ViTBlock
from napari_segany.models.sam.model import build_sam
from napari_segany.training import train_sam
from napari_segany.training.data import Sample
from napari_segany.training.loop import LoopConfig
from napari_segany.training.mae import (
    MaeConfig,
    MaeTask,
    MaeTrainConfig,
    MaskedAutoencoder,
    PictureDataset,
    attend_all,
    patches_of,
    position_waves,
    read_mae_config,
    train_mae,
)

SIZES = EncoderConfig(32, 2, 2, (1,), 64, 8, 3, 32)
ENCODER = {"width": 32, "depth": 2, "heads": 2, "image_size": 64, "patch_size": 8, "window": 3, "out_channels": 32}
MAE = MaeConfig(width=32, depth=1, heads=2, crops=2)
CPU = torch.device("cpu")


def config(**changes: object) -> MaeTrainConfig:
    loop = LoopConfig(steps=3, warmup_steps=1, log_every=1, workers=0)
    return replace(MaeTrainConfig(3, "vit_b", {**ENCODER, "global_blocks": [1]}, loop, MAE), **changes)


@pytest.fixture
def pictures(samples: list[Sample]) -> list[np.ndarray]:
    return [sample.image for sample in samples]


def batch_of(pictures: list[np.ndarray], **changes: object) -> dict[str, torch.Tensor]:
    dataset = PictureDataset(pictures, replace(MAE, **changes), SIZES.grid, SIZES.patch_size, 0)
    items = [dataset[index] for index in range(4)]
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def test_the_loss_falls(pictures: list[np.ndarray]) -> None:
    torch.manual_seed(0)
    task = MaeTask(MaskedAutoencoder(ImageEncoder(SIZES), MAE), 0.75)
    batch = batch_of(pictures)
    optimizer = torch.optim.AdamW(task.model.parameters(), 2e-3)
    losses = []
    for _ in range(60):
        loss = task.training_forward(batch, 1)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(("masked", "visible"), [(0.75, 16), (0.5, 32), (0.99, 1)])
def test_only_visible_patches_are_seen_and_only_hidden_ones_are_judged(
    pictures: list[np.ndarray], masked: float, visible: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MaskedAutoencoder(ImageEncoder(SIZES), MAE)
    batch, seen = batch_of(pictures), {}
    real = model.forward

    def forward(x: torch.Tensor, cells: torch.Tensor, order: torch.Tensor, count: int) -> torch.Tensor:
        seen.update(order=order, count=count, found=real(x, cells, order, count))
        return seen["found"]

    monkeypatch.setattr(model, "forward", forward)
    MaeTask(model, masked).training_forward(batch, 0)["loss"].backward()
    assert seen["count"] == visible
    order = seen["order"]
    assert sorted(order[0].tolist()) == list(range(64))
    # what hidden patches hold changes no prediction, what visible ones hold does
    image = torch.randn(4, 3, 64, 64)
    for patch, changes in ((order[0, -1], False), (order[0, 0], True)):
        other = image.clone()
        row, column = divmod(int(patch), 8)
        other[0, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 1
        with torch.no_grad():
            first, second = (real(each, batch["cells"], order, visible) for each in (image, other))
        assert bool((first != second).any()) == changes


def test_the_error_is_that_of_hidden_patches_in_their_own_deviations() -> None:
    # predictions of 0 for patches of mean 0 and variance 1: the error is (n - 1) / n, n numbers of a patch
    class Nothing(torch.nn.Module):
        patch = 8

        def forward(self, x: torch.Tensor, *_: object) -> torch.Tensor:
            return torch.zeros_like(patches_of(x, 8))

    image = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    loss = MaeTask(Nothing(), 0.75).training_forward({"image": image, "cells": torch.zeros(2, 2)}, 0)["loss"]
    assert loss.item() == pytest.approx(191 / 192, rel=1e-5)


def test_patches_are_in_the_order_of_the_encoder_s_tokens() -> None:
    image = torch.arange(2 * 3 * 16 * 24.0).reshape(2, 3, 16, 24)
    found = patches_of(image, 8)
    assert found.shape == (2, 6, 192)
    torch.testing.assert_close(found[1, 4], image[1, :, 8:16, 8:16].reshape(-1))


def test_a_plain_block_is_a_block_of_sam_over_the_whole_picture() -> None:
    """Relative positions begin with zeros: what is pretrained computes the same in the global blocks of a SAM."""
    torch.manual_seed(0)
    block = ViTBlock(SIZES, 0)
    x = torch.randn(2, 8, 8, 32)
    torch.testing.assert_close(attend_all(block, x.flatten(1, 2)), block(x).flatten(1, 2), atol=1e-5, rtol=1e-5)


def test_position_waves_differ_everywhere() -> None:
    waves = position_waves(8, 6, 16).flatten(0, 1)
    assert waves.shape == (48, 16)
    assert len(torch.unique(waves, dim=0)) == 48
    assert waves.abs().max() <= 1


@pytest.mark.parametrize("size", [0, 16, 40])
def test_crops_lie_anywhere_in_the_frame(pictures: list[np.ndarray], size: int) -> None:
    dataset = PictureDataset([*pictures, np.zeros((5, 300, 3), np.uint8)], replace(MAE, size=size), 8, 8, 0)
    items = [dataset[index] for index in range(60)]
    assert {tuple(item["image"].shape) for item in items} == {(3, size or 64, size or 64)}
    cells = torch.stack([item["cells"] for item in items])
    assert cells.min() == 0
    assert cells.max() == 8 - (size or 64) // 8


def test_a_sam_begins_with_the_encoder(pictures: list[np.ndarray], tmp_path: Path) -> None:
    path = train_mae(config(), pictures, tmp_path / "mae", CPU)
    state = load_weights(path)
    sam = build_sam(SIZES)
    before = {name: value.clone() for name, value in sam.state_dict().items()}
    wanted = {n for n in before if n.startswith("image_encoder.") and not n.startswith("image_encoder.neck.")}
    assert set(state) == wanted
    assert {name: value.shape for name, value in state.items()} == {name: before[name].shape for name in wanted}
    train_sam.begin_vit(sam, str(path))
    for name, value in sam.state_dict().items():
        expected = state[name].float() if name in state else before[name]
        torch.testing.assert_close(value, expected)
    # not touched by the pretraining, and so of no effect at first
    assert all(value.abs().sum() == 0 for name, value in state.items() if "rel_pos" in name)


def test_pretraining_resumes_as_if_it_had_not_stopped(pictures: list[np.ndarray], tmp_path: Path) -> None:
    short = config(loop=replace(config().loop, steps=2))
    train_mae(short, pictures, tmp_path / "stopped", CPU)
    resumed = load_weights(train_mae(config(), pictures, tmp_path / "stopped", CPU))
    straight = load_weights(train_mae(config(), pictures, tmp_path / "straight", CPU))
    for name, value in straight.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-2, atol=1e-3)
    with pytest.raises(InputError, match="was trained with seed 3, not 4"):
        train_mae(config(seed=4), pictures, tmp_path / "stopped", CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mae": replace(MAE, masked=1.0)}, "masked is a share between 0 and 1"),
        ({"mae": replace(MAE, size=20)}, "size is a multiple of the patch, 8, up to 64; got 20"),
        ({"mae": replace(MAE, size=128)}, "size is a multiple of the patch"),
        ({"mae": replace(MAE, width=30)}, "width is a multiple of heads and of 4"),
        ({"mae": replace(MAE, depth=0)}, "depth is at least 1"),
        ({"architecture": "tiny"}, "architecture = 'tiny'"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(
    pictures: list[np.ndarray], tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        train_mae(config(**changes), pictures, tmp_path / "out", CPU)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_no_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture to learn from"):
        train_mae(config(), [], tmp_path / "out", CPU)


def test_the_shipped_configuration() -> None:
    shipped = read_mae_config(Path(train_sam.__file__).parent / "configs" / "mae.toml")
    assert shipped.mae.masked == 0.75
    assert shipped.architecture == "vit_b"
