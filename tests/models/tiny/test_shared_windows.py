"""Windows near each other share an encoding, which is the same part of the plane at the same magnification."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_segany.models.tiny.shared_windows import ALIKE, STEP, shared_parts
from napari_segany.models.tiny.tiny_sam import STRIDE
from napari_segany.models.windows import Window, window_image

SIDE = 64


def near(count: int, spread: float, scale: float, seed: int = 0) -> dict[int, Window]:
    places = np.random.default_rng(seed).uniform(100, 100 + spread, (count, 2))
    return {number: Window((float(y), float(x)), scale, SIDE) for number, (y, x) in enumerate(places)}


def pixels(windows: dict[int, Window]) -> int:
    return sum(window.side**2 for window in windows.values())


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.7])
def test_a_shared_part_holds_its_windows(scale: float) -> None:
    windows = near(40, 120, scale)
    parts = shared_parts(windows)
    assert sum(part.whole.side**2 for part in parts) < 0.75 * pixels(windows)
    seen = [number for part in parts for number in part.windows]
    assert len(seen) == len(set(seen))
    for part in parts:
        assert part.whole.side % STEP == 0
        for number, (y, x) in part.corners.items():
            assert y % STRIDE == x % STRIDE == 0
            assert max(y, x) + SIDE <= part.whole.side
            moved = np.subtract(part.windows[number].centre, windows[number].centre) * scale
            assert np.abs(moved).max() <= STRIDE / 2


def test_a_window_of_a_part_shows_the_same_pixels() -> None:
    plane = np.random.default_rng(0).integers(0, 255, (260, 260, 3), np.uint8)
    parts = shared_parts(near(20, 60, 1.7))
    assert parts
    for part in parts:
        whole = window_image(plane, part.whole)
        for number, (y, x) in part.corners.items():
            alone = window_image(plane, part.windows[number])
            torch.testing.assert_close(whole[..., y : y + SIDE, x : x + SIDE], alone, rtol=0, atol=0.1)


def test_windows_far_apart_stay_alone() -> None:
    assert shared_parts({k: Window((300.0 * k, 0.0), 1.0, SIDE) for k in range(6)}) == []
    assert shared_parts({0: Window((5.0, 5.0), 1.0, SIDE)}) == []
    assert shared_parts({}) == []


def test_objects_of_other_sizes_keep_their_magnification() -> None:
    small, large = near(20, 40, 4.0), near(20, 40, 0.5, seed=1)
    windows = small | {100 + number: window for number, window in large.items()}
    parts = shared_parts(windows)
    assert {number for part in parts for number in part.windows} == set(windows)
    for part in parts:
        assert all(1 / ALIKE < part.whole.scale / windows[number].scale < ALIKE for number in part.windows)
