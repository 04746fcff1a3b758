"""Refinement pass: each object is predicted again in a magnified crop, at the size that the model segments best.

The input frame of the embedded model is small. A nucleus of a large picture is hardly more than a dot in it, and no
decoder can draw its outline. So the coarse pass only locates the object; the part of the plane around it is then
encoded again, magnified so that the object has the size that the model segments best, and its mask is predicted there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.masks import Mask, box_of
from napari_segany.core.object_classes import named_masks
from napari_segany.core.planes import Plane, Region
from napari_segany.core.prompts import Box, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from napari_segany.models import geometry
from napari_segany.models.geometry import Frame
from napari_segany.models.inference_config import ZoomConfig
from napari_segany.models.sam.mask_decoder import ALL
from napari_segany.models.sam.model import Sam
from napari_segany.models.sam_segmenter import (
    best_first,
    good_first,
    is_similar,
    masks_of,
    only_text,
    wanted_masks,
)
from napari_segany.models.tiny.mask_classes import MaskNamer
from napari_segany.models.tiny.postprocess import choose_masks, limit_to_box, without_specks
from napari_segany.models.tiny.shared_windows import shared_parts
from napari_segany.models.tiny.text_unions import PLANE, TextUnions, overview_of
from napari_segany.models.tiny.tiny_sam import STRIDE, TinySam, fold_batch_norm
from napari_segany.models.windows import (
    Window,
    corner_around,
    frame_logits,
    middle_of,
    part_of_frame,
    window_box,
    window_image,
    window_logits,
    window_masks,
    window_prompts,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Crop:
    """Prediction in a window: logits (4, h, w) and predicted IoU (4,)."""

    window: Window
    logits: Tensor
    scores: Tensor

    def box(self, candidates: int) -> Box | None:
        """Bounding box of the mask that would be shown, in plane pixels."""
        return window_box(best_first(self.logits, self.scores, candidates)[0][0], self.window)

    def score(self, candidates: int) -> float:
        """Predicted IoU of that mask."""
        return float(best_first(self.logits, self.scores, candidates)[1][0])

    def cells(self, prompt: Prompt) -> Tensor:
        """Rows and columns (N, 2) of the logits that the positive clicks lie in, those in the window."""
        places = [(point.y, point.x) for point in prompt.points if point.positive]
        if not places:
            return torch.empty(0, 2, dtype=torch.long)
        size = self.logits.shape[-1]
        cells = ((self.window.xy(places).flip(1) + 0.5) * size / self.window.side).floor().long()
        return cells[((cells >= 0) & (cells < size)).all(dim=1)]


class ZoomSegmenter(TextUnions):
    """Segmenter of the embedded model, which predicts small objects in magnified crops.

    Parameters are those of :class:`SamSegmenter`; the model is a :class:`TinySam`. Its embeddings also contain the
    plane: (y, x, 3), or (y, x, 1) where it is gray, which takes half the time.
    """

    model: TinySam
    namer: MaskNamer | None = None
    """Names masks; None where no branch was trained for the weights."""

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities in addition to points, boxes and masks."""
        known = self.namer.classes if self.namer is not None else None
        return replace(super().capabilities, known_classes=known)

    def class_vectors(self, plane: Plane, windows: Sequence[Region], masks: Sequence[np.ndarray]) -> np.ndarray:
        """Return vectors that classes are told apart by; see :class:`~.object_classes.NamesObjects`.

        Raises
        ------
        ModelError
            No branch for names was trained for the weights.
        """
        if self.namer is None:
            raise ModelError(f"the model {self.name!r} knows no names of objects")
        return self.namer.vectors(plane, windows, masks)

    def name_masks(self, embedding: ImageEmbedding, masks: Sequence[Mask]) -> list[Mask]:
        """Return masks with names; see :class:`~.object_classes.NamesObjects`."""
        plane = embedding.features[PLANE]
        return named_masks(self, np.broadcast_to(plane, (*plane.shape[:2], 3)), masks)

    def _ready(self, model: Sam) -> Sam:
        """Convert the encoder to its data type; the decoder, on its small windows, is as fast in float32."""
        # A prediction consists of many small steps: without batch norms and casts there are half as many.
        model.image_encoder = fold_batch_norm(model.image_encoder).to(self.dtype)
        # A quarter faster on a CPU; nearly all of the time goes into convolutions.
        return model.to(memory_format=torch.channels_last)

    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        """Encode a plane; see :meth:`SamSegmenter.embed`."""
        embedding = super().embed(plane)
        gray = plane[..., :1]
        kept = gray if (plane == gray).all() else plane
        return ImageEmbedding({**embedding.features, PLANE: kept.copy()}, embedding.shape, embedding.model)

    def _checked(self, embedding: ImageEmbedding, prompts: Sequence[Prompt], candidates: int | None) -> list[Prompt]:
        """See :meth:`SamSegmenter.segment`; a prompt without a position has no window."""
        checked = super()._checked(embedding, prompts, candidates)
        if not all(prompt.says_where for prompt in checked):
            raise InputError("the prompt does not locate an object: add a point on it, a box, a mask or a text")
        return checked

    @torch.inference_mode()
    def segment_plain(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], candidates: int | None, at_least: float
    ) -> list[list[Mask]]:
        """Predict the masks of each prompt; see :meth:`SamSegmenter.segment`."""
        frame, plane = Frame(embedding.shape, self.model.image_size), embedding.features[PLANE]
        counts = [wanted_masks(prompt, candidates) for prompt in prompts]
        overview = overview_of(embedding)
        # a search, which wants good masks alone, has many prompts near each other; a user's prompts stay independent
        shared = math.isfinite(at_least)
        guesses, crops = self._guesses(plane, overview, frame, prompts, counts, shared)
        named = [i for i, prompt in enumerate(prompts) if only_text(prompt)]
        unknown = [i for i, box in guesses.items() if box is None and i not in named]
        whole = self._predictions(overview, [prompts[i] for i in unknown], frame, ALL.candidates)
        first = dict(zip(unknown, whole, strict=True))
        for i, (logits, scores) in first.items():
            guesses[i] = guess_size(prompts[i], geometry.frame_box(best_first(logits, scores, counts[i])[0][0], frame))
        unrefined = [i for i in guesses if i not in named and i not in crops]
        for _ in range(self.zoom.looks):
            chosen = {i: window_for(self.zoom, guesses[i], frame, clicked=_only_click(prompts[i])) for i in unrefined}
            windows = {i: window for i, window in chosen.items() if window is not None}
            crops |= self._predict_crops(plane, frame, prompts, windows, shared)
            found = {i: guess_size(prompts[i], crops[i].box(counts[i])) for i in windows}
            seen = [i for i in windows if crops[i].score(counts[i]) >= self.zoom.nothing]
            unrefined = [
                i for i in seen if _unrefined(self.zoom, found[i], windows[i], frame, clicked=_only_click(prompts[i]))
            ]
            guesses |= found
        wholes = self._named(embedding, [prompts[i] for i in named])
        predictions = dict(zip(named, wholes, strict=True))
        return [
            predictions[i]
            if i in predictions
            else self._candidates(crops[i], prompts[i], frame, count, at_least)
            if i in crops
            else self._masks(*good_first(*choose_masks(*first[i], self.post), count, at_least), frame)
            for i, count in enumerate(counts)
        ]

    def _guesses(
        self,
        plane: np.ndarray,
        overview: ImageEmbedding,
        frame: Frame,
        prompts: Sequence[Prompt],
        counts: Sequence[int],
        shared: bool,
    ) -> tuple[dict[int, Box | None], dict[int, _Crop]]:
        """Estimated boxes of the objects, from prompts or a coarse pass; and predictions that need no refinement."""
        guesses = {i: prompt_extent(prompt, frame) for i, prompt in enumerate(prompts)}
        clicked = [i for i, box in guesses.items() if box is None and prompts[i].points]
        for scale in (scale for scale, coarse in self.zoom.glances if min(frame.scale) < coarse):
            windows = {i: Window(middle_of(prompts[i].points), scale, self.zoom.glance) for i in clicked}
            crops = self._predict_crops(plane, frame, prompts, windows, shared)
            guesses |= _uncut_boxes(crops, frame, prompts, counts)
            clicked = [i for i in clicked if guesses[i] is None or crops[i].score(counts[i]) < self.zoom.nothing]
        crops = self._parts_of_overview(overview, frame, prompts, clicked) if clicked else {}
        crops = {
            i: crop for i, crop in crops.items() if guesses[i] is None or crop.score(counts[i]) >= self.zoom.nothing
        }
        guesses |= _uncut_boxes(crops, frame, prompts, counts)
        return guesses, {i: crop for i, crop in crops.items() if _is_final(self.zoom, guesses[i], crop.window, frame)}

    def _parts_of_overview(
        self,
        overview: ImageEmbedding,
        frame: Frame,
        prompts: Sequence[Prompt],
        clicked: Sequence[int],
    ) -> dict[int, _Crop]:
        """Predict the masks of clicks from the part of the overview around them."""
        crops: dict[int, _Crop] = {}
        maps = self._maps(overview)
        for group in is_similar([prompts[i] for i in clicked]):
            chosen = [clicked[k] for k in group]
            corners = [corner_around(prompts[i].points, frame, self.zoom.window, STRIDE) for i in chosen]
            features = {
                name: torch.cat([_cut_out(feature, corner, frame.side, self.zoom.window) for corner in corners])
                for name, feature in maps.items()
            }
            parts = {i: part_of_frame(at, frame, self.zoom.window) for i, at in zip(chosen, corners, strict=True)}
            crops |= self._decoded(features, frame, [prompts[i] for i in chosen], parts)
        return crops

    def _predict_crops(
        self, plane: np.ndarray, frame: Frame, prompts: Sequence[Prompt], windows: dict[int, Window], shared: bool
    ) -> dict[int, _Crop]:
        crops: dict[int, _Crop] = {}
        numbers = list(windows)
        for group in is_similar([prompts[i] for i in numbers]):
            chosen = [numbers[k] for k in group]
            if shared:
                crops |= self._predict_shared(plane, frame, prompts, {i: windows[i] for i in chosen})
                chosen = [i for i in chosen if i not in crops]
            if not chosen:
                continue
            images = torch.cat([window_image(plane, windows[i]) for i in chosen]).to(self.device)
            given, here = [prompts[i] for i in chosen], {i: windows[i] for i in chosen}
            encoded = self.model.encode_windows(images)
            crops |= self._decoded({name: found.float() for name, found in encoded.items()}, frame, given, here)
        return crops

    def _predict_shared(
        self, plane: np.ndarray, frame: Frame, prompts: Sequence[Prompt], windows: dict[int, Window]
    ) -> dict[int, _Crop]:
        """Predictions in those windows that share an encoding with their neighbours, for prompts of one kind."""
        crops: dict[int, _Crop] = {}
        for part in shared_parts(windows):
            image = window_image(plane, part.whole).to(self.device)
            encoded, side = self.model.encode_windows(image), next(iter(part.windows.values())).side
            features = {
                name: torch.cat([_cut_out(found, at, part.whole.side, side) for at in part.corners.values()])
                for name, found in ((name, found.float()) for name, found in encoded.items())
            }
            crops |= self._decoded(features, frame, [prompts[i] for i in part.windows], part.windows)
        return crops

    def _decoded(
        self, features: dict[str, Tensor], frame: Frame, prompts: Sequence[Prompt], windows: dict[int, Window]
    ) -> dict[int, _Crop]:
        """Predictions for prompts of one kind, each on a window and its features."""
        given = window_prompts(prompts, list(windows.values()), frame, self.model.mask_size).to(self.device)
        features = {**features, "image_pe": self._position}
        text = self._tokens(prompts)
        if text is None or self.texts is None:
            logits, scores = self.model.decode_windows(features, given.points, given.boxes, given.masks)
        else:
            model = self.model.with_decoder(self.texts.decoder)
            logits, scores = model.decode_windows(features, given.points, given.boxes, given.masks, text)
        return {i: _Crop(window, logits[k], scores[k]) for k, (i, window) in enumerate(windows.items())}

    def _kept_cells(self, crop: _Crop, prompt: Prompt, frame: Frame) -> Tensor:
        """Cells (N, 2) of a window whose parts of a mask are kept: those clicked, drawn, or in the earlier mask."""
        cells = crop.cells(prompt)
        if prompt.mask is None:
            return cells
        drawn = window_logits(prompt.mask, crop.window, frame, self.model.mask_size)[0] > 0
        step = drawn.shape[-1] / crop.logits.shape[-1]
        return torch.cat([cells, (drawn.nonzero() / step).long()])

    def _candidates(self, crop: _Crop, prompt: Prompt, frame: Frame, candidates: int, at_least: float) -> list[Mask]:
        logits, scores = good_first(*choose_masks(crop.logits, crop.scores, self.post), candidates, at_least)
        if not len(logits):
            return []
        if prompt.box is not None and only_box(prompt):
            logits = limit_to_box(prompt.box, logits, crop.window, self.post.beyond_box)
        logits = without_specks(logits, self._kept_cells(crop, prompt, frame), self.post.speck)
        pixels, stability = window_masks(logits, crop.window, frame.plane, self.model.mask_threshold)
        low = frame_logits(logits, crop.window, frame, self.model.mask_size)
        return masks_of(pixels, scores, low, stability)


