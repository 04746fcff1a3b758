"""Train a whole SAM: image encoder, prompt encoder and mask decoder (Kirillov et al. 2023, appendix A)."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_segany.models.sam.model import Sam
from napari_segany.training.batches import BatchConfig
from napari_segany.training.decoder_task import EmbeddingTask
from napari_segany.training.sam_task import TaskConfig


class WholeSamTask(EmbeddingTask):
    """A SAM with a vision transformer and its losses.

    What is meant for `tiny` alone has no effect: dense targets, their steps and weight, and what is not to learn.

    Parameters
    ----------
    sam : Sam
        What is trained.
    config : TaskConfig
        How.
    """

    def __init__(self, sam: Sam, config: TaskConfig) -> None:
        super().__init__(sam, config)
        self.model = sam

    def training_forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Losses of a batch of whole frames.

        Parameters
        ----------
        batch : dict of str to Tensor
            From :mod:`napari_segany.training.batches`, with :func:`whole_frames`.
        step : int
            Seeds the simulated user, and decides whether all masks learn from every prompt.
        """
        generator = torch.Generator(batch["image"].device).manual_seed(step)
        embedding = self.model.image_encoder(self.model.preprocess(batch["image"].float()))
        masks, others = (F.avg_pool2d(batch[name].float(), self.stride) for name in ("masks", "others"))
        scene = self._scene(embedding, masks, others)
        return self._prompted(scene, batch, generator, together=step < self.config.together_steps)


def whole_frames(config: BatchConfig, side: int) -> BatchConfig:
    """Return the composition of batches whose crops fill the input frame of a vision transformer.

    Parameters
    ----------
    config : BatchConfig
        Everything else.
    side : int
        Of the frame in pixels.
    """
    return replace(config, frame=side, sizes={side: 1.0})


def start_positions(sam: Sam) -> None:
    """Fill the position embedding, which begins with zeros, with small random numbers, so that places differ."""
    positions = sam.image_encoder.pos_embed
    if isinstance(positions, Tensor):
        torch.nn.init.trunc_normal_(positions, std=0.02)
