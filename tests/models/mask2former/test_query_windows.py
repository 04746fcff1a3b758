"""What queries see window by window comes back to its place on the plane, once, and whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from napari_segany.models.mask2former import query_windows
from napari_segany.models.mask2former.query_decoder import QueryPrediction
from napari_segany.models.mask2former.query_windows import OVERLAP, QueryMask, query_masks, without_repeats
from napari_segany.models.mask2former.tiny_queries import WINDOW


class BrightParts:
    """Queries that see every bright part of a window; the last query sees nothing."""

    def parameters(self) -> Iterator[torch.Tensor]:
        yield torch.zeros(1)

    def __call__(self, pixels: torch.Tensor) -> list[QueryPrediction]:
        bright = F.avg_pool2d(pixels.float().mean(1, keepdim=True), 4)[:, 0] / 255
        masks = torch.full((len(pixels), 40, *bright.shape[-2:]), -9.0)
        classes = torch.tensor([0.0, 0.0, 9.0]).expand(len(pixels), 40, 3).clone()
        for number, one in enumerate(bright.numpy()):
            parts, count = ndimage.label(one > 0.5)
            for part in range(count):
                inside = torch.from_numpy(parts == part + 1)
                masks[number, part][inside] = (24 * torch.from_numpy(one)[inside] - 12).clamp(0.1, 9)
                classes[number, part] = torch.tensor([0.0, 9.0, 0.0])
        return [QueryPrediction(classes, masks)]


@pytest.fixture(autouse=True)
def windows_are_the_pyramid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_windows, "tiny_pyramid", lambda model, pixels: pixels)


def discs(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Bright discs that do not touch, cut by the border of the plane some of them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    taken, masks = np.zeros(shape, bool), []
    for radius in [110, *rng.uniform(8, 30, 25)]:
        cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        mask = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
        if mask.sum() > 150 and not (taken & ndimage.binary_dilation(mask, iterations=14)).any():
            taken |= mask
            masks.append(mask)
    return np.where(taken, 255, 0).astype(np.uint8)[..., None], masks


@pytest.mark.parametrize(
    ("shape", "scale"), [((600, 700), 1.0), ((200, 150), 2.0), ((90, 90), 1.0), ((256, 900), 1.0), ((257, 255), 1.3)]
)
def test_every_object_is_found_once_and_in_its_place(shape: tuple[int, int], scale: float) -> None:
    plane, truth = discs(shape, seed=sum(shape))
    found = query_masks(None, BrightParts(), plane, scale)  # type: ignore[arg-type]
    assert len(found) == len(truth)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for mask in truth:
        overlaps = []
        for one in found:
            whole = np.zeros(shape, bool)
            whole[one.window] = one.mask
            overlaps.append((whole & mask).sum() / (whole | mask).sum())
        assert max(overlaps) > 0.75
    assert {one.class_index for one in found} == {1}


@pytest.mark.parametrize("length", [1, 255, 256, 257, 416, 417, 1024, 1700])
def test_windows_share_enough_and_cover_the_plane(length: int) -> None:
    starts = query_windows._starts(length)
    assert starts[0] == 0
    assert starts[-1] + WINDOW >= length
    assert all(0 < after - before <= WINDOW - OVERLAP for before, after in pairwise(starts))
    assert starts[-1] <= max(length - WINDOW, 0)


def test_of_repeated_masks_the_surest_stays() -> None:
    def mask(row: int, score: float) -> QueryMask:
        return QueryMask((slice(row, row + 10), slice(0, 10)), np.ones((10, 10), bool), score, 0, 1.0)

    kept = without_repeats([mask(0, 0.5), mask(2, 0.9), mask(9, 0.6), mask(40, 0.1)])
    assert [one.score for one in kept] == [0.9, 0.6, 0.1]
