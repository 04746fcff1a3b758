"""Whether a name suits the kind of picture: learned of all pictures at once, when the rest of the head is done.

Which kinds of pictures there are, a few at a time hardly teach; and as one number for each picture and name they cost
next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.models.text.prompt_head import TextPromptHead
from napari_segany.training.named_images import BACKGROUND
from napari_segany.training.text_bank import TextBank
from napari_segany.training.text_head import valid_cells
from napari_segany.training.text_views import load_view

STEPS, RATE, DECAY = 600, 2e-3, 0.3


def learn_scenes(head: TextPromptHead, paths: Sequence[Path], bank: TextBank, seed: int, text_share: float) -> None:
    """Train what a head thinks of whole pictures; nothing else of it changes.

    Parameters
    ----------
    head : TextPromptHead
        On the CPU or wherever it is; its ``scene`` parts begin again.
    paths : sequence of Path
        Views of whole pictures. Sources count alike, however many views they have.
    bank : TextBank
        Vectors of names and of crops.
    seed : int
        Of all that is drawn.
    text_share : float
        How often the vector is that of the name's text, not of an image crop.
    """
    names = [name for name in bank.texts if name != BACKGROUND]
    moments, truth, weight = _scenes(head, paths, names)
    parts = nn.ModuleList([head.scene, head.scene_query]).requires_grad_(True).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in (layer for part in parts for layer in part.modules() if isinstance(layer, nn.Linear)):
            layer.reset_parameters()
        head.scene_mean.copy_(moments.mean(0))
        head.scene_scale.copy_(moments.std(0) + 1e-3)
        optimizer = torch.optim.AdamW(parts.parameters(), RATE, weight_decay=DECAY)
        rng = np.random.default_rng(seed)
        for _ in range(STEPS):
            with torch.no_grad():
                inner = head.inner(_vectors(head, bank, names, rng, text_share))
            logits = head.suits(inner[None], moments[:, None])
            each = F.binary_cross_entropy_with_logits(logits, truth.clamp_min(0).float(), reduction="none")
            loss = (each * (truth >= 0) * weight[:, None]).sum() / len(names)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    parts.eval().requires_grad_(False)


def _scenes(head: TextPromptHead, paths: Sequence[Path], names: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Moments (V, 2 C) of all pictures, whether each name is on them (V, N; -1 unknown), and what each counts (V,)."""
    moments, truth = [], []
    device = head.scene_mean.device
    sources = [path.stem.split("-")[0] for path in paths]
    for path in paths:
        view = load_view(path)
        image = torch.from_numpy(view.features["image_embed"]).float()[None].to(device)
        step = view.levels.shape[-1] / image.shape[-1]
        moments.append(head.moments(image, valid_cells(torch.tensor([view.cells]), step, image))[0])
        truth.append([-1 if name in view.undecided else int(name in view.present) for name in names])
    weight = torch.tensor([1 / sources.count(source) for source in sources], device=device)
    return torch.stack(moments), torch.tensor(truth, device=device), weight / weight.sum()


def _vectors(
    head: TextPromptHead, bank: TextBank, names: Sequence[str], rng: np.random.Generator, text_share: float
) -> Tensor:
    """A centred vector for each name, (N, d): of one of its texts, or of a crop."""
    rows = []
    for name in names:
        pool = bank.images.get(name)
        image = pool is not None and rng.random() >= text_share
        chosen = pool if image and pool is not None else bank.texts[name]
        vector = torch.from_numpy(chosen[rng.integers(len(chosen))].astype(np.float32)).to(head.scene_mean.device)
        rows.append(head.centred(vector[None], image=image)[0])
    return torch.stack(rows)
