"""SAM 3 with texts: what its detector finds, next to clicks, boxes and masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_segany.core.automatic_masks import FoundObject
from napari_segany.core.errors import ModelError
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import ExampleBox, Point, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from napari_segany.core.simulate import centre_point
from napari_segany.core.text_query import Phrase, open_phrases
from napari_segany.models.adapters.concept_finder import ConceptFinder, Detections
from napari_segany.models.adapters.sam_families import SamFamily
from napari_segany.models.adapters.transformers_segmenter import TransformersSegmenter

HIDDEN = "backbone"
"""Name of the feature that the detector sees."""
LEAST = 0.3
"""Score from which on detections are objects, as in the library."""
SURE = 1 / (1 + math.exp(-1))
"""Probability with a logit of 1; masks are called stable by their logits."""


class ConceptSegmenter(TransformersSegmenter):
    """Segmenter with the tracker of SAM 3 for clicks, boxes and masks, and its detector for texts.

    Parameters
    ----------
    model : Module
        ``Sam3TrackerModel``.
    family : SamFamily
        SAM 3.
    name : str
        Embeddings carry it.
    place : tuple of torch.device and torch.dtype
        Where to compute, and what the image encoder computes in.
    load_memory : callable
        See :class:`TransformersSegmenter`.
    load_finder : callable
        From the image encoder to the detector; called with the first text.
    """

    def __init__(
        self,
        model: nn.Module,
        family: SamFamily,
        name: str,
        place: tuple[torch.device, torch.dtype],
        load_memory: Callable[[], nn.Module] | None,
        load_finder: Callable[[Any], ConceptFinder],
    ) -> None:
        super().__init__(model, family, name, *place, load_memory)
        self._load_finder = load_finder
        self._finder: ConceptFinder | None = None
        self._masks_of: tuple[Detections, list[Mask]] | None = None
        self._found: tuple[np.ndarray, dict[tuple[str, bytes], Detections]] | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities in addition to points, boxes and masks."""
        return replace(super().capabilities, texts=True, examples=True, text_score=LEAST)

    def _maps(self, pixels: Tensor) -> dict[str, Tensor]:
        seen: list[Tensor] = []
        backbone = self.model.vision_encoder.backbone
        hook = backbone.register_forward_hook(lambda *given: seen.append(given[-1].last_hidden_state))
        try:
            maps = super()._maps(pixels)
        finally:
            hook.remove()
        return {**maps, HIDDEN: seen[-1]}

    def detections(self, embedding: ImageEmbedding, text: str = "", encoded: np.ndarray | None = None) -> Detections:
        """All objects of a text or of encoded examples, however unlikely; those of the last plane are remembered."""
        hidden = self._hidden(embedding)
        if self._found is None or self._found[0] is not hidden:
            self._found = hidden, {}
        key = text, b"" if encoded is None else encoded.tobytes()
        if key not in self._found[1]:
            self._found[1][key] = self._detector().find(hidden, text, encoded)
        return self._found[1][key]

    def encode_examples(self, embedding: ImageEmbedding, examples: Sequence[ExampleBox]) -> np.ndarray:
        """Example boxes of a plane; see :class:`~napari_segany.core.automatic_masks.FindsByExamples`."""
        return self._detector().encode(self._hidden(embedding), embedding.shape, examples)

    def example_objects(
        self, embedding: ImageEmbedding, phrases: Sequence[Phrase], encoded: np.ndarray
    ) -> Iterator[FoundObject]:
        """Objects like examples; see :class:`~napari_segany.core.automatic_masks.FindsByExamples`."""
        named = [(phrase.label, self._named(embedding, phrase, encoded)) for phrase in phrases]
        for label, masks in named or [("", self._likely(embedding, "", encoded))]:
            for mask in masks:
                if mask.pixels.any():
                    yield FoundObject(mask, _inside(mask.pixels), label)

    def _detector(self) -> ConceptFinder:
        """The detector, loaded with the first text or example."""
        if self._finder is None:
            self._finder = self._load_finder(self.model.vision_encoder.backbone)
        return self._finder

    def _hidden(self, embedding: ImageEmbedding) -> np.ndarray:
        """What the detector sees of a plane."""
        if embedding.model != self.name or HIDDEN not in embedding.features:
            raise ModelError(f"this embedding was not made by {self.name!r}")
        return embedding.features[HIDDEN]

    def phrases(self, text: str) -> list[Phrase]:
        """The phrases of a text; see :class:`~napari_segany.core.automatic_masks.ProposesNamedObjects`."""
        return open_phrases(text)

    def named_proposals(self, embedding: ImageEmbedding, phrases: Sequence[Phrase]) -> list[Prompt]:
        """A click with the label of its phrase on each object that the detector finds."""
        named = ((phrase, mask) for phrase in phrases for mask in self._named(embedding, phrase))
        return [Prompt((_inside(mask.pixels),), text=phrase.label) for phrase, mask in named if mask.pixels.any()]

    def _named(self, embedding: ImageEmbedding, phrase: Phrase, encoded: np.ndarray | None = None) -> list[Mask]:
        """The objects of a phrase, without those that it excludes."""
        masks = self._likely(embedding, phrase.spoken, encoded)
        for name in phrase.avoided:
            for other in self._likely(embedding, name):
                masks = [one for one in masks if 2 * np.count_nonzero(one.pixels & other.pixels) <= one.pixels.sum()]
        return masks

    def _likely(self, embedding: ImageEmbedding, text: str, encoded: np.ndarray | None = None) -> list[Mask]:
        """The objects of a text as masks; those of the last text are remembered."""
        found = self.detections(embedding, text, encoded)
        if self._masks_of is None or self._masks_of[0] is not found:
            self._masks_of = found, drawn(found.at_least(LEAST), embedding.shape)
        return self._masks_of[1]

    def segment(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        *,
        candidates: int | None = None,
        at_least: float = -math.inf,
    ) -> list[list[Mask]]:
        """Predict masks; parameters as of the protocol.

        A text with clicks gets the detected object of that name that has all positive clicks and no negative one;
        a text alone all objects of that name together. A box of a text is an example of what to find.

        Raises
        ------
        InputError
            As of the other models, or a text names nothing.
        """
        self._check_clicks(prompts)
        plain = [replace(prompt, text="") if prompt.text.strip() else prompt for prompt in prompts]
        texts = [prompt.text.strip() for prompt in prompts]
        placed = [number for number, text in enumerate(texts) if not text]
        answers = super().segment(
            embedding, [plain[number] for number in placed], candidates=candidates, at_least=at_least
        )
        found = dict(zip(placed, answers, strict=True))
        for number in set(range(len(prompts))) - set(placed):
            masks = self._answer(embedding, prompts[number])
            found[number] = [mask for mask in masks if mask.score >= at_least]
        return [found[number] for number in range(len(prompts))]

    def _check_clicks(self, prompts: Sequence[Prompt]) -> None:
        """Refuse prompts that the model does not take."""

    def _answer(self, embedding: ImageEmbedding, prompt: Prompt) -> list[Mask]:
        encoded = None if prompt.box is None else self.encode_examples(embedding, [ExampleBox(prompt.box)])
        parts = [mask for phrase in open_phrases(prompt.text) for mask in self._named(embedding, phrase, encoded)]
        if prompt.points:
            parts = sorted((one for one in parts if _fits(one, prompt.points)), key=lambda one: -one.score)[:1]
        nothing = Mask(np.zeros(embedding.shape, bool), 0.0, np.full(self.mask_size, -10, np.float32), 0.0)
        if not parts:
            return [nothing]
        whole = parts[0]
        for one in parts[1:]:
            logits, pixels = np.maximum(whole.logits, one.logits), whole.pixels | one.pixels
            score, steady = max(whole.score, one.score), min(whole.stability, one.stability)
            whole = Mask(pixels, score, logits, steady)
        return [whole]


