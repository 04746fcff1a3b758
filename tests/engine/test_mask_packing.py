"""Masks packed for a journey between processes."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segany.core.masks import Mask
from napari_segany.engine.mask_packing import pack_mask, unpack_mask


@pytest.mark.parametrize("where", [(0, 0), (5, 7), None])
def test_a_mask_comes_back_as_it_was(where: tuple[int, int] | None) -> None:
    pixels, logits = np.zeros((12, 15), bool), np.full((8, 8), -10, np.float32)
    if where is not None:
        pixels[where] = True
        logits[where] = np.float32(0.1)
    mask = unpack_mask(pack_mask(Mask(pixels, 0.7, logits, 0.9)))
    assert np.array_equal(mask.pixels, pixels)
    assert mask.pixels.dtype == bool
    assert np.array_equal(mask.logits, logits)
    assert mask.logits.dtype == np.float32
    assert (mask.score, mask.stability) == (0.7, 0.9)


def test_logits_of_a_mask_without_any_come_back() -> None:
    mask = unpack_mask(pack_mask(Mask(np.ones((3, 4), bool), 1.0, np.zeros((0, 0), np.float32))))
    assert mask.pixels.all()
    assert mask.logits.shape == (0, 0)
