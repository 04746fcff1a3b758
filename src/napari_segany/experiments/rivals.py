"""Other programs for the same tasks, behind the same four calls; each is imported when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch

from napari_segany.models.sam.model import Sam

Clicks = np.ndarray
"""Clicks, (N, 2) float (y, x) in pixels."""


class Rival(Protocol):
    """A program that embeds a picture and answers clicks on it.

    Attributes
    ----------
    name : str
        What it is called in the table.
    """

    name: str

    def embed(self, plane: np.ndarray) -> np.ndarray | None:
        """Encode a plane (y, x, 3) uint8, and keep it; its embedding (1, C, h, w) where the weights are ours."""

    def click(self, place: tuple[float, float]) -> np.ndarray:
        """Three masks (3, y, x) bool of the plane for one click (y, x)."""

    def clicks(self, places: Clicks) -> None:
        """Three masks of the plane for each of many clicks, all at once."""


class SegmentAnything:
    """The package `segment-anything` 1.0 with the weights of one of our models."""

    name = "segment-anything"

    def __init__(self, model: Sam) -> None:
        from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry

        theirs = sam_model_registry["vit_b"]()
        theirs.load_state_dict(model.state_dict())
        self.predictor = SamPredictor(theirs.eval())
        self._generator = SamAutomaticMaskGenerator

    def embed(self, plane: np.ndarray) -> np.ndarray:
        """See :class:`Rival`."""
        self.predictor.set_image(plane)
        embedding: np.ndarray = self.predictor.get_image_embedding().numpy()
        return embedding

    def click(self, place: tuple[float, float]) -> np.ndarray:
        """See :class:`Rival`."""
        masks, scores, _ = self.predictor.predict(np.array([place[::-1]]), np.array([1]), multimask_output=True)
        best_first: np.ndarray = masks[np.argsort(-scores, kind="stable")]
        return best_first

    def clicks(self, places: Clicks) -> None:
        """See :class:`Rival`."""
        xy = torch.from_numpy(places[:, None, ::-1].copy())
        xy = self.predictor.transform.apply_coords_torch(xy, self.predictor.original_size)
        self.predictor.predict_torch(xy, torch.ones(len(places), 1), multimask_output=True)

    def everything(self, plane: np.ndarray, side: int) -> list[np.ndarray]:
        """All masks (y, x) bool of a grid of `side` x `side` clicks on the plane that was embedded last."""
        generator = self._generator(self.predictor.model, points_per_side=side)
        # It embeds the plane itself; what is measured here is what comes after.
        kept = self.predictor
        generator.predictor = kept
        reset, kept.set_image, kept.reset_image = (kept.set_image, kept.reset_image), _nothing, _nothing
        try:
            return [found["segmentation"] for found in generator.generate(plane)]
        finally:
            kept.set_image, kept.reset_image = reset


class Transformers:
    """`SamModel` of the package `transformers`, with random weights."""

    name = "transformers"

    def __init__(self, model: Sam) -> None:
        from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

        del model
        self._model = SamModel(SamConfig()).eval()
        self._processor = SamProcessor(SamImageProcessor())
        self._embedding: Any = None
        self._plane = np.zeros((0, 0, 3), np.uint8)

    @torch.inference_mode()
    def embed(self, plane: np.ndarray) -> None:
        """See :class:`Rival`."""
        pixels = self._processor(plane, return_tensors="pt")["pixel_values"]
        self._embedding, self._plane = self._model.get_image_embeddings(pixels), plane

    def click(self, place: tuple[float, float]) -> np.ndarray:
        """See :class:`Rival`."""
        masks: np.ndarray = self._masks(np.array([place]))[0]
        return masks

    def clicks(self, places: Clicks) -> None:
        """See :class:`Rival`."""
        self._masks(places)

    @torch.inference_mode()
    def _masks(self, places: Clicks) -> np.ndarray:
        points = [[[list(map(float, place[::-1]))] for place in places]]
        given = self._processor(self._plane, input_points=points, return_tensors="pt")
        answer = self._model(
            image_embeddings=self._embedding, input_points=given["input_points"], multimask_output=True
        )
        masks = self._processor.image_processor.post_process_masks(
            answer.pred_masks, given["original_sizes"], given["reshaped_input_sizes"]
        )
        return masks[0].numpy()


def _nothing(*_: Any) -> None:
    return None


def installed(model: Sam) -> list[Rival]:
    """The rivals that can be imported, ready."""
    makers: tuple[Callable[[Sam], Rival], ...] = (SegmentAnything, Transformers)
    found: list[Rival] = []
    for make in makers:
        try:
            found.append(make(model))
        except ImportError:
            continue
    return found
