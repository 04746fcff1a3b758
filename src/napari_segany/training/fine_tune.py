"""Fine-tune a model on a user's own masks, ``tiny`` in about a minute on a laptop; it refuses to get worse.

As in the data engine of the paper (Kirillov et al. 2023, section 4), a model is retrained on the masks that it helped
to make. A fifth of the masks is held out. The result is a mixture of old and new weights (Wortsman et al. 2022), whose
share is chosen on the held-out masks, and which is accepted only if it is better there. Synthetic images are replayed
during training, and others measure what was forgotten. Of a published SAM only the mask decoder is trained.
"""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from torch import nn

from napari_segany.core.errors import InputError
from napari_segany.core.metrics import iou
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.models.inference_config import read_inference_config, weights_hash
from napari_segany.models.loading import OWN_SIZES, architecture_of, load_model, load_weights, locate
from napari_segany.models.sam.model import SIZES, Sam
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.training.augment import MIN_PIXELS
from napari_segany.training.batches import BatchConfig, CropDataset, stream
from napari_segany.training.data import Sample, synthetic_samples
from napari_segany.training.decoder_task import DecoderTask, EmbeddedDataset, EmbeddedSample
from napari_segany.training.distillation import DistilledSamTask
from napari_segany.training.fine_tune_report import FineTuneReport, report_metadata
from napari_segany.training.fine_tune_settings import FEWEST, steps_for
from napari_segany.training.held_out import (
    ClickTrial,
    click_masks,
    click_scores,
    click_trials,
    count_masks,
    gauge_trials,
    hold_out,
)
from napari_segany.training.held_out_examples import HeldOutExample, choose_examples, make_example
from napari_segany.training.loop import Loop, LoopConfig, Task
from napari_segany.training.sam_task import TaskConfig
from napari_segany.training.train_sam import begin, save_weights

Module = TypeVar("Module", bound=nn.Module)

ALPHAS = (1.0, 0.75, 0.5, 0.25)
"""Shares of the new weights that are tried; 0 is the parent."""
SAVE_EVERY = 20
"""Steps between checkpoints."""
PARTS = 4
"""Parts of a step, so that it fits into the memory of a laptop next to the window."""
FORGETTABLE = 0.01
"""What the gauge may lose before it counts against a mixture."""
COSTS_OF_FORGETTING = (4.0, 1.0)
"""What it loses beyond that counts so many times against the gain on held-out masks; the second number where no mixture
has a gain left by the first, as a model that is good at this work alone is better than none."""


@dataclass(frozen=True, slots=True)
class FineTuneConfig:
    """How to fine-tune.

    Parameters
    ----------
    parent : str
        Name or path of the weights to begin with: ``tiny``, or a published SAM, whose mask decoder alone is trained.
    steps : int, optional
        Steps of training; by default more for more masks: 40 for 10, 100 for 50, 300 at most.
    learning_rate, decoder_rate : float
        Of AdamW, for ``tiny`` and for the mask decoder of a published SAM.
    own_share : float
        Share of crops of the user's images; the rest are synthetic.
    held_out : float
        Share of the masks that measure the result, and are not trained on.
    synthetic : int
        Synthetic images that are replayed; an eighth of them for a published SAM, whose encoder takes seconds for each.
    distillation : float
        Weight of the parent's masks as a second target on the synthetic images, for ``tiny``.
    seed : int
        Of all that is drawn.
    name, note : str
        Kept in the report.
    """

    parent: str = "tiny"
    steps: int | None = None
    learning_rate: float = 2e-4
    decoder_rate: float = 5e-5
    own_share: float = 0.6
    held_out: float = 0.2
    synthetic: int = 60
    distillation: float = 6.0
    seed: int = 0
    name: str = ""
    note: str = ""

    def steps_for(self, masks: int) -> int:
        """Steps of training for a number of masks."""
        return self.steps or steps_for(masks)


@dataclass(frozen=True, slots=True)
class FineTuneProgress:
    """Where fine-tuning is.

    Parameters
    ----------
    stage : str
        "encode" (of a published SAM), "measure", "train", "choose" or "done".
    done, total : int
        Units of the whole work.
    seconds_left : float
        Estimated; NaN when it is not known yet.
    loss : float
        Of the last step; NaN outside training.
    report : FineTuneReport, optional
        At the stage "done".
    examples : tuple of HeldOutExample
        At the stage "done": held-out objects with the masks of the parent and of the best mixture, from the worst gain
        to the best; also where the parent is kept.
    """

    stage: str
    done: int
    total: int
    seconds_left: float = math.nan
    loss: float = math.nan
    report: FineTuneReport | None = None
    examples: tuple[HeldOutExample, ...] = ()