class DetectorSegmenter(ConceptSegmenter):
    """Segmenter with the detector of SAM 3 alone: texts and example boxes, but no clicks.

    Parameters
    ----------
    model : Module
        ``Sam3Model``; it is moved to the device.
    family : SamFamily
        SAM 3.
    name : str
        Embeddings carry it.
    place : tuple of torch.device and torch.dtype
        Where to compute, and what the image encoder computes in.
    finder : callable
        From the model to what finds objects with it; called with the first text.
    """

    def __init__(
        self,
        model: nn.Module,
        family: SamFamily,
        name: str,
        place: tuple[torch.device, torch.dtype],
        finder: Callable[[Any], ConceptFinder],
    ) -> None:
        super().__init__(model, family, name, place, None, lambda _: finder(self.model))

    def _sizes(self) -> tuple[int, tuple[int, int]]:
        vision = self.model.config.vision_config
        height, width = vision.backbone_feature_sizes[0]
        return int(vision.backbone_config.image_size), (int(height), int(width))

    def _maps(self, pixels: Tensor) -> dict[str, Tensor]:
        return {HIDDEN: self.model.vision_encoder.backbone(pixels).last_hidden_state}

    def _check_clicks(self, prompts: Sequence[Prompt]) -> None:
        if any(not prompt.text.strip() for prompt in prompts):
            raise ModelError(
                f"{self.name!r} is SAM 3's detector alone: it finds objects by texts and example boxes; clicks, boxes "
                "and masks need the weights of the tracker"
            )


def drawn(found: Detections, shape: tuple[int, int]) -> list[Mask]:
    """Masks of detections on the plane: probabilities are resized, as the library does it."""
    masks = []
    for logits, score in zip(found.logits, found.scores, strict=True):
        likely = F.interpolate(logits.sigmoid()[None, None], shape, mode="bilinear", align_corners=False)[0, 0].numpy()
        steady = int((likely > SURE).sum()) / (int((likely > 1 - SURE).sum()) or 1)
        masks.append(Mask(likely > 0.5, float(score), logits.numpy(), steady))
    return masks


def _inside(pixels: np.ndarray) -> Point:
    """The pixel of a mask that is farthest from its outline and from the border of the plane."""
    point = centre_point(np.pad(pixels, 1))
    return replace(point, y=point.y - 1, x=point.x - 1)


def _fits(mask: Mask, points: Sequence[Point]) -> bool:
    height, width = mask.pixels.shape
    for point in points:
        y, x = (min(max(round(at), 0), length - 1) for at, length in ((point.y, height), (point.x, width)))
        if bool(mask.pixels[y, x]) is not point.positive:
            return False
    return True
