"""``napari-segany train text CONFIG``: the towers that compare texts and objects, and the head that prompts by text."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from napari_segany.core.errors import InputError
from napari_segany.models.loading import load_model
from napari_segany.models.sam.model import Sam
from napari_segany.models.text.clip import (
    EMBEDDED,
    VOCABULARY,
    build_towers,
    embedded_folder,
    load_clip,
    short_tokenizer,
)
from napari_segany.models.text.prompt_head import TextPromptHead
from napari_segany.models.text.text_prompter import TextPath, text_file
from napari_segany.models.weights import load_state
from napari_segany.training.loop import Loop, LoopConfig
from napari_segany.training.named_images import NAMES, load_named
from napari_segany.training.scenes import learn_scenes
from napari_segany.training.text_bank import TextBank, make_bank
from napari_segany.training.text_head import HeadConfig, HeadTask, TextSampler
from napari_segany.training.text_views import make_views
from napari_segany.training.towers import TINY, TowersConfig, TowersTask, batches, stored_crops
from napari_segany.training.train_sam import build, check_apart, export, read_toml

WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"
"""What open_clip reads of a folder."""


@dataclass(frozen=True)
class TowersTrainConfig:
    """A run that trains the towers, as read from a TOML file.

    Parameters
    ----------
    sources : dict of str to float
        The share of each source.
    trains : str
        "towers".
    seed, synthetic : int
        Of all that is drawn; synthetic pictures.
    start : str
        Towers to begin with: "tiny-text", or a folder that an earlier run wrote; random ones when empty.
    loop, task : LoopConfig, TowersConfig
        How long, and what a step sees.
    """

    sources: dict[str, float]
    trains: str = "towers"
    seed: int = 0
    synthetic: int = 1000
    start: str = ""
    loop: LoopConfig = field(default_factory=LoopConfig)
    task: TowersConfig = field(default_factory=TowersConfig)


@dataclass(frozen=True)
class HeadTrainConfig:
    """A run that trains the head and the decoder for texts, as read from a TOML file.

    Parameters
    ----------
    sources : dict of str to (int, int)
        Whole and close views of each source.
    trains : str
        "head".
    seed, synthetic : int
        Of all that is drawn; synthetic pictures.
    model, clip : str
        Any SAM that ``load_model`` finds, any CLIP that ``load_clip`` does.
    start : str
        Head and decoder to begin with: "tiny-text", or a file that an earlier run wrote.
    path : TextPath
        How texts alone enter the model; see :class:`~napari_segany.models.text.text_prompter.TextPath`.
    views : str
        Where embeddings are kept; by default in the folder of the run.
    loop, task : LoopConfig, HeadConfig
        How long, and what is learned from.
    """

    sources: dict[str, tuple[int, int]]
    trains: str = "head"
    seed: int = 0
    synthetic: int = 300
    model: str = "tiny"
    clip: str = EMBEDDED
    start: str = ""
    path: TextPath = TextPath.TOKENS
    views: str = ""
    loop: LoopConfig = field(default_factory=LoopConfig)
    task: HeadConfig = field(default_factory=HeadConfig)


def read_config(path: Path) -> TowersTrainConfig | HeadTrainConfig:
    """Read a TOML file.

    Raises
    ------
    InputError
        It is missing, is not TOML, names no sources, or what it trains or sets is not known.
    """
    return read_toml(path, _config_of)


def _config_of(raw: dict[str, Any], path: Path) -> TowersTrainConfig | HeadTrainConfig:
    if not raw.get("sources"):
        raise InputError(f"{path} names no [sources]")
    kinds = {"towers": TowersTrainConfig, "head": HeadTrainConfig}
    kind = str(raw.get("trains", ""))
    if kind not in kinds:
        raise InputError(f"{path} trains {kind!r}; known: {', '.join(kinds)}")
    config: TowersTrainConfig | HeadTrainConfig = build(kinds[kind], raw)
    if isinstance(config, HeadTrainConfig) and (unknown := sorted(config.task.shares.keys() - config.sources.keys())):
        raise InputError(f"{path} has shares of sources that it does not name: {', '.join(unknown)}")
    return config


def train_towers(config: TowersTrainConfig, data: Path, folder: Path, device: torch.device) -> Path:
    """Train a small CLIP, or go on training it.

    Parameters
    ----------
    config : TowersTrainConfig
        See ``training/configs/tiny-text-towers.toml``.
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
        The data cannot be used, or the checkpoint is of another seed or other sources.
    """
    seed, sources, wanted = config.seed, config.sources, config.task
    check_apart(folder, [data / name for name in sources])
    crops, shares = stored_crops(data, folder, sources, wanted, (config.synthetic, seed))
    # a name is known when there is an object of it: a class that is only a parent is learned with its children
    known = [name for name, there in zip(NAMES, crops.names.T, strict=True) if there.any()]
    torch.manual_seed(seed)
    task = TowersTask(build_towers(TINY))
    if config.start:
        task.model.load_state_dict({k: v.float() for k, v in load_state(towers_file(config.start)).items()})
    identity = {"seed": seed, "sources": sources, "start": config.start}
    loop = Loop(task, config.loop, folder, device, identity)
    loop.resume()
    text = TINY["text_cfg"]
    tokenizer = short_tokenizer(text["vocab_size"], text["context_length"])  # type: ignore[index]
    loop.run(lambda step: batches(crops, shares, tokenizer, wanted, (seed, step)))
    return save_towers(loop.average, folder / "clip", known)


def towers_file(name: str) -> Path:
    """Return the weights of a small CLIP: the embedded one, or one in a folder that a run wrote."""
    return (embedded_folder() if name == EMBEDDED else Path(name).expanduser()) / WEIGHTS


def save_towers(model: torch.nn.Module, folder: Path, names: Sequence[str]) -> Path:
    """Write a small CLIP the way open_clip reads it: half precision, its configuration, and the names it knows."""
    folder.mkdir(parents=True, exist_ok=True)
    export(model, folder / WEIGHTS)
    seen = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bilinear", "resize_mode": "squash"}
    (folder / VOCABULARY).write_text(json.dumps({"names": list(names)}, indent=1) + "\n")
    (folder / CONFIG).write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": seen}, indent=1) + "\n")
    return folder


def train_head(config: HeadTrainConfig, data: Path, folder: Path, device: torch.device) -> Path:
    """Train the head and the decoder for texts next to a frozen model, or go on; errors as of :func:`train_towers`.

    Parameters
    ----------
    config : HeadTrainConfig
        See ``training/configs/tiny-text.toml``.
    data : Path
        Folder that holds one folder per source.
    folder : Path
        Where embeddings (``views``), vectors, checkpoint, log and weights go. What is there already is not made again.
    device : torch.device
        Where to compute.

    Returns
    -------
    Path
        A .safetensors file that ``load_text_prompter`` reads.
    """
    seed, wanted, name = config.seed, config.task, config.clip
    sam = load_model(config.model).float().eval().to(device).to(memory_format=torch.channels_last)
    clip = load_clip(name, device)
    views = Path(config.views or folder / "views")
    paths = stored_views(sam, data, config.sources, views, (config.synthetic, seed, clip.side))
    bank = make_bank(clip, paths, views / f"vectors-{Path(name).name}.npz")
    torch.manual_seed(seed)
    parts = head_parts(sam, bank, wanted)
    check_apart(folder, [data / source for source in config.sources], config.start)
    if config.start:
        first = text_file() if config.start == EMBEDDED else Path(config.start)
        parts.load_state_dict(fitting(load_state(first), parts), strict=False)
    task = HeadTask(sam, parts, wanted, torch.from_numpy(bank.spread))
    identity = {"seed": seed, "model": config.model, "clip": name, "start": config.start}
    loop = Loop(task, config.loop, folder, device, identity)
    loop.resume()
    speaker = TextSampler(paths, bank, wanted, sam.image_size / sam.mask_size[0])
    loop.run(lambda step: speaker.batches(seed, step))
    head = loop.average.get_submodule("head")
    if isinstance(head, TextPromptHead):
        if wanted.memory:
            head.remember(torch.from_numpy(bank.some(wanted.memory)))
        learn_scenes(head, speaker.paths["whole"], bank, seed, wanted.text_share)
    about = {
        "vector_dim": len(bank.means[0]),
        "embed_dim": sam.prompt_encoder.embed_dim,
        "tokens": wanted.tokens,
        "clip": name,
        "model": config.model,
        "path": config.path,
    }
    return save_head(loop.average, about, folder / "weights.safetensors")


def fitting(state: dict[str, Tensor], parts: torch.nn.Module) -> dict[str, Tensor]:
    """Of earlier weights those to begin with; the means of the vectors belong to this run's CLIP."""
    own = {key: value.shape for key, value in parts.state_dict().items() if not key.endswith("_mean")}
    return {key: value.float() for key, value in state.items() if own.get(key) == value.shape}


