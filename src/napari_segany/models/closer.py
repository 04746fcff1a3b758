"""A second, closer look at small objects: what is a few pixels in the whole picture fills a window of its own.

The input frame of the embedded model is small. A nucleus of a large picture is hardly more than a dot in it, and no
decoder can draw its outline. So the first answer only tells where the object is; the part of the plane around it is
then encoded again, magnified so that the object has the size that the model draws best, and the prompt is answered
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_segany.core.masks import Mask, box_of
from napari_segany.core.prompts import Box, Prompt
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.models import geometry
from napari_segany.models.geometry import Frame, Window
from napari_segany.models.sam_segmenter import SamSegmenter, alike, best_first, wanted
from napari_segany.models.tiny import TinySam

SIDE = 256
"""Pixels of a window; most of the training was on crops of that size."""
WANTED = 80.0
"""Longest side, in window pixels, that an object is magnified to."""
LARGEST = 150.0
"""Objects that are larger than this in the input frame are left to the first look."""
MAGNIFICATION = 4.0
"""Window pixels per plane pixel, at most: there is nothing more to see."""
AGAIN = 1.6
"""A click's first answer may be far off; when the second has a size that differs by more, a third look is taken."""
LOOKS = 2
PLANE = "plane"


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What was found in a window: logits (4, h, w) and predicted IoU (4,)."""

    window: Window
    logits: Tensor
    scores: Tensor

    def box(self, candidates: int) -> Box | None:
        """Around the mask that would be shown, in plane pixels."""
        return geometry.window_box(best_first(self.logits, self.scores, candidates)[0][0], self.window)


class CloserSegmenter(SamSegmenter):
    """Answers prompts with the embedded model, looking closer at what is small.

    Parameters are those of :class:`SamSegmenter`; the model is a :class:`TinySam`. Its embeddings hold the plane too.
    """

    model: TinySam

    def __init__(
        self,
        model: TinySam,
        name: str,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(model, name, device, dtype)
        # A quarter faster on a CPU; nearly all of the time goes into convolutions.
        self.model.to(memory_format=torch.channels_last)

    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        """Encode a plane; see :meth:`SamSegmenter.embed`."""
        embedding = super().embed(plane)
        return ImageEmbedding({**embedding.features, PLANE: plane.copy()}, embedding.shape, embedding.model)

    @torch.inference_mode()
    def segment(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], *, candidates: int | None = None
    ) -> list[list[Mask]]:
        """Answer each prompt; see :meth:`SamSegmenter.segment`."""
        self._check(embedding, prompts, candidates)
        features, frame = dict(embedding.features), Frame(embedding.shape, self.model.image_size)
        plane = features.pop(PLANE)
        guesses = {i: said(prompt, frame) for i, prompt in enumerate(prompts)}
        unknown = [i for i, box in guesses.items() if window_for(box, frame) is None]
        overview = ImageEmbedding(features, embedding.shape, embedding.model)
        with self._precision():
            answers = self._answers(overview, [prompts[i] for i in unknown], frame)
        first = {i: (logits.float(), scores.float()) for i, (logits, scores) in zip(unknown, answers, strict=True)}
        counts = [wanted(prompt, candidates) for prompt in prompts]
        for i, (logits, scores) in first.items():
            guesses[i] = guess(prompts[i], geometry.frame_box(best_first(logits, scores, counts[i])[0][0], frame))
        looks: dict[int, _Look] = {}
        looking = list(guesses)
        for _ in range(LOOKS):
            windows = {i: window for i in looking if (window := window_for(guesses[i], frame)) is not None}
            looks |= self._look(plane, frame, prompts, windows)
            found = {i: guess(prompts[i], looks[i].box(counts[i])) for i in windows}
            looking = [i for i in windows if _differ(guesses[i], found[i])]
            guesses |= found
        return [
            self._candidates(looks[i], frame, count) if i in looks else self._masks(*first[i], frame, count)
            for i, count in enumerate(counts)
        ]

    def _look(
        self, plane: np.ndarray, frame: Frame, prompts: Sequence[Prompt], windows: dict[int, Window]
    ) -> dict[int, _Look]:
        looks = {}
        numbers = list(windows)
        for group in alike([prompts[i] for i in numbers]):
            chosen = [numbers[k] for k in group]
            images = torch.cat([geometry.window_image(plane, windows[i]) for i in chosen]).to(self.device)
            with self._precision():
                features = self.model.encode_windows(images)
            features = {name: feature.float() for name, feature in features.items()}
            given = geometry.window_prompts(
                [prompts[i] for i in chosen], [windows[i] for i in chosen], frame, self.model.mask_size
            ).to(self.device)
            logits, scores = self.model.decode_windows(features, given.points, given.boxes, given.masks)
            looks.update({i: _Look(windows[i], logits[k], scores[k]) for k, i in enumerate(chosen)})
        return looks

    def _candidates(self, look: _Look, frame: Frame, candidates: int) -> list[Mask]:
        logits, scores = best_first(look.logits, look.scores, candidates)
        pixels = geometry.window_masks(logits, look.window, frame.plane, self.model.mask_threshold)
        low = geometry.frame_logits(logits, look.window, frame, self.model.mask_size).cpu().numpy()
        return [Mask(*parts) for parts in zip(pixels, scores.tolist(), low, strict=True)]


def said(prompt: Prompt, frame: Frame) -> Box | None:
    """Where the prompt itself says that the object is: its box, or that of its mask; None when it has neither."""
    if prompt.box is not None or prompt.mask is None:
        return prompt.box
    mask = prompt.mask
    box = geometry.frame_box(torch.tensor(mask), frame) if mask.dtype.kind == "f" else box_of(mask)
    return None if box is None else guess(prompt, box)


def guess(prompt: Prompt, box: Box | None) -> Box | None:
    """Where the object seems to be: the box that was given, else that of its mask, with all positive clicks in it."""
    if prompt.box is not None:
        return prompt.box
    places = [(point.y, point.x) for point in prompt.points if point.positive]
    if box is not None:
        places += [(box.y0, box.x0), (box.y1, box.x1)]
    if not places:
        return None
    (y0, x0), (y1, x1) = np.min(places, axis=0), np.max(places, axis=0)
    return Box(float(y0), float(x0), float(y1), float(x1))


def window_for(box: Box | None, frame: Frame) -> Window | None:
    """The window for an object; None when the first look is as good."""
    if box is None:
        return None
    side = max(box.y1 - box.y0, box.x1 - box.x0) + 1
    overview = min(frame.scale)
    if side * overview > LARGEST:
        return None
    scale = max(min(WANTED / side, MAGNIFICATION), overview)
    return Window(((box.y0 + box.y1) / 2, (box.x0 + box.x1) / 2), scale, SIDE)


def _differ(before: Box | None, after: Box | None) -> bool:
    if before is None or after is None:
        return False
    sides = [max(box.y1 - box.y0, box.x1 - box.x0) + 1 for box in (before, after)]
    return max(sides) > AGAIN * min(sides)
