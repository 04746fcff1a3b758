"""The plain methods that every model must beat."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segany.experiments.baselines import BASELINES, otsu, otsu_watershed


def picture(*centres: tuple[int, int], radius: int = 12) -> np.ndarray:
    """(80, 120, 3) uint8, bright discs on dark ground."""
    y, x = np.indices((80, 120))
    inside = np.zeros((80, 120), bool)
    for row, column in centres:
        inside |= (y - row) ** 2 + (x - column) ** 2 <= radius**2
    noise = np.random.default_rng(0).normal(0, 3, inside.shape)
    gray = np.clip(np.where(inside, 180, 40) + noise, 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("inverted", [False, True])
def test_objects_apart_are_found_bright_or_dark(name: str, inverted: bool) -> None:
    plane = picture((30, 30), (50, 90))
    labels = BASELINES[name](255 - plane if inverted else plane)
    assert len({labels[30, 30], labels[50, 90], labels[0, 0]}) == 3
    assert np.count_nonzero(labels == labels[30, 30]) == pytest.approx(np.pi * 12**2, rel=0.05)


def test_only_the_watershed_cuts_objects_that_touch() -> None:
    plane = picture((40, 40), (40, 60))
    whole, cut = otsu(plane), otsu_watershed(plane)
    assert whole[40, 40] == whole[40, 60]
    assert cut[40, 36] != cut[40, 64]
    assert np.count_nonzero(np.isin(cut, [cut[40, 36], cut[40, 64]])) == np.count_nonzero(whole == whole[40, 40])


@pytest.mark.parametrize("name", BASELINES)
def test_every_pixel_has_an_answer(name: str) -> None:
    assert BASELINES[name](picture((30, 30), (50, 90))).min() == 1
    assert (otsu(np.full((20, 20, 3), 7, np.uint8)) == 1).all()