def only_box(prompt: Prompt) -> bool:
    """Whether the prompt is a box without clicks or mask."""
    return prompt.box is not None and not prompt.points and prompt.mask is None


def _cut_out(feature: Tensor, corner: tuple[int, int], side: int, window: int) -> Tensor:
    """Part of a map (1, C, h, w) of the frame, for a window of so many pixels that begins at `corner`."""
    rows, columns = (slice(at * feature.shape[-1] // side, (at + window) * feature.shape[-1] // side) for at in corner)
    return feature[..., rows, columns]


def _uncut_boxes(
    crops: dict[int, _Crop], frame: Frame, prompts: Sequence[Prompt], counts: Sequence[int]
) -> dict[int, Box | None]:
    """Boxes of clicked objects, without those that an edge of their window cuts."""
    boxes = {i: crop.box(counts[i]) for i, crop in crops.items()}
    return {
        i: guess_size(prompts[i], box)
        for i, box in boxes.items()
        if box is None or not crops[i].window.cuts(box, frame.plane)
    }


def prompt_extent(prompt: Prompt, frame: Frame) -> Box | None:
    """Return the box of a prompt, or that of its mask; None when it has neither."""
    if prompt.box is not None or prompt.mask is None:
        return prompt.box
    mask = prompt.mask
    box = geometry.frame_box(torch.tensor(mask), frame) if mask.dtype.kind == "f" else box_of(mask)
    return None if box is None else guess_size(prompt, box)


def guess_size(prompt: Prompt, box: Box | None) -> Box | None:
    """Return the estimated box of an object: that of the prompt, else that of its mask and all positive clicks."""
    if prompt.box is not None:
        return prompt.box
    places = [(point.y, point.x) for point in prompt.points if point.positive]
    if box is not None:
        places += [(box.y0, box.x0), (box.y1, box.x1)]
    if not places:
        return None
    (y0, x0), (y1, x1) = np.min(places, axis=0), np.max(places, axis=0)
    return Box(float(y0), float(x0), float(y1), float(x1))


def _only_click(prompt: Prompt) -> bool:
    """Whether the prompt is a single click without box or mask."""
    return len(prompt.points) == 1 and prompt.box is None and prompt.mask is None


def window_for(zoom: ZoomConfig, box: Box | None, frame: Frame, *, clicked: bool = False) -> Window | None:
    """Return the window for an object, None when its place is unknown; `clicked` when only clicks were given."""
    if box is None:
        return None
    side = max(box.y1 - box.y0, box.x1 - box.x0) + 1
    most = zoom.magnification
    if clicked:
        most = min(max(zoom.click_magnification, zoom.dot_side / side), most)
    # A small plane is magnified to fill the frame; its objects are no larger for that.
    least = min(*frame.scale, 1.0, zoom.large_object_side / side)
    scale = max(min(zoom.object_side / side, zoom.unseen_magnification if _is_bare(box) else most), least)
    return Window(((box.y0 + box.y1) / 2, (box.x0 + box.x1) / 2), scale, zoom.window)


def _is_bare(box: Box) -> bool:
    """Whether a guess is a single click and nothing else."""
    return (box.y0, box.x0) == (box.y1, box.x1)


def _unrefined(zoom: ZoomConfig, found: Box | None, window: Window, frame: Frame, *, clicked: bool) -> bool:
    """Whether an object needs another magnification than that of its window; False where only the click is known."""
    if found is None or _is_bare(found):
        return False
    return _apart(zoom, found, window, frame, clicked=clicked) > zoom.look_again


def _is_final(zoom: ZoomConfig, found: Box | None, window: Window, frame: Frame) -> bool:
    """Whether a prediction in a window of the overview cannot be improved by a magnified crop."""
    if found is None or _is_bare(found) or max(frame.scale) > 1:
        return False
    return _apart(zoom, found, window, frame, clicked=True) <= zoom.overview_suffices


def _apart(zoom: ZoomConfig, found: Box, window: Window, frame: Frame, *, clicked: bool) -> float:
    """Factor between the magnification of a window and the one that suits the object found in it."""
    scales = [seen.scale for seen in (window, window_for(zoom, found, frame, clicked=clicked)) if seen is not None]
    return max(scales) / min(scales)
