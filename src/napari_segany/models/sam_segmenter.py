"""SamSegmenter: the Segmenter over SAM and every model with its two calls, `encode` and `decode`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from skimage.feature import peak_local_max
from torch import Tensor

from napari_segany.core.arguments import check_each, check_type
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.masks import Mask, window_of
from napari_segany.core.metrics import iou
from napari_segany.core.planes import Plane, Region
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding, check_plane
from napari_segany.core.text_query import Phrase
from napari_segany.models.geometry import Frame, image_tensor, plane_masks, prompt_tensors
from napari_segany.models.inference_config import InferenceConfig, TextConfig
from napari_segany.models.sam.mask_decoder import ALL, CANDIDATES, Choice
from napari_segany.models.sam.model import Sam
from napari_segany.models.text.text_prompter import TextMatch, TextPath, TextPrompter

BATCH = 32
"""Prompts decoded together, at most."""
NUMBERS = 2**22
"""Of image features for the prompts decoded together: more leave the processor's cache before they are used again."""


class SamSegmenter:
    """Segmenter that predicts masks with a SAM.

    Parameters
    ----------
    model : Sam
        SAM itself or a model that shares its calls; it is moved to `device` and put into evaluation mode.
    name : str
        Name of the model; embeddings carry it.
    device : str or torch.device
        Where to compute.
    dtype : torch.dtype
        What encoder and decoder compute in. Prompts are encoded, and IoU and logits handed out, in float32.
    texts : TextPrompter, optional
        What turns texts into tokens; without it prompts by text are refused.
    config : InferenceConfig, optional
        The numbers that were chosen for the model; by default those of a published SAM.
    """

    def __init__(
        self,
        model: Sam,
        name: str,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        texts: TextPrompter | None = None,
        config: InferenceConfig | None = None,
    ) -> None:
        self.name = name
        self.config = self._configured(config)
        self.device = torch.device(device)
        self.dtype = dtype
        self.texts = texts
        self.model = self._ready(model.to(self.device, torch.float32).eval().requires_grad_(False))
        self._decoding = next(self.model.mask_decoder.parameters()).dtype
        # Clicks come one after the other on the same picture.
        self._last: tuple[np.ndarray, dict[str, Tensor]] | None = None
        self._position = self.model.prompt_encoder.dense_pe().to(self._decoding)
        if texts is not None:
            texts.decoder.to(self._decoding)

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities in addition to points, boxes and masks."""
        return Capabilities(
            proposals=self.config.proposals is not None,
            texts=self.texts is not None,
            describes=self.texts is not None,
            filters=self.config.filters,
            text_score=self.config.text.score,
            gates=self.config.gates,
            ranking=self.config.ranking,
            device=str(self.device),
            precision=str(self.dtype).removeprefix("torch."),
        )

    def _configured(self, config: InferenceConfig | None) -> InferenceConfig:
        """The numbers of inference, by default those of a published SAM."""
        return config or InferenceConfig()

    def _ready(self, model: Sam) -> Sam:
        """The model with what takes long in the type that it computes in; prompts are encoded in single precision."""
        return model if self.dtype == torch.float32 else model.in_type(self.dtype)

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
        check_plane(plane)
        height, width, _ = plane.shape
        image = image_tensor(plane, Frame((height, width), self.model.image_size)).to(self.device)
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
        """Predict the candidate masks of each prompt, the most confident first.

        Prompts are decoded together where that cannot change a mask.

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
            A prompt holds text, and the model takes none, or open_clip cannot be imported.
        """
        prompts = self._checked(embedding, prompts, candidates)
        check_type(at_least, (int, float, np.number), "at_least")
        if any(prompt.text.strip() for prompt in prompts):
            return has_text(self, embedding, prompts, candidates, at_least)
        return self.segment_plain(embedding, prompts, candidates, at_least)

    @torch.inference_mode()
    def segment_plain(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], candidates: int | None, at_least: float
    ) -> list[list[Mask]]:
        """The same for prompts whose texts, where they have one, are a single known name each."""
        frame = Frame(embedding.shape, self.model.image_size)
        predictions = self._predictions(embedding, prompts, frame, candidates, at_least)
        return [self._masks(*good_first(*prediction, ALL.candidates, at_least), frame) for prediction in predictions]

    def _predictions(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        frame: Frame,
        candidates: int | None,
        at_least: float = -math.inf,
    ) -> list[tuple[Tensor, Tensor]]:
        """For each prompt the wanted logits (n, h, w) of the frame, where they are good enough, and their IoU (n,)."""
        features = self._maps(embedding)
        predictions: dict[int, tuple[Tensor, Tensor]] = {}
        for group in is_similar(prompts, max(NUMBERS // features["image_embed"].numel(), 1)):
            chosen = [prompts[index] for index in group]
            choice = Choice(wanted_masks(chosen[0], candidates), at_least)
            logits, iou = self._decode(features, chosen, frame, choice)
            predictions |= {index: (logits[row], iou[row]) for row, index in enumerate(group)}
        return [predictions[index] for index in range(len(prompts))]

    def _maps(self, embedding: ImageEmbedding) -> dict[str, Tensor]:
        """Features (1, C, h, w), with the channels last in memory: a CPU decodes others at half the speed."""
        known = embedding.features["image_embed"]
        if self._last is not None and self._last[0] is known:
            return self._last[1]
        last = {name: np.ascontiguousarray(np.moveaxis(array, 1, -1)) for name, array in embedding.features.items()}
        maps = {name: torch.tensor(array) for name, array in last.items()}
        ready = {name: values.to(self.device, self._decoding).movedim(-1, 1) for name, values in maps.items()}
        self._last = known, ready
        return ready

    def _checked(self, embedding: ImageEmbedding, prompts: Sequence[Prompt], candidates: int | None) -> list[Prompt]:
        """Return the prompts clipped to the plane; raise InputError for prompts without a possible mask."""
        check_type(embedding, ImageEmbedding, "embedding")
        check_each(prompts, Prompt, "prompts")
        if embedding.model != self.name:
            raise InputError(f"this embedding was made by {embedding.model!r}, not by {self.name!r}")
        if candidates is not None and not (isinstance(candidates, int) and candidates in (1, 3)):
            raise InputError(f"candidates must be 1, 3 or None, got {candidates!r}")
        if any(prompt.text.strip() for prompt in prompts):
            self.known_texts()
        return [prompt.on_plane(embedding.shape) for prompt in prompts]

    def _decode(
        self, features: dict[str, Tensor], prompts: Sequence[Prompt], frame: Frame, choice: Choice
    ) -> tuple[Tensor, Tensor]:
        """Prompts that are alike -> logits (B, M, h, w) and predicted IoU (B, M)."""
        given = prompt_tensors(prompts, frame, self.model.mask_size).to(self.device)
        features = {**features, "image_pe": self._position}
        if self.texts is not None and prompts[0].text.strip() and only_text(prompts[0]):
            return self._decode_texts(features, prompts, frame, choice)
        text = self._tokens(prompts)
        return self._model(text).decode(features, given.points, given.boxes, given.masks, text, choice)

    def _decode_texts(
        self, features: dict[str, Tensor], prompts: Sequence[Prompt], frame: Frame, choice: Choice
    ) -> tuple[Tensor, Tensor]:
        """The same for texts alone, by the path that the head was trained for."""
        texts = self.known_texts()
        text = None if texts.path is TextPath.MAP else self._tokens(prompts)
        masks = self._text_masks(features["image_embed"], prompts, frame)
        return self.model.with_decoder(texts.decoder).decode(features, None, None, masks, text, choice)

    def _text_masks(self, image_embed: Tensor, prompts: Sequence[Prompt], frame: Frame) -> Tensor | None:
        """Mask prompts (B, 1, h, w) that go with texts alone; None by a path without them."""
        texts = self.known_texts()
        if texts.path not in (TextPath.MAP, TextPath.BOTH):
            return None
        phrases = [texts.phrases(prompt.text)[0] for prompt in prompts]
        return texts.rough(phrases, image_embed, self._cells(frame, image_embed), self.model.mask_size)

    def _cells(self, frame: Frame, image_embed: Tensor) -> tuple[int, int]:
        """Rows and columns of an image embedding that are picture and not padding."""
        step = self.model.image_size / image_embed.shape[-1]
        rows, columns = (math.ceil(length / step) for length in frame.resized)
        return rows, columns

    def _tokens(self, prompts: Sequence[Prompt]) -> Tensor | None:
        """Text tokens (B, T, C) of prompts that are alike; None where they have no text."""
        if not prompts[0].text.strip() or self.texts is None:
            return None
        return self.texts.tokens([self.texts.phrases(prompt.text)[0] for prompt in prompts])

    def _model(self, text: Tensor | None) -> Sam:
        """The model whose decoder is used: one that knows text tokens where there are some."""
        return self.model if text is None or self.texts is None else self.model.with_decoder(self.texts.decoder)

    @torch.inference_mode()
    def found(self, embedding: ImageEmbedding, phrase: Phrase) -> TextMatch:
        """Where something that is named seems to be, and whether it is there at all.

        Raises
        ------
        ModelError
            The model takes no text, or open_clip cannot be imported.
        """
        texts = self.known_texts()
        features = torch.tensor(embedding.features["image_embed"]).float().to(self.device)
        frame = Frame(embedding.shape, self.model.image_size)
        return texts.found(phrase, features, self._cells(frame, features), self.config.text.scene_share)

    def named_proposals(self, embedding: ImageEmbedding, phrases: Sequence[Phrase]) -> list[Prompt]:
        """Clicks with names on objects that a text may name; see ``core.automatic_masks.ProposesNamedObjects``.

        For a model without object proposals, these are the peaks of the relevance map.
        """
        prompts = []
        for phrase in phrases:
            found = self.found(embedding, phrase)
            if found.presence >= self.config.text.presence:
                frame = Frame(embedding.shape, self.model.image_size)
                prompts += named_peaks(found.relevance, frame, phrase.label, self.config.text.relevance)
        return prompts

    def phrases(self, text: str) -> list[Phrase]:
        """The phrases of a text; see :class:`~napari_segany.core.automatic_masks.ProposesNamedObjects`."""
        return self.known_texts().phrases(text)

    def describe(self, plane: Plane, windows: Sequence[Region], masks: Sequence[np.ndarray]) -> np.ndarray:
        """Return vectors of crops by the CLIP of the texts; see :class:`~.exemplars.DescribesObjects`.

        Raises
        ------
        ModelError
            The model takes no text, or open_clip cannot be imported.
        """
        return self.known_texts().clip.crop_vectors(plane, windows, masks)

    def known_texts(self) -> TextPrompter:
        """What turns texts into tokens.

        Raises
        ------
        ModelError
            There is nothing that does.
        """
        if self.texts is None:
            raise ModelError(f"the model {self.name!r} takes points, boxes and masks, but no text")
        return self.texts

    def _masks(self, logits: Tensor, scores: Tensor, frame: Frame) -> list[Mask]:
        """Candidates of one prompt, (n, h, w) and (n,), brought to the plane."""
        if not len(logits):
            return []
        pixels, stability = plane_masks(logits, frame, self.model.mask_threshold)
        return masks_of(pixels, scores, logits, stability)


def has_text(
    segmenter: SamSegmenter,
    embedding: ImageEmbedding,
    prompts: Sequence[Prompt],
    candidates: int | None,
    at_least: float,
) -> list[list[Mask]]:
    """Predict masks of prompts with texts: several names mean all of them, and objects after "not" are excluded."""
    texts = segmenter.known_texts()
    parts: list[tuple[int, bool, Prompt]] = []
    for number, prompt in enumerate(prompts):
        phrases = texts.phrases(prompt.text) if prompt.text.strip() else []
        if not phrases:
            parts.append((number, True, replace(prompt, text="")))
        parts += [(number, True, replace(prompt, text=phrase.spoken)) for phrase in phrases]
        avoided = dict.fromkeys(name for phrase in phrases for name in phrase.avoided)
        parts += [(number, False, replace(prompt, text=name)) for name in avoided]
    by_path = _by_own_decoder if texts.path is TextPath.MAP else _by_union
    predictions = by_path(segmenter, embedding, [part for _, _, part in parts], candidates)
    joined: list[list[Mask]] = [[] for _ in prompts]
    for (number, meant, _), masks in zip(parts, predictions, strict=True):
        before = joined[number]
        joined[number] = (
            [combine_masks(*pair, meant=meant) for pair in zip(before, masks, strict=True)] if before else masks
        )
    return [[mask for mask in masks if mask.score >= at_least] for masks in joined]


def _by_own_decoder(
    segmenter: SamSegmenter, embedding: ImageEmbedding, parts: Sequence[Prompt], candidates: int | None
) -> list[list[Mask]]:
    """Masks of prompts with a name each, by a decoder that knows texts with and without clicks."""
    predictions = segmenter.segment_plain(embedding, parts, candidates, -math.inf)
    # A single click is predicted as without a text, and the text selects one of its candidate masks.
    lone = {k: click for k, part in enumerate(parts) if part.text and (click := replace(part, text="")).ambiguous}
    clicks = segmenter.segment_plain(embedding, list(lone.values()), 3, -math.inf)
    for k, masks in zip(lone, clicks, strict=True):
        predictions[k] = choose_mask(predictions[k][0], masks, segmenter.config.text)[: candidates or 1]
    return predictions


def _by_union(
    segmenter: SamSegmenter, embedding: ImageEmbedding, parts: Sequence[Prompt], candidates: int | None
) -> list[list[Mask]]:
    """Masks of prompts with a name each, where texts alone find all that they name.

    Prompts with a position are predicted as without a text, and the mask of the text alone ranks them.
    """
    names = list(dict.fromkeys(part.text for part in parts if part.text))
    texts = segmenter.segment_plain(embedding, [Prompt(text=name) for name in names], 1, -math.inf)
    unions = {name: masks[0] for name, masks in zip(names, texts, strict=True)}
    predictions: dict[int, list[Mask]] = {k: [unions[part.text]] for k, part in enumerate(parts) if only_text(part)}
    placed = {k: replace(part, text="") for k, part in enumerate(parts) if k not in predictions}
    lone = [k for k, part in placed.items() if parts[k].text and part.ambiguous]
    for group, count in ((lone, 3), ([k for k in placed if k not in lone], candidates)):
        found = segmenter.segment_plain(embedding, [placed[k] for k in group], count, -math.inf)
        for k, masks in zip(group, found, strict=True):
            union = unions.get(parts[k].text)
            predictions[k] = masks if union is None else rank_by_union(union, masks, segmenter.config.text)
            if k in lone:
                predictions[k] = predictions[k][: candidates or 1]
    return [predictions[k] for k in range(len(parts))]


def rank_by_union(union: Mask, masks: Sequence[Mask], config: TextConfig) -> list[Mask]:
    """Order the masks of a click by their score and their agreement with all that a text names, the best first.

    The agreement is the IoU with the part of it that any of the masks covers, as the text names other objects as well.
    The score of each mask is multiplied by the share of it that the text names.
    """
    drawn = np.logical_or.reduce([mask.pixels for mask in masks]) if masks else np.zeros((1, 1), bool)
    window = window_of(drawn)
    if window is None:
        return list(masks)
    named = union.pixels[window] & drawn[window]
    weight = config.union_agreement * max(union.score, 0.0) ** config.union_certainty

    def share(mask: Mask) -> float:
        pixels = mask.pixels[window]
        return int(np.count_nonzero(pixels & named)) / max(int(np.count_nonzero(pixels)), 1)

    order = sorted(masks, key=lambda mask: -(mask.score + weight * iou(mask.pixels[window], named)))
    return [replace(mask, score=mask.score * share(mask)) for mask in order]


def choose_mask(text: Mask, masks: Sequence[Mask], config: TextConfig) -> list[Mask]:
    """Order the masks of a click by their score and their agreement with the mask of a text, the best first.

    The score of each is the mean of what the model predicts for it and for the text: low where the click is on another
    object than the text names.
    """

    def agreement(mask: Mask) -> float:
        union = int(np.count_nonzero(mask.pixels | text.pixels))
        return int(np.count_nonzero(mask.pixels & text.pixels)) / union if union else 0.0

    weight = config.agreement * max(text.score, 0.0) ** config.certainty
    order = sorted(masks, key=lambda mask: -(mask.score + weight * agreement(mask)))
    return [replace(mask, score=(mask.score + text.score) / 2) for mask in order]


def combine_masks(first: Mask, second: Mask, *, meant: bool) -> Mask:
    """Combine two masks: their union when both are wanted, else the first where the second is less confident."""
    if first.logits.shape != second.logits.shape:
        second = replace(second, logits=np.full_like(first.logits, first.logits.min()))
    if meant:
        pixels, logits = first.pixels | second.pixels, np.maximum(first.logits, second.logits)
        return Mask(pixels, max(first.score, second.score), logits, min(first.stability, second.stability))
    logits = np.minimum(first.logits, -second.logits)
    return Mask(first.pixels & ~second.pixels, first.score, logits, first.stability)


def only_text(prompt: Prompt) -> bool:
    """Whether a prompt is a text without a position."""
    return not prompt.points and prompt.box is None and prompt.mask is None


def named_peaks(relevance: np.ndarray, frame: Frame, name: str, least: float) -> list[Prompt]:
    """Clicks with a name at peaks of at least `least` of a map (h, w) of the embedding's grid, the highest first."""
    cells = peak_local_max(relevance, min_distance=1, threshold_abs=least, exclude_border=False)
    places = (cells + 0.5) * (frame.side / relevance.shape[0]) / frame.scale - 0.5
    inside = np.clip(places, 0, np.array(frame.plane) - 1.0)
    return [Prompt((Point(float(y), float(x)),), text=name) for y, x in inside]


