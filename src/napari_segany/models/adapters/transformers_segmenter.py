"""SAM, SAM-HQ, SAM 2, EdgeTAM and SAM 3 of `transformers` as a Segmenter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.core.arguments import check_each, check_type
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding, check_plane
from napari_segany.models.adapters.sam_families import SamFamily
from napari_segany.models.adapters.tracker_memory import MAPS, TrackerMemory, TrackerModel
from napari_segany.models.geometry import Frame, plane_masks, prompt_tensors, resized_tensor
from napari_segany.models.sam_segmenter import NUMBERS, is_similar, masks_of, wanted_masks

MAP, VIT = MAPS + "{}", "vit_features"
"""Names of the features: maps from the finest to the coarsest; and those of the image encoder that SAM-HQ adds."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptPrediction:
    """What a model predicts for B prompts that are alike.

    Parameters
    ----------
    logits : Tensor
        (B, M, h, w) float32, low resolution.
    iou : Tensor
        (B, M), the IoU that the model predicts.
    object_score : Tensor, optional
        (B,) logit of whether the object is there at all; SAM and SAM-HQ have none.
    """

    logits: Tensor
    iou: Tensor
    object_score: Tensor | None


class TransformersSegmenter:
    """Segmenter with a model of `transformers` that takes points, boxes and masks.

    Parameters
    ----------
    model : Module
        Of the family's class; it is moved to `device`.
    family : SamFamily
        What it is.
    name : str
        Embeddings carry it.
    device : str or torch.device
        Where to compute.
    dtype : torch.dtype
        What the image encoder computes in; prompts are decoded in float32.
    load_memory : callable, optional
        Loads the class of the family that follows objects by a memory; called when it is first needed.
    """

    def __init__(
        self,
        model: nn.Module,
        family: SamFamily,
        name: str,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        load_memory: Callable[[], nn.Module] | None = None,
    ) -> None:
        self.name, self.family, self.dtype = name, family, dtype
        self._load_memory = load_memory
        self.device = torch.device(device)
        # (typed loosely: their attributes are no part of nn.Module)
        loose: Any = model.to(self.device).eval().requires_grad_(False)
        self.model = loose
        self.kept = torch.float16
        self.image_size, self.mask_size = self._sizes()
        self._last: tuple[np.ndarray, dict[str, Tensor]] | None = None
        self._tracker: TrackerModel | None = None

    def _sizes(self) -> tuple[int, tuple[int, int]]:
        """Side of the model's input, and (h, w) of its mask logits."""
        encoder = self.model.prompt_encoder
        grid = encoder.image_embedding_size
        return int(encoder.input_image_size), (4 * int(grid[0]), 4 * int(grid[1]))

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities in addition to points, boxes and masks."""
        return Capabilities(
            filters=self.family.filters,
            device=str(self.device),
            precision=str(self.dtype).removeprefix("torch."),
            memory=self._load_memory is not None,
        )

    def remember(self, length: int) -> TrackerMemory:
        """An empty memory of one object; see :class:`~napari_segany.core.object_memory.RemembersObjects`.

        Raises
        ------
        ModelError
            The weights include no memory, or it cannot be loaded.
        """
        if self._tracker is None:
            if self._load_memory is None:
                raise ModelError(f"the model {self.name!r} has no memory")
            self._tracker = TrackerModel.of(self._load_memory(), self.model, self.device)
        return TrackerMemory(self._tracker, length)

    def frame(self, shape: tuple[int, int]) -> Frame:
        """How a plane lies in the model's input."""
        return Frame(shape, self.image_size, self.family.stretched)

    def pixels(self, plane: np.ndarray) -> Tensor:
        """(1, 3, side, side) float32: a plane (y, x, 3) uint8 as the model wants it."""
        frame = self.frame((plane.shape[0], plane.shape[1]))
        colours = self.family.mean, self.family.deviation
        resized = resized_tensor(plane, frame).to(self.device)
        mean, deviation = (255 * resized.new_tensor(each)[:, None, None] for each in colours)
        rows, columns = frame.resized
        return F.pad((resized - mean) / deviation, (0, frame.side - columns, 0, frame.side - rows))

    @torch.inference_mode()
    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        """Encode a plane; see :meth:`~napari_segany.core.segmenter.Segmenter.embed`.

        Features are float16, but for those with values that are too large for it.

        Raises
        ------
        InputError
            The plane has another type or shape.
        """
        check_plane(plane)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            found = self._maps(self.pixels(plane))
        arrays = {name: _kept(value, self.kept) for name, value in found.items()}
        return ImageEmbedding(arrays, (plane.shape[0], plane.shape[1]), self.name)

    def _maps(self, pixels: Tensor) -> dict[str, Tensor]:
        found = self.model.get_image_embeddings(pixels)
        if isinstance(found, Tensor):
            return {MAP.format(0): found}
        if self.family.image_class == "SamHQModel":
            # the first of these alone is used by the decoder
            return {MAP.format(0): found[0], VIT: found[1][0]}
        # as they are before the sign of a picture without earlier ones is added: with memory they are needed so
        *fine, coarse = found
        maps = [*fine, coarse - self._no_memory()]
        return {MAP.format(number): each for number, each in enumerate(maps)}

    def _no_memory(self) -> Tensor:
        sign: Tensor = self.model.no_memory_embedding.reshape(1, -1, 1, 1)
        vision = self.model.config.vision_config
        levels, used = getattr(vision, "scale_factors", None), vision.backbone_feature_sizes
        # transformers 5.24 adds it to the last map of all, which SAM 3 has one more of and drops: a click is predicted
        # without it there, and so it is here
        return sign if levels is None or len(levels) == len(used) else torch.zeros_like(sign)

    def segment(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        *,
        candidates: int | None = None,
        at_least: float = -math.inf,
    ) -> list[list[Mask]]:
        """Predict the candidate masks of each prompt; parameters as of the protocol.

        Raises
        ------
        InputError
            The embedding is another model's, a prompt is empty, or a mask prompt does not fit.
        ModelError
            A prompt holds text.
        """
        prompts = self._checked(embedding, prompts, candidates)
        if not prompts:
            return []
        found: dict[int, list[Mask]] = {}
        coarse = embedding.features[MAP.format(self._levels(embedding) - 1)]
        for group in is_similar(prompts, max(NUMBERS // coarse.size, 1)):
            chosen = [prompts[number] for number in group]
            prediction = self.predict(embedding, chosen, wanted_masks(chosen[0], candidates))
            for row, number in enumerate(group):
                found[number] = self._masks(prediction.logits[row], prediction.iou[row], embedding.shape, at_least)
        return [found[number] for number in range(len(prompts))]

    def _checked(self, embedding: ImageEmbedding, prompts: Sequence[Prompt], candidates: int | None) -> list[Prompt]:
        check_type(embedding, ImageEmbedding, "embedding")
        check_each(prompts, Prompt, "prompts")
        if embedding.model != self.name:
            raise InputError(f"this embedding was made by {embedding.model!r}, not by {self.name!r}")
        if candidates is not None and candidates not in (1, 3):
            raise InputError(f"candidates must be 1, 3 or None, got {candidates!r}")
        if any(prompt.text.strip() for prompt in prompts):
            raise ModelError(f"the model {self.name!r} takes points, boxes and masks, but no text")
        return [prompt.on_plane(embedding.shape) for prompt in prompts]

    @torch.inference_mode()
    def predict(self, embedding: ImageEmbedding, prompts: Sequence[Prompt], count: int) -> PromptPrediction:
        """Predict one mask or three for prompts that are alike, in one batch."""
        given = prompt_tensors(prompts, self.frame(embedding.shape), self.mask_size).to(self.device)
        points, labels = (None, None) if given.points is None else given.points
        features = self._ready(embedding)
        answer = self.model(
            **self._image(features, len(prompts)),
            input_points=None if points is None else points[:, None],
            input_labels=None if labels is None else labels[:, None],
            input_boxes=None if given.boxes is None else given.boxes[:, None],
            input_masks=given.masks,
            multimask_output=count > 1,
        )
        score = getattr(answer, "object_score_logits", None)
        return PromptPrediction(
            answer.pred_masks[:, 0].float(), answer.iou_scores[:, 0].float(), None if score is None else score[:, 0, 0]
        )

    def _image(self, features: dict[str, Tensor], count: int) -> dict[str, Any]:
        """The arguments for a picture, once for each prompt."""
        levels = [name for name in features if name.startswith(MAPS)]
        maps = [features[name].expand(count, -1, -1, -1) for name in levels]
        if VIT in features:
            return {"image_embeddings": maps[0], "intermediate_embeddings": [features[VIT]]}
        if len(maps) == 1:
            return {"image_embeddings": maps[0]}
        return {"image_embeddings": [*maps[:-1], maps[-1] + self._no_memory()]}

    def _ready(self, embedding: ImageEmbedding) -> dict[str, Tensor]:
        """The features as tensors on the device; those of the last picture are remembered."""
        known = embedding.features[MAP.format(0)]
        if self._last is None or self._last[0] is not known:
            values = {name: torch.tensor(array) for name, array in embedding.features.items()}
            ready = {name: value.to(self.device, torch.float32) for name, value in values.items()}
            self._last = known, ready
        return self._last[1]

    @staticmethod
    def _levels(embedding: ImageEmbedding) -> int:
        return sum(name.startswith(MAPS) for name in embedding.features)

    def _masks(self, logits: Tensor, iou: Tensor, shape: tuple[int, int], at_least: float) -> list[Mask]:
        """Candidates of one prompt, (n, h, w) and (n,), the most confident first, brought to the plane."""
        order = torch.argsort(iou, descending=True, stable=True)
        order = order[iou[order] >= at_least]
        if not len(order):
            return []
        # a stretched picture is resized from the low resolution at once
        frame = Frame(shape, self.mask_size[0], stretched=True) if self.family.stretched else self.frame(shape)
        pixels, stability = plane_masks(logits[order], frame)
        return masks_of(pixels, iou[order], logits[order], stability)


def _kept(value: Tensor, dtype: torch.dtype) -> np.ndarray:
    """A feature as it is kept; in single precision where it has values that are too large."""
    half = value.to(dtype)
    fits = bool(torch.isfinite(half).all()) or not bool(torch.isfinite(value).all())
    found: np.ndarray = (half if fits else value.float()).cpu().numpy()
    return found
