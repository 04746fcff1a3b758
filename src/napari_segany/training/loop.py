"""The training loop: it knows steps, learning rates, averages and checkpoints, and nothing of what is learned."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from napari_segany.core.errors import InputError


class Task(Protocol):
    """A model with its losses."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    def training_forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Losses of a batch; ``loss`` is minimised."""


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast.

    Parameters
    ----------
    steps : int
        Steps in all; the learning rate falls linearly over the last `decay_steps`.
    warmup_steps, decay_steps : int
        Linear rise at the beginning, linear fall at the end.
    learning_rate, weight_decay : float
        Of AdamW, with beta2 0.98.
    average : float
        Decay of the moving average of the weights, which is what ships.
    save_every, log_every : int
        Steps between checkpoints and between lines of the log.
    workers : int
        Processes that make batches.
    parts : int
        Parts of a batch that are computed one after the other, and whose gradients are added up: less memory.
    """

    steps: int = 5000
    warmup_steps: int = 100
    decay_steps: int = 1500
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    average: float = 0.998
    save_every: int = 200
    log_every: int = 20
    workers: int = 1
    parts: int = 1

    def of_length(self, steps: int) -> LoopConfig:
        """Return a training of another length, whose learning rate rises and falls in proportion.

        Raises
        ------
        InputError
            There is less than one step.
        """
        if steps < 1:
            raise InputError(f"a training has at least one step, got {steps}")
        share = steps / max(self.steps, 1)
        rise, fall = (max(round(share * part), 1) for part in (self.warmup_steps, self.decay_steps))
        return replace(self, steps=steps, warmup_steps=rise, decay_steps=fall)

    def rate(self, step: int) -> float:
        """Learning rate at a step."""
        rise = min(1.0, (step + 1) / self.warmup_steps)
        fall = min(1.0, max(self.steps - step, 0) / max(self.decay_steps, 1))
        return self.learning_rate * rise * max(fall, 0.01)


class Loop:
    """Trains a task; stops and resumes anywhere.

    Parameters
    ----------
    task : Task
        What is trained.
    config : LoopConfig
        How long and how fast.
    folder : Path
        Where ``checkpoint.pt`` and ``log.jsonl`` are kept.
    device : torch.device
        Where to compute.
    identity : dict, optional
        What makes this run another run, by name, in numbers, texts and dicts of them; a checkpoint keeps it, and is
        not continued under another one.
    """

    def __init__(
        self,
        task: Task,
        config: LoopConfig,
        folder: Path,
        device: torch.device,
        identity: dict[str, Any] | None = None,
    ) -> None:
        self.task, self.config, self.folder, self.device = task, config, folder, device
        self.identity = identity or {}
        task.model.to(device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(task.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(task.model.parameters(), betas=(0.9, 0.98), weight_decay=config.weight_decay)
        self.step = 0
        self.seconds = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self) -> bool:
        """Continue from the folder's checkpoint; False when there is none.

        Raises
        ------
        InputError
            When the checkpoint belongs to another run; one without a description of its run is continued.
        """
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self._check(path, state.get("identity", {}))
        try:
            self.task.model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise InputError(
                f"{path} is of a model with other sizes; choose another folder, or move it away"
            ) from error
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        return True

    def save(self) -> None:
        """Write the checkpoint; a crash in the middle leaves the earlier one."""
        state = {
            "model": self.task.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "identity": self.identity,
        }
        partial = self.folder / "checkpoint.partial"
        torch.save(state, partial)
        partial.replace(self.folder / "checkpoint.pt")

    def _check(self, path: Path, identity: dict[str, Any]) -> None:
        differing = [name for name, value in self.identity.items() if identity.get(name, value) != value]
        if differing:
            changes = " and ".join(f"{name} {identity[name]}, not {self.identity[name]}" for name in differing)
            raise InputError(f"{path} was trained with {changes}; choose another folder, or move it away")

    def run(self, batches: Callable[[int], Iterator[dict[str, Tensor]]]) -> None:
        """Train to the last step; see :meth:`steps`."""
        for _ in self.steps(batches):
            pass

    def steps(self, batches: Callable[[int], Iterator[dict[str, Tensor]]]) -> Iterator[float]:
        """Train step by step; ceasing to iterate stops, and :meth:`resume` goes on from the last checkpoint.

        Parameters
        ----------
        batches : callable
            Gives the endless batches from a step on.

        Yields
        ------
        float
            The loss of the step; NaN except where it is logged, as a GPU would have to be waited for.
        """
        self.task.model.train()
        started, before = time.monotonic(), self.seconds
        source = batches(self.step)
        while self.step < self.config.steps:
            watched = self._advance({k: v.to(self.device, non_blocking=True) for k, v in next(source).items()})
            self.step += 1
            self.seconds = before + time.monotonic() - started
            logged = self.step % self.config.log_every == 0
            if logged:
                self._log(watched)
            if self.step % self.config.save_every == 0:
                self.save()
            yield float(watched["loss"].detach()) if logged or self.device.type == "cpu" else math.nan
        self.save()

    def _advance(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        parts = self._split(batch)
        total = torch.zeros((), device=self.device)
        losses: dict[str, Tensor] = {}
        for part in parts:
            with torch.autocast(self.device.type, torch.bfloat16):
                losses = {**losses, **self.task.training_forward(part, self.step)}
            (losses["loss"] / len(parts)).backward()
            total += losses["loss"].detach() / len(parts)
        losses["loss"] = total
        nn.utils.clip_grad_norm_(self.task.model.parameters(), 1.0)
        self.optimizer.step()
        self._follow()
        return losses

    def _split(self, batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """The parts of a batch along its first axis; a batch that is not divided may have tensors without axes."""
        if self.config.parts == 1:
            return [batch]
        chunks = [value.chunk(self.config.parts) for value in batch.values()]
        return [dict(zip(batch, values, strict=True)) for values in zip(*chunks, strict=True)]

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the weights, faster at first."""
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.average.state_dict().values(), self.task.model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def _log(self, watched: dict[str, Tensor]) -> None:
        # Read only here: a GPU would have to be waited for.
        figures = {name: round(float(value.detach()), 4) for name, value in watched.items()}
        row = {"step": self.step, "seconds": round(self.seconds, 1), **figures}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
