"""Texts with the embedded model: all that a text names, as one mask, and the proposals that lie on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from napari_segany.core.errors import ModelError
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.core.text_query import Phrase
from napari_segany.models import geometry
from napari_segany.models.geometry import Frame
from napari_segany.models.inference_config import InferenceConfig, tiny_inference_config
from napari_segany.models.sam.mask_decoder import ALL
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.models.text.text_prompter import TextMatch, TextPath
from napari_segany.models.tiny import object_proposals
from napari_segany.models.tiny.postprocess import without_crumbs
from napari_segany.models.tiny.tiny_sam import TinySam

PLANE = "plane"
"""Of the plane itself among the features of an embedding."""
LEAST_PART = 16
"""Pixels of a part of the mask of a text that gets a click of its own."""
MASK_STRIDE = 2
"""Input pixels per pixel of the mask logits."""


class TextUnions(SamSegmenter):
    """What :class:`~napari_segany.models.tiny.zoom.ZoomSegmenter` does with dense heads and texts.

    Parameters are those of :class:`SamSegmenter`; the model is a :class:`TinySam`.
    """

    model: TinySam

    def _configured(self, config: InferenceConfig | None) -> InferenceConfig:
        """See :class:`SamSegmenter`; by default those of the shipped model."""
        config = config or tiny_inference_config()
        if config.zoom is None or config.postprocess is None or config.proposals is None:
            raise ModelError(f"the settings of inference of {self.name!r} lack those of the architecture 'tiny'")
        self.zoom, self.post, self.proposing = config.zoom, config.postprocess, config.proposals
        self._last_text: tuple[np.ndarray, Phrase, TextPath, tuple[Tensor, float]] | None = None
        return config

    @torch.inference_mode()
    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        """Return a click on each proposed object, by score; see :mod:`napari_segany.models.tiny.object_proposals`."""
        frame = Frame(embedding.shape, self.model.image_size)
        scale = (1.0, 1.0) if min(frame.scale) < self.zoom.coarse else frame.scale
        return object_proposals.proposal_peaks(self._dense(embedding), scale, frame.plane, self.proposing)

    def named_proposals(self, embedding: ImageEmbedding, phrases: Sequence[Phrase]) -> list[Prompt]:
        """Return the object proposals where the text is relevant, the most relevant first, with their names."""
        known = self.seeds(embedding)
        prompts: list[tuple[float, Prompt]] = []
        for phrase in phrases:
            found = self.found(embedding, phrase)
            if found.presence < self.config.text.presence:
                continue
            relevance = self._relevance(embedding, phrase, found)
            here = [(float(relevance[_pixel(seed)]), replace(seed, text=phrase.label)) for seed in known]
            if self.known_texts().path is not TextPath.MAP:
                here += [(0.5, replace(one, text=phrase.label)) for one in _without_seed(relevance > 0.5, known)]
            prompts += [one for one in here if one[0] >= self.config.text.relevance]
        return [prompt for _, prompt in sorted(prompts, key=lambda one: -one[0])]

    def _relevance(self, embedding: ImageEmbedding, phrase: Phrase, found: TextMatch) -> np.ndarray:
        """How likely the named object is at each pixel, (y, x) from 0 to 1, by the path of the texts."""
        if self.known_texts().path is TextPath.MAP:
            frame = Frame(embedding.shape, self.model.image_size)
            step = frame.side / found.relevance.shape[0]
            rows, columns = (
                ((np.arange(length) + 0.5) * scale / step).astype(int)
                for length, scale in zip(frame.plane, frame.scale, strict=True)
            )
            return found.relevance[np.ix_(rows, columns)]
        return self._text_logits(embedding, phrase)[0][0].sigmoid().numpy()

    def _named(self, embedding: ImageEmbedding, prompts: Sequence[Prompt]) -> list[list[Mask]]:
        """All objects that a text alone names, as one mask."""
        frame = Frame(embedding.shape, self.model.image_size)
        predictions = []
        for prompt in prompts:
            phrase = self.known_texts().phrases(prompt.text)[0]
            logits, score = self._text_logits(embedding, phrase)
            low = geometry.mask_values(logits, frame, self.model.mask_size).numpy()
            pixels = without_crumbs((logits[0] > 0).numpy(), self.post)
            steady = int((logits > 1).sum()) / max(int((logits > -1).sum()), 1)
            predictions.append([Mask(pixels, score, low[0], steady)])
        return predictions

    def _text_logits(self, embedding: ImageEmbedding, phrase: Phrase) -> tuple[Tensor, float]:
        """Logits (1, y, x) of all that a text names, by the path of the texts, and how good they are from 0 to 1."""
        path, known = self.known_texts().path, embedding.features["image_embed"]
        if self._last_text is None or self._last_text[0] is not known or self._last_text[1:3] != (phrase, path):
            # a search asks for the same mask with each batch of clicks
            self._last_text = known, phrase, path, self._union(embedding, phrase, path)
        return self._last_text[3]

    def _union(self, embedding: ImageEmbedding, phrase: Phrase, path: TextPath) -> tuple[Tensor, float]:
        """The same, computed; by both paths it is the mean of their logits."""
        if path is TextPath.MAP:
            return self._foreground_of(embedding, phrase)
        logits, score = self._logits_by_tokens(embedding, phrase)
        if path is not TextPath.BOTH:
            return logits, score
        return (logits + self._foreground_of(embedding, phrase)[0]) / 2, score

    def _logits_by_tokens(self, embedding: ImageEmbedding, phrase: Phrase) -> tuple[Tensor, float]:
        """The same by the tokens of the text, with its predicted IoU."""
        frame = Frame(embedding.shape, self.model.image_size)
        logits, scores = self._decode(self._maps(overview_of(embedding)), [Prompt(text=phrase.spoken)], frame, ALL)
        whole, score = geometry.plane_logits(logits[0, :1].float(), frame), float(scores[0, 0].clamp(0, 1))
        if min(frame.scale) >= self.zoom.coarse:
            return whole, score
        # large objects are whole in the small frame, small ones are visible in tiles at the plane's own resolution
        low = object_proposals.maps_of_tiles(
            self.model, embedding.features[PLANE], self.device, partial(self._decode_tile, phrase), MASK_STRIDE
        )
        fine = F.interpolate(torch.from_numpy(low)[None], frame.plane, mode="bilinear", align_corners=False)[0]
        return (whole + fine) / 2, score

    def _text_masks(self, image_embed: Tensor, prompts: Sequence[Prompt], frame: Frame) -> Tensor | None:
        """See :class:`SamSegmenter`; none here, where the map is the foreground of the dense heads."""
        return None

    def _decode_tile(self, phrase: Phrase, features: dict[str, Tensor]) -> Tensor:
        """Logits (1, 1, h, w) of all that a text names in a tile."""
        texts = self.known_texts()
        model = self.model.with_decoder(texts.decoder)
        logits, _ = model.decode_windows(features, None, None, None, texts.tokens([phrase]))
        return logits[:, :1]

    def _foreground_of(self, embedding: ImageEmbedding, phrase: Phrase) -> tuple[Tensor, float]:
        """The same as the foreground of the dense heads where the text is relevant, with its presence."""
        frame = Frame(embedding.shape, self.model.image_size)
        foreground = torch.from_numpy(self._dense(embedding)[:1])[None]
        foreground = F.interpolate(foreground, frame.plane, mode="bilinear", align_corners=False)[0]
        found = self.found(embedding, phrase)
        relevance = torch.from_numpy(found.relevance).clamp(1e-4, 1 - 1e-4)
        likely = relevance.logit() - logit_of(self.config.text.foreground_relevance)
        return torch.minimum(foreground, geometry.plane_logits(likely[None], frame)), found.presence

    def _dense(self, embedding: ImageEmbedding) -> np.ndarray:
        """Dense heads of a plane, (5, h, w), at its own resolution where the input frame is too coarse."""
        frame = Frame(embedding.shape, self.model.image_size)
        if min(frame.scale) < self.zoom.coarse:
            return object_proposals.dense_of_tiles(self.model, embedding.features[PLANE], self.device)
        return object_proposals.dense_of_frame(self.model, self._maps(overview_of(embedding)), frame)


def overview_of(embedding: ImageEmbedding) -> ImageEmbedding:
    """The embedding without the plane."""
    maps = {name: feature for name, feature in embedding.features.items() if name != PLANE}
    return ImageEmbedding(maps, embedding.shape, embedding.model)


def _pixel(seed: Prompt) -> tuple[int, int]:
    """The pixel of the first click of a prompt."""
    return int(seed.points[0].y), int(seed.points[0].x)


def _without_seed(named: np.ndarray, seeds: Sequence[Prompt]) -> list[Prompt]:
    """A click in the middle of each part of a mask (y, x) that no click of others lies in."""
    parts, _ = ndimage.label(named)
    known = {0, *(int(parts[_pixel(seed)]) for seed in seeds)}
    found = []
    for number, window in enumerate(ndimage.find_objects(parts), start=1):
        part = parts[window] == number
        if number not in known and np.count_nonzero(part) >= LEAST_PART:
            depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
            y, x = np.unravel_index(int(depth.argmax()), depth.shape)
            found.append(Prompt((Point(float(y + window[0].start), float(x + window[1].start)),)))
    return found


def logit_of(probability: float) -> float:
    """The logit of a probability between 0 and 1."""
    return math.log(probability / (1 - probability))
