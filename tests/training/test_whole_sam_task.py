"""A whole SAM with a vision transformer learns, in the rounds of the paper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.models.loading import load_segmenter, load_weights
from napari_segany.models.sam.image_encoder import EncoderConfig
from napari_segany.models.sam.model import build_sam
from napari_segany.training import train_sam
from napari_segany.training.batches import BatchConfig, CropDataset, stream
from napari_segany.training.data import Sample
from napari_segany.training.encoder_sizes import encoder_sizes
from napari_segany.training.sam_task import TaskConfig
from napari_segany.training.whole_sam_task import WholeSamTask, start_positions, whole_frames

SMALL = {
    "width": 32,
    "depth": 2,
    "heads": 2,
    "global_blocks": [1],
    "image_size": 64,
    "patch_size": 8,
    "out_channels": 32,
}
CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path: Path, samples: list[Sample]) -> Path:
    for kind in ("images", "labels"):
        (tmp_path / "data" / "dsb2018" / kind).mkdir(parents=True)
    for number, sample in enumerate(samples):
        io.imsave(tmp_path / f"data/dsb2018/images/{number}.png", sample.image, check_contrast=False)
        labels = sample.levels[0].astype(np.uint16)
        io.imsave(tmp_path / f"data/dsb2018/labels/{number}.png", labels, check_contrast=False)
    return tmp_path / "data"


def paper(**changes: object) -> train_sam.TrainConfig:
    """The paper's configuration with one small source and small batches."""
    config = train_sam.read_config(Path(train_sam.__file__).parent / "configs" / "paper.toml")
    loop = replace(config.loop, steps=2, warmup_steps=1, log_every=1, workers=0)
    phases = tuple((step, replace(batch, crops=2, masks=2, sizes={64: 1.0})) for step, batch in config.phases)
    sources = replace(config.sources, shares={"dsb2018": 1.0})
    return replace(config, sources=sources, loop=loop, phases=phases, **changes)


def test_the_paper_s_settings() -> None:
    config = train_sam.read_config(Path(train_sam.__file__).parent / "configs" / "paper.toml")
    assert config.task.focal_weight / config.task.dice_weight == 20
    assert config.task.iou_weight == 1
    assert config.task.rounds == {11: 1.0}
    assert config.task.all_rounds
    assert config.task.ambiguity
    (_, batch), *others = config.phases
    assert not others
    assert (batch.box_share, batch.box_noise, batch.box_noise_varies) == (0.5, 0.1, False)
    assert config.loop.steps == 90_000


@pytest.mark.parametrize("architecture", ["tiny", "vit_b"])
def test_train_sam_paper(data: Path, tmp_path: Path, architecture: str) -> None:
    config = paper(architecture=architecture, encoder=SMALL if architecture != "tiny" else {})
    path = train_sam.train(config, data, tmp_path / "out", CPU)
    segmenter = load_segmenter(path)
    masks = segmenter.segment(segmenter.embed(np.zeros((50, 40, 3), np.uint8)), [Prompt((Point(20, 20),))])[0]
    assert len(masks) == 3
    assert masks[0].pixels.shape == (50, 40)


def test_every_part_learns_and_the_loss_falls(samples: list[Sample]) -> None:
    torch.manual_seed(0)
    sam = build_sam(EncoderConfig(**{**SMALL, "global_blocks": (1,)}))
    start_positions(sam)
    task = WholeSamTask(sam, TaskConfig(dense_steps=0, together_steps=10**9, mask_share=0.0))
    config = whole_frames(BatchConfig(crops=2, masks=3, close_share=0.0, empty_share=0.0), 64)
    batch = next(stream(CropDataset({"made": samples}, {"made": 1.0}, config, 1), 0, workers=0))
    optimizer = torch.optim.AdamW(task.model.parameters(), 1e-3)
    losses = []
    for _ in range(25):
        loss = task.training_forward(batch, 1)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    parameters = dict(sam.named_parameters())
    for part in ("image_encoder.patch_embed.proj", "image_encoder.neck.0", "prompt_encoder.no_mask_embed"):
        gradient = parameters[f"{part}.weight"].grad
        assert gradient is not None
        assert gradient.abs().sum() > 0
    for name in ("image_encoder.pos_embed", "image_encoder.blocks.0.attn.rel_pos_h", "mask_decoder.mask_tokens.weight"):
        gradient = parameters[name].grad
        assert gradient is not None
        assert gradient.abs().sum() > 0


