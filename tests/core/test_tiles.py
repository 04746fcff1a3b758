"""Large planes: parts around prompts, tiles that cover everything, and objects without seams."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from napari_segany.core import tiles
from napari_segany.core.automatic_masks import Candidate
from napari_segany.core.filters import Filters
from napari_segany.core.planes import LazyPlane, Region, Stack
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.query import Query
from napari_segany.core.tiles import (
    is_large,
    merge_candidates,
    reaches_edge,
    segment_in_window,
    shift_prompt,
    tile_grid,
    window_around,
)
from tests.fakes import BrightSegmenter

ALL = Filters(stability=0, score=0)


def cell(one: tuple[float, float], radii: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.indices(shape)
    return ((rows - one[0]) / radii[0]) ** 2 + ((columns - one[1]) / radii[1]) ** 2 <= 1


def picture(truth: np.ndarray) -> Stack:
    return Stack(np.where(truth, 200, 10).astype(np.uint8), limits=(0, 255))


def test_a_part_is_centred_on_what_was_said_as_far_as_the_border_allows() -> None:
    shape = (5000, 6000)
    assert window_around(Prompt((Point(2000, 3000),)), shape) == (slice(1488, 2512), slice(2488, 3512))
    assert window_around(Prompt((Point(3, 5998),)), shape) == (slice(0, 1024), slice(4976, 6000))
    # both clicks, and half as much around a large box
    assert window_around(Prompt((Point(100, 100), Point(400, 1000, False))), shape)[1] == slice(0, 1352)
    rows, columns = window_around(Prompt(box=Box(1000, 1000, 2999, 1099)), shape)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (3000, 1024)
    assert window_around(Prompt((Point(3, 3),)), (200, 300)) == (slice(0, 200), slice(0, 300))
    mask = np.zeros(shape, bool)
    mask[2000:2010, 3000:3010] = True
    assert window_around(Prompt(mask=mask), shape)[0].start == 1492
    with pytest.raises(ValueError, match="has no position"):
        window_around(Prompt(text="cell"), shape)


def test_prompts_move_with_the_part() -> None:
    mask = np.zeros((50, 60), bool)
    mask[20, 30] = True
    moved = shift_prompt(
        Prompt((Point(20, 30), Point(5, 40, False)), Box(1, 2, 30, 40), "x", mask), (slice(10, 40), slice(20, 60))
    )
    assert moved.points == (Point(10, 10), Point(-5, 20, False))
    assert moved.box == Box(-9, -18, 20, 20)
    assert moved.mask is not None
    assert moved.mask.shape == (30, 40)
    assert moved.mask[10, 10]
    assert (
        shift_prompt(Prompt((Point(1, 1),), mask=np.zeros((8, 8), np.float32)), (slice(0, 4), slice(0, 4))).mask is None
    )


def test_an_edge_within_the_plane_cuts_and_its_border_does_not() -> None:
    window, shape = (slice(0, 100), slice(50, 150)), (100, 300)
    assert not reaches_edge(Box(0, 20, 99, 80), window, shape)
    assert reaches_edge(Box(40, 1, 60, 80), window, shape)
    assert reaches_edge(Box(40, 20, 60, 98), window, shape)
    assert not reaches_edge(None, window, shape)


def test_a_click_is_answered_from_as_much_as_its_object_needs() -> None:
    shape = (900, 1100)
    truth = cell((450, 500), (200, 150), shape) | cell((80, 80), (9, 9), shape)
    asked: list[Region] = []

    def part(window: Region) -> np.ndarray:
        asked.append(window)
        return picture(truth).part(0, window)

    window, masks = segment_in_window(BrightSegmenter(), part, shape, Prompt((Point(80, 80),)), side=128)
    assert len(asked) == 1
    assert int(masks[0].pixels.sum()) == int(cell((80, 80), (9, 9), shape).sum())
    window, masks = segment_in_window(BrightSegmenter(), part, shape, Prompt((Point(430, 500),)), side=128)
    assert [w[0].stop - w[0].start for w in asked[1:]] == [128, 256, 512]
    whole = np.zeros(shape, bool)
    whole[window] = masks[0].pixels
    assert np.array_equal(whole, cell((450, 500), (200, 150), shape))


@pytest.mark.parametrize("shape", [(1000, 1000), (300, 5000), (1024, 1025), (90, 70), (2047, 3333)])
def test_tiles_cover_the_plane_and_share_enough(shape: tuple[int, int]) -> None:
    found = tile_grid(shape, side=500, overlap=120)
    seen = np.zeros(shape, np.uint8)
    for tile in found:
        seen[tile] += 1
        assert all(
            span.stop - span.start <= 500 and span.stop <= length for span, length in zip(tile, shape, strict=True)
        )
    assert seen.min() == 1
    for axis in (0, 1):
        starts = sorted({(tile[axis].start, tile[axis].stop) for tile in found})
        assert all(before[1] - after[0] >= 120 for before, after in pairwise(starts))


def test_automatic_masks_of_tiles_are_those_of_the_whole_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "tile_grid", lambda shape: tile_grid(shape, side=200, overlap=60))
    monkeypatch.setattr(tiles, "SIDE", 200)
    rng, shape = np.random.default_rng(4), (640, 730)
    truth = np.zeros(shape, np.int32)
    # small ones, one that is larger than a tile, and one on an edge of tiles
    wanted = [
        ((300, 400), (150, 120)),
        ((100, 146), (25, 25)),
        *[(tuple(rng.uniform(10, 620, 2)), (8, 11)) for _ in range(90)],
    ]
    for middle, radii in wanted:
        one = cell(middle, radii, shape)
        if not ndimage.binary_dilation(one, iterations=2)[truth > 0].any():
            truth[one] = truth.max() + 1
    monkeypatch.setattr(tiles, "LARGE", 640 * 730 - 1)
    shares: list[float] = []
    query, plane = Query(filters=ALL), LazyPlane(picture(truth), 0)
    found = query.candidates(BrightSegmenter(), plane, report=shares.append)
    assert found.tiled
    assert shares == sorted(shares)
    assert shares[-1] == 1
    selection = query.select(found)
    labels, objects = selection.labels, selection.objects
    assert len(objects) == truth.max()
    assert np.array_equal(labels > 0, truth > 0)
    pairs = np.unique(np.stack([labels.ravel(), truth.ravel()]), axis=1)
    assert pairs.shape[1] == truth.max() + 1


def test_pieces_that_do_not_agree_stay_apart_and_duplicates_go() -> None:
    left, right = (slice(0, 100), slice(0, 100)), (slice(0, 100), slice(60, 160))

    def piece(rows: slice, columns: slice, crop: Region, score: float = 0.9) -> Candidate:
        mask = np.ones((rows.stop - rows.start, columns.stop - columns.start), bool)
        return Candidate.of((rows, columns), mask, score, 1.0, Prompt((Point(1, 1),)), crop)

    shape = (100, 160)
    one, other = piece(slice(10, 20), slice(30, 100), left), piece(slice(10, 20), slice(60, 130), right, 0.8)
    (joined,) = merge_candidates([one, other], shape)
    assert joined.window == (slice(10, 20), slice(30, 130))
    assert joined.mask.all()
    # one goes on beyond its tile, the other says that it ends there, and has another height
    apart = merge_candidates([one, piece(slice(40, 50), slice(60, 130), right)], shape)
    assert len(apart) == 2
    # seen whole in one tile, cut in the other
    whole, cut = piece(slice(10, 20), slice(62, 110), right, 0.5), piece(slice(10, 20), slice(62, 100), left)
    assert merge_candidates([cut, whole], shape) == [whole]


def test_what_is_large() -> None:
    assert is_large((20000, 20000))
    assert not is_large((4096, 4096))
