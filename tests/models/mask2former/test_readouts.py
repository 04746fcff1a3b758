"""The same queries as instances, as classes of pixels and as panoptic segments."""

from __future__ import annotations

import pytest
import torch

from napari_segany.models.mask2former.query_decoder import QueryPrediction
from napari_segany.models.mask2former.readouts import read_instances, read_panoptic, read_semantic


def prediction() -> QueryPrediction:
    """Two nuclei (class 0), a cell around the first (class 1) that is less sure, an empty query and a repeated one."""
    masks = torch.full((1, 5, 16, 16), -6.0)
    masks[0, 0, 2:6, 2:6] = masks[0, 1, 10:14, 10:14] = 6
    masks[0, 2, 1:8, 1:8] = 6
    masks[0, 4, 10:14, 10:14] = 3
    classes = torch.full((1, 5, 3), -4.0)
    for query, (name, logit) in enumerate(((0, 4.0), (0, 3.5), (1, 1.0), (2, 4.0), (0, 0.5))):
        classes[0, query, name] = logit
    return QueryPrediction(classes, masks)


def test_instances_come_by_score_and_without_empty_masks() -> None:
    found = read_instances(prediction(), at_least=0.1)
    assert found.queries.tolist() == [0, 1, 2, 4]
    assert found.classes.tolist() == [0, 0, 1, 0]
    assert (found.scores.diff() <= 0).all()
    assert read_instances(prediction(), at_least=0.99).queries.tolist() == [0, 1]


def test_semantic_classes_of_pixels() -> None:
    classes = read_semantic(prediction())
    assert classes[3, 3] == 0
    assert classes[7, 7] == 1
    assert classes[12, 12] == 0


@pytest.mark.parametrize(("fused", "count"), [((), 3), ((0,), 2)])
def test_panoptic_segments(fused: tuple[int, ...], count: int) -> None:
    """The repeated query has no pixels of its own, and classes without instances are one segment."""
    found = read_panoptic(prediction(), at_least=0.8, visible=0.5, fused=fused)
    assert len(found.classes) == len(found.scores) == count == int(found.labels.max())
    assert (found.labels[3, 3] == found.labels[12, 12]) == bool(fused)
    assert found.labels[7, 7] not in (0, found.labels[3, 3])


def test_nothing_is_no_segment() -> None:
    nothing = QueryPrediction(torch.tensor([[[0.0, 0.0, 9.0]]]), torch.ones(1, 1, 4, 4))
    assert not read_panoptic(nothing).labels.any()
    assert not len(read_instances(nothing, at_least=0.1).scores)