def stored_views(
    sam: Sam, data: Path, counts: Mapping[str, tuple[int, ...]], folder: Path, at: tuple[int, int, int]
) -> list[Path]:
    """Views of all sources, made once and kept; pictures are read only where views are missing.

    Parameters
    ----------
    sam : Sam
        Whose encoder is used.
    data : Path
        Folder of the sources.
    counts : dict of str to tuple of int
        Whole and close views of each source.
    folder : Path
        Where they are kept, with a file ``NAME.done`` for each source that is complete.
    at : tuple of int
        Number of synthetic pictures, seed, and side of the CLIP's crops.
    """
    count, seed, side = at
    found: list[Path] = []
    for name, numbers in counts.items():
        done = folder / f"{name}.done"
        wanted = json.dumps([*numbers, count, seed, side])
        if not (done.is_file() and done.read_text() == wanted):
            pictures = load_named(data, [name], count=count, seed=seed)
            with torch.autocast(next(sam.parameters()).device.type, torch.bfloat16):
                list(make_views(sam, pictures, counts, folder, (seed, side)))
            done.write_text(wanted)
        found += sorted(path for path in folder.glob(f"{name}-*-????.npz"))
    return found


def head_parts(sam: Sam, bank: TextBank, config: HeadConfig) -> torch.nn.ModuleDict:
    """What is trained: a new head, which knows the means of the vectors, and a copy of the decoder."""
    text, image = bank.means
    head = TextPromptHead(len(text), sam.prompt_encoder.embed_dim, config.tokens)
    if config.centring:
        head.text_mean.copy_(torch.from_numpy(text))
        head.image_mean.copy_(torch.from_numpy(image))
    decoder = copy.deepcopy(sam.mask_decoder).requires_grad_(True)
    return torch.nn.ModuleDict({"head": head, "decoder": decoder})


def save_head(parts: torch.nn.Module, about: dict[str, Any], path: Path) -> Path:
    """Write head and decoder in half precision, and what they belong to."""
    half = {name: value.half().contiguous() for name, value in parts.state_dict().items()}
    save_file(half, path, metadata={"text": json.dumps(about)})
    return path


def train_text(path: Path, data: Path, folder: Path, device: torch.device) -> Path:
    """Train what a TOML file asks for; other parameters and errors are those of the function that does it.

    Raises
    ------
    InputError
        As :func:`read_config`, too.
    """
    config = read_config(path)
    if isinstance(config, TowersTrainConfig):
        return train_towers(config, data, folder, device)
    return train_head(config, data, folder, device)