def test_prompts_and_masks_share_a_frame(samples: list[Sample]) -> None:
    config = whole_frames(BatchConfig(crops=2, masks=4, box_share=0.0, empty_share=0.0), 128)
    batch = next(stream(CropDataset({"made": samples}, {"made": 1.0}, config, 1), 0, workers=0))
    assert batch["image"].shape == (2, 3, 128, 128)
    assert batch["shift"].abs().sum() == 0
    x, y = batch["xy"][..., 0, :].long().unbind(-1)
    under = torch.stack([batch["masks"][i, j, y[i, j], x[i, j]] for i in range(2) for j in range(4)])
    assert under.all()


def test_a_run_begins_with_a_whole_sam_of_the_same_sizes(data: Path, tmp_path: Path) -> None:
    first = train_sam.train(paper(architecture="vit_b", encoder=SMALL), data, tmp_path / "first", CPU)
    config = paper(architecture="vit_b", encoder=SMALL, start=str(first))
    unchanged = replace(config, loop=replace(config.loop, steps=0))
    second = train_sam.train(unchanged, data, tmp_path / "second", CPU)
    for name, value in load_weights(first).items():
        torch.testing.assert_close(load_weights(second)[name], value)


@pytest.mark.parametrize("kind", ["tiny", "other sizes", "half of an encoder", "nothing of it"])
def test_a_start_that_does_not_fit_is_one_line(tmp_path: Path, kind: str) -> None:
    sizes = EncoderConfig(**{**SMALL, "global_blocks": (1,)})
    encoder = {k: v for k, v in build_sam(sizes).state_dict().items() if k.startswith("image_encoder.blocks.0")}
    state = {
        "tiny": load_weights("tiny"),
        "other sizes": build_sam(replace(sizes, width=64)).state_dict(),
        "half of an encoder": encoder,
        "nothing of it": {"a": torch.ones(2)},
    }[kind]
    path = tmp_path / "start.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    with pytest.raises(InputError, match=r"start = .* does not fit the model") as error:
        train_sam.begin_vit(build_sam(sizes), str(path))
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_architecture_is_not_continued(data: Path, tmp_path: Path) -> None:
    train_sam.train(paper(), data, tmp_path / "out", CPU)
    with pytest.raises(InputError, match="of a model with other sizes"):
        train_sam.train(paper(architecture="vit_b", encoder=SMALL), data, tmp_path / "out", CPU)


def test_tiny_has_no_sizes_of_a_vision_transformer(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\[encoder\] has sizes of a vision transformer"):
        train_sam.train(paper(encoder=SMALL), data, tmp_path / "out", CPU)


@pytest.mark.parametrize(
    ("architecture", "changes", "message"),
    [
        ("vit_t", {}, "there are tiny, vit_b, vit_l, vit_h"),
        ("vit_b", {"wide": 3}, r"unknown setting in \[encoder\]: wide"),
        ("vit_b", {"width": "wide"}, "Expected `?int"),
        ("vit_b", {"width": 100, "heads": 3}, "width is a multiple of heads, 3, got 100"),
        ("vit_b", {"image_size": 100}, "image_size is a multiple of patch_size, 16"),
        ("vit_b", {"patch_size": 2}, "patch_size is a multiple of 4"),
        ("vit_b", {"out_channels": 24}, "out_channels is a multiple of 16"),
        ("vit_b", {"depth": 0}, "depth is at least 1, got 0"),
        ("vit_b", {"depth": 2, "global_blocks": [2]}, "global_blocks are numbers from 0 to 1"),
    ],
)
def test_sizes_that_do_not_fit_are_one_line(architecture: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        encoder_sizes(architecture, changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("depth", "blocks"), [(12, (2, 5, 8, 11)), (24, (5, 11, 17, 23)), (2, (0, 1)), (1, (0,))])
def test_global_blocks_are_spaced_evenly(depth: int, blocks: tuple[int, ...]) -> None:
    assert encoder_sizes("vit_b", {"depth": depth}).global_blocks == blocks


def test_options_of_the_command_line_change_a_run() -> None:
    config = train_sam.RunChanges("vit_b", "mae.safetensors", 1).applied_to(paper())
    assert (config.architecture, config.start, config.loop.steps) == ("vit_b", "mae.safetensors", 1)
    long = train_sam.read_config(Path(train_sam.__file__).parent / "configs" / "paper.toml")
    short = train_sam.RunChanges(steps=900).applied_to(long).loop
    assert (short.steps, short.warmup_steps, short.decay_steps) == (900, 2, 300)
    for change in ({"steps": 0}, {"architecture": "vit_t"}):
        with pytest.raises(InputError):
            train_sam.RunChanges(**change).applied_to(paper())
