"""SamSegmenter: the Segmenter over SAM and every model with its two calls, `encode` and `decode`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.models.geometry import Frame, image_tensor, plane_masks, prompt_tensors
from napari_segany.models.sam.model import Sam

# Prompts decoded together; more of them need more memory and gain no time.
BATCH = 64


class SamSegmenter:
    """Answers prompts with a SAM.

    Parameters
    ----------
    model : Sam
        SAM itself or a model that shares its calls; it is moved to `device` and put into evaluation mode.
    name : str
        Name of the model; embeddings carry it.
    device : str or torch.device
        Where to compute.
    dtype : torch.dtype
        What the image encoder computes in. Prompt encoder and decoder are small and stay in float32.
    """

    def __init__(
        self, model: Sam, name: str, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self.name = name
        self.device = torch.device(device)
        self.dtype = dtype
        self.model = model.to(self.device, torch.float32).eval().requires_grad_(False)

    def _precision(self) -> AbstractContextManager[object]:
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, dtype=self.dtype)

    @torch.inference_mode()
    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        """Encode a plane.

        Parameters
        ----------
        plane : ndarray
            (y, x, 3) uint8 RGB, taken as it is.

        Returns
        -------
        ImageEmbedding
            Features are float32, or float16 when the encoder computes in a reduced precision.

        Raises
        ------
        InputError
            The plane has another type or shape.
        """
        if plane.dtype != np.uint8 or plane.ndim != 3 or plane.shape[2] != 3 or not plane.size:
            raise InputError(f"a plane is (y, x, 3) uint8, got {plane.dtype} of shape {plane.shape}")
        height, width, _ = plane.shape
        image = image_tensor(plane, Frame((height, width), self.model.image_size)).to(self.device)
        with self._precision():
            features = self.model.encode(image)
        kept = torch.float32 if self.dtype == torch.float32 else torch.float16
        arrays = {name: feature.to(kept).cpu().numpy() for name, feature in features.items()}
        return ImageEmbedding(arrays, (height, width), self.name)

    @torch.inference_mode()
    def segment(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        *,
        candidates: int | None = None,
        at_least: float = -math.inf,
    ) -> list[list[Mask]]:
        """Answer each prompt with its candidate masks, the most confident first.

        Prompts are decoded together where that cannot change an answer.

        Parameters
        ----------
        embedding : ImageEmbedding
            From :meth:`embed` of a segmenter of the same name.
        prompts : sequence of Prompt
            One per object.
        candidates : {None, 1, 3}
            None: three for a lone positive point, else one; 1 or 3 forces it.
        at_least : float
            Masks whose predicted IoU is lower are not drawn, and left out.

        Returns
        -------
        list of list of Mask
            One list per prompt, in the order of `prompts`.

        Raises
        ------
        InputError
            The embedding is another model's, a prompt is empty, a mask prompt does not fit, or `candidates` is not one
            of these.
        ModelError
            A prompt holds text.
        """
        self._check(embedding, prompts, candidates)
        frame = Frame(embedding.shape, self.model.image_size)
        answers = self._answers(embedding, prompts, frame)
        return [
            self._masks(*good_first(logits, scores, wanted(prompt, candidates), at_least), frame)
            for prompt, (logits, scores) in zip(prompts, answers, strict=True)
        ]

    def _answers(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], frame: Frame
    ) -> list[tuple[Tensor, Tensor]]:
        """For each prompt all four logits (4, h, w) of the frame, and their predicted IoU (4,)."""
        features = self._maps(embedding)
        answers: dict[int, tuple[Tensor, Tensor]] = {}
        for group in alike(prompts):
            logits, iou = self._decode(features, [prompts[index] for index in group], frame)
            answers |= {index: (logits[row], iou[row]) for row, index in enumerate(group)}
        return [answers[index] for index in range(len(prompts))]

    def _maps(self, embedding: ImageEmbedding) -> dict[str, Tensor]:
        """Features (1, C, h, w), with the channels last in memory: a CPU decodes others at half the speed."""
        maps = {name: torch.tensor(np.moveaxis(array, 1, -1)) for name, array in embedding.features.items()}
        return {name: values.to(self.device).float().movedim(-1, 1) for name, values in maps.items()}

    def _check(self, embedding: ImageEmbedding, prompts: Sequence[Prompt], candidates: int | None) -> None:
        if embedding.model != self.name:
            raise InputError(f"this embedding was made by {embedding.model!r}, not by {self.name!r}")
        if candidates not in (None, 1, 3):
            raise InputError(f"candidates must be 1, 3 or None, got {candidates!r}")
        if not all(prompts):
            raise InputError("an empty prompt: give at least a point, a box, a mask or a text")
        if any(prompt.text.strip() for prompt in prompts):
            raise ModelError(f"the model {self.name!r} takes points, boxes and masks, but no text")

    def _decode(self, features: dict[str, Tensor], prompts: Sequence[Prompt], frame: Frame) -> tuple[Tensor, Tensor]:
        """Prompts that are alike -> logits (B, 4, h, w) and predicted IoU (B, 4)."""
        given = prompt_tensors(prompts, frame, self.model.mask_size).to(self.device)
        return self.model.decode(features, given.points, given.boxes, given.masks)

    def _masks(self, logits: Tensor, scores: Tensor, frame: Frame) -> list[Mask]:
        """Candidates of one prompt, (n, h, w) and (n,), brought to the plane."""
        if not len(logits):
            return []
        pixels, stability = plane_masks(logits, frame, self.model.mask_threshold)
        return masks_of(pixels, scores, logits, stability)


def wanted(prompt: Prompt, candidates: int | None) -> int:
    """How many masks answer a prompt: what was asked for, else three for an ambiguous one and one for any other."""
    return candidates or (3 if prompt.ambiguous else 1)


def best_first(logits: Tensor, scores: Tensor, candidates: int) -> tuple[Tensor, Tensor]:
    """Of the four answers to one prompt, (4, h, w) and (4,), the single one or the three, most confident first."""
    kept = slice(0, 1) if candidates == 1 else slice(1, None)
    order = torch.argsort(scores[kept], descending=True, stable=True)
    return logits[kept][order], scores[kept][order]


def good_first(logits: Tensor, scores: Tensor, candidates: int, at_least: float) -> tuple[Tensor, Tensor]:
    """The same, without those whose score is below `at_least`."""
    logits, scores = best_first(logits, scores, candidates)
    count = int((scores >= at_least).sum())
    return logits[:count], scores[:count]


def masks_of(pixels: np.ndarray, scores: Tensor, logits: Tensor, stability: np.ndarray) -> list[Mask]:
    """One Mask for each of n: (n, y, x) bool, (n,), (n, h, w) and (n,)."""
    low = logits.float().cpu().numpy()
    return [
        Mask(mask, float(score), one.copy(), float(steady))
        for mask, score, one, steady in zip(pixels, scores, low, stability, strict=True)
    ]


def alike(prompts: Sequence[Prompt]) -> list[list[int]]:
    """Indices of prompts that can be decoded together, at most ``BATCH`` at a time.

    A padding token takes part in attention and changes the answer, so only prompts with the same tokens share a batch.
    """
    kinds: dict[tuple[int, bool, bool], list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        kinds[len(prompt.points), prompt.box is None, prompt.mask is None].append(index)
    return [group[start : start + BATCH] for group in kinds.values() for start in range(0, len(group), BATCH)]
