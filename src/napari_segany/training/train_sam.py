"""``napari-segany train sam CONFIG``: from folders of labelled pictures to weights that ship."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec
import torch
from safetensors.torch import save_file
from torch import Tensor

from napari_segany.core.errors import InputError, ModelError
from napari_segany.models.inference_config import read_inference_config, tiny_inference_config
from napari_segany.models.loading import architecture_of, load_model, load_weights, locate
from napari_segany.models.sam.model import Sam, build_sam
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.training.batches import BatchConfig, CropDataset, stream
from napari_segany.training.data import SourceConfig, load_sources
from napari_segany.training.distillation import DistilledSamTask
from napari_segany.training.encoder_sizes import encoder_sizes
from napari_segany.training.loop import Loop, LoopConfig
from napari_segany.training.sam_task import SamTask, TaskConfig
from napari_segany.training.whole_sam_task import WholeSamTask, start_positions, whole_frames

TINY = "tiny"
"""The architecture of the model in the package; the others are those of published models."""
ENCODER, NECK = "image_encoder.", "image_encoder.neck."
"""Weights of an image encoder, and those of them that a pretrained one lacks."""
WRITTEN = ("weights.safetensors", "checkpoint.pt")
"""What a run writes into its folder."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run, as read from a TOML file.

    Parameters
    ----------
    sources : SourceConfig
        The images to train on.
    seed : int
        Of weights, pictures and simulated users.
    architecture : str
        "tiny", or that of a published SAM with a vision transformer: "vit_b", "vit_l" or "vit_h".
    encoder : dict of str to value
        Sizes of the vision transformer that differ, see :mod:`~napari_segany.training.encoder_sizes`.
    start : str
        Weights to begin with: a file, or the name of a model; random ones when empty. Residual blocks of `tiny` that
        they lack pass on what comes in. A vision transformer also begins with what ``train mae`` wrote.
    distilled : tuple of str
        Sources on whose crops the masks of `reference` are a second target; of `tiny` alone.
    reference : str
        File or name of the model whose masks those are; none when empty.
    distillation : float
        Weight of the second target.
    compile : bool
        Let torch compile what the prompts need, a third faster on a CPU; wants a C++ compiler.
    loop, task : LoopConfig, TaskConfig
        Length of the training, losses and prompts.
    phases : tuple of (int, BatchConfig)
        The batches, each from a step on.
    """

    sources: SourceConfig
    seed: int = 0
    architecture: str = TINY
    encoder: dict[str, Any] = field(default_factory=dict)
    start: str = ""
    distilled: tuple[str, ...] = ()
    reference: str = ""
    distillation: float = 2.0
    compile: bool = False
    loop: LoopConfig = field(default_factory=LoopConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    phases: tuple[tuple[int, BatchConfig], ...] = ()


C = TypeVar("C")
SHARED = ("partial", "nested", "held_out", "at_most", "synthetic")
"""Settings of the sources that stand next to the table of their shares."""


def build(kind: type[C], values: dict[str, Any], where: str = "the file") -> C:
    """A dataclass of settings, and those in it, from a table of a TOML file; an InputError names what does not fit."""
    hints = get_type_hints(kind)
    unknown = values.keys() - hints.keys()
    if unknown:
        raise InputError(f"unknown setting in [{where}]: {', '.join(sorted(unknown))}")
    parts = {
        name: build(hints[name], value, name)
        for name, value in values.items()
        if is_dataclass(hints[name]) and isinstance(value, dict)
    }
    try:
        # names in TOML are text, also those of a table of numbers
        return msgspec.convert({**values, **parts}, kind, str_keys=True)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at ")
        place = place.replace("$.", "").replace("`", "")
        raise InputError(f"{place or 'a setting'} in [{where}]: {problem}") from error


def read_config(path: Path) -> TrainConfig:
    """Read a TOML file.

    Parameters
    ----------
    path : Path
        See ``training/configs/tiny-eighth.toml``.

    Raises
    ------
    InputError
        When the file is missing, is not TOML, or holds an unknown or missing setting.
    """
    return read_toml(path, _config_of)


def read_toml(path: Path, make: Callable[[dict[str, Any], Path], C]) -> C:
    """What is made of a TOML file; errors as of :func:`read_config`."""
    try:
        return make(tomllib.loads(path.read_text(encoding="utf-8")), path)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"cannot read the training configuration {path}: {error}") from error


def _config_of(raw: dict[str, Any], path: Path) -> TrainConfig:
    config = _built(raw, path)
    strange = sorted(set(config.distilled) - set(config.sources.shares))
    if strange:
        raise InputError(f"{path}: distilled names {', '.join(strange)}, which is none of the [sources]")
    if bool(config.distilled) != bool(config.reference):
        raise InputError(f"{path}: 'distilled' sources need a 'reference' model, and a reference needs such sources")
    return config


def _built(raw: dict[str, Any], path: Path) -> TrainConfig:
    phases = [(phase.pop("from_step", 0), build(BatchConfig, phase, "phases")) for phase in raw.get("phases", [{}])]
    phases.sort(key=lambda phase: phase[0])
    return build(TrainConfig, {**with_sources(raw, path), "phases": phases})


def with_sources(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    """A table with all that it tells of the sources as one; an InputError names what is wrong with them."""
    shares = raw.get("sources")
    if not shares or not isinstance(shares, dict):
        raise InputError(f"{path} names no [sources]")
    for name, share in shares.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not share > 0:
            raise InputError(f"{path}: the share of the source {name} is a number above 0, got {share!r}")
    sources = {"shares": shares, **{name: raw[name] for name in SHARED if name in raw}}
    return {**{name: value for name, value in raw.items() if name not in SHARED}, "sources": sources}


def _batches(config: TrainConfig, data: Path, step: int) -> Iterator[dict[str, Tensor]]:
    sources = load_sources(data, config.sources, seed=config.seed, workers=config.loop.workers)
    ends = [start for start, _ in config.phases[1:]] + [config.loop.steps]
    for (_, batch), end in zip(config.phases, ends, strict=True):
        if step >= end:
            continue
        dataset = CropDataset(sources, config.sources.shares, batch, config.seed, config.distilled)
        batches = stream(dataset, step, config.loop.workers)
        while step < end:
            yield next(batches)
            step += 1


@dataclass(frozen=True, slots=True)
class RunChanges:
    """What differs from a TOML file.

    Parameters
    ----------
    architecture, start : str
        As of :class:`TrainConfig`; empty for those of the file.
    steps : int, optional
        With fewer or more steps the rise and the fall of the learning rate are shorter or longer in proportion.
    """

    architecture: str = ""
    start: str = ""
    steps: int | None = None

    def applied_to(self, config: TrainConfig) -> TrainConfig:
        """Return the run with the changes.

        Raises
        ------
        InputError
            There is no such architecture, or less than one step.
        """
        if self.steps is not None:
            config = replace(config, loop=config.loop.of_length(self.steps))
        config = replace(
            config, architecture=self.architecture or config.architecture, start=self.start or config.start
        )
        if config.architecture != TINY:
            encoder_sizes(config.architecture, config.encoder)
        return config


def train_sam(
    config_path: Path, data: Path, folder: Path, device: torch.device, changes: RunChanges | None = None
) -> Path:
    """Train as a TOML file and `changes` to it tell; other parameters, result and errors are those of :func:`train`."""
    return train((changes or RunChanges()).applied_to(read_config(config_path)), data, folder, device)


def train(config: TrainConfig, data: Path, folder: Path, device: torch.device) -> Path:
    """Train, or go on training, and write the averaged weights.

    Parameters
    ----------
    config : TrainConfig
        What and how.
    data : Path
        Folder that holds one folder per source.
    folder : Path
        Where checkpoint, log and weights go; a checkpoint found there is resumed.
    device : torch.device
        Where to compute.

    Returns
    -------
    Path
        ``weights.safetensors`` in `folder`, half precision.

    Raises
    ------
    InputError
        When the configuration or the data cannot be used, or the checkpoint in `folder` is of another seed, start or of
        other sources; steps, decay and phases may differ, which is how a run is prolonged.
    """
    torch.manual_seed(config.seed)
    identity = {"seed": config.seed, "sources": config.sources.shares, "start": config.start}
    check_apart(folder, [data / name for name in config.sources.shares], config.start)
    if config.architecture == TINY:
        task: SamTask | WholeSamTask = _tiny_task(config)
    else:
        task, config = _whole_task(config)
        identity |= {"architecture": config.architecture, "encoder": config.encoder}
    loop = Loop(task, config.loop, folder, device, identity)
    loop.resume()
    if config.compile and isinstance(task, SamTask):
        task.compile()
    loop.run(lambda step: _batches(config, data, step))
    path = folder / "weights.safetensors"
    export(loop.average, path)
    return path


def load_tiny(start: str, what: str) -> TinySam:
    """A model of the architecture `tiny`, by its name or the path of its weights.

    Raises
    ------
    ModelError
        It is of another architecture, so that what is to be trained, `what`, has nothing to be trained on; or it cannot
        be had.
    """
    model = load_model(start)
    if not isinstance(model, TinySam):
        raise ModelError(f"{what} of 'tiny', and {start!r} is of another architecture")
    return model


def _tiny_task(config: TrainConfig) -> SamTask:
    if config.encoder:
        raise InputError("[encoder] has sizes of a vision transformer; with it goes architecture = 'vit_b' or the like")
    model = TinySam()
    if config.start:
        begin(model, config.start)
    if not config.reference:
        return SamTask(model, config.task)
    reference = TinySam()
    begin(reference, config.reference)
    return DistilledSamTask(model, config.task, reference, config.distillation)


def _whole_task(config: TrainConfig) -> tuple[WholeSamTask, TrainConfig]:
    """A SAM with a vision transformer, and the run with batches that fill its input frame."""
    sizes = encoder_sizes(config.architecture, config.encoder)
    model = build_sam(sizes)
    start_positions(model)
    if config.start:
        begin_vit(model, config.start)
    phases = tuple((step, whole_frames(batch, sizes.image_size)) for step, batch in config.phases)
    return WholeSamTask(model, config.task), replace(config, phases=phases)


def begin_vit(model: Sam, start: str) -> None:
    """Fill a SAM that has a vision transformer with the weights of one, or of a pretrained encoder alone.

    Raises
    ------
    InputError
        When the weights are others, or have other shapes.
    ModelError
        When there is no such model, or its weights cannot be used.
    """
    state = {name: value.float() for name, value in load_weights(start).items()}
    own = {name: value.shape for name, value in model.state_dict().items()}
    pretrained = all(name.startswith(ENCODER) for name in state)
    wanted = (
        {name for name in own if name.startswith(ENCODER) and not name.startswith(NECK)} if pretrained else set(own)
    )
    others = sorted(wanted ^ state.keys()) or [name for name, value in state.items() if own[name] != value.shape]
    if others:
        raise InputError(f"start = {start!r} does not fit the model: {len(others)} weights, first {others[0]!r}")
    model.load_state_dict(state, strict=False)


def begin(model: TinySam, start: str) -> None:
    """Fill a model with the weights of one that may have fewer residual blocks, and computes the same.

    Raises
    ------
    InputError
        When it is of another architecture, weights have other shapes, others than those of whole blocks are missing,
        or some are left over.
    ModelError
        When there is no such model, or its weights cannot be used.
    """
    state = {name: value.float() for name, value in load_weights(start).items()}
    found = architecture_of(state)
    if found != "tiny":
        what = f"of the architecture {found!r}" if found else "no weights of a segmenter"
        raise InputError(f"start = {start!r} is {what}, and only the architecture 'tiny' is trained here")
    own = {name: value.shape for name, value in model.state_dict().items()}
    others = [name for name, value in state.items() if name not in own or own[name] != value.shape]
    others += [name for name in own if name not in state and ".body." not in name]
    if others:
        raise InputError(f"start = {start!r} does not fit the model: {len(others)} weights, first {others[0]!r}")
    model.load_state_dict(state, strict=False)
    model.inference = read_inference_config(locate(start, None)[0], tiny_inference_config())


def check_apart(folder: Path, sources: Iterable[Path], start: str = "") -> None:
    """Refuse to write a run into one of its sources, or over the weights that it begins with.

    Raises
    ------
    InputError
        When it would.
    """
    places = [folder.resolve(), *folder.resolve().parents]
    for source in sources:
        if source.is_dir() and any(place.is_dir() and place.samefile(source) for place in places):
            raise InputError(f"{folder} lies in the training source {source}; choose another --out")
    for name in WRITTEN:
        path = folder / name
        if start and path.is_file() and Path(start).is_file() and path.samefile(start):
            raise InputError(f"the weights would replace {start}, with which the training begins; choose another --out")


def export(model: torch.nn.Module, path: Path) -> None:
    """Write weights in half precision, the way they ship; those of ``tiny`` with its settings of inference."""
    save_weights(model, path, {})


def save_weights(model: torch.nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """The same with more entries of metadata; a crash in the middle leaves an earlier file."""
    half = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    if isinstance(model, TinySam):
        metadata = {**metadata, **(model.inference or tiny_inference_config()).to_metadata()}
    partial = path.with_name(f"{path.name}.partial")
    save_file({name: value.contiguous() for name, value in half.items()}, partial, metadata or None)
    partial.replace(path)
