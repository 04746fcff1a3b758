"""From the logits of `tiny` in a window to the masks that are shown: which mask, how large, without specks."""

from __future__ import annotations

import numpy as np
import scipy
import torch
from torch import Tensor

from napari_segany.core.prompts import Box
from napari_segany.models.geometry import SURELY_NOT
from napari_segany.models.inference_config import PostprocessConfig
from napari_segany.models.windows import Window


def choose_masks(logits: Tensor, scores: Tensor, post: PostprocessConfig) -> tuple[Tensor, Tensor]:
    """Return the masks of one prompt from the decoder's logits (4, h, w) and scores (4,); the scores stay the same.

    The single mask and the highest-scoring of the three are drawn from different tokens; a mean of the two is nearer
    to the truth, above all in kinds of pictures that the model was not trained on. The other two stay as alternatives.
    """
    best = int(scores[1:].argmax()) + 1
    single, other = logits[0] + post.outwards, logits[best]
    shown = logits.clone()
    shown[0] = torch.lerp(single, other, post.leaning[0])
    shown[best] = torch.lerp(other, single, post.leaning[1])
    return shown, scores


def without_specks(logits: Tensor, clicked: Tensor, speck: float) -> Tensor:
    """Masks without parts that are much smaller than the largest, but for those that were clicked.

    Parameters
    ----------
    logits : Tensor
        (n, h, w); those above 0 belong to a mask.
    clicked : Tensor
        (N, 2) rows and columns that were clicked.
    speck : float
        Share of the largest part below which another part is removed.

    Returns
    -------
    Tensor
        (n, h, w), with logits of surely nothing where the specks were.
    """
    kept = logits.clone()
    for mask in kept:
        parts, count = scipy.ndimage.label((mask > 0).cpu().numpy())
        if count > 1:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            specks = sizes < speck * sizes.max()
            specks[[0, *parts[tuple(clicked.numpy().T)]]] = False
            mask[torch.from_numpy(specks[parts])] = SURELY_NOT
    return kept


def without_crumbs(pixels: np.ndarray, post: PostprocessConfig) -> np.ndarray:
    """A mask (y, x) bool of many objects without parts that are no objects of their kind.

    These are parts of less than ``least_part`` pixels, or of less than ``crumb`` of the median of those that have more;
    all stay where none has more.
    """
    parts, count = scipy.ndimage.label(pixels)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    usual = sizes[sizes >= post.least_part]
    if not usual.size:
        return pixels
    kept: np.ndarray = (sizes >= max(post.least_part, post.crumb * float(np.median(usual))))[parts]
    return kept


def limit_to_box(box: Box, logits: Tensor, window: Window, lowered: float) -> Tensor:
    """Logits (n, h, w) of a window, lowered by so much where they lie in no pixel of a box."""
    rows, columns = (
        (places < low - 0.5) | (places > high + 0.5)
        for places, low, high in zip(window.places(logits.shape[-1]), (box.y0, box.x0), (box.y1, box.x1), strict=True)
    )
    return logits - lowered * (rows[:, None] | columns).to(logits)
