"""Instances, semantic classes and panoptic segments, read from the same queries (Cheng et al. 2022, section 3.1)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_segany.models.mask2former.query_decoder import QueryPrediction


@dataclass(frozen=True, eq=False)
class Instances:
    """Objects of one picture, the highest score first.

    Parameters
    ----------
    masks : Tensor
        (N, h, w) logits.
    scores, classes : Tensor
        (N,): probability of the class times the mean probability inside the mask, and the class.
    queries : Tensor
        (N,) int64, which query each is.
    """

    masks: Tensor
    scores: Tensor
    classes: Tensor
    queries: Tensor


@dataclass(frozen=True, eq=False)
class Segments:
    """A panoptic segmentation.

    Parameters
    ----------
    labels : Tensor
        (h, w) int64, 0 where nothing is, else numbers from 1.
    classes, scores : Tensor
        (N,), of the segments by their number less one.
    """

    labels: Tensor
    classes: Tensor
    scores: Tensor


def mask_certainty(masks: Tensor) -> Tensor:
    """Mean probability inside the masks (..., h, w) of logits; 0 where a mask is empty."""
    inside = (masks > 0).float()
    return (masks.float().sigmoid() * inside).sum((-2, -1)) / (inside.sum((-2, -1)) + 1e-6)


def read_instances(prediction: QueryPrediction, number: int = 0, *, at_least: float = 0.0) -> Instances:
    """Objects of picture `number`; each query is one object of its likeliest class.

    Those whose score is below `at_least`, and empty masks, are left out.
    """
    masks = prediction.masks[number]
    sure, classes = prediction.classes[number].float().softmax(-1)[:, :-1].max(-1)
    scores = sure * mask_certainty(masks)
    order = scores.argsort(descending=True, stable=True)
    order = order[(scores[order] >= at_least) & (scores[order] > 0)]
    return Instances(masks[order], scores[order], classes[order], order)


def read_semantic(prediction: QueryPrediction, number: int = 0) -> Tensor:
    """Class of each pixel of picture `number`, (h, w) int64: the sum over queries of class times mask."""
    classes = prediction.classes[number].float().softmax(-1)[:, :-1]
    masks = prediction.masks[number].float().sigmoid()
    return torch.einsum("qc,qhw->chw", classes, masks).argmax(0)


def read_panoptic(
    prediction: QueryPrediction,
    number: int = 0,
    *,
    at_least: float = 0.8,
    visible: float = 0.8,
    fused: Collection[int] = (),
) -> Segments:
    """Segments of picture `number`: each pixel goes to the query with the highest class times mask.

    Parameters
    ----------
    prediction : QueryPrediction
        Of the last layer.
    number : int
        Which picture.
    at_least : float
        Probability of the class from which on a query counts.
    visible : float
        A query of whose mask no more than this share is left is dropped.
    fused : collection of int
        Classes without instances, of which all segments are one.
    """
    sure, classes = prediction.classes[number].float().softmax(-1).max(-1)
    kept = (classes != prediction.classes.shape[-1] - 1) & (sure > at_least)
    sure, classes = sure[kept], classes[kept]
    masks = prediction.masks[number][kept].float().sigmoid()
    labels = torch.zeros(prediction.masks.shape[-2:], dtype=torch.int64, device=masks.device)
    if not len(masks):
        return Segments(labels, classes, sure)
    owner = (masks * sure[:, None, None]).argmax(0)
    found: list[int] = []
    shared: dict[int, int] = {}
    for query, name in enumerate(classes.tolist()):
        own, whole = owner == query, masks[query] >= 0.5
        if not own.any() or not whole.any() or own.sum() <= visible * whole.sum():
            continue
        if name not in shared:
            found.append(query)
        labels[own] = shared.get(name, len(found))
        if name in fused:
            shared.setdefault(name, len(found))
    chosen = torch.tensor(found, dtype=torch.int64, device=masks.device)
    return Segments(labels, classes[chosen], sure[chosen])
