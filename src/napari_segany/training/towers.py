"""A small CLIP from nothing: open_clip's model and sigmoid loss, on crops of objects and what is true of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_segany.core.terms import TERMS
from napari_segany.core.text_query import ATTRIBUTES, MODALITIES, prompt_sentences
from napari_segany.models.text.clip import import_open_clip, object_vectors
from napari_segany.training.named_images import (
    ATTRIBUTE_NAMES,
    GROWN,
    MODALITY_NAMES,
    NAMES,
    CropSpec,
    load_named,
    packed,
)

TINY = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 64, "layers": 6, "width": 128, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 20, "vocab_size": 4096, "width": 128, "heads": 4, "layers": 4},
    "init_logit_scale": 2.7,
    "init_logit_bias": -3.0,
}
"""Of the CLIP in the wheel, as open_clip's configurations are."""


@dataclass(frozen=True)
class TowersConfig:
    """What one step sees.

    Parameters
    ----------
    crops, captions : int
        Objects and texts per step.
    attribute_share, modality_share, synonym_share : float
        How often a text names an attribute (a second one half as often), the kind of picture, a synonym.
    most, empty : int
        Crops of objects of each level of a picture, at most, and of empty places.
    """

    crops: int = 224
    captions: int = 80
    attribute_share: float = 0.45
    modality_share: float = 0.25
    synonym_share: float = 0.3
    most: int = 14
    empty: int = 2


class TowersTask:
    """The towers with their loss.

    Parameters
    ----------
    model : nn.Module
        A CLIP of open_clip with a logit bias.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._loss = import_open_clip().loss.SigLipLoss()

    def training_forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Sigmoid loss with any number of positives, see :meth:`~.loop.Task.training_forward`.

        Parameters
        ----------
        batch : dict of str to Tensor
            ``crops`` (B, 4, s, s), ``alone`` (B,), ``tokens`` (T, length), ``truth`` (B, T) from -1 to 1: true or
            false; 0 is undecided and does not count.
        step : int
            Not used.
        """
        image = F.normalize(object_vectors(self.model, batch["crops"], batch["alone"]).float(), dim=-1)
        text = F.normalize(self.model.encode_text(batch["tokens"]).float(), dim=-1)
        logits = self._loss.get_logits(image, text, self.model.logit_scale.exp(), self.model.logit_bias)
        truth = batch["truth"]
        each = -F.logsigmoid(truth * logits) * truth.abs()
        # Rare positives weigh as much as frequent negatives, or a small batch would only teach to answer no.
        positive = (each * (truth > 0)).sum() / (truth > 0).sum().clamp_min(1)
        negative = (each * (truth < 0)).sum() / (truth < 0).sum().clamp_min(1)
        with torch.no_grad():
            hit = (truth.gather(1, logits.argmax(1, keepdim=True)) > 0).float()
            counts = ((truth > 0).any(1) & (truth.gather(1, logits.argmax(1, keepdim=True))[:, 0] != 0)).float()
            accuracy = (hit[:, 0] * counts).sum() / counts.sum().clamp_min(1)
        return {"loss": positive + negative, "first_is_true": accuracy, "scale": self.model.logit_scale.exp().detach()}


def captions(
    crops: CropSpec, chosen: np.ndarray, rng: np.random.Generator, config: TowersConfig
) -> tuple[list[str], np.ndarray]:
    """Texts that are true of some of the chosen crops, and of which of them: truth (B, T) of -1, 0, 1."""
    texts, columns = [], []
    named = chosen[crops.names[chosen].any(1)]
    for row in rng.choice(named, config.captions):
        k = int(rng.choice(np.flatnonzero(crops.names[row])))
        has = np.flatnonzero(crops.attributes[row])
        count = int(rng.random() < config.attribute_share) + int(rng.random() < config.attribute_share / 2)
        attributes = rng.permutation(has)[:count]
        modality = int(crops.modality[row]) if rng.random() < config.modality_share else -1
        texts.append(_said(k, attributes, modality, rng, config))
        true = crops.names[chosen, k] & crops.attributes[chosen][:, attributes].all(1)
        decided = crops.decided[chosen, k]
        if modality >= 0:
            true &= crops.modality[chosen] == modality
            decided = decided | (crops.modality[chosen] != modality)
        columns.append(np.where(true, 1, np.where(decided, -1, 0)))
    return texts, np.stack(columns, 1).astype(np.float32)


def _said(k: int, attributes: np.ndarray, modality: int, rng: np.random.Generator, config: TowersConfig) -> str:
    """Return a random sentence for it."""
    term = next(term for term in TERMS if term.name == NAMES[k])
    one, many = term.name, term.plural
    if term.synonyms and rng.random() < config.synonym_share:
        one = many = str(rng.choice(term.synonyms))
    words = [str(rng.choice(ATTRIBUTES[ATTRIBUTE_NAMES[a]][:4])) for a in attributes if ATTRIBUTE_NAMES[a] != "border"]
    if any(ATTRIBUTE_NAMES[a] == "border" for a in attributes):
        words.append("border")
    kind = str(rng.choice(MODALITIES[MODALITY_NAMES[modality]][:3])) if modality >= 0 else ""
    return str(rng.choice(prompt_sentences(one, many, words, kind)))


