"""Edges lie where masks end, and are thin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Prompt
from napari_segany.engine.edges import edge_map, edge_nms
from napari_segany.models.geometry import SURELY_NOT
from tests.fakes import FakeSegmenter


class Halves(FakeSegmenter):
    """Its mask is the left half of the plane, whatever is clicked."""

    def _mask(self, shape: tuple[int, int], prompt: Prompt, radius: float, score: float) -> Mask:
        pixels = np.zeros(shape, bool)
        pixels[:, : shape[1] // 2] = True
        columns = np.arange(64)
        logits = np.broadcast_to(8.0 * (31.5 - columns) / 16, (64, 64)).astype(np.float32).copy()
        return Mask(pixels, score, logits, 1.0)


def test_the_edge_is_the_outline_of_the_mask() -> None:
    edges = edge_map(Halves(), np.zeros((64, 64, 3), np.uint8), side=2)
    columns = np.unique(np.nonzero(edges[4:-4])[1])
    assert edges.max() == 1
    assert set(columns) <= {31, 32}


def test_a_ridge_is_thinned_to_its_crest() -> None:
    ridge = np.exp(-np.square(np.arange(40) - 20) / 18) * np.ones((30, 1))
    for strength in (ridge, ridge.T.copy()):
        thin = edge_nms(strength)
        crest = 20 if strength is ridge else slice(None)
        assert (thin[3:-3, crest] > 0).any()
        assert np.count_nonzero(thin) <= 3 * max(strength.shape)


def test_nothing_gives_no_edge() -> None:
    class Empty(FakeSegmenter):
        def _mask(self, shape: tuple[int, int], prompt: Prompt, radius: float, score: float) -> Mask:
            return Mask(np.zeros(shape, bool), score, np.full((64, 64), -9, np.float32), 1.0)

    assert not edge_map(Empty(), np.zeros((40, 50, 3), np.uint8), side=2).any()


class Cut(Halves):
    """The same mask, where the right half was never looked at."""

    def _mask(self, shape: tuple[int, int], prompt: Prompt, radius: float, score: float) -> Mask:
        mask = super()._mask(shape, prompt, radius, score)
        logits = np.full((64, 64), SURELY_NOT, np.float32)
        logits[:, :32] = 6.0
        return replace(mask, logits=logits)


def test_the_end_of_what_the_model_looked_at_is_no_edge() -> None:
    assert not edge_map(Cut(), np.zeros((64, 64, 3), np.uint8), side=2).any()
