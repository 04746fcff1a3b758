"""The loss of a set of masks: matching one to one, then classes and sampled points (Cheng et al. 2022, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from napari_segany.models.mask2former.query_decoder import QueryPrediction

NOT_JUDGED = -100
"""Class of queries that count nowhere, as torch's cross entropy calls it."""


@dataclass(frozen=True)
class SetLossConfig:
    """Weights and points.

    Parameters
    ----------
    class_weight, mask_weight, dice_weight : float
        Of the losses, and of the costs in the matching.
    no_object : float
        Weight of queries without an object in the cross entropy.
    points : int
        Sampled of each mask.
    oversample, uncertain : float
        So many times more points are drawn first, of which the most uncertain become this share of `points`.
    match_cells : bool
        Match on all cells of the predicted maps instead of on points, which miss what is small. For small maps.
    """

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    no_object: float = 0.1
    points: int = 12544
    oversample: float = 3.0
    uncertain: float = 0.75
    match_cells: bool = False


@dataclass(frozen=True, eq=False)
class ObjectSet:
    """The objects of one picture.

    Parameters
    ----------
    masks : Tensor
        (N, h, w) of 0 and 1.
    classes : Tensor
        (N,) int64.
    complete : bool
        Whether all objects are among them. If not, queries that lie outside of them are not judged.
    """

    masks: Tensor
    classes: Tensor
    complete: bool = True


Match = tuple[Tensor, Tensor]
"""Indices of queries and of their objects."""


def values_at(maps: Tensor, places: Tensor) -> Tensor:
    """Maps (N, h, w) at places (N or 1, P, 2), x and y from 0 to 1, by bilinear interpolation: (N, P)."""
    grid = (2 * places - 1)[:, :, None].expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps[:, None], grid.to(maps.dtype), align_corners=False)[:, 0, :, 0]


