"""How well masks agree with the truth, and how sure the numbers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

RESAMPLES = 1000


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two masks; 1 when both are empty.

    Parameters
    ----------
    found, truth : ndarray
        bool, of one shape.

    Returns
    -------
    float
        Within 0..1.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if found.shape != truth.shape:
        raise ValueError(f"masks of different shapes: {found.shape} and {truth.shape}")
    union = int(np.count_nonzero(found | truth))
    return int(np.count_nonzero(found & truth)) / union if union else 1.0


@dataclass(frozen=True, slots=True)
class Summary:
    """A score over many masks of many images.

    Parameters
    ----------
    mean : float
        Over masks, so that crowded images weigh more.
    per_image : float
        Mean over images of the mean over each one's masks.
    low, high : float
        95% interval of `mean`: bootstrap over images, since masks of one image are alike.
    n : int
        Number of masks.
    """

    mean: float
    per_image: float
    low: float
    high: float
    n: int


def summarise(scores: Sequence[np.ndarray], *, resamples: int = RESAMPLES, seed: int = 0) -> Summary:
    """Summarise the scores of all masks.

    Parameters
    ----------
    scores : sequence of ndarray
        For each image, (masks,) float. Images without masks do not count.
    resamples : int
        Bootstrap samples.
    seed : int
        Of the bootstrap.

    Raises
    ------
    ValueError
        When there is no mask at all.
    """
    kept = [np.asarray(one, float) for one in scores if len(one)]
    if not kept:
        raise ValueError("no mask to summarise")
    sums, counts = np.array([one.sum() for one in kept]), np.array([len(one) for one in kept])
    low, high = bootstrap(sums, counts, resamples=resamples, seed=seed)
    return Summary(float(sums.sum() / counts.sum()), float(np.mean(sums / counts)), low, high, int(counts.sum()))


def bootstrap(
    sums: np.ndarray, counts: np.ndarray, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Interval of a mean over masks when images are drawn again with replacement (percentile bootstrap).

    For a paired comparison, give the sums of the differences.

    Parameters
    ----------
    sums, counts : ndarray
        (images,) the sum of the scores in each image, and how many there are, at least one.
    level : float
        Share of the resampled means within the interval.
    resamples : int
        How many times images are drawn.
    seed : int
        Of the draws.

    Returns
    -------
    (low, high)
    """
    drawn = np.random.default_rng(seed).integers(0, len(sums), (resamples, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def clicks_needed(rounds: np.ndarray, target: float) -> np.ndarray:
    """Number of clicks (NoC) until an IoU is reached; the number of rounds where it never is.

    Parameters
    ----------
    rounds : ndarray
        (masks, rounds) float, the IoU after each click.
    target : float
        The IoU to reach.

    Returns
    -------
    ndarray
        (masks,) int, from 1.
    """
    reached = rounds >= target
    needed: np.ndarray = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, rounds.shape[1])
    return needed


THRESHOLDS = tuple(float(t) for t in np.round(np.arange(0.5, 0.96, 0.05), 2))
"""IoU from 0.5 to 0.95 in steps of 0.05."""


def instance_scores(
    found: np.ndarray, truth: np.ndarray, thresholds: Sequence[float] = THRESHOLDS, *, smallest: int = 1
) -> np.ndarray:
    """How many objects were found, TP / (TP + FP + FN), at each IoU that counts as found.

    At 0.5 it is what is called AP50 of an image, its mean over ``THRESHOLDS`` the mean segmentation accuracy (mSA).

    Parameters
    ----------
    found, truth : ndarray
        (y, x) integer label images of one shape, 0 is background.
    thresholds : sequence of float
        IoU from which on a found object is taken for the true one.
    smallest : int
        Objects of fewer pixels are ignored on both sides.

    Returns
    -------
    ndarray
        (thresholds,) float within 0..1; 1 where there is nothing to find and nothing was found.
    """
    ours, theirs = (_compact(labels, smallest) for labels in (found, truth))
    pairs = np.zeros((ours.max() + 1, theirs.max() + 1), np.int64)
    np.add.at(pairs, (ours.ravel(), theirs.ravel()), 1)
    shared = pairs[1:, 1:]
    overlap = shared / np.maximum(pairs.sum(1)[1:, None] + pairs.sum(0)[None, 1:] - shared, 1)
    scores = []
    for threshold in thresholds:
        good = overlap >= threshold
        hits = int(good[scipy.optimize.linear_sum_assignment(good, maximize=True)].sum())
        missed = sum(overlap.shape) - hits
        scores.append(hits / missed if missed else 1.0)
    return np.array(scores)


def _compact(labels: np.ndarray, smallest: int) -> np.ndarray:
    """Labels from 1 without a gap, those of fewer than `smallest` pixels taken for background."""
    values, flat, counts = np.unique(labels, return_inverse=True, return_counts=True)
    stays = (values != 0) & (counts >= smallest)
    numbers: np.ndarray = np.where(stays, np.cumsum(stays), 0)
    return numbers[flat].reshape(labels.shape)


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive outranks a negative, ties counting half; NaN without either.

    Parameters
    ----------
    positive, negative : ndarray
        (n,) and (m,) float scores.
    """
    if not len(positive) or not len(negative):
        return float("nan")
    ranks = scipy.stats.rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def calibration_error(told: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Return the expected calibration error: the mean gap between probability and share of right names.

    Parameters
    ----------
    told : ndarray
        (n,) probability of the name that was given to each object.
    right : ndarray
        (n,) bool, whether it is right.
    bins : int
        Equal parts of 0 to 1 within which the two are compared.
    """
    place = np.minimum((told * bins).astype(int), bins - 1)
    parts = [place == number for number in range(bins) if (place == number).any()]
    return float(sum(part.sum() * abs(told[part].mean() - right[part].mean()) for part in parts) / max(len(told), 1))