def views(pixels: Tensor, generator: torch.Generator, size: int) -> Tensor:
    """Random views of stored crops.

    Parameters
    ----------
    pixels : Tensor
        (B, CROP, CROP, 4) uint8.
    generator : torch.Generator
        Source of chance.
    size : int
        Side of a view.

    Returns
    -------
    Tensor
        (B, 4, size, size) float: the box grown 1 to 2 times, moved, turned, mirrored, in another light.
    """
    count = len(pixels)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    x = pixels.permute(0, 3, 1, 2).float()
    grown = 1 + draw(count)
    angle = draw(count) * 2 * torch.pi
    mirror = (draw(count) < 0.5).float() * 2 - 1
    turn = torch.stack([angle.cos() * mirror, -angle.sin(), angle.sin() * mirror, angle.cos()], -1).unflatten(1, (2, 2))
    matrix = turn * (grown / GROWN)[:, None, None]
    offset = (draw(count, 2, 1) - 0.5) * 0.15
    grid = F.affine_grid(torch.cat([matrix, offset], 2), [count, 4, size, size], align_corners=False)
    x = F.grid_sample(x, grid, align_corners=False)
    light, mask = x[:, :3] / 255, x[:, 3:]
    gray = light.mean(1, keepdim=True)
    light = torch.where(draw(count, 1, 1, 1) < 0.15, gray.expand_as(light), light)
    light = light.clamp(1e-4, 1) ** torch.exp((draw(count, 1, 1, 1) - 0.5) * 0.8)
    light = light * (0.65 + 0.6 * draw(count, 1, 1, 1)) + 0.1 * (draw(count, 1, 1, 1) - 0.5)
    noise = torch.randn(light.shape, generator=generator) * 0.04 * draw(count, 1, 1, 1)
    return torch.cat([(light + noise).clamp(0, 1) * 255, mask], 1)


def batches(
    crops: CropSpec, shares: np.ndarray, tokenizer: Any, config: TowersConfig, at: tuple[int, int]
) -> Iterator[dict[str, Tensor]]:
    """Endless batches.

    Parameters
    ----------
    crops : CropSpec
        All of them.
    shares : ndarray
        (N,) how often each is drawn.
    tokenizer : callable
        Texts to tokens.
    config : TowersConfig
        What a step sees.
    at : tuple of int
        Seed, and the step to begin with.
    """
    seed, step = at
    size = int(TINY["vision_cfg"]["image_size"])  # type: ignore[index]
    while True:
        rng = np.random.default_rng((seed, step))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = rng.choice(len(crops), config.crops, p=shares)
        texts, truth = captions(crops, chosen, rng, config)
        yield {
            "crops": views(torch.from_numpy(crops.pixels[chosen]), generator, size),
            "alone": torch.rand(config.crops, generator=generator) < 0.5,
            "tokens": tokenizer(texts),
            "truth": torch.from_numpy(truth),
        }
        step += 1


def stored_crops(
    data: Path, folder: Path, sources: dict[str, float], config: TowersConfig, at: tuple[int, int]
) -> tuple[CropSpec, np.ndarray]:
    """Crops of the training sources, made once and kept in a folder, and how often each is drawn.

    Parameters
    ----------
    data : Path
        Folder of the sources.
    folder : Path
        Where ``crops-NAME.npz`` are kept.
    sources : dict of str to float
        Share of the crops from each source; within a source all names come as often.
    config : TowersConfig
        How many crops.
    at : tuple of int
        Number of synthetic pictures, and seed.
    """
    count, seed = at
    parts, shares = [], []
    for name, share in sources.items():
        path = folder / f"crops-{name}.npz"
        if not path.is_file():
            pictures = load_named(data, [name], count=count, seed=seed)[name]
            made = packed(pictures, seed, config.most * (5 if name in ("usiigaci", "coco128") else 1), config.empty)
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(
                path,
                pixels=made.pixels,
                names=made.names,
                decided=made.decided,
                attributes=made.attributes,
                modality=made.modality,
            )
        with np.load(path) as file:
            parts.append(CropSpec(**{key: file[key] for key in file.files}))
        first = np.where(parts[-1].names.any(1), parts[-1].names.argmax(1), -1)
        _, kinds, counts = np.unique(first, return_inverse=True, return_counts=True)
        weight = 1 / np.sqrt(counts[kinds])
        shares.append(share * weight / weight.sum())
    fields = ("pixels", "names", "decided", "attributes", "modality")
    crops = CropSpec(*(np.concatenate([getattr(part, field) for part in parts]) for field in fields))
    chances = np.concatenate(shares)
    return crops, chances / chances.sum()
