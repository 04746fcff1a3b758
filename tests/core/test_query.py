"""Queries without a model: candidates once, selected from again and again, in tiles where planes are large."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from napari_segany.core import tiles
from napari_segany.core.automatic_masks import Grid
from napari_segany.core.errors import ModelError
from napari_segany.core.filters import Filters
from napari_segany.core.planes import LazyPlane, Stack
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.query import Candidates, Query, query_for
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from napari_segany.core.terms import TERMS
from napari_segany.core.text_query import Phrase, Vocabulary
from tests.fakes import BrightSegmenter, FakeSegmenter, KnowingSegmenter

ALL = Filters(score=0, stability=0)
SHAPE = (300, 400)
SQUARES = {(20, 30): 12, (20, 250): 30, (140, 190): 60, (250, 380): 15, (288, 100): 12, (90, 90): 12, (200, 20): 12}
"""Corners of bright squares and their sides: some at the border of the plane, some on the edges of tiles."""


class NamedBright(BrightSegmenter):
    """Sees bright parts, which are nuclei where they are on the left of what it is shown and cells elsewhere."""

    capabilities = Capabilities(proposals=True, texts=True, filters=Filters(stability=0, score=0))
    phrases = staticmethod(Vocabulary(TERMS).phrases)

    def named_proposals(self, embedding: ImageEmbedding, phrases: Sequence[Phrase]) -> list[Prompt]:
        return [replace(seed, text=one.label) for one in phrases for seed in self.seeds(embedding)]


@pytest.fixture
def picture() -> np.ndarray:
    plane = np.full((*SHAPE, 3), 10, np.uint8)
    for number, ((y, x), side) in enumerate(SQUARES.items()):
        plane[y : y + side, x : x + side] = 150 + 10 * number
    return plane


@pytest.fixture
def in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    real = tiles.tile_grid
    monkeypatch.setattr(tiles, "tile_grid", lambda shape: real(shape, side=120, overlap=40))
    monkeypatch.setattr(tiles, "SIDE", 120)
    monkeypatch.setattr(tiles, "LARGE", SHAPE[0] * SHAPE[1] - 1)


QUERIES = {
    "all": {},
    "text": {"text": "nucleus"},
    "attributes": {"text": "bright nuclei"},
    "shape": {"text": "round nuclei"},
    "lacking": {"text": "nuclei not touching the border"},
    "border": {"changes": {"whole": True}},
    "small": {"changes": {"largest": 2000}},
    "large": {"changes": {"smallest": 500}},
    "named and small": {"text": "nucleus", "changes": {"largest": 500}},
}


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("final", [True, False])
def test_a_large_plane_gives_the_objects_of_a_small_one(
    name: str, final: bool, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    segmenter = NamedBright()
    query = query_for(segmenter, **QUERIES[name])
    whole = query.select(query.candidates(segmenter, picture, final=final))
    request.getfixturevalue("in_tiles")
    read: list[tuple[int, int]] = []
    stack = Stack(picture[..., 0], limits=(0, 255))
    part = stack.part

    def noted(number: int, window: tuple[slice, slice]) -> np.ndarray:
        found = part(number, window)
        read.append((found.shape[0], found.shape[1]))
        return found

    monkeypatch.setattr(stack, "part", noted)
    found = query.candidates(segmenter, LazyPlane(stack, 0), final=final)
    tiled = query.select(found)
    assert found.tiled
    assert max(height * width for height, width in read) <= 120 * 120
    assert np.array_equal(tiled.labels > 0, whole.labels > 0)
    assert sorted(tiled.names) == sorted(whole.names)
    assert len(tiled.objects) == tiled.labels.max() > 0


def test_filters_move_without_the_model(picture: np.ndarray, in_tiles: None) -> None:
    segmenter = NamedBright()
    query = query_for(segmenter, "nucleus", changes={"score": 0.95})
    found = query.candidates(segmenter, picture)
    assert not query.select(found).objects
    assert len(replace(query, filters=ALL).select(found).objects) == len(SQUARES)


def test_what_a_final_query_drops_is_not_drawn() -> None:
    segmenter = FakeSegmenter(5)
    query = Query(Grid(2), filters=Filters(score=0.85))
    plane = np.zeros((60, 80, 3), np.uint8)
    assert [one.score for one in query.candidates(segmenter, plane, final=True)] == [0.9] * 4
    assert len(query.candidates(segmenter, plane)) == 12


def test_a_report_that_raises_stops_the_work() -> None:
    segmenter = FakeSegmenter()

    def stop(done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Query(Grid(32)).candidates(segmenter, np.zeros((60, 80, 3), np.uint8), report=stop)
    assert len(segmenter.asked) == 1


class TestTaken:
    """Existing objects: what lies on them is left out, and hides nothing."""

    plane = np.zeros((60, 80, 3), np.uint8)

    def found(self, query: Query) -> Candidates:
        segmenter = KnowingSegmenter([Point(20, 20), Point(20, 34), Point(45, 60)], radius=8)
        return query.candidates(segmenter, self.plane)

    def test_an_existing_object_is_counted_and_left_out(self) -> None:
        query = Query(filters=ALL)
        taken = np.zeros((60, 80), bool)
        taken[10:31, 10:29] = True
        selection = query.select(self.found(query), taken)
        assert (selection.labels[20, 34] > 0, selection.labels[20, 18]) == (True, 0)
        assert (len(selection.objects), selection.existing) == (2, 1)
        assert sorted(np.unique(selection.labels)) == [0, 1, 2]

    def test_it_does_not_hide_another_one(self) -> None:
        query = Query(filters=ALL, overlap=0.01)
        found = self.found(query)
        # without labels the first one wins, and the second one overlaps it
        assert len(query.select(found).objects) == 2
        taken = np.zeros((60, 80), bool)
        taken[10:31, 10:27] = True
        selection = query.select(found, taken)
        assert {one.prompt.points[0] for one in selection.objects} == {Point(20, 34), Point(45, 60)}

    def test_no_sliver_is_left_between_an_existing_object_and_a_better_one(self) -> None:
        query = Query(filters=ALL)
        taken = np.zeros((60, 80), bool)
        # less than half of the second one, but more than half of what the first leaves of it
        taken[20:40, 28:50] = True
        found = self.found(query)
        second = list(found)[1]
        assert 2 * np.count_nonzero(second.mask & taken[second.window]) <= second.area * 1.1
        selection = query.select(found, taken)
        for number in range(1, len(selection.objects) + 1):
            mask = selection.labels == number
            assert 2 * np.count_nonzero(mask & taken) <= np.count_nonzero(mask)

    def test_attributes_are_meant_among_all_objects(self, picture: np.ndarray) -> None:
        segmenter = NamedBright()
        query = query_for(segmenter, "bright nuclei")
        found = query.candidates(segmenter, picture)
        before = query.select(found)
        # once they are kept, no other ones become the bright ones
        again = query.select(found, before.labels > 0)
        assert not again.objects
        assert again.existing == len(before.objects)


def test_a_text_is_read_once(picture: np.ndarray, in_tiles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    segmenter = NamedBright()
    known = segmenter.phrases
    monkeypatch.setattr(NamedBright, "phrases", staticmethod(lambda text: read.append(text) or known(text)))
    query = query_for(segmenter, "small nuclei")
    query.select(query.candidates(segmenter, picture))
    assert read == ["small nuclei"]
    assert query.phrases == (Phrase("nucleus", ("small",)),)


def test_a_query_travels() -> None:
    query = query_for(NamedBright(), "bright nuclei; cell", changes={"smallest": 30}, overlap=0.3)
    assert pickle.loads(pickle.dumps(query)) == query  # noqa: S301  our own


def test_a_model_without_texts() -> None:
    with pytest.raises(ModelError, match="no text"):
        query_for(KnowingSegmenter([]), "nucleus")
    with pytest.raises(ModelError, match="no text"):
        Query(phrases=(Phrase("nucleus"),)).candidates(KnowingSegmenter([]), np.zeros((9, 9, 3), np.uint8))
