"""A model of another package: the region around a click that is about as bright (docs/bring-your-own-model.md)."""

import math

import numpy as np
from skimage.segmentation import flood

from napari_segany.core.errors import ModelError
from napari_segany.core.masks import Mask
from napari_segany.core.segmenter import Capabilities, ImageEmbedding, Segmenter


class FloodSegmenter(Segmenter):
    name = "flood"
    capabilities = Capabilities()

    def embed(self, plane):  # (y, x, 3) uint8, once for each plane
        gray = plane.mean(axis=2, dtype=np.float32)
        return ImageEmbedding({"gray": gray}, gray.shape, self.name)

    def segment(self, embedding, prompts, *, candidates=None, at_least=-math.inf):
        answers = [self._answer(embedding, prompt.on_plane(embedding.shape), candidates) for prompt in prompts]
        return [[mask for mask in masks if mask.score >= at_least] for masks in answers]

    def _answer(self, embedding, prompt, candidates):  # the candidate masks of one object, the best first
        gray = embedding.features["gray"]
        inside = [point for point in prompt.points if point.positive]
        if not inside:
            raise ModelError("flood takes clicks only")
        count = candidates or (3 if prompt.ambiguous else 1)
        return [self._mask(gray, inside, tolerance) for tolerance in (20, 10, 40)[:count]]

    def _mask(self, gray, points, tolerance):
        pixels = np.zeros(gray.shape, bool)
        for point in points:
            y, x = np.clip(np.rint((point.y, point.x)).astype(int), 0, np.subtract(gray.shape, 1))
            pixels |= flood(gray, (y, x), tolerance=tolerance)
        # logits in any resolution: they come back as Prompt(mask=...)
        return Mask(pixels, score=1 - tolerance / 100, logits=np.where(pixels, 1, -1).astype(np.float32))


def load(device):  # "cpu", "cuda" ...: called once, when the model is chosen
    return FloodSegmenter()