def fine_tune(
    samples: Mapping[str, Sample], out: Path, config: FineTuneConfig | None = None, work: Path | None = None
) -> Iterator[FineTuneProgress]:
    """Fine-tune on labelled images, and write the weights if the result is better; ceasing to iterate cancels.

    Parameters
    ----------
    samples : mapping of str to Sample
        Labelled images by name. Where a sample is not complete, ground without a label teaches nothing.
    out : Path
        Of the weights, ``.safetensors``; they hold the settings of inference and the report.
    config : FineTuneConfig, optional
        How.
    work : Path, optional
        Folder of the checkpoint, from which a run that was interrupted goes on; by default ``OUT.work`` next to `out`.

    Yields
    ------
    FineTuneProgress
        The last one has the report. Nothing is written at `out` where the parent is kept.

    Raises
    ------
    InputError
        There are too few masks, or the parent is no segmenter.
    ModelError
        The parent cannot be loaded.
    """
    config = config or FineTuneConfig()
    counted = {name: sample for name, sample in samples.items() if count_masks(sample)}
    learned, held_out = hold_out(counted, config.held_out)
    masks = sum(map(count_masks, learned.values()))
    if masks < FEWEST or not held_out:
        raise InputError(_too_few(sum(map(count_masks, counted.values())), masks, held_out))
    work = work or out.with_name(out.name + ".work")
    if architecture_of(load_weights(config.parent)) in (*SIZES, OWN_SIZES):
        return _DecoderFineTuning(learned, held_out, out, config, work).run()
    return _FineTuning(learned, held_out, out, config, work).run()


def _too_few(total: int, learned: int, held_out: Mapping[str, Sample]) -> str:
    """Why there is nothing to train on or to measure with."""
    if total <= FEWEST:
        return f"there are {total} masks of {MIN_PIXELS} pixels or more; fine-tuning needs {FEWEST + 1}"
    held = sum(map(count_masks, held_out.values()))
    return (
        f"of {total} masks, {learned} are left to train on and {held} to be held out, as others are cut by the line "
        f"between both parts; fine-tuning needs {FEWEST} and 1: label more objects, or another image"
    )


@dataclass(frozen=True, slots=True, eq=False)
class TriedMixture:
    """A mixture of the old and the new weights, and what it reaches.

    Parameters
    ----------
    alpha : float
        Share of the new weights.
    after, gauge : ndarray
        (n,) IoU of each click on held-out images, and on synthetic ones.
    """

    alpha: float
    after: np.ndarray
    gauge: np.ndarray


