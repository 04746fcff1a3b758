"""Labelled frames as tracks with parents: divisions by overlap, gaps, and what napari's Tracks layer takes."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Tracks

from napari_segany.core.track_graph import DivisionFinder, TrackSegment, track_graph, track_segments

Block = tuple[int, int, int, int, int]
"""Label, first row, first column, rows, columns."""


def frame(*blocks: Block) -> np.ndarray:
    labels = np.zeros((40, 60), np.int32)
    for label, y, x, rows, columns in blocks:
        labels[y : y + rows, x : x + columns] = label
    return labels


def found(*frames: np.ndarray) -> dict[int, int]:
    finder = DivisionFinder()
    for one in frames:
        finder.add(one)
    return finder.parents()


MOTHER: Block = (7, 10, 10, 10, 20)


@pytest.mark.parametrize(
    ("daughters", "parents"),
    [
        # both begin, one keeps the number of the mother, three
        ([(1, 10, 10, 10, 9), (2, 10, 21, 10, 9)], {1: 7, 2: 7}),
        ([(7, 10, 10, 10, 9), (2, 10, 21, 10, 9)], {2: 7}),
        ([(7, 10, 10, 10, 6), (2, 10, 17, 10, 6), (3, 10, 24, 10, 6)], {2: 7, 3: 7}),
        # they moved apart by some pixels
        ([(7, 10, 7, 10, 9), (2, 12, 24, 10, 9)], {2: 7}),
        # a single one; a small fragment; one that lies elsewhere; a mother that goes on as a whole
        ([(1, 10, 10, 10, 20)], {}),
        ([(7, 10, 10, 10, 16), (2, 10, 27, 2, 2)], {}),
        ([(7, 10, 10, 10, 9), (2, 25, 25, 10, 9)], {}),
        ([(7, 10, 10, 10, 20), (2, 20, 10, 10, 20)], {}),
        # two that cover little of it are no halves
        ([(1, 10, 10, 4, 5), (2, 15, 21, 4, 5)], {}),
    ],
)
def test_divisions_by_overlap(daughters: list[Block], parents: dict[int, int]) -> None:
    assert found(frame(MOTHER), frame(MOTHER), *[frame(*daughters)] * 3) == parents


def test_what_was_there_before_is_no_daughter() -> None:
    apart = frame((7, 10, 10, 10, 9), (2, 10, 21, 10, 9))
    # 2 is missed for a frame, when 7 is drawn over both
    assert found(apart, frame(MOTHER), apart, apart, apart) == {}


def test_a_flicker_is_no_division_but_the_end_of_the_movie_is_no_evidence() -> None:
    apart = frame((7, 10, 10, 10, 9), (2, 10, 21, 10, 9))
    assert found(frame(MOTHER), apart, frame(MOTHER), frame(MOTHER), frame(MOTHER)) == {}
    assert found(frame(MOTHER), frame(MOTHER), apart) == {2: 7}


def test_divisions_in_volumes() -> None:
    volumes = [np.stack([one] * 3) for one in (frame(MOTHER), frame((1, 10, 10, 10, 9), (2, 10, 21, 10, 9)))]
    assert found(*volumes, volumes[1], volumes[1]) == {1: 7, 2: 7}


def test_a_mother_ends_where_she_divides() -> None:
    there = [(2, 3), (2, 4), *[(7, time) for time in range(6) if time != 1]]
    segments = track_segments(there, {2: 7})
    assert segments == (
        TrackSegment(1, 2, 3, 4, 3, True),
        TrackSegment(2, 7, 0, 0),
        # beyond a gap the same object, then a daughter
        TrackSegment(3, 7, 2, 2, 2),
        TrackSegment(4, 7, 3, 5, 3, True),
    )


@pytest.mark.parametrize(
    "parents", [{2: 9}, {2: 2}, {9: 2}, {1: 2}], ids=["deleted mother", "itself", "deleted daughter", "older daughter"]
)
def test_mothers_that_cannot_be_are_left_out(parents: dict[int, int]) -> None:
    segments = track_segments([(1, 0), (1, 1), (2, 1), (2, 2)], parents)
    assert [(one.label, one.parent) for one in segments] == [(1, 0), (2, 0)]


def test_edges_and_what_napari_takes() -> None:
    graph = track_graph([frame(MOTHER), frame((7, 10, 10, 10, 9), (9, 10, 21, 10, 9))], 2)
    assert graph.sizes.tolist() == [200, 90, 90]
    assert graph.edges().tolist() == [[0, 1], [0, 2]]
    table, parents = graph.tracks()
    # the daughter that keeps the number of its mother is another track
    assert table.tolist() == [[7, 0, 14.5, 19.5], [9, 1, 14.5, 25], [10, 1, 14.5, 14]]
    assert parents == {9: [7], 10: [7]}
    assert Tracks(table, graph=parents).graph == parents


def test_a_gap_in_a_track_is_one_track_in_napari() -> None:
    graph = track_graph([frame(MOTHER), frame(), frame(MOTHER)], 2)
    assert graph.tracks()[0][:, 0].tolist() == [7, 7]
    assert graph.tracks()[1] == {}
    assert graph.edges().tolist() == [[0, 1]]


def test_daughters_divide_again() -> None:
    frames = [
        frame((1, 0, 0, 20, 40)),
        frame((1, 0, 0, 20, 19), (2, 0, 21, 20, 19)),
        frame((1, 0, 0, 9, 19), (3, 11, 0, 9, 19), (2, 0, 21, 20, 19)),
    ]
    graph = track_graph(frames, 2)
    labels = {one.number: one.label for one in graph.segments}
    assert [(one.label, one.first, labels.get(one.parent, 0)) for one in graph.segments] == [
        (1, 0, 0),
        (1, 1, 1),
        (1, 2, 1),
        (2, 1, 1),
        (3, 2, 1),
    ]
    assert [graph.segments[4].parent, graph.segments[2].parent] == [2, 2]


def test_nothing_anywhere() -> None:
    graph = track_graph([frame()] * 2, 2)
    assert graph.tracks()[0].shape == (0, 4)
    assert graph.edges().shape == (0, 2)
    assert graph.segments == ()
