"""``napari-segany train identity CONFIG``: queries that are handed on from frame to frame, on features of `tiny`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from napari_segany.core.errors import InputError, ModelError
from napari_segany.models.inference_config import weights_hash
from napari_segany.models.loading import load_segmenter
from napari_segany.models.mask2former.identity_features import MAPS
from napari_segany.models.mask2former.identity_queries import (
    IdentityConfig,
    IdentityQueries,
    PairLogits,
    grouped_softmax,
    identity_metadata,
)
from napari_segany.models.registry import find
from napari_segany.training.identity_clips import clip_tensors, clips_of, merged
from napari_segany.training.loop import Loop, LoopConfig
from napari_segany.training.train_sam import build, check_apart, read_toml


@dataclass(frozen=True)
class IdentityTrainConfig:
    """One run, as read from a TOML file.

    Parameters
    ----------
    clips : dict of str to int
        How many clips of each source; see :func:`~napari_segany.training.identity_clips.clips_of`.
    seed : int
        Of weights and clips.
    start : str
        The model whose features are used, and stay as they are.
    frames : int
        Of a clip.
    batch : int
        Clips in a step.
    forgotten : float
        Share of objects whose past is hidden from their query.
    loop, model : LoopConfig, IdentityConfig
        How long, how large.
    """

    clips: dict[str, int]
    seed: int = 0
    start: str = "tiny"
    frames: int = 6
    batch: int = 4
    forgotten: float = 0.15
    loop: LoopConfig = field(default_factory=LoopConfig)
    model: IdentityConfig = field(default_factory=IdentityConfig)


class IdentityTask:
    """The queries with their loss.

    Parameters
    ----------
    model : IdentityQueries
        What is trained.
    forgotten : float
        See :class:`IdentityTrainConfig`.
    """

    def __init__(self, model: IdentityQueries, forgotten: float) -> None:
        self.model, self.forgotten = model, forgotten

    def training_forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Losses of clips from :func:`~napari_segany.training.identity_clips.merged`; `step` seeds what is hidden."""
        # so small a network is slower in half precision than in single, on a CPU
        with torch.autocast(batch["content"].device.type, enabled=False):
            return self._losses(batch, step)

    def _losses(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        model, device = self.model, batch["content"].device
        objects = model.objects(batch["content"], batch["shapes"])
        generator = torch.Generator(device).manual_seed(step)
        hidden = torch.rand(len(objects), device=device, generator=generator) < self.forgotten
        queries = _handed_on(model, objects, batch["time"], torch.where(hidden, -1, batch["last"]))
        losses: dict[str, Tensor] = {}
        for name, chosen in (("next", ~batch["gap"]), ("gap", batch["gap"])):
            index, same = batch["index"][chosen], batch["same"][chosen]
            if not len(index):
                continue
            logits = model(queries, objects, index, batch["features"][chosen])
            born, ends = (batch["born"], batch["ends"]) if name == "next" else _of_gap(batch, index, same)
            losses |= {f"{name}_{part}": value for part, value in _losses(logits, index, same, (born, ends)).items()}
        weights = {"next_divides": 1.0, "gap_objects": 0.3, "gap_queries": 0.3, "gap_divides": 0.0}
        losses["loss"] = sum((weights.get(name, 1.0) * value for name, value in losses.items()), torch.zeros(()))
        return {name: value if name == "loss" else value.detach() for name, value in losses.items()}


def _handed_on(model: IdentityQueries, objects: Tensor, time: Tensor, last: Tensor) -> Tensor:
    """Queries of the objects of all frames, frame by frame, from what each was before."""
    queries = torch.zeros_like(objects)
    for frame in range(int(time.max()) + 1):
        rows = torch.nonzero(time == frame)[:, 0]
        before = last[rows]
        known = (before >= 0)[:, None]
        past = torch.where(known, queries[before.clamp_min(0)], model.first(len(rows)).to(queries.dtype))
        queries = queries.index_copy(0, rows, model.handed_on(past, objects[rows]).to(queries.dtype))
    return queries


def _of_gap(batch: dict[str, Tensor], index: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """What is known of objects over a gap: whether they have a query, and queries an object."""
    born, ends = torch.full_like(batch["born"], -1), torch.full_like(batch["ends"], -1)
    born[index[:, 1]], ends[index[:, 0]] = 0, 0
    born[index[same, 1]], ends[index[same, 0]] = 1, 1
    return born, ends


def _losses(logits: PairLogits, index: Tensor, same: Tensor, truth: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Cross-entropies of the query of each object, of the object of each query, and of divisions."""
    born, ends = truth
    of_objects, new = grouped_softmax(logits.pairs, index[:, 1], logits.new)
    of_queries, gone = grouped_softmax(logits.pairs, index[:, 0], logits.gone)
    right = same & (born[index[:, 1]] == 1)
    objects = -torch.cat([of_objects[right], new[_present(index[:, 1], born == 0)]])
    single = same & (ends[index[:, 0]] == 1)
    queries = -torch.cat([of_queries[single], gone[_present(index[:, 0], ends == 0)]])
    divided = ends > 1
    judged = _present(index[:, 0], ends >= 1)
    divides = F.binary_cross_entropy_with_logits(logits.divides[judged], divided[judged].float(), reduction="none")
    # divisions are rare
    weight = 1 + 4 * divided[judged].float()
    return {
        "objects": objects.sum() / max(len(objects), 1),
        "queries": queries.sum() / max(len(queries), 1),
        "divides": (weight * divides).sum() / weight.sum().clamp_min(1),
    }


def _present(owner: Tensor, wanted: Tensor) -> Tensor:
    """(n,) bool: which of the wanted ones have a pair."""
    there = torch.zeros_like(wanted)
    there[owner] = True
    return there & wanted


def read_identity_config(path: Path) -> IdentityTrainConfig:
    """Read a TOML file, see ``training/configs/tiny-identity.toml``.

    Raises
    ------
    InputError
        When the file is missing, is not TOML, or holds an unknown or missing setting.
    """
    return read_toml(path, lambda raw, _: build(IdentityTrainConfig, raw))


def train_identity(
    config_path: Path,
    data: Path,
    folder: Path,
    device: torch.device,
    made: Callable[[int, int], None] | None = None,
) -> Iterator[int]:
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
    made : callable, optional
        Called with the number of clips that are made, and of all; they are made again when a run is resumed.

    Yields
    ------
    int
        Steps that are done.

    Raises
    ------
    InputError
        When the configuration or the data cannot be used, or the checkpoint in `folder` is of another run.
    ModelError
        The model to start with is not `tiny`, or cannot be had.
    """
    config = read_identity_config(config_path)
    sources = [data / name for name in config.clips]
    check_apart(folder, sources, config.start)
    segmenter = load_segmenter(config.start, device=device)
    path = Path(config.start) if Path(config.start).is_file() else find(config.start).path
    torch.manual_seed(config.seed)
    learned_from = weights_hash(path)
    identity = {"seed": config.seed, "clips": config.clips, "frames": config.frames, "start": learned_from}
    task = IdentityTask(IdentityQueries(config.model), config.forgotten)
    loop = Loop(task, config.loop, folder, device, identity)
    loop.resume()
    total = sum(config.clips.values())
    clips = []
    for number, clip in enumerate(clips_of(data, config.clips, config.frames, config.seed)):
        if number == 0:
            _check_features(segmenter.embed(clip.images[0]).features, config)
        clips.append(clip_tensors(segmenter, clip, np.random.default_rng((config.seed, number))))
        if made is not None:
            made(number + 1, total)
    if not any(len(one["index"]) for one in clips):
        raise InputError(f"{data} holds no objects to learn identities from")
    clips = [one for one in clips if len(one["index"])]
    for _ in loop.steps(lambda first: _batches(clips, config, first)):
        if loop.step % config.loop.save_every == 0 or loop.step == config.loop.steps:
            write_identity(loop.average, folder / "weights.safetensors", learned_from)
        yield loop.step


def _check_features(features: Mapping[str, np.ndarray], config: IdentityTrainConfig) -> None:
    channels = sum(features[name].shape[1] for name in MAPS) if set(MAPS) <= features.keys() else 0
    if channels != config.model.content:
        raise ModelError(
            f"identity queries are trained on {config.model.content} features of 'tiny', "
            f"and {config.start!r} has {channels or 'others'}"
        )


def _batches(clips: list[dict[str, Tensor]], config: IdentityTrainConfig, first: int) -> Iterator[dict[str, Tensor]]:
    """Endless batches, beginning with that of a step."""
    step = first
    while True:
        chosen = np.random.default_rng((config.seed, step)).choice(len(clips), min(config.batch, len(clips)), False)
        yield merged([clips[number] for number in chosen])
        step += 1


def write_identity(model: torch.nn.Module, path: Path, features_of: str) -> None:
    """Write :class:`IdentityQueries` in half precision, with sizes and the hash of what it learned from."""
    if not isinstance(model, IdentityQueries):
        raise ModelError(f"{type(model).__name__} has no identity queries")
    half = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    partial = path.with_suffix(".partial")
    save_file(half, partial, metadata=identity_metadata(model.config, features_of))
    partial.replace(path)
