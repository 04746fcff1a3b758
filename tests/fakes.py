"""Stand-ins for what is heavy or comes from outside."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from napari_segany.core.filters import Filters
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding


class FakeSegmenter:
    """A segmenter without weights: discs around positive points, filled boxes, without discs at negative points.

    The first candidate has the radius given, the second half of it, the third half as much again. Each call to `embed`
    and the prompts of each call to `segment` are kept, so that tests can ask what was asked.
    """

    capabilities = Capabilities()

    def __init__(self, radius: float = 10.0, name: str = "fake") -> None:
        self.radius = radius
        self.name = name
        self.embedded: list[np.ndarray] = []
        self.asked: list[list[Prompt]] = []

    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        assert plane.dtype == np.uint8
        assert plane.ndim == 3
        self.embedded.append(plane)
        return ImageEmbedding({"plane": plane}, (plane.shape[0], plane.shape[1]), self.name)

    def segment(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        *,
        candidates: int | None = None,
        at_least: float = -math.inf,
    ) -> list[list[Mask]]:
        assert embedding.model == self.name
        assert all(prompts)
        self.asked.append(list(prompts))
        answers = (self._masks(embedding.shape, p, candidates or (3 if p.ambiguous else 1)) for p in prompts)
        return [[mask for mask in masks if mask.score >= at_least] for masks in answers]

    def _masks(self, shape: tuple[int, int], prompt: Prompt, candidates: int) -> list[Mask]:
        radii = [self.radius, self.radius / 2, self.radius * 1.5][:candidates]
        return [self._mask(shape, prompt, radius, 0.9 - 0.1 * rank) for rank, radius in enumerate(radii)]

    def _mask(self, shape: tuple[int, int], prompt: Prompt, radius: float, score: float) -> Mask:
        y, x = np.indices(shape)
        pixels = np.zeros(shape, bool)
        if prompt.mask is not None and prompt.mask.dtype == np.bool_:
            pixels |= prompt.mask
        if prompt.box is not None:
            box = prompt.box
            pixels |= (y >= box.y0) & (y <= box.y1) & (x >= box.x0) & (x <= box.x1)

        def disc(point: Point) -> np.ndarray:
            inside: np.ndarray = (y - point.y) ** 2 + (x - point.x) ** 2 <= radius**2
            return inside

        for point in prompt.points:
            pixels = pixels | disc(point) if point.positive else pixels & ~disc(point)
        return Mask(pixels, score, np.where(pixels, 8.0, -8.0).astype(np.float32)[::4, ::4], 1.0)


class KnowingSegmenter(FakeSegmenter):
    """The same, and knows where objects are: at the places given."""

    capabilities = Capabilities(proposals=True, filters=Filters(stability=0))

    def __init__(self, places: Sequence[Point], radius: float = 10.0, name: str = "fake") -> None:
        super().__init__(radius, name)
        self.places = places

    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        return [Prompt((place,)) for place in self.places]
