"""Crops with all their objects, for models that predict a set of masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_segany.models.mask2former.set_loss import ObjectSet
from napari_segany.training.augment import MIN_PIXELS, crop, relight
from napari_segany.training.batches import SeededDataset, draw_chances
from napari_segany.training.data import Sample

LEVELS_OF_CROP = 3
"""Label images of a crop, at most; what lies in further ones is left out, and the crop counts as partly labelled."""


@dataclass(frozen=True)
class ObjectBatchConfig:
    """Composition of the batch of a step.

    Parameters
    ----------
    crops : int
        Pictures per step.
    size : int
        Side of a crop in pixels; a multiple of 32.
    frame : int
        Side of the model's input frame in pixels.
    close_share : float
        Share of crops that are magnified as in the refinement pass.
    """

    crops: int = 8
    size: int = 256
    frame: int = 512
    close_share: float = 0.25


class ObjectDataset(SeededDataset):
    """Crops with the labels of all their objects, and their class.

    Parameters
    ----------
    sources : dict of str to list of Sample
        Labelled pictures of each source.
    shares : mapping of str to float
        Share of crops from each.
    classes : mapping of str to int
        Class of the objects of each source.
    config : ObjectBatchConfig
        Sizes.
    seed : int
        Of the sequence.
    """

    def __init__(
        self,
        sources: dict[str, list[Sample]],
        shares: Mapping[str, float],
        classes: Mapping[str, int],
        config: ObjectBatchConfig,
        seed: int,
    ) -> None:
        super().__init__(config.crops)
        self.sources = list(sources.values())
        weights = np.array([shares[name] for name in sources], float)
        self.weights = weights / weights.sum()
        self.classes = [classes[name] for name in sources]
        self.chances = [draw_chances(samples) for samples in self.sources]
        self.config = config
        self.seed = seed

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        source = rng.choice(len(self.sources), p=self.weights)
        sample = self.sources[source][rng.choice(len(self.sources[source]), p=self.chances[source])]
        close = bool(rng.random() < self.config.close_share)
        image, levels = crop(sample, rng, self.config.size, self.config.frame, close=close)
        labels = np.zeros((LEVELS_OF_CROP, self.config.size, self.config.size), np.int32)
        labels[: len(levels)] = levels[:LEVELS_OF_CROP]
        return {
            "image": torch.from_numpy(relight(image, rng)).permute(2, 0, 1),
            "labels": torch.from_numpy(labels),
            "class": torch.tensor(self.classes[source]),
            "complete": torch.tensor(sample.complete and len(levels) <= LEVELS_OF_CROP),
        }


def object_set(labels: Tensor, name: int, *, complete: bool) -> ObjectSet:
    """The objects of at least ``MIN_PIXELS`` of a crop, at half its resolution.

    Parameters
    ----------
    labels : Tensor
        (L, h, w) integers; 0 is background.
    name : int
        Their class.
    complete : bool
        Whether every object is labelled.
    """
    masks = []
    for level in labels:
        numbers, counts = level.unique(return_counts=True)
        numbers = numbers[(numbers > 0) & (counts >= MIN_PIXELS)]
        masks.append(F.avg_pool2d((level == numbers[:, None, None])[:, None].float(), 2)[:, 0])
    joined = torch.cat(masks)
    return ObjectSet(joined, torch.full((len(joined),), name, device=labels.device), complete)
