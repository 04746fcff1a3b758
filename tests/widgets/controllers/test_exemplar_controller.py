"""Objects like the committed ones are found, and found ones are rejected, in a real window."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from napari_segany.core.objects import ACCEPTED, AUTOMATIC, UNCERTAIN
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Hand, Opened

BRIGHT, DARK = ((20, 25), (20, 40), (20, 55)), ((40, 25), (40, 40), (40, 55))
"""Middles of discs of radius 4."""


class Proposing(FakeSegmenter):
    """Proposes the discs, and is not sure of any."""

    capabilities = Capabilities(proposals=True)

    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        return [Prompt((Point(float(y), float(x)),)) for y, x in (*BRIGHT, *DARK)]


@pytest.fixture
def discs(hand: Hand) -> Iterator[Opened]:
    plane = np.full((60, 80), 90, np.uint8)
    rows, columns = np.ogrid[:60, :80]
    for places, value in ((BRIGHT, 250), (DARK, 10)):
        for y, x in places:
            plane[(rows - y) ** 2 + (columns - x) ** 2 <= 16] = value
    opened = Opened(hand, plane, Proposing(radius=4))
    yield opened
    opened.close()


def found(opened: Opened) -> set[tuple[int, int]]:
    """The places that lie in objects that are shown."""
    finder = opened.widget.finder
    labels = finder._selected(finder.found, opened.widget.binding).labels
    return {place for place in (*BRIGHT, *DARK) if labels[place]}


def commit(opened: Opened, y: int, x: int) -> None:
    opened.hand.click(y, x)
    opened.wait_for_mask()
    opened.hand.press("k")
    opened.settle()


def search(opened: Opened) -> None:
    opened.hand.press("shift+f")
    opened.hand.qtbot.waitUntil(lambda: opened.widget.finder.found is not None, timeout=20_000)
    opened.settle()


def test_a_key_finds_what_is_like_the_committed_object_and_k_keeps_it(discs: Opened) -> None:
    commit(discs, *BRIGHT[1])
    search(discs)
    assert found(discs) == {BRIGHT[0], BRIGHT[2]}
    assert "2 objects found" in discs.text
    assert "Shift+X rejects the one under the cursor" in discs.text
    discs.hand.press("k")
    discs.settle()
    assert len(np.unique(discs.widget.binding.labels.data)) == 4


def test_a_key_rejects_the_found_object_and_what_is_like_it(discs: Opened) -> None:
    commit(discs, *BRIGHT[1])
    search(discs)
    exemplars = discs.widget.finder.found.query.exemplars
    discs.hand.move(*BRIGHT[0])
    discs.hand.press("shift+x")
    discs.settle()
    assert found(discs) <= {BRIGHT[2]}
    rejected = discs.widget.finder.found.query.exemplars.rejected
    assert (len(exemplars.rejected), len(rejected)) == (0, 1)
    search(discs)
    assert len(discs.widget.finder.found.query.exemplars.rejected) == 1, "it stays rejected on this image"


def test_without_a_committed_object_one_line_says_what_to_do(discs: Opened) -> None:
    discs.hand.press("shift+f")
    discs.settle()
    assert discs.widget.finder.found is None
    assert "commit an object first" in discs.text
    discs.hand.press("shift+x")
    discs.settle()
    assert "there is no found object under the cursor" in discs.text


def test_other_slices_are_searched_by_the_same_exemplars(discs: Opened) -> None:
    exemplars, segmenter = discs.widget.exemplars, Proposing()
    assert exemplars.query_maker()(segmenter).exemplars is None
    commit(discs, *BRIGHT[1])
    search(discs)
    assert len(exemplars.query_maker()(segmenter).exemplars.objects) == 1
    discs.hand.press("q")
    discs.settle()
    assert exemplars.query_maker()(segmenter).exemplars is None


def exemplar_labels(opened: Opened) -> set[tuple[int, int]]:
    """The discs that are exemplars now."""
    view = opened.widget.binding.planes.view()
    objects = opened.widget.exemplars._committed(opened.widget.binding, view)
    corners = {(one.window[0].start, one.window[1].start) for one in objects}
    return {(y, x) for y, x in (*BRIGHT, *DARK) if (y - 4, x - 4) in corners}


@pytest.mark.parametrize("state", [AUTOMATIC, UNCERTAIN])
@pytest.mark.parametrize("here", [True, False], ids=["committed here", "of an earlier session"])
def test_what_nobody_confirmed_is_no_exemplar(discs: Opened, state: str, here: bool) -> None:
    commit(discs, *DARK[0])
    commit(discs, *BRIGHT[1])
    if not here:
        discs.widget.session.made_from.clear()
    discs.widget.objects_box.objects.set_state([1], state)
    assert exemplar_labels(discs) == {BRIGHT[1]}
    search(discs)
    assert found(discs) == {BRIGHT[0], BRIGHT[2]}
    discs.widget.objects_box.objects.set_state([1], ACCEPTED)
    assert exemplar_labels(discs) == {DARK[0], BRIGHT[1]}


@pytest.mark.parametrize("here", [True, False], ids=["committed here", "of an earlier session"])
def test_where_nothing_is_confirmed_one_line_says_what_to_do(discs: Opened, here: bool) -> None:
    commit(discs, *BRIGHT[1])
    if not here:
        discs.widget.session.made_from.clear()
    discs.widget.objects_box.objects.set_state([1], AUTOMATIC)
    discs.hand.press("shift+f")
    discs.settle()
    assert discs.widget.finder.found is None
    assert "accept an object in the tab Objects, or commit one" in discs.text