def set_loss(
    predictions: Sequence[QueryPrediction],
    objects: Sequence[ObjectSet],
    config: SetLossConfig,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Loss of the predictions of every layer.

    Parameters
    ----------
    predictions : sequence of QueryPrediction
        Of each layer, the last one last.
    objects : sequence of ObjectSet
        One for each picture of the batch.
    config : SetLossConfig
        Weights and points.
    generator : torch.Generator, optional
        Source of the points.

    Returns
    -------
    dict of str to Tensor
        ``loss``, the weighted sum over layers, and ``class``, ``mask``, ``dice`` of the last layer without weights.
    """
    weights = {"class": config.class_weight, "mask": config.mask_weight, "dice": config.dice_weight}
    # the last layer draws its points first, as in the published code
    ordered = [predictions[-1], *predictions[:-1]]
    parts = [layer_loss(one, objects, config, generator) for one in ordered]
    total = torch.stack([weights[name] * value for part in parts for name, value in part.items()]).sum()
    return {"loss": total, **parts[0]}


def layer_loss(
    prediction: QueryPrediction,
    objects: Sequence[ObjectSet],
    config: SetLossConfig,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Losses ``class``, ``mask`` and ``dice`` of one layer; parameters as of :func:`set_loss`."""
    matches = match_objects(prediction, objects, config, generator)
    count = max(sum(len(one.classes) for one in objects), 1)
    chosen = torch.cat([masks[rows] for masks, (rows, _) in zip(prediction.masks, matches, strict=True)])
    truth = torch.cat([one.masks[columns] for one, (_, columns) in zip(objects, matches, strict=True)])
    shape = _mask_losses(chosen, truth.to(chosen.dtype), count, config, generator)
    return {**shape, "class": _class_loss(prediction, objects, matches, config)}


@torch.no_grad()
def match_objects(
    prediction: QueryPrediction,
    objects: Sequence[ObjectSet],
    config: SetLossConfig,
    generator: torch.Generator | None = None,
) -> list[Match]:
    """For each picture queries and their objects, one to one, at the lowest cost on points that all masks share."""
    matches = []
    for classes, masks, one in zip(prediction.classes, prediction.masks, objects, strict=True):
        cost = _costs(classes.float(), masks.float(), one, config, generator)
        rows, columns = linear_sum_assignment(cost.cpu().numpy())
        matches.append((torch.as_tensor(rows, device=cost.device), torch.as_tensor(columns, device=cost.device)))
    return matches


def _costs(
    classes: Tensor, masks: Tensor, one: ObjectSet, config: SetLossConfig, generator: torch.Generator | None
) -> Tensor:
    """Costs (Q, N) of giving objects to queries."""
    if config.match_cells:
        seen = masks.flatten(1)
        truth = F.interpolate(one.masks.to(masks)[:, None], size=masks.shape[-2:], mode="area").flatten(1)
    else:
        places = torch.rand(1, config.points, 2, device=masks.device, generator=generator)
        seen, truth = values_at(masks, places), values_at(one.masks.to(masks), places)
    if not len(one.classes):
        return seen.new_zeros(len(masks), 0)
    # cross entropy with 1 and with 0, as products: softplus(-x) = softplus(x) - x
    away = F.softplus(seen)
    entropy = ((away - seen) @ truth.T + away @ (1 - truth).T) / seen.shape[1]
    share = seen.sigmoid()
    dice = 1 - (2 * share @ truth.T + 1) / (share.sum(-1)[:, None] + truth.sum(-1) + 1)
    named = -classes.softmax(-1)[:, one.classes]
    cost = config.mask_weight * entropy + config.class_weight * named + config.dice_weight * dice
    most = torch.finfo(cost.dtype).max
    return cost.nan_to_num(most, most, most)


def uncertain_places(masks: Tensor, config: SetLossConfig, generator: torch.Generator | None = None) -> Tensor:
    """Places (N, points, 2) for masks (N, h, w) of logits: most where they are near zero, the others anywhere."""
    drawn = int(config.points * config.oversample)
    kept = int(config.points * config.uncertain)
    places = torch.rand(len(masks), drawn, 2, device=masks.device, generator=generator)
    nearest = values_at(masks, places).abs().topk(kept, dim=1, largest=False).indices
    places = places.gather(1, nearest[..., None].expand(-1, -1, 2))
    others = torch.rand(len(masks), config.points - kept, 2, device=masks.device, generator=generator)
    return torch.cat([places, others], dim=1)


def _mask_losses(
    masks: Tensor, truth: Tensor, count: int, config: SetLossConfig, generator: torch.Generator | None
) -> dict[str, Tensor]:
    """``mask`` and ``dice`` of matched logits (N, h, w) and objects (N, H, W), which may be of another size."""
    if not len(masks):
        nothing = masks.sum()
        return {"mask": nothing, "dice": nothing}
    masks, truth = masks.float(), truth.float()
    with torch.no_grad():
        places = uncertain_places(masks, config, generator)
        wanted = values_at(truth, places)
    seen = values_at(masks, places)
    entropy = F.binary_cross_entropy_with_logits(seen, wanted, reduction="none").mean(1).sum() / count
    share = seen.sigmoid()
    overlap = (2 * (share * wanted).sum(-1) + 1) / (share.sum(-1) + wanted.sum(-1) + 1)
    return {"mask": entropy, "dice": (1 - overlap).sum() / count}


def _class_loss(
    prediction: QueryPrediction, objects: Sequence[ObjectSet], matches: Sequence[Match], config: SetLossConfig
) -> Tensor:
    """Weighted cross entropy of all queries that can be judged."""
    logits = prediction.classes.float()
    nothing = logits.shape[-1] - 1
    wanted = torch.full(logits.shape[:2], nothing, device=logits.device)
    for number, (one, (rows, columns)) in enumerate(zip(objects, matches, strict=True)):
        if not one.complete:
            wanted[number] = torch.where(_repeats(prediction.masks[number], one), nothing, NOT_JUDGED)
        wanted[number, rows] = one.classes[columns]
    weights = torch.ones(nothing + 1, device=logits.device)
    weights[-1] = config.no_object
    total = F.cross_entropy(logits.transpose(1, 2), wanted, weights, reduction="sum", ignore_index=NOT_JUDGED)
    judged = weights[wanted[wanted != NOT_JUDGED]].sum()
    return total / judged.clamp_min(config.no_object)


@torch.no_grad()
def _repeats(masks: Tensor, one: ObjectSet) -> Tensor:
    """Which masks (Q, h, w) lie at least half on labelled objects: they repeat one. The ground between is unknown."""
    if not len(one.masks):
        return torch.zeros(len(masks), dtype=torch.bool, device=masks.device)
    labelled = one.masks.amax(0, keepdim=True)[None].float()
    here = F.interpolate(labelled, size=masks.shape[-2:], mode="area")[0]
    inside = (masks > 0).float()
    area = inside.sum((1, 2))
    return (2 * (inside * here).sum((1, 2)) >= area) & (area > 0)
