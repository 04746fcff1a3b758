"""``napari-segany train classes CONFIG``: names for masks, by a branch next to the decoder of a frozen `tiny`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.known_classes import OTHER
from napari_segany.core.metrics import calibration_error
from napari_segany.models.tiny.mask_classes import (
    IMAGE,
    TOKENS,
    MaskClasses,
    MaskClassesConfig,
    MaskContext,
    encoder_digest,
    mask_context,
    write_classes,
)
from napari_segany.models.tiny.tiny_sam import EMBED_DIM, STRIDE, TinySam
from napari_segany.training.loop import Loop, LoopConfig
from napari_segany.training.named_masks import NamedObject, NamedPictures, drawn, read_pictures
from napari_segany.training.train_sam import build, check_apart, load_tiny, read_toml

ENCODED = 16
"""Views that are encoded together."""
ARRAYS = ("image", "tokens", "cover", "name", "fold")
"""What is kept of each view."""
VIEWS, HELD_OUT, DONE = "views", "held-out-views", "done.json"
"""Folders of the views in that of a run, and the file that tells of what they are, written last."""
MOST_LEFT_OUT = 1500
"""Views of left-out sources that are evaluated, of each fold."""
LEAST_NAMED, NAMED_FROM = 0.8, 0.4
"""A name is given from the probability on at which at least this share is right, but never below the second."""

Judged = tuple[np.ndarray, np.ndarray]
"""Logits (n, names) of views, and the number of the true name of each (n,)."""


@dataclass(frozen=True)
class ClassesTrainConfig:
    """One run, as read from a TOML file.

    Parameters
    ----------
    sources : tuple of str
        What is learned from; the last fifth of the pictures of each is held out.
    shares : dict of str to float
        What is told apart, and its share of the views; the last is "other".
    seed : int
        Of weights and views.
    start : str
        The model whose encoder and decoder are used, and stay as they are.
    synthetic : int
        How many synthetic pictures are made.
    views, held_out_views : int
        Windows of objects to learn from, and of held-out pictures.
    batch : int
        Views per step.
    smoothing : float
        Of the names.
    folds : tuple of tuple of str
        Sources that are left out together: a short run without them tells how sure the names are on unknown kinds of
        pictures, by which the temperature is chosen.
    fold_share : float
        Length of these runs, as a share of the main one.
    loop, model : LoopConfig, MaskClassesConfig
        How long, how large.
    """

    sources: tuple[str, ...]
    shares: dict[str, float]
    seed: int = 0
    start: str = "tiny"
    synthetic: int = 900
    views: int = 14000
    held_out_views: int = 3000
    batch: int = 128
    smoothing: float = 0.05
    folds: tuple[tuple[str, ...], ...] = ()
    fold_share: float = 0.3
    loop: LoopConfig = field(default_factory=LoopConfig)
    model: MaskClassesConfig = field(default_factory=MaskClassesConfig)


class ClassTask:
    """The branch with its loss; the loop knows neither."""

    def __init__(self, model: MaskClasses, smoothing: float) -> None:
        self.model, self.smoothing = model, smoothing

    def training_forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Losses of a batch of :class:`ViewBank`."""
        logits = self.model(context_of(batch)).float()
        loss = F.cross_entropy(logits, batch["name"], label_smoothing=self.smoothing)
        return {"loss": loss, "right": (logits.argmax(1) == batch["name"]).float().mean()}


def context_of(batch: Mapping[str, Tensor]) -> MaskContext:
    """What the branch sees of a batch."""
    return MaskContext(batch["image"].float(), batch["tokens"].float(), batch["cover"].float() / 255)


def read_classes_config(path: Path) -> ClassesTrainConfig:
    """Read a TOML file, see ``training/configs/tiny-classes.toml``.

    Raises
    ------
    InputError
        When the file is missing, is not TOML, or holds an unknown or missing setting.
    """
    return read_toml(path, _config_of)


