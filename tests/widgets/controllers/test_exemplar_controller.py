"""Objects like the committed ones are found, and found ones are rejected, in a real window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from napari_segany.core.automatic_masks import FoundObject
from napari_segany.core.filters import Filters
from napari_segany.core.objects import ACCEPTED, AUTOMATIC, UNCERTAIN
from napari_segany.core.prompts import Box, ExampleBox, Point, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from napari_segany.core.text_query import Phrase, open_phrases
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


class Exampled(Proposing):
    """Takes example boxes: it finds the discs as bright as those in positive boxes, and answers texts."""

    capabilities = Capabilities(proposals=True, texts=True, examples=True, filters=Filters(stability=0))

    def __init__(self, radius: float = 4) -> None:
        super().__init__(radius)
        self.examples: list[tuple[ExampleBox, ...]] = []
        self.texts: list[str] = []

    def phrases(self, text: str) -> list[Phrase]:
        return open_phrases(text)

    def named_proposals(self, embedding: ImageEmbedding, phrases: Sequence[Phrase]) -> list[Prompt]:
        self.texts += [one.label for one in phrases]
        return [replace(one, text=phrases[0].label) for one in self.seeds(embedding)]

    def encode_examples(self, embedding: ImageEmbedding, examples: Sequence[ExampleBox]) -> np.ndarray:
        self.examples.append(tuple(examples))
        gray = embedding.features["plane"][..., 0]
        middles = [(one.box.y0 + one.box.y1, one.box.x0 + one.box.x1) for one in examples if one.positive]
        return np.array([[gray[round(y / 2), round(x / 2)]] for y, x in middles], np.float32)

    def example_objects(
        self, embedding: ImageEmbedding, phrases: Sequence[Phrase], encoded: np.ndarray
    ) -> Iterator[FoundObject]:
        self.texts += [one.label for one in phrases]
        gray = embedding.features["plane"][..., 0].astype(float)
        for prompt in self.seeds(embedding):
            point = prompt.points[0]
            if np.abs(encoded - gray[round(point.y), round(point.x)]).min() < 20:
                name = phrases[0].label if phrases else ""
                yield FoundObject(self._masks(embedding.shape, prompt, 1)[0], point, name)


@pytest.fixture
def exampled(hand: Hand) -> Iterator[Opened]:
    plane = np.full((60, 80), 90, np.uint8)
    rows, columns = np.ogrid[:60, :80]
    for places, value in ((BRIGHT, 250), (DARK, 10)):
        for y, x in places:
            plane[(rows - y) ** 2 + (columns - x) ** 2 <= 16] = value
    opened = Opened(hand, plane, Exampled())
    yield opened
    opened.close()


def draw_box(opened: Opened, y: int, x: int, *, positive: bool = True) -> None:
    binding = opened.widget.binding
    binding.prompts.ensure()
    binding.shapes.current_properties = {"sign": np.array(["positive" if positive else "negative"])}
    binding.shapes.add_rectangles([[y - 4, x - 4], [y + 4, x + 4]])
    opened.settle()


def test_drawn_boxes_are_examples_for_a_model_that_takes_them(exampled: Opened) -> None:
    draw_box(exampled, *DARK[1])
    draw_box(exampled, *BRIGHT[1], positive=False)
    search(exampled)
    query = exampled.widget.finder.found.query
    assert [one.positive for one in query.examples] == [True, False]
    assert query.examples[0].box == Box(DARK[1][0] - 4, DARK[1][1] - 4, DARK[1][0] + 4, DARK[1][1] + 4)
    assert found(exampled) == set(DARK)
    assert exampled.widget.finder.how == "exemplars"


def test_boxes_of_committed_and_rejected_objects_are_examples_too(exampled: Opened) -> None:
    commit(exampled, *BRIGHT[1])
    search(exampled)
    assert found(exampled) == {BRIGHT[0], BRIGHT[2]}
    exampled.hand.move(*BRIGHT[0])
    exampled.hand.press("shift+x")
    exampled.settle()
    search(exampled)
    positive, negative = exampled.widget.finder.found.query.examples
    assert (positive.positive, negative.positive) == (True, False)
    for example, place in ((positive, BRIGHT[1]), (negative, BRIGHT[0])):
        box = example.box
        assert np.allclose(((box.y0 + box.y1) / 2, (box.x0 + box.x1) / 2), place, atol=1)


def test_a_text_and_drawn_boxes_are_one_query(exampled: Opened) -> None:
    draw_box(exampled, *DARK[0])
    exampled.widget.finder.find("cell")
    exampled.settle()
    query = exampled.widget.finder.found.query
    assert len(query.examples) == len(query.phrases) == 1
    assert found(exampled) == set(DARK)
    assert exampled.widget.answers.segmenter.texts == ["cell"]
    assert exampled.widget.finder.how == "text"


def test_boxes_alone_show_nothing_to_other_models(discs: Opened) -> None:
    draw_box(discs, *DARK[0])
    discs.hand.press("shift+f")
    discs.settle()
    assert discs.widget.finder.found is None
    assert "commit an object first" in discs.text
