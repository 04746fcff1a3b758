"""The head that makes prompts of CLIP vectors, and a copy of the decoder, trained next to a frozen model.

After Kirillov et al. 2023, section 7.5 and appendix D.5: vectors of image crops stand for texts during training. What
bridges the gap between the two kinds of vectors can be switched: noise, centring, vectors of the names themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from napari_segany.models.sam.model import Sam
from napari_segany.models.text.prompt_head import TextPromptHead, rough_mask
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.training.corrective_clicks import add_corrective_click
from napari_segany.training.losses import dice, focal, iou
from napari_segany.training.named_images import BACKGROUND, PARENTS
from napari_segany.training.text_bank import TextBank
from napari_segany.training.text_views import CropView, load_view

TEXT, BOTH, CLICK = 0, 1, 2
"""Kinds of prompts: a text, a text and a click, a click alone."""


@dataclass(frozen=True)
class HeadConfig:
    """What the head learns from.

    Parameters
    ----------
    found_steps : int
        First steps with relevance and presence alone; they cost little, and the rough masks that the decoder gets later
        come from them.
    noise : float
        Length of the noise that is added to image vectors of length 1, of the shape in which vectors of one name
        differ; 0 for none.
    centring : bool
        Whether the mean of each kind of vectors is taken off.
    text_share : float
        How often the vector is that of the name's text, not of an image crop.
    prototypes : float
        How often a vector of an image crop is the mean of several of its name.
    memory : int
        Crops of each name that the head remembers, to be asked by them instead of by texts; 0 for texts.
    tokens : int
        Prompt tokens of a text.
    drop : float
        Share of clicks without a text.
    absent : float
        Share of texts that name what is not there.
    whole, close : int
        Views per step: of whole pictures, and of windows around objects; steps take turns.
    prompts : int
        Prompts for each close view; one more for each of a whole picture.
    maps : float
        Share of the texts alone whose rough map enters the decoder with their tokens; the others have the tokens alone.
    blank : float
        Share of the texts alone whose tokens are zero, for which nothing is to be found.
    rounds : int
        Corrective clicks after a text and a click, each where the mask before it is wrong.
    shares : dict of str to float
        How often views of a source come, where that is not as often as of the others, which is 1.
    """

    found_steps: int = 400
    noise: float = 0.7
    centring: bool = True
    text_share: float = 0.5
    prototypes: float = 0.0
    memory: int = 0
    tokens: int = 2
    drop: float = 0.4
    absent: float = 0.35
    whole: int = 2
    close: int = 8
    prompts: int = 3
    maps: float = 1.0
    blank: float = 0.0
    rounds: int = 0
    shares: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _TextPrompt:
    """One prompt of a step: of which view, of which kind, by which vector, with which click, and what it means."""

    view: int
    kind: int
    vector: np.ndarray
    image: bool
    xy: tuple[float, float]
    target: np.ndarray


class TextSampler:
    """Says things of views, as somebody would who looks for something: text, text and click, click.

    Parameters
    ----------
    paths : sequence of Path
        Views.
    bank : TextBank
        Their vectors.
    config : HeadConfig
        How many prompts of which kind.
    stride : float
        Input pixels per pixel of the mask logits.
    """

    def __init__(self, paths: Sequence[Path], bank: TextBank, config: HeadConfig, stride: float) -> None:
        self.bank, self.config, self.stride = bank, config, stride
        self.paths = {kind: [p for p in paths if f"-{kind}-" in p.stem] for kind in ("whole", "close")}

    def batches(self, seed: int, step: int) -> Iterator[dict[str, Tensor]]:
        """Endless batches from a step on."""
        while True:
            rng = np.random.default_rng((seed, step))
            first = step < self.config.found_steps
            kind = "close" if step % 2 and self.paths["close"] and not first else "whole"
            count = getattr(self.config, kind) * (2 if first else 1)
            # Sources come by their shares, however many views they have.
            sources = sorted({path.stem.split("-")[0] for path in self.paths[kind]})
            shares = np.array([self.config.shares.get(source, 1.0) for source in sources])
            drawn = [str(rng.choice(sources, p=shares / shares.sum())) for _ in range(count)]
            chosen = [rng.choice([p for p in self.paths[kind] if p.stem.split("-")[0] == s]) for s in drawn]  # type: ignore[arg-type]
            views = [load_view(path) for path in chosen]
            prompts = [
                one
                for k, (path, view) in enumerate(zip(chosen, views, strict=True))
                for one in self._of(k, path, view, rng)
            ]
            batch = _batch(views, prompts)
            yield batch | self._all(chosen, views, rng) if kind == "whole" else batch
            step += 1

    def _all(self, paths: Sequence[Path], views: Sequence[CropView], rng: np.random.Generator) -> dict[str, Tensor]:
        """Every name for every view: a vector, where it is on the grid of the embedding, and whether it is there."""
        names = list(self.bank.texts)
        cells = views[0].features["image_embed"].shape[-2:]
        factor = views[0].levels.shape[-1] // cells[1]
        vectors, images, targets, there = [], [], [], []
        for path, view in zip(paths, views, strict=True):
            present = view.present
            for name in names:
                own = [i for i, (v, k) in enumerate(view.objects) if _is(view.names[v].get(k, ""), name)]
                vector, image = self._vector(name, self.bank.own[path.stem][own], rng)
                vectors.append(vector)
                images.append(image)
                mask = view.union(name) if name in present else np.zeros(view.levels.shape[1:], bool)
                targets.append(mask.reshape(cells[0], factor, cells[1], factor).mean((1, 3)))
                # Where not all is labelled, nobody knows whether something else is in the background.
                unknown = name in view.undecided or (name == BACKGROUND and not view.complete)
                there.append(-1 if unknown else int(name in present))
        shape = (len(views), len(names))
        return {
            "all_vector": torch.from_numpy(np.stack(vectors).astype(np.float32)).unflatten(0, shape),
            "all_image": torch.tensor(images).unflatten(0, shape),
            "all_target": torch.from_numpy(np.stack(targets).astype(np.float32)).unflatten(0, shape),
            "all_there": torch.tensor(there).unflatten(0, shape),
        }

    def _of(self, k: int, path: Path, view: CropView, rng: np.random.Generator) -> Iterator[_TextPrompt]:
        own = self.bank.own[path.stem]
        for number in range(self.config.prompts if view.close else self.config.prompts + 1):
            clicked = number % 3 > 0 if view.close else number % 4 == 3
            if clicked and len(view.objects):
                yield self._clicked(k, view, own, rng)
            else:
                yield self._named(k, view, own, rng)

    def _absent(self, view: CropView, rng: np.random.Generator) -> str | None:
        names = [n for n in self.bank.texts if n not in view.present and n not in view.undecided and n != BACKGROUND]
        return str(rng.choice(names)) if names else None

    def _vector(self, name: str, own: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
        """A vector that stands for a name, and whether it is one of an image crop."""
        pool = self.bank.images.get(name)
        if pool is None or rng.random() < self.config.text_share:
            rows = self.bank.texts[name]
            return rows[0 if rng.random() < 0.5 else rng.integers(len(rows))], False
        if self.config.prototypes and rng.random() < self.config.prototypes:
            return _prototype(pool, rng), True
        rows = own if len(own) and rng.random() < 0.6 else pool
        return rows[rng.integers(len(rows))], True

    def _named(self, k: int, view: CropView, own: np.ndarray, rng: np.random.Generator) -> _TextPrompt:
        """A text alone: all that has the name."""
        absent = self._absent(view, rng) if rng.random() < self.config.absent else None
        present = [name for name in view.present if name not in view.undecided]
        name = absent or str(rng.choice(present))
        named = [i for i, (level, label) in enumerate(view.objects) if _is(view.names[level].get(label, ""), name)]
        vector, image = self._vector(name, own[named] if not absent else own[:0], rng)
        target = np.zeros(view.levels.shape[1:], bool) if absent else view.union(name)
        return _TextPrompt(k, TEXT, vector, image, (0.0, 0.0), target)

    def _clicked(self, k: int, view: CropView, own: np.ndarray, rng: np.random.Generator) -> _TextPrompt:
        """A click on an object, with its name, without, or seldom with the name of something else."""
        i = int(rng.integers(len(view.objects)))
        level, label = view.objects[i]
        mask = view.levels[level] == label
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        places = np.flatnonzero(depth >= rng.uniform(0, 1) * depth.max())
        y, x = np.unravel_index(int(rng.choice(places)), mask.shape)
        xy = ((x + 0.5) * self.stride - 0.5, (y + 0.5) * self.stride - 0.5)
        name = view.names[level][label]
        if rng.random() < self.config.drop:
            return _TextPrompt(k, CLICK, own[i], True, xy, mask)
        absent = self._absent(view, rng) if rng.random() < self.config.absent / 2 else None
        vector, image = self._vector(absent or name, own[i : i + 1] if not absent else own[:0], rng)
        return _TextPrompt(k, BOTH, vector, image, xy, np.zeros_like(mask) if absent else mask)


def _prototype(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean (d,) of a few of vectors (n, d), or of many, of length 1."""
    mean: np.ndarray = rows[rng.integers(len(rows), size=int(2 ** rng.uniform(1, 6)))].mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-6)


