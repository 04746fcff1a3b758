"""``napari-segany train sam CONFIG``: from folders of labelled pictures to weights that ship."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor

from napari_segany.core.errors import InputError
from napari_segany.models.inference_config import read_inference_config, tiny_inference_config
from napari_segany.models.loading import architecture_of, load_weights, locate
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.training.batches import BatchConfig, CropDataset, stream
from napari_segany.training.data import SourceConfig, load_sources
from napari_segany.training.loop import Loop, LoopConfig
from napari_segany.training.sam_task import SamTask, TaskConfig

WRITTEN = ("weights.safetensors", "checkpoint.pt")
"""What a run writes into its folder."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run, as read from a TOML file.

    Parameters
    ----------
    seed : int
        Of weights, pictures and simulated users.
    sources : SourceConfig
        The images to train on.
    start : str
        Weights to begin with: a file, or the name of a model; random ones when empty. Residual blocks that they lack
        pass on what comes in.
    compile : bool
        Let torch compile what the prompts need, a third faster on a CPU; wants a C++ compiler.
    loop, task : LoopConfig, TaskConfig
        Length of the training, losses and prompts.
    phases : tuple of (int, BatchConfig)
        The batches, each from a step on.
    """

    seed: int
    sources: SourceConfig
    start: str
    compile: bool
    loop: LoopConfig
    task: TaskConfig
    phases: tuple[tuple[int, BatchConfig], ...]


C = TypeVar("C")


def build(kind: type, values: dict[str, Any], where: str) -> Any:
    """A dataclass of settings from a table of a TOML file; an InputError names what it does not know."""
    unknown = values.keys() - {field.name for field in fields(kind)}
    if unknown:
        raise InputError(f"unknown setting in [{where}]: {', '.join(sorted(unknown))}")
    for field in fields(kind):
        usual, value = field.default, values.get(field.name, field.default)
        fits = isinstance(value, int | float) if isinstance(usual, float) else type(value) is type(usual)
        if isinstance(usual, bool | int | float | str) and (
            not fits or isinstance(value, bool) is not isinstance(usual, bool)
        ):
            raise InputError(f"{field.name} in [{where}] is like {usual!r}, got {value!r}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"[{where}]: {error}") from error


def _numbered(table: dict[str, Any], name: str) -> dict[str, Any]:
    """A table whose setting `name`, where it is there, has numbers for names, which TOML has as text."""
    if name not in table:
        return table
    return {**table, name: {int(number): float(share) for number, share in table[name].items()}}


def read_config(path: Path) -> TrainConfig:
    """Read a TOML file.

    Parameters
    ----------
    path : Path
        See ``training/configs/tiny.toml``.

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
    phases = []
    sources = source_config(raw, path)
    for phase in raw.get("phases", [{}]):
        batch = _numbered({key: value for key, value in phase.items() if key != "from_step"}, "sizes")
        phases.append((int(phase.get("from_step", 0)), build(BatchConfig, batch, "phases")))
    return TrainConfig(
        seed=int(raw.get("seed", 0)),
        sources=sources,
        start=str(raw.get("start", "")),
        compile=bool(raw.get("compile", False)),
        loop=build(LoopConfig, raw.get("loop", {}), "loop"),
        task=build(TaskConfig, _numbered(raw.get("task", {}), "rounds"), "task"),
        phases=tuple(sorted(phases, key=lambda phase: phase[0])),
    )


def source_config(raw: dict[str, Any], path: Path) -> SourceConfig:
    """The sources of a configuration; an InputError names what is wrong with them."""
    if not raw.get("sources"):
        raise InputError(f"{path} names no [sources]")
    for name, share in dict(raw["sources"]).items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not share > 0:
            raise InputError(f"{path}: the share of the source {name} is a number above 0, got {share!r}")
    return SourceConfig(
        shares=dict(raw["sources"]),
        partial=tuple(raw.get("partial", ())),
        nested=dict(raw.get("nested", {})),
        held_out=dict(raw.get("held_out", {})),
        synthetic=int(raw.get("synthetic", 1000)),
    )


def _batches(config: TrainConfig, data: Path, step: int) -> Iterator[dict[str, Tensor]]:
    sources = load_sources(data, config.sources, seed=config.seed, workers=config.loop.workers)
    ends = [start for start, _ in config.phases[1:]] + [config.loop.steps]
    for (_, batch), end in zip(config.phases, ends, strict=True):
        if step >= end:
            continue
        batches = stream(CropDataset(sources, config.sources.shares, batch, config.seed), step, config.loop.workers)
        while step < end:
            yield next(batches)
            step += 1


def train_sam(config_path: Path, data: Path, folder: Path, device: torch.device) -> Path:
    """Train, or go on training, and write the averaged weights.

    Parameters
    ----------
    config_path : Path
        TOML file.
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
    config = read_config(config_path)
    torch.manual_seed(config.seed)
    identity = {"seed": config.seed, "sources": config.sources.shares, "start": config.start}
    model = TinySam()
    check_apart(folder, [data / name for name in config.sources.shares], config.start)
    if config.start:
        begin(model, config.start)
    task = SamTask(model, config.task)
    loop = Loop(task, config.loop, folder, device, identity)
    loop.resume()
    if config.compile:
        task.compile()
    loop.run(lambda step: _batches(config, data, step))
    path = folder / "weights.safetensors"
    export(loop.average, path)
    return path


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
    model.inference = read_inference_config(locate(start, None)[0])


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