class _FineTuning:
    """One run: measures the parent, trains, chooses the mixture, writes."""

    def __init__(
        self,
        learned: Mapping[str, Sample],
        held_out: Mapping[str, Sample],
        out: Path,
        config: FineTuneConfig,
        work: Path,
    ) -> None:
        self.learned, self.config, self.out, self.work = learned, config, out, work
        self.trials = click_trials(held_out, config.seed)
        self.gauge = gauge_trials()
        self.masks = sum(map(count_masks, learned.values()))
        self.held_out_masks = len({(trial.image, trial.label) for trial in self.trials})
        self.images = len({*learned, *held_out})
        self.steps = config.steps_for(self.masks)
        self.rate, self.first = config.learning_rate, 0
        self.total = self.steps + 1 + len(ALPHAS)
        self.started = time.monotonic()

    def run(self) -> Iterator[FineTuneProgress]:
        """See :func:`fine_tune`."""
        parent = self._parent()
        yield from self._prepared()
        yield self._at("measure", self.first)
        before, gauge_before = self._scores(parent, self.trials), self._scores(parent, self.gauge)
        loop = self._loop(copy.deepcopy(parent))
        for loss in loop.steps(self._batches):
            yield self._at("train", self.first + 1 + loop.step, loss)
        tried: list[TriedMixture] = []
        for alpha in ALPHAS:
            model = mixture(parent, loop.average, alpha)
            tried.append(TriedMixture(alpha, self._scores(model, self.trials), self._scores(model, self.gauge)))
            yield self._at("choose", self.first + 1 + self.steps + len(tried))
        best = choose(tried, before, gauge_before)
        gains = best.after - before
        low, high = self._interval(gains) if gains.mean() > 0 else (0.0, 0.0)
        kept = best if gains.mean() > 0 and low >= 0 else TriedMixture(0.0, before, gauge_before)
        report = FineTuneReport(
            self.config.parent, self.config.name, self.config.note, self.masks, self.held_out_masks, self.images,
            float(before.mean()), float(kept.after.mean()), low, high, kept.alpha, float(gauge_before.mean()),
            float(kept.gauge.mean()), self.steps, time.monotonic() - self.started,
            datetime.now(UTC).isoformat(timespec="seconds"), _hash_of(self.config.parent),
        )  # fmt: skip
        model = mixture(parent, loop.average, best.alpha)
        examples = self._examples(parent, model, gains)
        if report.accepted:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._write(model, report_metadata(report, examples))
        _remove_work(self.work)
        yield replace(self._at("done", self.total), report=report, examples=examples)

    def _examples(self, parent: nn.Module, model: nn.Module, gains: np.ndarray) -> tuple[HeldOutExample, ...]:
        """The click in the middle of some held-out objects, which is the first one of each, with two models."""
        first = {(trial.image, trial.label): k for k, trial in reversed(list(enumerate(self.trials)))}
        middle = sorted(first.values())
        chosen = [middle[k] for k in choose_examples([float(gains[k]) for k in middle])]
        trials = [self.trials[k] for k in chosen]
        pairs = zip(trials, self._masks(parent, trials), self._masks(model, trials), strict=True)
        return tuple(make_example(trial.plane, trial.truth, before, after) for trial, before, after in pairs)

    def _parent(self) -> nn.Module:
        """What is trained, as it was before."""
        parent = TinySam()
        begin(parent, self.config.parent)
        return parent

    def _prepared(self) -> Iterator[FineTuneProgress]:
        """What is done once before anything is measured: nothing."""
        yield from ()

    def _scores(self, model: nn.Module, trials: list[ClickTrial]) -> np.ndarray:
        """IoU (n,) of the masks that are shown for clicks."""
        return click_scores(cast("TinySam", model), trials)

    def _masks(self, model: nn.Module, trials: list[ClickTrial]) -> list[np.ndarray]:
        """The masks (y, x) bool that are shown for clicks."""
        return click_masks(cast("TinySam", model), trials)

    def _write(self, model: nn.Module, metadata: dict[str, str]) -> None:
        save_weights(model, self.out, metadata)

    def _task(self, model: nn.Module) -> Task:
        config = TaskConfig(dense_steps=0, together_steps=0, iou_weight=3.0, frozen_norms=True)
        parent = cast("TinySam", self._parent())
        return DistilledSamTask(cast("TinySam", model), config, parent, self.config.distillation)

    def _at(self, stage: str, done: int, loss: float = math.nan) -> FineTuneProgress:
        gone = time.monotonic() - self.started
        return FineTuneProgress(stage, done, self.total, gone / done * (self.total - done) if done else math.nan, loss)

    def _loop(self, model: nn.Module) -> Loop:
        steps, config = self.steps, self.config
        torch.manual_seed(config.seed)
        settings = LoopConfig(
            steps=steps,
            warmup_steps=5,
            decay_steps=steps // 2,
            learning_rate=self.rate,
            weight_decay=0.05,
            average=0.95,
            save_every=SAVE_EVERY,
            workers=0,
            parts=PARTS,
        )
        identity = {"parent": config.parent, "seed": config.seed, "steps": steps, "data": digest_of(self.learned)}
        loop = Loop(self._task(model), settings, self.work, torch.device("cpu"), identity)
        try:
            loop.resume()
        except InputError:
            # a run on other masks was cancelled
            _remove_work(self.work)
            self.work.mkdir(parents=True, exist_ok=True)
        return loop

    def _batches(self, step: int) -> Iterator[dict[str, torch.Tensor]]:
        sources = {
            "own": list(self.learned.values()),
            "synthetic": synthetic_samples(self.config.synthetic, self.config.seed),
        }
        shares = {"own": self.config.own_share, "synthetic": 1 - self.config.own_share}
        batch = BatchConfig(crops=8, masks=6, sizes={224: 1.0})
        dataset = CropDataset(sources, shares, batch, self.config.seed, distilled=["synthetic"])
        return stream(dataset, step, workers=0)

    def _interval(self, gains: np.ndarray) -> tuple[float, float]:
        """95 % bootstrap interval of the mean gain over objects: their clicks are not independent."""
        objects = sorted({(trial.image, trial.label) for trial in self.trials})
        each = np.array(
            [np.mean([g for g, t in zip(gains, self.trials, strict=True) if (t.image, t.label) == o]) for o in objects]
        )
        drawn = np.random.default_rng(0).choice(each, (2000, len(each)))
        low, high = np.percentile(drawn.mean(axis=1), [2.5, 97.5])
        return float(low), float(high)


