"""A model as one module from an image and points to masks, as programs expect it that know nothing of prompts here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.models.inference_config import parse_inference_config, tiny_inference_config
from napari_segany.models.loading import new_model
from napari_segany.models.sam_segmenter import SamSegmenter
from napari_segany.models.tiny.tiny_sam import TinySam
from napari_segany.models.tiny.zoom import ZoomSegmenter


class PromptableModule(nn.Module):
    """Segment objects from points; the same masks as in the window.

    Parameters
    ----------
    architecture : str
        "tiny", "vit_b", "vit_l", "vit_h" or "vit_t".
    inference : str, optional
        JSON of an :class:`~napari_segany.models.inference_config.InferenceConfig`; by default that of the architecture.

    Raises
    ------
    ModelError
        The architecture is unknown, or the JSON is no InferenceConfig.
    """

    def __init__(self, architecture: str = "tiny", inference: str = "") -> None:
        super().__init__()
        self.sam = new_model(architecture)
        self.architecture, self.inference = architecture, inference

    def segmenter(self) -> SamSegmenter:
        """The Segmenter of the weights as they are."""
        tiny = isinstance(self.sam, TinySam)
        config = tiny_inference_config() if tiny else None
        if self.inference:
            config = parse_inference_config(self.inference, "the package", config)
        return (ZoomSegmenter if tiny else SamSegmenter)(self.sam, "packaged", config=config)

    def forward(self, image: Tensor, points: Tensor, point_labels: Tensor, **unused: Any) -> tuple[Tensor, Tensor]:
        """Segment objects.

        Parameters
        ----------
        image : Tensor
            (1, 3, y, x), 0 to 255.
        points : Tensor
            (1, object, point, 2), (x, y) in pixels; the centre of the first pixel is (0, 0).
        point_labels : Tensor
            (1, object, point): 1 on the object, 0 off it, -1 for no point.

        Returns
        -------
        masks : Tensor
            (1, object, y, x) uint8, 0 or 1.
        scores : Tensor
            (1, object) float32, predicted IoU.

        Raises
        ------
        InputError
            There is more than one image, or an object without a point.
        """
        if len(image) != 1:
            raise InputError(f"a batch has one image, got {len(image)}")
        plane = image[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        segmenter = self.segmenter()
        prompts = [
            _prompt(places, labels) for places, labels in zip(points[0].tolist(), point_labels[0].tolist(), strict=True)
        ]
        found = segmenter.segment(segmenter.embed(plane), prompts)
        masks = torch.stack([torch.from_numpy(candidates[0].pixels) for candidates in found])
        scores = torch.tensor([candidates[0].score for candidates in found], dtype=torch.float32)
        return masks[None].to(torch.uint8), scores[None]


def _prompt(places: list[list[float]], labels: list[float]) -> Prompt:
    points = tuple(Point(y, x, positive=label > 0) for (x, y), label in zip(places, labels, strict=True) if label >= 0)
    if not points:
        raise InputError("an object has no point")
    return Prompt(points)
