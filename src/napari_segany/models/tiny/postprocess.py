"""From what `tiny` says of a window to what is shown: which of its masks, how large, without specks."""

from __future__ import annotations

import numpy as np
import scipy
import torch
from torch import Tensor

from napari_segany.core.prompts import Box
from napari_segany.models.geometry import SURELY_NOT
from napari_segany.models.windows import Window

OUTWARDS = 0.2
"""Added to the logits of the single mask, which learned beside prompts for what is not there and came out too small."""
LEANING = 0.25, 0.5
"""How much the single mask leans on the surest of the three, and that one on the single mask; chosen, as is
``OUTWARDS``, on images of train/dsb2018, of dev/epfl6 and dev/plant3d, and on synthetic ones."""
BEYOND = 0.75
"""Taken from the logits beyond a box, where the model must be surer: people draw boxes around things. Chosen on images
of train/ and dev/; more makes exact and roomy boxes still better, and those that cut into their object worse."""
SPECK = 0.1
"""Share of an object's largest part below which another part of it is a speck."""


COUNTS = 16
"""Pixels from which on a part of what a text names counts, as objects do in training and benches."""
CRUMB = 0.05


def choose_masks(logits: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """What is answered, from what the decoder says to one prompt: logits (4, h, w), and scores (4,), which stay.

    The single mask and the surest of the three are drawn from different tokens; a mean of the two is nearer to the
    truth, above all in pictures of kinds that the model never saw. The other two stay: what else may be meant.
    """
    surest = int(scores[1:].argmax()) + 1
    single, other = logits[0] + OUTWARDS, logits[surest]
    shown = logits.clone()
    shown[0] = torch.lerp(single, other, LEANING[0])
    shown[surest] = torch.lerp(other, single, LEANING[1])
    return shown, scores


def without_specks(logits: Tensor, clicked: Tensor) -> Tensor:
    """Masks without parts that are much smaller than the largest, but for those that were clicked.

    Parameters
    ----------
    logits : Tensor
        (n, h, w); those above 0 belong to a mask.
    clicked : Tensor
        (N, 2) rows and columns that were clicked.

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
            specks = sizes < SPECK * sizes.max()
            specks[[0, *parts[tuple(clicked.numpy().T)]]] = False
            mask[torch.from_numpy(specks[parts])] = SURELY_NOT
    return kept


def without_crumbs(pixels: np.ndarray) -> np.ndarray:
    """A mask (y, x) bool of many objects without parts that are no objects of their kind.

    These are parts of less than `COUNTS` pixels, or of less than `CRUMB` of the median of those that have more; all
    stay where none has more.
    """
    parts, count = scipy.ndimage.label(pixels)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    usual = sizes[sizes >= COUNTS]
    if not usual.size:
        return pixels
    kept: np.ndarray = (sizes >= max(COUNTS, CRUMB * float(np.median(usual))))[parts]
    return kept


def limit_to_box(box: Box, logits: Tensor, window: Window) -> Tensor:
    """Logits (n, h, w) of a window, lower where they lie in no pixel of a box."""
    rows, columns = (
        (places < low - 0.5) | (places > high + 0.5)
        for places, low, high in zip(window.places(logits.shape[-1]), (box.y0, box.x0), (box.y1, box.x1), strict=True)
    )
    return logits - BEYOND * (rows[:, None] | columns).to(logits)
