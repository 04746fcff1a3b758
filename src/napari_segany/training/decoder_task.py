"""Train the mask decoder of a published SAM alone, on image embeddings that are made once.

Its image encoder takes seconds for an image on a laptop, its decoder milliseconds. So only the decoder learns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_segany.core.masks import box_of
from napari_segany.models.geometry import Frame
from napari_segany.models.sam.model import Sam
from napari_segany.training.augment import MIN_PIXELS
from napari_segany.training.batches import SeededDataset, draw_chances, first_prompt, other_object
from napari_segany.training.data import Sample
from napari_segany.training.sam_task import PromptTask, Scene, TaskConfig


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSample:
    """A labelled image with its embedding, (C, h, w) of the whole image."""

    sample: Sample
    embedding: Tensor


class EmbeddedDataset(SeededDataset):
    """Objects of whole images with a first prompt of each.

    Parameters
    ----------
    sources : mapping of str to sequence of EmbeddedSample
        Labelled images of each source.
    shares : mapping of str to float
        Share of images from each.
    sam : Sam
        Gives the sizes of its input frame and of its logits.
    masks : int
        Objects of each image.
    seed : int
        Of the sequence.
    """

    def __init__(
        self,
        sources: Mapping[str, Sequence[EmbeddedSample]],
        shares: Mapping[str, float],
        sam: Sam,
        masks: int,
        seed: int,
    ) -> None:
        super().__init__(crops=2)
        self.sources = list(sources.values())
        weights = np.array([shares[name] for name in sources], float)
        self.weights = weights / weights.sum()
        self.chances = [draw_chances([one.sample for one in source]) for source in self.sources]
        self.side, self.size, self.masks, self.seed = sam.image_size, sam.mask_size, masks, seed

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        source = rng.choice(len(self.sources), p=self.weights)
        one = self.sources[source][rng.choice(len(self.sources[source]), p=self.chances[source])]
        levels = one.sample.levels
        objects = [(k, label) for k, level in enumerate(levels) for label in _large(level)]
        order = rng.permutation(len(objects))
        frame = Frame((levels[0].shape[0], levels[0].shape[1]), self.side)
        found = [self._object(levels, objects[order[slot % len(order)]], frame, rng) for slot in range(self.masks)]
        names = ("masks", "others", "xy", "kinds")
        parts = {name: torch.stack([each[k] for each in found]) for k, name in enumerate(names)}
        return {"image_embed": one.embedding.float(), **parts}

    def _object(
        self, levels: Sequence[np.ndarray], which: tuple[int, int], frame: Frame, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mask and what a click may mean instead, (h, w) of the logits; xy in frame pixels, and kinds."""
        number, label = which
        mask = levels[number] == label
        box = box_of(mask)
        if box is None:
            raise ValueError("an object has no pixels")
        y, x = int(box.y0), int(box.x0)
        xy, kinds = first_prompt(mask[y : int(box.y1) + 1, x : int(box.x1) + 1], rng)
        xy = xy + np.where(kinds[:, None] >= 0, [x, y], 0)
        other = other_object(list(levels), levels[number], xy[0]) if kinds[0] == 1 else np.zeros_like(mask)
        places = torch.from_numpy(xy * frame.scale[::-1]).float()
        return self._in_frame(mask, frame), self._in_frame(other, frame), places, torch.from_numpy(kinds)

    def _in_frame(self, mask: np.ndarray, frame: Frame) -> Tensor:
        step = self.side / self.size[0]
        rows, columns = (max(math.ceil(length / step), 1) for length in frame.resized)
        small = F.interpolate(torch.from_numpy(mask)[None, None].float(), size=(rows, columns), mode="area")[0, 0]
        return F.pad(small, (0, self.size[1] - columns, 0, self.size[0] - rows))


class EmbeddingTask(PromptTask):
    """Rounds of prompts on the image embeddings of a SAM.

    Parameters
    ----------
    sam : Sam
        Whose prompt encoder and mask decoder predict.
    config : TaskConfig
        How.
    """

    def __init__(self, sam: Sam, config: TaskConfig) -> None:
        super().__init__(config)
        self.stride = sam.image_size // sam.mask_size[0]
        self._prompts = sam.prompt_encoder
        self._decoder = sam.mask_decoder

    def _scene(self, embedding: Tensor, masks: Tensor, others: Tensor) -> Scene:
        """Embeddings (B, C, h, w), and masks (B, P, 4 h, 4 w): one row for each prompt."""
        count, per_image = masks.shape[:2]
        device = masks.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        image = embedding.to(kind).repeat_interleave(per_image, dim=0)
        return Scene(
            image=image,
            position=self._prompts.dense_pe().to(kind).expand(count * per_image, -1, -1, -1),
            high_res=None,
            shift_xy=torch.zeros(count * per_image, 1, 2, device=image.device),
            target=masks.flatten(0, 1),
            other=others.flatten(0, 1),
        )

    def _decode(self, scene: Scene, xy: Tensor, kinds: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor]:
        sparse = self._prompts.tokens(xy, kinds)
        rows, columns = scene.image.shape[-2:]
        if masks is None:
            dense = self._prompts.no_mask_embed.weight[..., None, None].expand(len(sparse), -1, rows, columns)
        else:
            dense = self._prompts.mask_downscaling(masks)
        found: tuple[Tensor, Tensor] = self._decoder(scene.image, scene.position, sparse, dense)
        return found


class DecoderTask(EmbeddingTask):
    """The mask decoder of a SAM and its losses; prompt encoder and image encoder stay as they are.

    Parameters
    ----------
    sam : Sam
        Whose decoder is trained: that is `model`.
    config : TaskConfig
        How.
    """

    def __init__(self, sam: Sam, config: TaskConfig) -> None:
        super().__init__(sam, config)
        self.model = sam.mask_decoder

    def training_forward(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Losses of a batch of :class:`EmbeddedDataset`; see :meth:`SamTask.training_forward`."""
        generator = torch.Generator(batch["xy"].device).manual_seed(step)
        scene = self._scene(batch["image_embed"], batch["masks"], batch["others"])
        return self._prompted(scene, batch, generator, together=False)


def _large(level: np.ndarray) -> list[int]:
    return [int(label) for label in np.flatnonzero(np.bincount(level.ravel()) >= MIN_PIXELS) if label]
