"""Stand-ins for what is heavy or comes from outside."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from napari_segany.core.filters import Filters
from napari_segany.core.known_classes import KnownClasses
from napari_segany.core.masks import Mask
from napari_segany.core.object_classes import named_masks
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding


class FakeSegmenter:
    """The segmenter without weights that all others of the tests are made from.

    Its masks are discs around positive points and filled boxes, without discs at negative points.

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
        answers = (self._answer(embedding, p, candidates or (3 if p.ambiguous else 1)) for p in prompts)
        return [[mask for mask in masks if mask.score >= at_least] for masks in answers]

    def _answer(self, embedding: ImageEmbedding, prompt: Prompt, candidates: int) -> list[Mask]:
        """The candidates of a prompt; segmenters that look at the plane have others."""
        return self._masks(embedding.shape, prompt, candidates)

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


class SightedSegmenter(KnowingSegmenter):
    """The same, and sees where objects are: in the middles of what is bright."""

    def __init__(self, radius: float = 10.0, name: str = "fake") -> None:
        super().__init__([], radius, name)

    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        parts = bright_parts(embedding)
        middles = ndimage.center_of_mass(parts > 0, parts, range(1, int(parts.max()) + 1))
        return [Prompt((Point(float(y), float(x)),)) for y, x in middles]


class BrightSegmenter(FakeSegmenter):
    """Sees connected bright parts, and answers a click with the one that it lies in."""

    capabilities = Capabilities(proposals=True, filters=Filters(stability=0, score=0))

    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        parts = bright_parts(embedding)
        places = ndimage.maximum_position(np.ones(parts.shape), parts, range(1, int(parts.max()) + 1))
        return [Prompt((Point(float(y), float(x)),)) for y, x in places]

    def _answer(self, embedding: ImageEmbedding, prompt: Prompt, candidates: int) -> list[Mask]:
        parts = bright_parts(embedding)
        name = parts[round(prompt.points[0].y), round(prompt.points[0].x)]
        return [Mask((parts == name) & (name > 0), 0.9, np.zeros((2, 2), np.float32), 1.0)]


class SeeingSegmenter(FakeSegmenter):
    """Sees what is bright: of a prompt all connected bright parts that its box touches. It is always sure."""

    def _answer(self, embedding: ImageEmbedding, prompt: Prompt, candidates: int) -> list[Mask]:
        return [self._seen(bright_parts(embedding), prompt)]

    def _seen(self, parts: np.ndarray, prompt: Prompt) -> Mask:
        assert prompt.box is not None
        corners = np.clip([prompt.box.y0, prompt.box.y1 + 1, prompt.box.x0, prompt.box.x1 + 1], 0, None).astype(int)
        touched = np.unique(parts[corners[0] : corners[1], corners[2] : corners[3]])
        return Mask(np.isin(parts, touched[touched > 0]), 1.0, np.zeros((4, 4), np.float32), 1.0)


def bright_parts(embedding: ImageEmbedding) -> np.ndarray:
    """(y, x) numbers of connected bright parts of the plane, from 1."""
    parts: np.ndarray = ndimage.label(embedding.features["plane"][..., 0] > 100)[0]
    return parts


class NamingSegmenter(FakeSegmenter):
    """Takes bright objects for nuclei, dark ones for cells, and is not sure of those in between."""

    capabilities = Capabilities(
        known_classes=KnownClasses(
            ("nucleus", "cell", "other"), np.array([[8.0, -8.0, -4.0]]), np.array([-3.0, 3.0, 0.0]), 0.75
        )
    )

    def class_vectors(self, plane, windows, masks) -> np.ndarray:
        means = [float(plane[window][mask].mean()) / 255 for window, mask in zip(windows, masks, strict=True)]
        return np.array(means, np.float32).reshape(-1, 1)

    def name_masks(self, embedding: ImageEmbedding, masks: Sequence[Mask]) -> list[Mask]:
        return named_masks(self, embedding.features["plane"], masks)