def wanted_masks(prompt: Prompt, candidates: int | None) -> int:
    """Number of masks for a prompt: the requested number, else three for an ambiguous prompt and one for any other."""
    return candidates or (3 if prompt.ambiguous else 1)


def best_first(logits: Tensor, scores: Tensor, candidates: int) -> tuple[Tensor, Tensor]:
    """Select from the masks of one prompt, (4, h, w) and (4,), the single one, the three or all, best first."""
    kept = CANDIDATES[candidates]
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
        # the head that predicts the IoU is a free number
        Mask(mask, min(max(float(score), 0.0), 1.0), one.copy(), float(steady))
        for mask, score, one, steady in zip(pixels, scores, low, stability, strict=True)
    ]


def is_similar(prompts: Sequence[Prompt], most: int = BATCH) -> list[list[int]]:
    """Indices of prompts that can be decoded together, at most `most` and ``BATCH`` at a time.

    A padding token takes part in attention and changes the mask, so only prompts with the same tokens share a batch;
    and only those of which as many masks are wanted.
    """
    kinds: dict[tuple[int | bool, ...], list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        given = (prompt.box is None, prompt.mask is None, not prompt.text.strip())
        kinds[len(prompt.points), prompt.ambiguous, *given].append(index)
    most = min(most, BATCH)
    return [group[start : start + most] for group in kinds.values() for start in range(0, len(group), most)]