def _is(own: str, name: str) -> bool:
    return name in (own, *PARENTS.get(own, ()))


def _batch(views: Sequence[CropView], prompts: Sequence[_TextPrompt]) -> dict[str, Tensor]:
    cells = torch.tensor([view.cells for view in views])
    batch = {
        f"feature_{name}": torch.from_numpy(np.stack([view.features[name] for view in views]))
        for name in views[0].features
    }
    return batch | {
        "close": torch.tensor(views[0].close),
        "cells": cells,
        "view": torch.tensor([one.view for one in prompts]),
        "kind": torch.tensor([one.kind for one in prompts]),
        "vector": torch.from_numpy(np.stack([one.vector for one in prompts]).astype(np.float32)),
        "image": torch.tensor([one.image for one in prompts]),
        "xy": torch.tensor([one.xy for one in prompts], dtype=torch.float32),
        "target": torch.from_numpy(np.stack([one.target for one in prompts])),
    }


class HeadTask:
    """The head and the decoder with their losses; the rest of the model stands still.

    Parameters
    ----------
    sam : Sam
        Whose decoder is copied before.
    model : nn.ModuleDict
        ``head`` and ``decoder``.
    config : HeadConfig
        How.
    spread : Tensor
        Shape of the noise, see :attr:`TextBank.spread`.
    """

    def __init__(self, sam: Sam, model: nn.ModuleDict, config: HeadConfig, spread: Tensor) -> None:
        self.model, self.config, self.spread = model, config, spread
        self.stride = sam.image_size / sam.mask_size[0]
        self._sam = sam.eval().requires_grad_(False).with_decoder(model["decoder"])

    def training_forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Losses of masks, predicted IoU, relevance and presence; see :meth:`~.loop.Task.training_forward`."""
        head = self.model["head"]
        if not isinstance(head, TextPromptHead):
            raise TypeError("the head is a TextPromptHead")
        generator = torch.Generator().manual_seed(step)
        vectors = self._vectors(head, batch["vector"], batch["image"], generator)
        features = {k.removeprefix("feature_"): v.float() for k, v in batch.items() if k.startswith("feature_")}
        losses: list[Tensor] = []
        log: dict[str, Tensor] = {}
        if "all_there" in batch:
            where, there = self._everywhere(head, features, batch, generator)
            losses += [where, 0.5 * there]
            log |= {"where": where.detach(), "there": there.detach()}
            if step < self.config.found_steps:
                return {"loss": torch.stack(losses).sum(), **log}
        for name, rows, rough in self._groups(head, features, batch, vectors, generator):
            seen = {key: feature[batch["view"][rows]] for key, feature in features.items()}
            loss, watched = self._masks(seen, batch, vectors, rows, rough, generator)
            losses.append(loss * len(rows) / len(batch["kind"]))
            log[f"{name}_iou"] = watched
        return {"loss": torch.stack(losses).sum(), **log}

    def _groups(
        self,
        head: TextPromptHead,
        features: dict[str, Tensor],
        batch: dict[str, Tensor],
        vectors: Tensor,
        generator: torch.Generator,
    ) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """Prompts that are decoded together: what they are, their rows, and the rough masks of texts with a map."""
        texts = torch.nonzero(batch["kind"] == TEXT)[:, 0]
        mapped = (torch.rand(len(texts), generator=generator) < self.config.maps).to(texts.device)
        if mapped.any():
            yield "map", texts[mapped], self._rough(head, features, batch, vectors, texts[mapped])
        for name, rows in (
            ("text", texts[~mapped]),
            ("both", torch.nonzero(batch["kind"] == BOTH)[:, 0]),
            ("click", torch.nonzero(batch["kind"] == CLICK)[:, 0]),
        ):
            if len(rows):
                yield name, rows, None

    def _vectors(self, head: TextPromptHead, vectors: Tensor, image: Tensor, generator: torch.Generator) -> Tensor:
        centred = torch.where(image[:, None], head.centred(vectors, image=True), head.centred(vectors))
        if self.config.noise:
            strength = self.config.noise * torch.rand(len(vectors), 1, generator=generator).to(vectors)
            noise = torch.randn(vectors.shape, generator=generator).to(vectors) @ self.spread.to(vectors)
            centred = torch.where(image[:, None], F.normalize(centred + strength * noise, dim=-1), centred)
        return centred

    def _masks(
        self,
        seen: dict[str, Tensor],
        batch: dict[str, Tensor],
        vectors: Tensor,
        rows: Tensor,
        rough: Tensor | None,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Loss of prompts of one kind, and the mean IoU of what would be shown where there is something."""
        kind = int(batch["kind"][rows[0]])
        text = None if kind == CLICK else self.model["head"](vectors[rows])
        points = None
        if kind != TEXT:
            points = batch["xy"][rows][:, None], torch.ones(len(rows), 1, dtype=torch.long, device=rows.device)
        decode: Callable[..., tuple[Tensor, Tensor]] = self._sam.decode
        if bool(batch["close"]) and isinstance(self._sam, TinySam):
            decode = self._sam.decode_windows
        target = batch["target"][rows].float()
        if text is not None and kind == TEXT and rough is None:
            # without a text nothing is named: what the tokens do not tell must not be found
            blank = (torch.rand(len(rows), 1, 1, generator=generator) < self.config.blank).to(text.device)
            text, target = text.masked_fill(blank, 0), target.masked_fill(blank, 0)
        logits, scores = decode(seen, points, None, rough, text)
        loss, watched = _mask_loss(logits.float(), scores.float(), target, kind)
        if kind != BOTH or not self.config.rounds:
            return loss, watched
        losses = [loss]
        for _ in range(self.config.rounds):
            before = logits[:, :1].detach()
            points = add_corrective_click(points, before[:, 0], target, self.stride, generator)
            logits, scores = decode(seen, points, None, before, text)
            # several prompts have one meaning: the first mask alone is learned
            losses.append(_mask_loss(logits[:, :1].float(), scores[:, :1].float(), target, BOTH)[0])
        return torch.stack(losses).mean(), watched

    def _rough(
        self,
        head: TextPromptHead,
        features: dict[str, Tensor],
        batch: dict[str, Tensor],
        vectors: Tensor,
        rows: Tensor,
    ) -> Tensor:
        """The maps of texts alone as rough masks (B, 1, h, w)."""
        image = features["image_embed"][batch["view"][rows]]
        valid = _valid(batch, image)[batch["view"][rows]]
        relevance, _ = head.found(vectors[rows], image, valid)
        return rough_mask(relevance, valid, (batch["target"].shape[-2], batch["target"].shape[-1]))

    def _everywhere(
        self, head: TextPromptHead, features: dict[str, Tensor], batch: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Losses of the relevance and of the presence of every name; what is there weighs as much as what is not."""
        image = features["image_embed"]
        valid = _valid(batch, image)
        where: list[Tensor] = []
        there: list[Tensor] = []
        for k in range(len(image)):
            vectors = self._vectors(head, batch["all_vector"][k], batch["all_image"][k], generator)
            relevance, presence = head.found(vectors, image[k : k + 1], valid[k : k + 1])
            each = F.binary_cross_entropy_with_logits(relevance.float(), batch["all_target"][k], reduction="none")
            each = (each * valid[k]).flatten(1).sum(1) / valid[k].sum().clamp_min(1)
            truth = batch["all_there"][k]
            sure = F.binary_cross_entropy_with_logits(presence.float(), truth.clamp_min(0).float(), reduction="none")
            for values, found in ((each, where), (sure, there)):
                found += [values[truth == state].mean() for state in (0, 1) if bool((truth == state).any())]
        return torch.stack(where).mean(), torch.stack(there).mean()


def _mask_loss(logits: Tensor, scores: Tensor, target: Tensor, kind: int) -> tuple[Tensor, Tensor]:
    """Loss of masks (B, M, h, w) and predicted IoU (B, M), and the mean IoU of the best where there is an object."""
    truth = target[:, None].expand_as(logits)
    shape = dice(logits, truth) + (_balanced(logits, truth) if kind == TEXT else 2 * focal(logits, truth))
    real = iou(logits.detach(), truth)
    lone = kind != TEXT and logits.shape[1] > 1
    each = shape[:, 1:].min(1).values + (0.3 if kind == CLICK else 1.0) * shape[:, 0] if lone else shape[:, 0]
    present = (target.flatten(1).sum(1) > 0).float()
    if kind != TEXT:
        each = each * (0.15 + 0.85 * present)
    calibration = ((scores - real) ** 2)[:, : 4 if lone else 1].mean(1)
    shown = real[:, 0] if kind != CLICK else real[:, 1:].gather(1, scores[:, 1:].argmax(1, keepdim=True))[:, 0]
    return (each + 2 * calibration).mean(), (shown * present).sum() / present.sum().clamp_min(1)


def _balanced(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy (B, M) in which object and background weigh the same.

    A decoder that was trained with clicks begins with empty masks for texts, where focal and dice loss have hardly a
    gradient.
    """
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    parts = (((each * part).flatten(2).sum(2) / (part.flatten(2).sum(2) + 1)) for part in (truth, 1 - truth))
    found: Tensor = torch.stack(list(parts)).sum(0)
    return found


def _valid(batch: dict[str, Tensor], image: Tensor) -> Tensor:
    return valid_cells(batch["cells"], batch["target"].shape[-1] / image.shape[-1], image)


def valid_cells(cells: Tensor, step: float, image: Tensor) -> Tensor:
    """Which cells of embeddings (V, C, h, w) are picture, (V, h, w) bool; of pictures of (V, 2) pixels."""
    cells = torch.ceil(cells / step).to(image.device)
    rows, columns = (torch.arange(n, device=cells.device) for n in image.shape[-2:])
    return (rows < cells[:, :1])[:, :, None] & (columns < cells[:, 1:])[:, None]
