"""Edges of an image from the masks of a grid of clicks, without training (Kirillov et al. 2023, section 7.2, D.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.feature import hessian_matrix
from skimage.segmentation import find_boundaries

from napari_segany.core.automatic_masks import grid_points, suppress_overlaps
from napari_segany.core.masks import Mask, window_of
from napari_segany.core.planes import Region
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import ImageEmbedding, Segmenter

SIDE = 16
"""Points along each side of the grid, three masks each: 768 masks."""
BOX_OVERLAP = 0.7
"""IoU of boxes above which only the mask with the highest predicted IoU stays."""
TOGETHER = 32
"""Prompts that are predicted together."""
CUT = 3
"""Side in pixels of the neighbourhood of an outline in which a window ends that cuts the mask."""
PREDICTED = 0.5
"""Share of the work that is done once all masks are predicted."""
SMOOTHING = 1.0
"""Standard deviation in pixels, of the map whose ridges give the direction of an edge."""


def edge_map(
    segmenter: Segmenter,
    plane: np.ndarray,
    *,
    side: int = SIDE,
    thin: bool = True,
    embedding: ImageEmbedding | None = None,
    report: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Compute how strong the edge at each pixel is.

    The Sobel filter is applied to the unthresholded probabilities of each mask, and its values away from the outline
    of the mask are dropped. The largest value of all masks is scaled to 0 to 1 and thinned by edge NMS.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    plane : ndarray
        (y, x, 3) uint8.
    side : int
        Points along each side of the grid.
    thin : bool
        Whether edges are thinned to lines.
    embedding : ImageEmbedding, optional
        Of the plane, when there is one.
    report : callable, optional
        Called with the share of the work that is done, 0 to 1; what it raises stops the work.

    Returns
    -------
    ndarray
        (y, x) float32 from 0 to 1.
    """
    strength = np.zeros(plane.shape[:2], np.float32)
    report = report or (lambda _: None)
    found = _masks(segmenter, embedding or segmenter.embed(plane), side, lambda done: report(PREDICTED * done))
    for number, mask in enumerate(found):
        report(PREDICTED + (1 - PREDICTED) * number / len(found))
        window = mask.window
        probability, beyond = (values[window] for values in _probability(mask.logits, strength.shape))
        gradient = np.hypot(*(ndimage.sobel(probability, axis) for axis in (0, 1)))
        # a mask has no edge where the window in which it was predicted cuts it
        cut = ndimage.maximum_filter(beyond, CUT)
        outline = find_boundaries(mask.pixels, mode="thick") & ~cut
        strength[window] = np.maximum(strength[window], np.where(outline, gradient, 0))
    strength /= max(float(strength.max()), 1e-9)
    return edge_nms(strength) if thin else strength


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A mask as the part of the plane that it fills, two pixels more on each side: hundreds are kept at a time."""

    window: Region
    pixels: np.ndarray
    logits: np.ndarray
    score: float

    @classmethod
    def of(cls, mask: Mask) -> _Found | None:
        """Cut a mask out; None where it is empty."""
        filled = window_of(mask.pixels)
        if filled is None:
            return None
        rows, columns = (slice(max(span.start - 2, 0), span.stop + 2) for span in filled)
        return cls((rows, columns), mask.pixels[rows, columns].copy(), mask.logits, mask.score)


def _masks(segmenter: Segmenter, embedding: ImageEmbedding, side: int, report: Callable[[float], None]) -> list[_Found]:
    """The masks of the grid, without those that nearly coincide with a better one."""
    prompts = [Prompt((point,)) for point in grid_points(embedding.shape, side)]
    found: list[_Found] = []
    for start in range(0, len(prompts), TOGETHER):
        for masks in segmenter.segment(embedding, prompts[start : start + TOGETHER], candidates=3):
            found += [cut for mask in masks if (cut := _Found.of(mask)) is not None]
        report(min(start + TOGETHER, len(prompts)) / len(prompts))
    kept = suppress_overlaps([one.window for one in found], [one.score for one in found], BOX_OVERLAP)
    return [found[number] for number in kept]


def _probability(logits: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The unthresholded probabilities of a mask, (y, x), and where none were predicted, (y, x) bool."""
    import torch

    from napari_segany.models.geometry import SURELY_NOT, Frame, plane_logits

    low = torch.from_numpy(np.asarray(logits, np.float32))
    frame = Frame((shape[0], shape[1]), 4 * low.shape[-1])
    both = plane_logits(torch.stack([low, (low == SURELY_NOT).float()]), frame)
    return both[0].sigmoid().numpy(), (both[1] > 0).numpy()


def edge_nms(strength: np.ndarray) -> np.ndarray:
    """Keep the pixels that are not weaker than their neighbours across the edge.

    Parameters
    ----------
    strength : ndarray
        (y, x) float, 0 where there is no edge.

    Returns
    -------
    ndarray
        (y, x) float32, the same values on thin lines and 0 elsewhere.
    """
    yy, yx, xx = hessian_matrix(strength, SMOOTHING, order="rc", use_gaussian_derivatives=False)
    # across a ridge the curvature is the largest, negative on the crest and positive at its foot
    angle = 0.5 * np.arctan2(2 * yx, yy - xx)
    across = np.stack([np.cos(angle), np.sin(angle)])
    curvature = yy * across[0] ** 2 + 2 * yx * across[0] * across[1] + xx * across[1] ** 2
    turned = np.stack([-across[1], across[0]])
    other = yy + xx - curvature
    across = np.where(np.abs(curvature) >= np.abs(other), across, turned)
    grid = np.indices(strength.shape)
    neighbours = [ndimage.map_coordinates(strength, grid + sign * across, order=1, mode="nearest") for sign in (1, -1)]
    best = (strength >= neighbours[0]) & (strength >= neighbours[1])
    return np.where(best, strength, 0).astype(np.float32)
