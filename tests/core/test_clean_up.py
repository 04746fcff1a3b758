"""Shapes of objects that are corrected."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segany.core.clean_up import CleanUp, clean_objects, cleaned, cut_along, drawn, told_changes


def disc(shape: tuple[int, int], y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


@pytest.mark.parametrize("stack", [False, True])
def test_holes_are_filled_and_nothing_else_changes(stack: bool) -> None:
    whole = disc((40, 50), 20, 25, 12)
    holed = whole & ~disc((40, 50), 20, 25, 4)
    mask, expected = (np.stack([one, one]) for one in (holed, whole)) if stack else (holed, whole)
    np.testing.assert_array_equal(cleaned(mask, CleanUp.FILL), expected)
    np.testing.assert_array_equal(cleaned(expected, CleanUp.FILL), expected)


def test_outlines_become_smooth_and_keep_their_place() -> None:
    rng = np.random.default_rng(3)
    clean = disc((60, 60), 30, 30, 18)
    rough = clean ^ ((rng.random((60, 60)) < 0.3) & disc((60, 60), 30, 30, 20) & ~disc((60, 60), 30, 30, 16))
    smooth = cleaned(rough, CleanUp.SMOOTH, 3)
    assert np.count_nonzero(smooth ^ clean) < 0.5 * np.count_nonzero(rough ^ clean)
    np.testing.assert_array_equal(cleaned(rough, CleanUp.SMOOTH, 0), rough)


def test_an_object_that_the_image_cuts_stays_at_its_edge() -> None:
    mask = np.zeros((30, 40), bool)
    mask[:, :12] = True
    np.testing.assert_array_equal(cleaned(mask, CleanUp.SMOOTH, 4)[:, 0], mask[:, 0])


def test_the_largest_piece_stays() -> None:
    mask = disc((40, 60), 20, 15, 9) | disc((40, 60), 20, 45, 4)
    np.testing.assert_array_equal(cleaned(mask, CleanUp.LARGEST), disc((40, 60), 20, 15, 9))
    assert not cleaned(np.zeros((5, 5), bool), CleanUp.LARGEST).any()


def test_objects_take_no_pixels_of_others() -> None:
    labels = np.zeros((2, 40, 60), np.int32)
    ring = disc((40, 60), 20, 20, 12) & ~disc((40, 60), 20, 20, 8)
    labels[:, ring] = 4
    labels[:, disc((40, 60), 20, 20, 3)] = 7
    before = labels.copy()
    windows = {4: (slice(0, 2), slice(8, 33), slice(8, 33))}
    (change,) = clean_objects(labels, windows, CleanUp.FILL, 0, (1, 2))
    assert not change.removed[0].size
    assert set(labels[change.added]) == {0}
    labels[change.added] = 4
    assert (labels == 7).sum() == (before == 7).sum()
    assert (labels != 0).sum() == 2 * disc((40, 60), 20, 20, 12).sum()
    assert not clean_objects(labels, windows, CleanUp.FILL, 0, (1, 2))


def test_rows_and_columns_may_be_any_axes() -> None:
    labels = np.zeros((40, 3, 50), np.int32)
    labels[:, 1][disc((40, 50), 20, 25, 12) & ~disc((40, 50), 20, 25, 4)] = 1
    (change,) = clean_objects(labels, {1: (slice(0, 40), slice(0, 3), slice(0, 50))}, CleanUp.FILL, 0, (0, 2))
    assert len(change.added[0]) == disc((40, 50), 20, 25, 4).sum()


def test_a_stroke_goes_through_all_planes() -> None:
    mask = np.stack([disc((40, 50), 20, 25, 12)] * 3)
    pieces = cut_along(mask, np.broadcast_to(drawn(((0, 25), (39, 25)), (40, 50)), mask.shape))
    assert [piece.any(axis=(1, 2)).all() for piece in pieces] == [True, True]


def test_small_objects_go() -> None:
    mask = disc((40, 60), 20, 15, 3)
    assert not cleaned(mask, CleanUp.SMALL, mask.sum() + 1).any()
    assert cleaned(mask, CleanUp.SMALL, mask.sum()).any()


@pytest.mark.parametrize("path", [((0, 25), (39, 25)), ((0, 5), (39, 45)), ((39, 10), (20, 25), (0, 24))])
def test_a_stroke_cuts_an_object(path: tuple[tuple[int, int], ...]) -> None:
    mask = disc((40, 50), 20, 25, 12)
    pieces = cut_along(mask, drawn(path, mask.shape))
    assert len(pieces) == 2
    assert pieces[0].sum() >= pieces[1].sum() > 0
    np.testing.assert_array_equal(pieces[0] | pieces[1], mask)
    assert not (pieces[0] & pieces[1]).any()


def test_a_stroke_that_ends_inside_cuts_nothing() -> None:
    mask = disc((40, 50), 20, 25, 12)
    (whole,) = cut_along(mask, drawn(((20, 25), (39, 25)), mask.shape))
    np.testing.assert_array_equal(whole, mask)


def test_a_stroke_may_leave_the_plane() -> None:
    assert drawn(((-9, 3), (99, 3)), (10, 7)).sum() == 10


def test_a_line_tells_what_would_change() -> None:
    labels = np.zeros((2, 20, 20), int)
    labels[:, 2:9, 2:9] = 3
    labels[0, 4, 4] = labels[0, 6:8, 6] = labels[1, 4, 4] = 0
    labels[0, 15, 15] = 3
    whole = {3: (slice(0, 2), slice(2, 16), slice(2, 16))}

    def told(how: CleanUp, amount: float = 0, names: dict[int, str] | None = None) -> str:
        return told_changes(clean_objects(labels, whole, how, amount, (1, 2)), how, (1, 2), names or {})

    # holes on two slices are two, although they touch
    assert told(CleanUp.FILL) == "3 holes filled in 1 object"
    assert told(CleanUp.LARGEST) == "1 island dropped from 1 object"
    assert told(CleanUp.SMALL, 500, {3: "mine"}) == "1 object too small, removed: mine"
    assert told(CleanUp.SMALL, 5) == "Nothing would change"
    assert told(CleanUp.SMOOTH, 1).startswith("1 object smoothed: ")


def test_many_names_are_cut_short() -> None:
    labels = np.arange(40).reshape(4, 10)
    windows = {
        label: (slice(label // 10, label // 10 + 1), slice(label % 10, label % 10 + 1)) for label in range(1, 40)
    }
    changes = clean_objects(labels, windows, CleanUp.SMALL, 2, (0, 1))
    assert told_changes(changes, CleanUp.SMALL, (0, 1), {}).endswith("1, 2, 3, 4, 5, 6, 7, 8 and 31 more")
