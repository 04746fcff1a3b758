"""Interactive methods without learning, as segmenters: the same clicks as a model's, from scikit-image.

They stand for the interactive segmenters that the paper compares with (Kirillov et al. 2023, section 7.1; RITM there),
of which none can be had without weights. Off the clicks, the border of the plane counts as background.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from skimage.color import rgb2gray
from skimage.filters import gaussian, sobel
from skimage.segmentation import random_walker, watershed
from skimage.transform import resize

from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding, check_plane

SIDE = 192
"""Longest side of the picture that the random walker works on; it solves a system of equations for each click."""
DISC = 2
"""Pixels around a click that surely belong to the same."""
BETA = 400.0
"""How much the random walker shuns edges."""
OBJECT, BACKGROUND = 1, 2


class ClickBaseline:
    """A segmenter of clicks.

    Parameters
    ----------
    name : str
        What rows call it.
    divide : callable
        From a picture (y, x) float and markers (y, x) int, 1 on the object and 2 off it, to labels (y, x) of these.
    side : int
        Longest side of the picture; larger planes are made smaller.
    """

    capabilities = Capabilities()

    def __init__(self, name: str, divide: Callable[[np.ndarray, np.ndarray], np.ndarray], side: int) -> None:
        self.name, self.divide, self.side = name, divide, side

    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        """See :class:`~napari_segany.core.segmenter.Segmenter`."""
        check_plane(plane)
        shape = (plane.shape[0], plane.shape[1])
        scale = min(1.0, self.side / max(shape))
        small = tuple(max(1, round(scale * length)) for length in shape)
        gray = resize(gaussian(rgb2gray(plane), 1.0), small, anti_aliasing=True)
        spread = max(float(np.ptp(gray)), 1e-6)
        return ImageEmbedding({"gray": (gray - gray.min()) / spread}, shape, self.name)

    def segment(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        *,
        candidates: int | None = None,
        at_least: float = -math.inf,
    ) -> list[list[Mask]]:
        """See :class:`~napari_segany.core.segmenter.Segmenter`; only clicks count."""
        return [[self._mask(embedding, prompt)] for prompt in prompts]

    def _mask(self, embedding: ImageEmbedding, prompt: Prompt) -> Mask:
        gray = embedding.features["gray"]
        labels = self.divide(gray, _markers(gray.shape, embedding.shape, prompt))
        pixels = resize(labels == OBJECT, embedding.shape, order=0).astype(bool)
        return Mask(pixels, 0.5, np.where(pixels, 10.0, -10.0).astype(np.float32))


def _markers(size: tuple[int, ...], shape: tuple[int, int], prompt: Prompt) -> np.ndarray:
    """Where the clicks and the border of the plane are, (y, x) int; a later click wins."""
    markers = np.zeros(size, np.int32)
    markers[0], markers[-1], markers[:, 0], markers[:, -1] = (BACKGROUND,) * 4
    y, x = np.indices(size)
    for point in prompt.points:
        at = [(place + 0.5) * inside / outside - 0.5 for place, inside, outside in zip((point.y, point.x), size, shape,
              strict=True)]  # fmt: skip
        near = (y - at[0]) ** 2 + (x - at[1]) ** 2 <= DISC**2
        markers[near] = OBJECT if point.positive else BACKGROUND
    return markers


def _walked(gray: np.ndarray, markers: np.ndarray) -> np.ndarray:
    if gray.min() == gray.max():  # no edge tells the walker anything, and it divides by the deviation
        return _flooded(gray, markers)
    with warnings.catch_warnings():
        # probabilities a little beyond 0 and 1 change no mask
        warnings.simplefilter("ignore", UserWarning)
        found: np.ndarray = random_walker(gray, markers, beta=BETA, mode="cg_j", tol=1e-3)
    return found


def _flooded(gray: np.ndarray, markers: np.ndarray) -> np.ndarray:
    found: np.ndarray = watershed(sobel(gray), markers)
    return found


CLICK_BASELINES: dict[str, Callable[[], ClickBaseline]] = {
    "random walker": partial(ClickBaseline, "random walker", _walked, SIDE),
    "watershed": partial(ClickBaseline, "watershed", _flooded, 1024),
}
