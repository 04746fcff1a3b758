"""Objects of slices become objects of stacks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segany.core.link import Linker, link_planes, match_objects, relabel_planes


def squares(*corners: tuple[int, int, int]) -> np.ndarray:
    """Squares of 10 pixels a side: label, y, x."""
    labels = np.zeros((40, 60), np.int32)
    for label, y, x in corners:
        labels[y : y + 10, x : x + 10] = label
    return labels


def test_what_overlaps_keeps_its_number() -> None:
    found = link_planes([squares((5, 0, 0), (2, 20, 20)), squares((1, 21, 22), (9, 0, 2)), squares((7, 22, 24))])
    assert found.dtype == np.uint32
    # numbers follow the first pixels on the slice on which objects first appear
    assert [found[z, 5, 5] for z in range(3)] == [1, 1, 0]
    assert [found[z, 25, 28] for z in range(3)] == [2, 2, 2]


def test_the_best_pairs_are_made_together() -> None:
    # each for itself, both old ones would take the new label 1
    before, after = squares((1, 0, 0), (2, 0, 10)), squares((1, 0, 4), (2, 0, 14))
    assert match_objects(before, after, 0.1, ({1, 2}, {1, 2})) == [(1, 1), (2, 2)]


def test_below_the_gate_an_object_begins_anew() -> None:
    # 10 x 5 of 10 x 15 pixels are shared: an IoU of 1/3
    slices = [squares((1, 0, 0)), squares((1, 0, 5))]
    assert link_planes(slices, Linker(gate=1 / 3)).max() == 1
    assert link_planes(slices, Linker(gate=0.34)).max() == 2


@pytest.mark.parametrize(("missing", "objects"), [(0, 1), (1, 1), (2, 2)])
def test_one_slice_may_be_missed(missing: int, objects: int) -> None:
    assert link_planes([squares((1, 0, 0)), *[squares()] * missing, squares((4, 0, 0))]).max() == objects


def test_what_was_linked_is_not_linked_again_over_a_gap() -> None:
    found = link_planes([squares((1, 0, 0)), squares((1, 0, 3)), squares((1, 0, 3), (2, 20, 0)), squares((1, 20, 0))])
    assert sorted(np.unique(found[3])) == [0, 2]
    assert found.max() == 2


def test_a_division_is_left_open() -> None:
    halves = squares()
    halves[0:10, 0:5], halves[0:10, 5:10] = 1, 2
    found = link_planes([squares((1, 0, 0)), halves, halves])
    # one of them keeps the number, the other begins anew: no third object, no shared number
    assert found.max() == 2
    assert len(np.unique(found[1])) == 3
    assert np.array_equal(found[1], found[2])


def test_short_objects_can_be_dropped_and_numbers_have_no_gap() -> None:
    slices = [squares((1, 0, 0), (2, 0, 20)), squares((3, 0, 20)), squares((3, 0, 20))]
    found = link_planes(slices, extent=2)
    assert sorted(np.unique(found)) == [0, 1]
    assert found[0, 5, 25] == 1


def test_nothing_anywhere() -> None:
    assert not link_planes([squares()] * 3).any()


def test_only_the_last_slices_are_kept() -> None:
    linker = Linker()
    for _ in range(50):
        linker.add(squares((1, 0, 0)))
    assert len(linker._recent) == 2
    assert linker.numbers() == [{1: 1}] * 50


@st.composite
def stacks(draw: st.DrawFn) -> list[np.ndarray]:
    """A few slices of a few squares that move and vanish."""
    slices = []
    for _ in range(draw(st.integers(1, 5))):
        places = draw(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 50)), max_size=4))
        slices.append(squares(*[(label, y, x) for label, (y, x) in enumerate(places, start=1)]))
    return slices


@settings(max_examples=60, deadline=None)
@given(stacks(), st.randoms(use_true_random=False))
def test_labels_of_slices_are_names_only(slices: list[np.ndarray], random: object) -> None:
    """However each slice is numbered, the same pixels are one object."""
    shuffle = random.sample  # type: ignore[attr-defined]
    renamed = []
    for labels in slices:
        names = dict(zip(range(1, 5), shuffle(range(1, 1000), 4), strict=True))
        renamed.append(relabel_planes(labels, names))
    first, second = link_planes(slices), link_planes(renamed)
    assert np.array_equal(first, second)


@settings(max_examples=30, deadline=None)
@given(stacks())
def test_numbers_of_a_stack_do_not_change_when_it_is_linked_again(slices: list[np.ndarray]) -> None:
    first = link_planes(slices)
    assert np.array_equal(first > 0, np.stack(slices) > 0)
    assert set(np.unique(first)) - {0} == set(range(1, int(first.max()) + 1))
    # an object is in one piece on a slice: two labels of a slice never share a number
    for before, after in zip(slices, first, strict=True):
        assert len(np.unique(before)) == len(np.unique(after))
