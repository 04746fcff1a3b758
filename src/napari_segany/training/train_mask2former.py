"""``napari-segany train mask2former CONFIG``: queries on the pyramid of a frozen `tiny`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from napari_segany.core.errors import InputError, ModelError
from napari_segany.models.mask2former.query_segmenter import SETTINGS
from napari_segany.models.mask2former.set_loss import SetLossConfig, set_loss
from napari_segany.models.mask2former.tiny_queries import (
    TinyQueries,
    TinyQueriesConfig,
    pyramid_channels,
    tiny_pyramid,
)
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.training.batches import stream
from napari_segany.training.data import SourceConfig, load_sources
from napari_segany.training.loop import Loop, LoopConfig
from napari_segany.training.object_batches import ObjectBatchConfig, ObjectDataset, object_set
from napari_segany.training.train_sam import build, check_apart, load_tiny, read_toml, with_sources

OTHER = "object"
"""Class of the sources that the configuration does not name."""


@dataclass(frozen=True)
class QueryTrainConfig:
    """One run, as read from a TOML file.

    Parameters
    ----------
    sources : SourceConfig
        What is learned from.
    seed : int
        Of weights, crops and points.
    classes : dict of str to str
        What the objects of a source are; those of the others are "object".
    start : str
        The model whose encoder and dense heads are used, and stay as they are.
    loop, model, loss, batch : LoopConfig, TinyQueriesConfig, SetLossConfig, ObjectBatchConfig
        How long, how large, what is judged, what a step sees.
    """

    sources: SourceConfig
    seed: int = 0
    classes: dict[str, str] = field(default_factory=dict)
    start: str = "tiny"
    loop: LoopConfig = field(default_factory=LoopConfig)
    model: TinyQueriesConfig = field(default_factory=TinyQueriesConfig)
    loss: SetLossConfig = field(default_factory=SetLossConfig)
    batch: ObjectBatchConfig = field(default_factory=ObjectBatchConfig)

    @property
    def source_classes(self) -> dict[str, int]:
        """The number of the class of each source."""
        return {name: self.model.names.index(self.classes.get(name, OTHER)) for name in self.sources.shares}


class QueryTask:
    """The queries with their loss; the loop knows neither.

    Parameters
    ----------
    base : TinySam
        Frozen; what the queries see comes from it.
    model : TinyQueries
        What is trained.
    config : SetLossConfig
        How.
    """

    def __init__(self, base: TinySam, model: TinyQueries, config: SetLossConfig) -> None:
        self.base = base.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.model = model
        self.config = config

    def training_forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Losses of a batch from :mod:`napari_segany.training.object_batches`; `step` seeds the points."""
        generator = torch.Generator(batch["image"].device).manual_seed(step)
        predictions = self.model(tiny_pyramid(self.base, batch["image"]))
        objects = [
            object_set(labels, int(name), complete=bool(complete))
            for labels, name, complete in zip(batch["labels"], batch["class"], batch["complete"], strict=True)
        ]
        losses = set_loss(predictions, objects, self.config, generator)
        return {name: value if name == "loss" else value.detach() for name, value in losses.items()}


def read_query_config(path: Path) -> QueryTrainConfig:
    """Read a TOML file, see ``training/configs/tiny-queries.toml``.

    Raises
    ------
    InputError
        When the file is missing, is not TOML, or holds an unknown or missing setting.
    """
    return read_toml(path, _config_of)


def _config_of(raw: dict[str, Any], path: Path) -> QueryTrainConfig:
    config = build(QueryTrainConfig, with_sources(raw, path))
    if unknown := sorted(config.classes.keys() - config.sources.shares.keys()):
        raise InputError(f"{path}: [classes] names {', '.join(unknown)}, which [sources] does not")
    names = tuple(dict.fromkeys([*config.classes.values(), OTHER]))
    return replace(config, model=replace(config.model, names=names))


def train_mask2former(config_path: Path, data: Path, folder: Path, device: torch.device) -> Iterator[int]:
    """Train, or go on training; the averaged weights are written with each checkpoint.

    Parameters
    ----------
    config_path : Path
        TOML file.
    data : Path
        Folder that holds one folder per source.
    folder : Path
        Where ``checkpoint.pt``, ``log.jsonl`` and ``weights.safetensors`` go; a checkpoint found there is resumed.
    device : torch.device
        Where to compute.

    Yields
    ------
    int
        Steps that are done. Ceasing to iterate stops the run after its last checkpoint.

    Raises
    ------
    InputError
        When the configuration or the data cannot be used, or the checkpoint in `folder` is of another run.
    ModelError
        The model to start with is not `tiny`, or cannot be had.
    """
    config = read_query_config(config_path)
    check_apart(folder, [data / name for name in config.sources.shares], config.start)
    base = load_tiny(config.start, "queries are trained on the pyramid")
    torch.manual_seed(config.seed)
    model = TinyQueries(pyramid_channels(base), config.model)
    identity = {"seed": config.seed, "sources": config.sources.shares, "start": config.start, "classes": config.classes}
    loop = Loop(QueryTask(base.float().to(device), model, config.loss), config.loop, folder, device, identity)
    loop.resume()
    sources = load_sources(data, config.sources, seed=config.seed, workers=config.loop.workers)
    crops = ObjectDataset(sources, config.sources.shares, config.source_classes, config.batch, config.seed)
    for _ in loop.steps(lambda first: stream(crops, first, config.loop.workers)):
        if loop.step % config.loop.save_every == 0 or loop.step == config.loop.steps:
            write_queries(loop.average, folder / "weights.safetensors")
        yield loop.step


def write_queries(model: torch.nn.Module, path: Path) -> None:
    """Write a :class:`TinyQueries` in half precision, its sizes and names with it; there is never half a file."""
    if not isinstance(model, TinyQueries):
        raise ModelError(f"{type(model).__name__} has no queries")
    half = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    partial = path.with_suffix(".partial")
    save_file(half, partial, metadata={SETTINGS: json.dumps(asdict(model.config))})
    partial.replace(path)
