"""Training that keeps what a model knew: the masks of a reference are a second target (Li and Hoiem 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.training.losses import soft_dice
from napari_segany.training.sam_task import SamTask, TaskConfig


class DistilledSamTask(SamTask):
    """Promptable training, and on some of the crops the masks, scores and dense maps of a reference.

    Truth says which mask is right; the reference also says which other ones it would offer, and with what scores, so
    that a model that is trained on something new still answers as before to what it knew.

    Parameters
    ----------
    model : TinySam
        What is trained.
    config : TaskConfig
        How.
    reference : TinySam
        Whose masks are the second target, on the crops for which ``batch["distilled"]`` is true; it is not trained.
    weight : float
        Of the second target, for a batch all of whose crops have it.
    """

    def __init__(self, model: TinySam, config: TaskConfig, reference: TinySam, weight: float) -> None:
        super().__init__(model, config)
        self.weight = weight
        self._reference = SamTask(reference.eval().requires_grad_(False), config)

    def _losses(self, features: dict[str, Tensor], batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        losses = super()._losses(features, batch, step)
        rows = batch["distilled"]
        if bool(rows.any()):
            part = {name: value[rows] for name, value in batch.items()}
            apart = self._difference({name: value[rows] for name, value in features.items()}, part)
            losses["distilled"] = apart.detach()
            losses["loss"] = losses["loss"] + self.weight * rows.float().mean() * apart
        return losses

    def _difference(self, features: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """How far the answers to the first prompts are from those of the reference."""
        xy, kinds = batch["xy"].flatten(0, 1), batch["kinds"].flatten(0, 1)
        logits, scores = self._decode(self._scene(features, batch), xy, kinds, None)
        dense = self.model.dense_head(features)
        with torch.no_grad():
            known = self._reference.features(batch)
            expected, expected_scores = self._reference._decode(self._reference._scene(known, batch), xy, kinds, None)
            expected_dense = self._reference.model.dense_head(known)
        # the three masks are offered for a single click only
        lone = (kinds == 1).any(1)[:, None].expand(-1, 3)
        used = torch.cat([torch.ones_like(lone[:, :1]), lone], 1).float()
        masks = soft_dice(logits.float().sigmoid(), expected.float().sigmoid())
        each = masks + self.config.iou_weight * (scores.float() - expected_scores.float()) ** 2
        maps = F.mse_loss(dense[:, :3].float().sigmoid(), expected_dense[:, :3].float().sigmoid())
        vectors = F.mse_loss(dense[:, 3:].float(), expected_dense[:, 3:].float())
        return (each * used).sum() / used.sum() + self.config.dense_weight * (maps + vectors)
