import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage import io

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.models.loading import load_segmenter, load_weights
from napari_segany.models.tiny.tiny_sam import TinyEncoder, TinySam
from napari_segany.training import train_sam
from napari_segany.training.batches import stream
from napari_segany.training.data import SourceConfig, load_sources
from napari_segany.training.loop import Loop, LoopConfig
from napari_segany.training.sam_task import SamTask, TaskConfig, rough_masks

CONFIG = """
seed = 3
synthetic = 2
[sources]
synthetic = 1.0
dsb2018 = 1.0
[loop]
steps = {steps}
workers = 0
log_every = 1
save_every = 2
warmup_steps = 1
[task]
dense_steps = 1
together_steps = 2
[[phases]]
crops = 2
masks = 2
sizes = {{ 64 = 1.0 }}
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


def train(folder: Path, out: str, steps: int) -> Path:
    path = folder / "config.toml"
    path.write_text(CONFIG.format(steps=steps))
    return train_sam.train_sam(path, folder / "data", folder / out, torch.device("cpu"))


def test_training_resumes_as_if_it_had_not_stopped(folder):
    train(folder, "stopped", 2)
    assert json.loads((folder / "stopped/log.jsonl").read_text().splitlines()[-1])["step"] == 2
    resumed = load_segmenter(train(folder, "stopped", 4)).model.state_dict()
    straight = load_segmenter(train(folder, "straight", 4)).model.state_dict()
    for name, value in straight.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-3, atol=1e-4)


class TestIdentity:
    def loop(self, folder: Path, **identity) -> Loop:
        return Loop(SamTask(TinySam(), TaskConfig()), LoopConfig(), folder, torch.device("cpu"), identity)

    def test_another_run_is_not_continued(self, tmp_path):
        self.loop(tmp_path, seed=3, sources={"synthetic": 1.0, "dsb2018": 2.0}).save()
        assert self.loop(tmp_path, seed=3, sources={"dsb2018": 2.0, "synthetic": 1}).resume()
        with pytest.raises(InputError, match=r"checkpoint\.pt was trained with seed 3, not 4; choose") as caught:
            self.loop(tmp_path, seed=4, sources={"dsb2018": 2.0, "synthetic": 1.0}).resume()
        assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match=r"sources \{.*'dsb2018': 2.0\}, not \{'synthetic': 1.0\}"):
            self.loop(tmp_path, seed=3, sources={"synthetic": 1.0}).resume()

    def test_a_checkpoint_that_does_not_say_is_continued(self, tmp_path):
        self.loop(tmp_path, seed=3).save()
        state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        del state["identity"]
        torch.save(state, tmp_path / "checkpoint.pt")
        assert self.loop(tmp_path, seed=4).resume()

    def test_seed_and_sources_tell_a_run(self, folder):
        train(folder, "out", 0)
        state = torch.load(folder / "out/checkpoint.pt", weights_only=True)
        assert state["identity"] == {"seed": 3, "sources": {"synthetic": 1.0, "dsb2018": 1.0}, "start": ""}


def test_a_run_can_begin_with_weights(folder):
    path = folder / "config.toml"
    path.write_text('start = "tiny"\n' + CONFIG.format(steps=0))
    begun = load_segmenter(train_sam.train_sam(path, folder / "data", folder / "out", torch.device("cpu"))).model
    for name, value in load_segmenter("tiny").model.state_dict().items():
        torch.testing.assert_close(begun.state_dict()[name], value)


def test_new_blocks_of_an_encoder_begin_with_passing_on(tmp_path):
    old, new = TinySam().eval(), TinySam().eval()
    old.image_encoder = TinyEncoder(blocks=(0, 1, 2, 2, 2)).eval()
    train_sam.export(old, tmp_path / "old.safetensors")
    train_sam.begin(new, str(tmp_path / "old.safetensors"))
    old.load_state_dict(load_weights(tmp_path / "old.safetensors"))
    picture = torch.rand(1, 4, 64, 64)
    for name, feature in old.image_encoder(picture).items():
        torch.testing.assert_close(new.image_encoder(picture)[name], feature)


def test_weights_of_something_else_are_no_beginning(tmp_path):
    state = TinySam().state_dict()
    del state["mask_decoder.mask_tokens.weight"]
    save_file(state, tmp_path / "half.safetensors")
    with pytest.raises(
        InputError, match=r"does not fit the model: 1 weights, first 'mask_decoder\.mask_tokens\.weight'"
    ):
        train_sam.begin(TinySam(), str(tmp_path / "half.safetensors"))


def test_a_few_steps_on_one_picture_lower_the_loss(dataset):
    torch.manual_seed(0)
    task = SamTask(TinySam(), TaskConfig(dense_steps=0, together_steps=10**9))
    optimizer = torch.optim.AdamW(task.model.parameters(), 1e-3)
    batch = next(stream(dataset, 0, workers=0))
    losses = []
    for _ in range(20):
        loss = task.training_forward(batch, 1)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("step", range(1, 8))
def test_every_kind_of_step_reaches_every_part(dataset, step):
    task = SamTask(
        TinySam(), TaskConfig(dense_steps=0, together_steps=0, mask_share=0.5, rounds={1: 1.0, 3: 1.0, 5: 1.0})
    )
    task.training_forward(next(stream(dataset, step, workers=0)), step)["loss"].backward()
    for part in ("image_encoder.stem.0", "mask_decoder.mask_tokens", "dense_head.reduce"):
        gradient = dict(task.model.named_parameters())[f"{part}.weight"].grad
        assert gradient is not None
        assert gradient.abs().sum() > 0


def test_prompts_can_be_learned_with_the_encoder_as_it_is(dataset):
    task = SamTask(TinySam().train(), TaskConfig(prompts_only=True))
    batch = next(stream(dataset, 0, workers=0))
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    task.training_forward(batch, 0)["loss"].backward()
    parts = {"image_encoder": 0, "dense_head": 0, "mask_decoder": 0}
    for name, weights in task.model.named_parameters():
        if weights.grad is not None and name.split(".")[0] in parts:
            parts[name.split(".")[0]] += 1
    assert parts["image_encoder"] == parts["dense_head"] == 0
    assert parts["mask_decoder"]
    # and batch norms did not follow the batch
    assert all(torch.equal(before[name], value) for name, value in task.model.state_dict().items())


def test_only_the_best_of_three_learns_from_a_lone_click():
    task = SamTask(TinySam(), TaskConfig(iou_weight=0.0))
    target = torch.zeros(1, 16, 16)
    target[:, 4:12, 4:12] = 1
    logits = torch.stack([-4 + 0 * target[0], 8 * target[0] - 4, -8 * target[0] + 4, -4 + 0 * target[0]])[None]
    logits.requires_grad_()
    scores = torch.full((1, 4), 0.5)
    meant = SimpleNamespace(target=target, other=torch.zeros_like(target))
    loss, watch = task._mask_losses(logits, scores, meant, torch.tensor([True]), False)
    loss.backward()
    assert logits.grad[0, 1].abs().sum() > 0
    assert logits.grad[0, 2:].abs().sum() == 0
    assert watch["oracle"] == 1


def test_where_a_click_means_part_or_whole_two_masks_learn_the_smaller_first():
    task = SamTask(TinySam(), TaskConfig(iou_weight=0.0))
    whole, part = torch.zeros(2, 1, 16, 16)
    whole[:, 2:14, 2:14] = 1
    part[:, 6:10, 6:10] = 1
    nothing = -4 + 0 * part[0]
    logits = torch.stack([nothing, 8 * part[0] - 4, 8 * whole[0] - 4, nothing])[None].requires_grad_()
    for target, other in ((whole, part), (part, whole)):
        logits.grad = None
        meant = SimpleNamespace(target=target, other=other)
        loss, _ = task._mask_losses(logits, torch.full((1, 4), 0.5), meant, torch.tensor([True]), False)
        loss.backward()
        assert [bool(each.abs().sum() > 0) for each in logits.grad[0, 1:]] == [True, True, False]


def test_rough_masks_stay_near_the_object():
    target = torch.zeros(20, 128, 128)
    target[:, 40:80, 20:70] = 1
    rough = rough_masks(target, torch.Generator().manual_seed(0))
    assert rough.shape == (20, 1, 128, 128)
    found = rough[:, 0] > 0
    overlap = (found & (target > 0)).sum((1, 2)) / (found | (target > 0)).sum((1, 2))
    assert 0.5 < overlap.mean() < 0.95
    assert overlap.min() > 0.1


def test_the_learning_rate_rises_stays_and_falls():
    config = LoopConfig(steps=100, warmup_steps=10, decay_steps=40, learning_rate=1.0)
    assert config.rate(0) == pytest.approx(0.1)
    assert config.rate(50) == 1.0
    assert config.rate(80) == pytest.approx(0.5)


def test_the_average_of_constant_weights_is_those_weights(tmp_path):
    task = SamTask(TinySam(), TaskConfig())
    loop = Loop(task, LoopConfig(), tmp_path, torch.device("cpu"))
    for _ in range(3):
        loop._follow()
        loop.step += 1
    for mean, value in zip(loop.average.parameters(), task.model.parameters(), strict=True):
        torch.testing.assert_close(mean, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml at all [", "cannot read"),
        ("seed = 1", "no \\[sources\\]"),
        ("[sources]\nsynthetic = 1\n[loop]\nspeed = 3", "unknown setting in \\[loop\\]: speed"),
        ("sped = 1\n[sources]\nsynthetic = 1", "unknown setting in \\[the file\\]: sped"),
        ('seed = "one"\n[sources]\nsynthetic = 1', "seed in \\[the file\\]: Expected `int`, got `str`"),
        ("loop = 3\n[sources]\nsynthetic = 1", "loop in \\[the file\\]: Expected `object`, got `int`"),
        ("phases = 3\n[sources]\nsynthetic = 1", "cannot read|phases"),
        ("[sources]\nsynthetic = 1\n[task]\nrounds = { one = 1.0 }", "rounds.* in \\[task\\]: Expected `int`"),
        ("[sources]\nsynthetic = 1\n[[phases]]\nfrom_step = 0.5", "phases.* in \\[the file\\]: Expected `int`"),
        ("[sources]\nsynthetic = 1\n[loop]\naverage = true", "average in \\[loop\\]: Expected `float`, got `bool`"),
        ("partial = 3\n[sources]\nsynthetic = 1", "partial in \\[sources\\]: Expected `array`"),
        ("sources = 3", "no \\[sources\\]"),
    ],
)
def test_a_bad_configuration_is_one_line(tmp_path, text, message):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        train_sam.read_config(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot read"):
        train_sam.read_config(tmp_path / "missing.toml")


def test_missing_and_empty_sources_are_named(tmp_path):
    with pytest.raises(InputError, match=r"'dsb2018' is not in"):
        load_sources(tmp_path, SourceConfig({"dsb2018": 1.0}), seed=0)
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match=r"'mine' holds no labelled picture"):
        load_sources(tmp_path, SourceConfig({"mine": 1.0}), seed=0)


def test_the_shipped_configuration_can_be_read():
    config = train_sam.read_config(Path(train_sam.__file__).parent / "configs" / "tiny-eighth.toml")
    assert config.loop.steps > 1000
    assert sum(config.task.rounds.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", ["tiny-sixth", "tiny-seventh", "tiny-first", "short"])
def test_every_configuration_can_be_read(name):
    config = train_sam.read_config(Path(train_sam.__file__).parent / "configs" / f"{name}.toml")
    assert set(config.sources.partial) <= set(config.sources.shares)
    assert set(config.sources.held_out) <= set(config.sources.shares)


def test_exported_weights_answer_prompts(tmp_path):
    train_sam.export(TinySam(), tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_size < 12e6
    segmenter = load_segmenter(tmp_path / "weights.safetensors")
    embedding = segmenter.embed(np.zeros((50, 40, 3), np.uint8))
    masks = segmenter.segment(embedding, [Prompt((Point(20, 20),))])[0]
    assert len(masks) == 3
    assert masks[0].pixels.shape == (50, 40)


@pytest.mark.parametrize("kind", ["vit_b", "text head", "tiny with other shapes", "something"])
def test_a_start_of_another_kind_is_one_line(tmp_path, kind):
    state = {
        "vit_b": {"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}
        | {f"image_encoder.blocks.{k}.norm1.weight": torch.ones(768) for k in range(12)},
        "text head": {"head.a": torch.ones(3), "decoder.b": torch.ones(3)},
        "tiny with other shapes": {k: v[..., :1] if v.ndim else v for k, v in load_weights("tiny").items()},
        "something": {"a": torch.ones(3)},
    }[kind]
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="start") as error:
        train_sam.begin(TinySam(), str(tmp_path / "a.safetensors"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "sources = 3",
        "[sources]\nsynthetic = 'much'",
        "[sources]\nsynthetic = -1",
        "[sources]\nsynthetic = true",
        "seed = 'a'\n[sources]\nsynthetic = 1",
        "[sources]\nsynthetic = 1\n[loop]\nsteps = 'many'",
        "[sources]\nsynthetic = 1\n[loop]\nsteps = true",
        "[sources]\nsynthetic = 1\n[[phases]]\nsizes = 3",
        "phases = 3\n[sources]\nsynthetic = 1",
        "loop = 3\n[sources]\nsynthetic = 1",
    ],
)
def test_values_of_other_types_are_one_line(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        train_sam.read_config(path)
    assert "\n" not in str(error.value)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot read"):
        train_sam.read_config(path)


def test_a_run_never_writes_into_its_sources_or_over_its_start(folder):
    source = folder / "data" / "dsb2018"
    (folder / "link").symlink_to(source)
    for out in (source, source / "runs", folder / "link" / "runs"):
        with pytest.raises(InputError, match="lies in the training source"):
            train_sam.check_apart(out, [source])
    (folder / "out").mkdir()
    (folder / "out" / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="would replace"):
        train_sam.check_apart(folder / "out", [source], str(folder / "out" / "weights.safetensors"))
    train_sam.check_apart(folder / "data", [source])


class _Square:
    """A task whose loss is a mean over the batch."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(3, 1)

    def training_forward(self, batch: dict[str, torch.Tensor], step: int) -> dict[str, torch.Tensor]:
        return {"loss": self.model(batch["x"]).square().mean()}


@pytest.mark.parametrize("parts", [2, 4, 9])
def test_parts_of_a_batch_train_as_the_whole(tmp_path, parts):
    batch = {"x": torch.rand(8, 3, generator=torch.Generator().manual_seed(1))}
    weights, losses = [], []
    for number in (1, parts):
        config = LoopConfig(steps=3, warmup_steps=1, decay_steps=1, parts=number)
        loop = Loop(_Square(), config, tmp_path / str(number), torch.device("cpu"))
        losses.append(list(loop.steps(lambda step: iter([batch] * 9))))
        weights.append(loop.task.model.weight.detach())
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-4)
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