class _DecoderFineTuning(_FineTuning):
    """The same for the mask decoder of a published SAM, on embeddings that are made once."""

    def _parent(self) -> nn.Module:
        sam = load_model(self.config.parent).float().eval().requires_grad_(False)
        return self._begin(sam)

    def _begin(self, sam: Sam) -> nn.Module:
        self.sam, self.rate = sam, self.config.decoder_rate
        self._encoder = SamSegmenter(sam, "measured")
        self._synthetic = synthetic_samples(max(self.config.synthetic // 8, 1), self.config.seed)
        self._embedded: dict[str, list[EmbeddedSample]] = {"own": [], "synthetic": []}
        # (trials of one image share its plane)
        self._planes = {id(trial.plane): trial.plane for trial in (*self.trials, *self.gauge)}
        self._embeddings: dict[int, ImageEmbedding] = {}
        self.first = len(self.learned) + len(self._synthetic) + len(self._planes)
        self.total += self.first
        return copy.deepcopy(sam.mask_decoder).requires_grad_(True)

    def _prepared(self) -> Iterator[FineTuneProgress]:
        done = 0
        for source, samples in (("own", list(self.learned.values())), ("synthetic", self._synthetic)):
            for sample in samples:
                yield self._at("encode", done)
                features = self._encoder.embed(sample.image).features["image_embed"]
                self._embedded[source].append(EmbeddedSample(sample, torch.from_numpy(features)[0].half()))
                done += 1
        for number, plane in self._planes.items():
            yield self._at("encode", done)
            self._embeddings[number] = self._encoder.embed(plane)
            done += 1

    def _scores(self, model: nn.Module, trials: list[ClickTrial]) -> np.ndarray:
        masks = self._masks(model, trials)
        return np.array([iou(mask, one.truth) for mask, one in zip(masks, trials, strict=True)])

    def _masks(self, model: nn.Module, trials: list[ClickTrial]) -> list[np.ndarray]:
        segmenter = SamSegmenter(self.sam.with_decoder(copy.deepcopy(model)), "measured")
        prompts = [(self._embeddings[id(one.plane)], [Prompt((one.point,))]) for one in trials]
        return [segmenter.segment(*one)[0][0].pixels for one in prompts]

    def _task(self, model: nn.Module) -> Task:
        return DecoderTask(self.sam.with_decoder(model), TaskConfig(dense_steps=0, together_steps=0, iou_weight=3.0))

    def _batches(self, step: int) -> Iterator[dict[str, torch.Tensor]]:
        shares = {"own": self.config.own_share, "synthetic": 1 - self.config.own_share}
        return stream(EmbeddedDataset(self._embedded, shares, self.sam, 6, self.config.seed), step, workers=0)

    def _write(self, model: nn.Module, metadata: dict[str, str]) -> None:
        known = read_inference_config(locate(self.config.parent, None)[0])
        save_weights(
            self.sam.with_decoder(model), self.out, {**metadata, **({} if known is None else known.to_metadata())}
        )


def choose(tried: Sequence[TriedMixture], before: np.ndarray, gauge_before: np.ndarray) -> TriedMixture:
    """The mixture with the largest gain on held-out masks, less what it forgets beyond ``FORGETTABLE``."""
    for cost in COSTS_OF_FORGETTING:
        values = [
            float((one.after - before).mean()) - cost * max(0.0, float((gauge_before - one.gauge).mean()) - FORGETTABLE)
            for one in tried
        ]
        if max(values) > 0:
            break
    return tried[int(np.argmax(values))]


def mixture(old: Module, new: nn.Module, alpha: float) -> Module:
    """A model with weights and statistics ``(1 - alpha) * old + alpha * new``."""
    mixed, target = copy.deepcopy(old), new.state_dict()
    with torch.no_grad():
        for name, value in mixed.state_dict().items():
            if value.is_floating_point():
                value.lerp_(target[name].to(value), alpha)
    return mixed


def _hash_of(parent: str) -> str:
    """Hash of the weights of a parent; empty where it is no safetensors file."""
    path = locate(parent, None)[0]
    return weights_hash(path) if path.suffix == ".safetensors" else ""


def digest_of(samples: Mapping[str, Sample]) -> str:
    """SHA-256 of the images and labels of samples."""
    digest = hashlib.sha256()
    for name in sorted(samples):
        digest.update(name.encode())
        for array in (samples[name].image, *samples[name].levels):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _remove_work(work: Path) -> None:
    for name in ("checkpoint.pt", "checkpoint.partial", "log.jsonl"):
        (work / name).unlink(missing_ok=True)
    if work.is_dir() and not any(work.iterdir()):
        work.rmdir()