def _config_of(raw: dict[str, Any], path: Path) -> ClassesTrainConfig:
    config: ClassesTrainConfig = build(ClassesTrainConfig, raw)
    if not config.sources or OTHER not in config.shares or len(config.shares) < 2:
        raise InputError(f"{path} needs sources, and in [shares] at least one name and {OTHER!r}")
    if unknown := sorted({name for fold in config.folds for name in fold} - set(config.sources)):
        raise InputError(f"{path}: folds name {', '.join(unknown)}, which the sources do not")
    names = (*(name for name in config.shares if name != OTHER), OTHER)
    return replace(config, model=replace(config.model, names=names))


class ViewBank:
    """What the frozen model makes of windows of objects, computed once and kept in files.

    Parameters
    ----------
    folder : Path
        Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self.arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}

    def __len__(self) -> int:
        return len(self.arrays["name"])

    def rows(self, rows: np.ndarray) -> dict[str, Tensor]:
        """Some views as a batch."""
        found = {name: torch.from_numpy(array[np.sort(rows)]) for name, array in self.arrays.items() if name != "fold"}
        return {**found, "name": found["name"].long()}

    def batches(self, rows: np.ndarray, config: ClassesTrainConfig, first: int) -> Iterator[dict[str, Tensor]]:
        """Endless batches of some views from a step on."""
        step = first
        while True:
            yield self.rows(np.random.default_rng((config.seed, step)).choice(rows, config.batch))
            step += 1


def make_bank(
    model: TinySam,
    pictures: NamedPictures,
    chosen: tuple[Sequence[NamedObject], Sequence[int]],
    config: ClassesTrainConfig,
    folder: Path,
) -> Iterator[int]:
    """Encode views of objects, each with the number of its fold, into the files of a folder; how many are done."""
    objects, folds = chosen
    plain = folder.name == HELD_OUT
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DONE).unlink(missing_ok=True)
    side, names = config.model.side, config.model.names
    cells = side // STRIDE
    layouts = {
        "image": (np.float16, (IMAGE, cells, cells)),
        "tokens": (np.float16, (TOKENS, EMBED_DIM)),
        "cover": (np.uint8, (side // 2, side // 2)),
    }
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, (len(objects), *shape))
        for name, (kind, shape) in layouts.items()
    }
    np.save(folder / "name.npy", np.array([names.index(one.name) for one in objects], np.int64))
    np.save(folder / "fold.npy", np.array(folds, np.int64))
    position = model.prompt_encoder.dense_pe()
    for start in range(0, len(objects), ENCODED):
        part = objects[start : start + ENCODED]
        rngs = [np.random.default_rng((config.seed, int(plain), start + k)) for k in range(len(part))]
        views = [
            pictures.view(one, rng, (side, config.model.object_side), plain=plain)
            for one, rng in zip(part, rngs, strict=True)
        ]
        _encode(model, views, position, {name: array[start : start + len(part)] for name, array in arrays.items()})
        yield start + len(part)
    for array in arrays.values():
        array.flush()


def bank_identity(model: TinySam, config: ClassesTrainConfig) -> dict[str, Any]:
    """What the views of a run depend on."""
    settings = asdict(replace(config, loop=LoopConfig(), model=MaskClassesConfig(), batch=0, smoothing=0, fold_share=0))
    sizes = [config.model.names, config.model.side, config.model.object_side]
    text = json.dumps([settings, sizes], sort_keys=True)
    return {"encoder": encoder_digest(model.state_dict()), "views": hashlib.sha256(text.encode()).hexdigest()[:16]}


@torch.inference_mode()
def _encode(
    model: TinySam, views: Sequence[tuple[np.ndarray, np.ndarray]], position: Tensor, into: Mapping[str, np.ndarray]
) -> None:
    images = torch.from_numpy(np.stack([image for image, _ in views])).permute(0, 3, 1, 2).float()
    cover = F.avg_pool2d(torch.from_numpy(np.stack([mask for _, mask in views])).float()[:, None], 2)[:, 0]
    found = mask_context(model, model.encode_windows(images), cover, position)
    into["image"][:] = found.image.numpy()
    into["tokens"][:] = found.tokens.numpy()
    into["cover"][:] = (cover * 255).round().numpy()


def train_classes(config_path: Path, data: Path, folder: Path, device: torch.device) -> Iterator[tuple[str, int, int]]:
    """Train, or go on training; views and checkpoints that are there are used.

    Parameters
    ----------
    config_path : Path
        TOML file.
    data : Path
        Folder that holds one folder per source.
    folder : Path
        Where views, ``checkpoint.pt``, ``log.jsonl`` and ``weights.safetensors`` go.
    device : torch.device
        Where to compute.

    Yields
    ------
    stage : str
        "views", "run without other sources N", or "steps".
    done, total : int
        Of that stage.

    Raises
    ------
    InputError
        When the configuration or the data cannot be used, or the checkpoint in `folder` is of another run.
    ModelError
        The model to start with is not `tiny`, or cannot be had.
    """
    config = read_classes_config(config_path)
    check_apart(folder, [data / name for name in config.sources], config.start)
    base = load_tiny(config.start, "names are trained next to the decoder")
    base = base.float().eval().requires_grad_(False)
    for done in make_banks(base, config, data, folder):
        yield "views", done, config.views + config.held_out_views
    banks = ViewBank(folder / VIEWS), ViewBank(folder / HELD_OUT)
    encoder = encoder_digest(base.state_dict())
    unknown: list[Judged] = []
    for number in range(len(config.folds)):
        run = replace(config, loop=config.loop.of_length(max(round(config.loop.steps * config.fold_share), 1)))
        rows = np.flatnonzero(banks[0].arrays["fold"] != number)
        loop = _loop(run, folder / f"without-{number}", device, encoder)
        for _ in loop.steps(partial(banks[0].batches, rows, config)):
            yield f"run without other sources {number + 1}", loop.step, run.loop.steps
        unknown += [judged(branch_of(loop), bank, left_out(bank, banks[0], number), device) for bank in banks]
    loop = _loop(config, folder, device, encoder)
    for _ in loop.steps(partial(banks[0].batches, np.arange(len(banks[0])), config)):
        yield "steps", loop.step, config.loop.steps
    branch = branch_of(loop)
    held = judged(branch, banks[1], np.arange(len(banks[1])), device)
    branch.config = calibrated(config.model, [held, joined(unknown)] if unknown else [held])
    settled = branch.config
    report: dict[str, Any] = {"temperature": settled.temperature, "least": settled.least}
    for what, part in (("held_out_pictures", [held]), ("left_out_sources", unknown)):
        if part:
            logits, truth = joined(part)
            report[what] = scores(logits / settled.temperature, truth, settled.names)
    (folder / "report.json").write_text(json.dumps(report, indent=1))
    write_classes(branch, encoder, folder / "weights.safetensors")


def make_banks(base: TinySam, config: ClassesTrainConfig, data: Path, folder: Path) -> Iterator[int]:
    """Encode views to learn from, and those of held-out pictures, unless they are there; how many are done."""
    parts, identity = (folder / VIEWS, folder / HELD_OUT), bank_identity(base, config)
    if all(_holds(part, identity) for part in parts):
        return
    pictures = read_pictures(data, config.sources, config.model.names, synthetic=config.synthetic, seed=config.seed)
    fold_of = {name: number for number, fold in enumerate(config.folds) for name in fold}
    before = 0
    for number, (part, count) in enumerate(zip(parts, (config.views, config.held_out_views), strict=True)):
        own = [one for one in pictures.objects if is_held_out(one, pictures) == bool(number)]
        chosen = drawn(own, config.shares, count, np.random.default_rng((config.seed, number)))
        if not _holds(part, identity):
            folds = [fold_of.get(one.source, -1) for one in chosen]
            for done in make_bank(base, pictures, (chosen, folds), config, part):
                yield before + done
            (part / DONE).write_text(json.dumps(identity))
        before += count


def _holds(folder: Path, identity: dict[str, Any]) -> bool:
    return (folder / DONE).is_file() and json.loads((folder / DONE).read_text()) == identity


def left_out(bank: ViewBank, learned: ViewBank, number: int) -> np.ndarray:
    """Rows of the views of a fold whose names were still learned from other sources, at most ``MOST_LEFT_OUT``."""
    rest = learned.arrays["name"][learned.arrays["fold"] != number]
    rows = (bank.arrays["fold"] == number) & np.isin(bank.arrays["name"], rest)
    return np.flatnonzero(rows)[:MOST_LEFT_OUT]


def is_held_out(one: NamedObject, pictures: NamedPictures) -> bool:
    """Whether an object is of the last fifth of the pictures of its source; none of a source of one or two."""
    count = len(pictures.pictures[one.source])
    return count > 2 and one.picture >= min(count * 4 // 5, count - 1)


def _loop(config: ClassesTrainConfig, folder: Path, device: torch.device, encoder: str) -> Loop:
    """The training of a branch, where it was left."""
    torch.manual_seed(config.seed)
    identity = {"seed": config.seed, "sources": list(config.sources), "encoder": encoder, "shares": config.shares}
    loop = Loop(ClassTask(MaskClasses(config.model), config.smoothing), config.loop, folder, device, identity)
    loop.resume()
    return loop


def branch_of(loop: Loop) -> MaskClasses:
    """The averaged branch of a training."""
    average = loop.average
    if not isinstance(average, MaskClasses):
        raise ModelError(f"{type(average).__name__} has no names")
    return average


@torch.inference_mode()
def judged(branch: MaskClasses, bank: ViewBank, rows: np.ndarray, device: torch.device) -> Judged:
    """Logits and truth of some views."""
    found = [np.zeros((0, len(branch.config.names)), np.float32)]
    for start in range(0, len(rows), 256):
        batch = {name: value.to(device) for name, value in bank.rows(rows[start : start + 256]).items()}
        found.append(branch(context_of(batch)).float().cpu().numpy())
    return np.concatenate(found), np.asarray(bank.arrays["name"][rows])


def joined(parts: Sequence[Judged]) -> Judged:
    """All of several."""
    return np.concatenate([logits for logits, _ in parts]), np.concatenate([truth for _, truth in parts])


def calibrated(config: MaskClassesConfig, groups: Sequence[Judged]) -> MaskClassesConfig:
    """Settings with the temperature that suits groups of views, each of which counts the same, and the least certainty.

    Views of sources that were left out show how sure the names are on kinds of pictures that were never seen.
    """

    def surprise(logarithm: float) -> float:
        means = []
        for logits, truth in groups:
            found = scipy.special.log_softmax(logits * math.exp(-logarithm), axis=1)
            means.append(-float(found[np.arange(len(truth)), truth].mean()))
        return float(np.mean(means))

    temperature = math.exp(scipy.optimize.minimize_scalar(surprise, bounds=(-2, 3), method="bounded").x)
    logits, truth = joined(groups)
    return replace(config, temperature=round(temperature, 3), least=least_certainty(logits / temperature, truth))


def least_certainty(logits: np.ndarray, truth: np.ndarray) -> float:
    """The probability from which on at least ``LEAST_NAMED`` of the names are right, in steps of .05."""
    found = scipy.special.softmax(logits, axis=1)
    sure, right = found.max(axis=1), found.argmax(axis=1) == truth
    for least in np.arange(NAMED_FROM, 0.9, 0.05):
        near = (sure >= least) & (sure < least + 0.1)
        if near.any() and right[near].mean() >= LEAST_NAMED:
            return round(float(least), 2)
    return 0.9


def scores(logits: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Share of right names, expected calibration error, and the share for each name."""
    found = scipy.special.softmax(logits, axis=1)
    right, sure = found.argmax(axis=1) == truth, found.max(axis=1)
    each = {name: round(float(right[truth == k].mean()), 3) for k, name in enumerate(names) if (truth == k).any()}
    return {
        "views": len(truth),
        "top1": round(float(right.mean()), 3),
        "mean_of_names": round(float(np.mean(list(each.values()))), 3),
        "calibration_error": round(calibration_error(sure, right), 3),
        "names": each,
    }
