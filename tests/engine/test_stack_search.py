"""Everything on slice after slice, linked as it comes."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segany.core.errors import ModelError
from napari_segany.core.filters import Filters
from napari_segany.core.link import link_planes
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.query import Query
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from napari_segany.core.text_query import Phrase
from napari_segany.engine.stack_search import PlaneObjects, StackPlane, search_stack
from tests.fakes import FakeSegmenter

DEPTH, SHAPE = 6, (60, 80)
QUERY = Query(filters=Filters(stability=0))


class Drifting(FakeSegmenter):
    """Sees, on the slice whose grey value is z, a disc that drifts, and from slice 3 on a second one."""

    capabilities = Capabilities(proposals=True, filters=Filters(stability=0))

    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        z = int(embedding.features["plane"][0, 0, 0])
        places = [Point(20.0 + z, 20.0), *([Point(40.0, 60.0)] if z >= 3 else [])]
        return [Prompt((place,)) for place in places]


def through(segmenter: FakeSegmenter, query: Query, taken: np.ndarray | None = None) -> list[PlaneObjects]:
    full = np.zeros((DEPTH, *SHAPE), bool) if taken is None else taken
    planes = [np.full((*SHAPE, 3), z, np.uint8) for z in range(DEPTH)]
    asked = (StackPlane(z, plane, segmenter.embed(plane), full[z]) for z, plane in enumerate(planes))
    return list(search_stack(segmenter, asked, query))


def test_what_overlaps_from_slice_to_slice_has_one_label() -> None:
    found = through(Drifting(radius=8), QUERY)
    assert [one.number for one in found] == list(range(DEPTH))
    assert [sorted(one.verdicts) for one in found] == [[1]] * 3 + [[1, 2]] * 3
    for z, one in enumerate(found):
        assert one.labels[20 + z, 20] == 1
        assert one.labels[40, 60] == (2 if z >= 3 else 0)
        assert one.verdicts[1].confidence == pytest.approx(0.9)
    # as if all had been linked at once
    at_once = link_planes([one.labels for one in found])
    np.testing.assert_array_equal(at_once > 0, np.stack([one.labels for one in found]) > 0)


def test_what_belongs_to_somebody_is_left_out() -> None:
    taken = np.zeros((DEPTH, *SHAPE), bool)
    taken[2, 10:40, 10:30] = True
    taken[4, 36:39, 50:70] = True
    found = through(Drifting(radius=8), QUERY, taken=taken)
    assert not found[2].labels.any(), "no sliver around what is there"
    assert sorted(found[3].verdicts) == [1, 2], "the object goes on after the gap"
    assert not found[4].labels[taken[4]].any()
    assert found[4].labels[42, 60] == 2


def test_filters_are_kept_to() -> None:
    assert not any(one.labels.any() for one in through(Drifting(radius=8), Query(filters=Filters(score=0.95))))


def test_a_text_needs_a_model_that_takes_one() -> None:
    with pytest.raises(ModelError):
        through(Drifting(radius=8), Query(phrases=(Phrase("nucleus"),)))
