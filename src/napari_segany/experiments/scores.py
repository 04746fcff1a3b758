"""What methods reached on the objects of each plane, and the figures that are made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_segany.core.metrics import bootstrap, clicks_needed, summarise

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What one method reached on the objects of one plane.

    Parameters
    ----------
    chosen : ndarray
        (objects, rounds) float, IoU of the mask that the method stands by, after each round.
    oracle : ndarray
        (objects,) float, IoU of the best candidate of the first answer.
    seconds : float
        Wall time, loading the image not included.
    predicted : ndarray, optional
        (objects,) float, IoU that the method itself predicted for the mask it stood by first.
    """

    chosen: np.ndarray
    oracle: np.ndarray
    seconds: float = 0.0
    predicted: np.ndarray | None = None

    def of(self, objects: np.ndarray) -> Scores:
        """The same for some of the objects, (objects,) bool."""
        predicted = None if self.predicted is None else self.predicted[objects]
        return Scores(self.chosen[objects], self.oracle[objects], 0.0, predicted)


def joined(parts: Sequence[Scores]) -> Scores:
    """Scores of several planes or groups of objects as those of one."""
    predicted = [part.predicted for part in parts if part.predicted is not None]
    return Scores(
        np.concatenate([part.chosen for part in parts]),
        np.concatenate([part.oracle for part in parts]),
        sum(part.seconds for part in parts),
        np.concatenate(predicted) if len(predicted) == len(parts) else None,
    )


def figures(results: Sequence[Scores]) -> Row:
    """Figures of one method over all planes; see :func:`napari_segany.experiments.benchmark.rows_of`."""
    first = summarise([result.chosen[:, 0] for result in results])
    oracle = summarise([result.oracle for result in results]).mean
    row: Row = {
        "miou": first.mean,
        "oracle": oracle,
        "miou_per_image": first.per_image,
        "n": first.n,
        "miou_low": first.low,
        "miou_high": first.high,
        "images": sum(len(result.oracle) > 0 for result in results),
        "seconds": sum(result.seconds for result in results),
    }
    predicted = [result.predicted for result in results if result.predicted is not None]
    if len(predicted) == len(results):
        row |= _calibration(np.concatenate(predicted), np.concatenate([result.chosen[:, 0] for result in results]))
    if results[0].chosen.shape[1] > 1:
        row |= _round_figures([result.chosen for result in results if len(result.chosen)])
    return row


def _calibration(predicted: np.ndarray, reached: np.ndarray) -> Row:
    """Whether the predicted IoU ranks: its correlation with the true one, and how far it is off on average."""
    varies = predicted.std() > 0 and reached.std() > 0
    return {
        "score_correlation": float(np.corrcoef(predicted, reached)[0, 1]) if varies else float("nan"),
        "score_error": float(np.abs(predicted - reached).mean()),
    }


def _round_figures(chosen: Sequence[np.ndarray]) -> Row:
    """What each round brought, from (objects, rounds) of each plane."""
    everything = np.concatenate(chosen)
    rounds = everything.shape[1]
    row: Row = {f"miou_{number + 1}": float(everything[:, number].mean()) for number in range(rounds)}
    counts = np.array([len(one) for one in chosen])
    for number in range(1, rounds):
        gains = np.array([(one[:, number] - one[:, number - 1]).sum() for one in chosen])
        row[f"gain_low_{number + 1}"] = bootstrap(gains, counts)[0]
    return row | {f"noc{goal}": float(clicks_needed(everything, goal / 100).mean()) for goal in (85, 90)}
