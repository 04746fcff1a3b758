"""``napari-segany train text CONFIG``: the towers that compare texts and objects, and the head that prompts by text."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import torch

from napari_segany.core.errors import InputError
from napari_segany.models.clip import build_towers, short_tokenizer
from napari_segany.training.loop import Loop, LoopConfig
from napari_segany.training.sam import build, export
from napari_segany.training.towers import TINY, TowersConfig, TowersTask, batches, stored_crops

WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"
"""What open_clip reads of a folder."""


def read_table(path: Path) -> dict[str, Any]:
    """A TOML file.

    Raises
    ------
    InputError
        It is missing, is not TOML, or names no sources.
    """
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read the training configuration {path}: {error}") from error
    if not table.get("sources"):
        raise InputError(f"{path} names no [sources]")
    return table


def train_towers(path: Path, data: Path, folder: Path, device: torch.device) -> Path:
    """Train a small CLIP, or go on training it.

    Parameters
    ----------
    path : Path
        TOML file, see ``training/configs/tiny-text-towers.toml``.
    data : Path
        Folder that holds one folder per source.
    folder : Path
        Where crops, checkpoint, log and weights go; a checkpoint found there is resumed.
    device : torch.device
        Where to compute.

    Returns
    -------
    Path
        A folder that open_clip reads as "local-dir:", its weights in half precision.

    Raises
    ------
    InputError
        The configuration or the data cannot be used, or the checkpoint is of another seed or other sources.
    """
    table = read_table(path)
    seed, sources, count = int(table.get("seed", 0)), dict(table["sources"]), int(table.get("synthetic", 1000))
    config = build(TowersConfig, table.get("task", {}), "task")
    crops, shares = stored_crops(data, folder, sources, config, (count, seed))
    torch.manual_seed(seed)
    task = TowersTask(build_towers(TINY))
    loop = Loop(
        task, build(LoopConfig, table.get("loop", {}), "loop"), folder, device, {"seed": seed, "sources": sources}
    )
    loop.resume()
    text = TINY["text_cfg"]
    tokenizer = short_tokenizer(text["vocab_size"], text["context_length"])  # type: ignore[index]
    loop.run(lambda step: batches(crops, shares, tokenizer, config, (seed, step)))
    return save_towers(loop.average, folder / "clip")


def save_towers(model: torch.nn.Module, folder: Path) -> Path:
    """Write a small CLIP the way open_clip reads it: half precision, and its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    export(model, folder / WEIGHTS)
    seen = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bilinear", "resize_mode": "squash"}
    (folder / CONFIG).write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": seen}, indent=1) + "\n")
    return folder


def train_text(path: Path, data: Path, folder: Path, device: torch.device) -> Path:
    """Train what a configuration asks for; parameters and errors are those of :func:`train_towers`.

    Raises
    ------
    InputError
        Also when ``trains`` is not "towers".
    """
    kinds = {"towers": train_towers}
    kind = str(read_table(path).get("trains", ""))
    if kind not in kinds:
        raise InputError(f"{path} trains {kind!r}; known: {', '.join(kinds)}")
    return kinds[kind](path, data, folder, device)
