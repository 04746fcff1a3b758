"""Matching, points and what is not judged."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from napari_segany.models.mask2former.query_decoder import QueryPrediction
from napari_segany.models.mask2former.set_loss import (
    ObjectSet,
    SetLossConfig,
    layer_loss,
    match_objects,
    uncertain_places,
    values_at,
)

CONFIG = SetLossConfig(points=400)


def squares(*corners: tuple[int, int]) -> torch.Tensor:
    masks = torch.zeros(len(corners), 32, 32)
    for mask, (row, column) in zip(masks, corners, strict=True):
        mask[row : row + 8, column : column + 8] = 1
    return masks


def predicted(masks: torch.Tensor, classes: list[int]) -> QueryPrediction:
    """Queries that are sure of these masks and classes; class 2 is no object."""
    logits = 8 * torch.nn.functional.one_hot(torch.tensor(classes), 3).float() - 4
    return QueryPrediction(logits[None].requires_grad_(), (20 * masks - 10)[None].requires_grad_())


@pytest.mark.parametrize("match_cells", [False, True])
def test_matching_finds_the_permutation(match_cells: bool) -> None:
    truth = ObjectSet(squares((2, 2), (20, 20), (2, 20)), torch.tensor([0, 1, 0]))
    prediction = predicted(squares((20, 20), (12, 12), (2, 20), (2, 2)), [1, 2, 0, 0])
    config = replace(CONFIG, match_cells=match_cells)
    (rows, columns) = match_objects(prediction, [truth], config)[0]
    assert dict(zip(columns.tolist(), rows.tolist(), strict=True)) == {0: 3, 1: 0, 2: 2}
    losses = layer_loss(prediction, [truth], config)
    assert float(losses["class"].detach()) < 0.01


@pytest.mark.parametrize("match_cells", [False, True])
@pytest.mark.parametrize("queries", [1, 2, 5])
def test_more_objects_than_queries_and_none_at_all(queries: int, match_cells: bool) -> None:
    config = replace(CONFIG, match_cells=match_cells)
    prediction = predicted(squares(*[(3 * i, 3 * i) for i in range(queries)]), [0] * queries)
    many = ObjectSet(squares((2, 2), (20, 20), (2, 20)), torch.tensor([0, 1, 0]))
    none = ObjectSet(torch.zeros(0, 32, 32), torch.zeros(0, dtype=torch.int64))
    assert len(match_objects(prediction, [many], config)[0][0]) == min(queries, 3)
    for one in (many, none):
        losses = layer_loss(prediction, [one], config)
        sum(losses.values()).backward()
        assert all(torch.isfinite(value) for value in losses.values())


def test_unknown_ground_is_not_background() -> None:
    """A query that finds an object which nobody labelled is not taught that nothing is there; one that repeats is."""
    masks = squares((2, 2), (2, 3), (20, 20))
    labelled = squares((2, 2))

    def gradient(*, complete: bool) -> torch.Tensor:
        prediction = predicted(masks, [0, 0, 0])
        layer_loss(prediction, [ObjectSet(labelled, torch.tensor([0]), complete)], CONFIG)["class"].backward()
        assert prediction.classes.grad is not None
        return prediction.classes.grad[0].abs().sum(-1)

    assert (gradient(complete=True)[1:] > 0).all()
    partly = gradient(complete=False)
    assert partly[1] > 0
    assert partly[2] == 0


def test_most_points_lie_where_the_mask_is_uncertain() -> None:
    """A quarter of the points anywhere, the others near the edge of a ramp."""
    ramp = torch.linspace(-8, 8, 64).expand(1, 64, 64).contiguous()
    places = uncertain_places(ramp, SetLossConfig(points=1000), torch.Generator().manual_seed(2))
    assert places.shape == (1, 1000, 2)
    near = values_at(ramp, places).abs() < 2.1
    assert 0.75 <= float(near.float().mean()) < 0.9
