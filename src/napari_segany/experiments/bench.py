"""``napari-segany bench``: the paper's single-point protocol (section 7.1) and boxes, on labelled images."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.metrics import bootstrap, clicks_needed, summarise
from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments.baselines import BASELINES
from napari_segany.experiments.clicks import boxed, clicked
from napari_segany.experiments.datasets import LabelledPlane, Target, labelled_planes, targets

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What is measured.

    Parameters
    ----------
    bench : {"clicks", "boxes"}
        What is said of each object.
    data : Path
        Folder of a set, see :func:`~napari_segany.experiments.datasets.labelled_planes`.
    limit : int, optional
        Take the first planes only.
    rounds : int
        Clicks on each object.
    """

    bench: str
    data: Path
    limit: int | None = None
    rounds: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What one method reached on the objects of one plane.

    Parameters
    ----------
    chosen : ndarray
        (objects, rounds) float, IoU of the mask that the method stands by, after each click.
    oracle : ndarray
        (objects,) float, IoU of the best candidate of the first answer.
    seconds : float
        Wall time, loading the image not included.
    """

    chosen: np.ndarray
    oracle: np.ndarray
    seconds: float


def rows_of(
    config: BenchConfig, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> list[Row]:
    """Measure a model, and for clicks the plain baselines beside it.

    Parameters
    ----------
    config : BenchConfig
        What to measure.
    load : callable
        Makes the segmenter; called once the data are known to be there.
    progress : callable, optional
        Called with the number of planes done, after each.

    Returns
    -------
    list of dict
        Flat rows: ``bench``, ``set``, ``model``, ``device``, ``commit``, ``miou`` (mean over objects), ``oracle`` (the
        same of the best of three candidates), ``miou_per_image``, ``n`` (objects), ``miou_low`` and ``miou_high`` (95%
        bootstrap over images), ``images`` and ``seconds``. With more than one round also ``miou_1`` to ``miou_K``,
        ``gain_low_2`` to ``gain_low_K`` (lower end of the 95% bootstrap interval of what a click gained over the one
        before, paired), and ``noc85`` and ``noc90`` (mean number of clicks to IoU 0.85 and 0.90, K at most).

    Raises
    ------
    InputError
        When the data cannot be used, or hold no object that counts.
    ModelError
        From `load`.
    """
    planes = labelled_planes(config.data)
    segmenter = load()
    scores: dict[str, list[Scores]] = {}
    for done, one in enumerate(islice(planes, config.limit), start=1):
        for method, result in _measure(config, segmenter, one).items():
            scores.setdefault(method, []).append(result)
        if progress is not None:
            progress(done)
    if not any(len(result.oracle) for results in scores.values() for result in results):
        raise InputError(f"{config.data} holds no object that is large enough to count")
    known: Row = {"bench": config.bench, "set": config.data.resolve().name}
    rows = []
    for method, results in scores.items():
        device = str(getattr(segmenter, "device", "cpu")) if method == segmenter.name else "cpu"
        rows.append({**known, "model": method, "device": device, "commit": commit(), **_figures(results)})
    return rows


def _measure(config: BenchConfig, segmenter: Segmenter, one: LabelledPlane) -> dict[str, Scores]:
    objects = targets(one.labels)
    if not objects:
        return {}
    started = time.perf_counter()
    embedding = segmenter.embed(one.plane)
    if config.bench == "boxes":
        oracle = boxed(segmenter, embedding, objects)
        return {segmenter.name: Scores(oracle[:, None], oracle, time.perf_counter() - started)}
    chosen, oracle = clicked(segmenter, embedding, objects, config.rounds)
    scores = {segmenter.name: Scores(chosen, oracle, time.perf_counter() - started)}
    return scores | {name: _baseline(cut, one.plane, objects) for name, cut in BASELINES.items()}


def _baseline(cut: Callable[[np.ndarray], np.ndarray], plane: np.ndarray, objects: Sequence[Target]) -> Scores:
    """A label image answers each click with the label that lies there."""
    started = time.perf_counter()
    labels = cut(plane)
    places = [(int(target.point.y), int(target.point.x)) for target in objects]
    reached = [t.iou(labels == labels[p]) for t, p in zip(objects, places, strict=True)]
    return Scores(np.array(reached)[:, None], np.array(reached), time.perf_counter() - started)


def _figures(results: Sequence[Scores]) -> Row:
    first = summarise([result.chosen[:, 0] for result in results])
    row: Row = {
        "miou": first.mean,
        "oracle": summarise([result.oracle for result in results]).mean,
        "miou_per_image": first.per_image,
        "n": first.n,
        "miou_low": first.low,
        "miou_high": first.high,
        "images": len(results),
        "seconds": sum(result.seconds for result in results),
    }
    return row | (_round_figures([result.chosen for result in results]) if results[0].chosen.shape[1] > 1 else {})


def _round_figures(chosen: Sequence[np.ndarray]) -> Row:
    """What each click brought, from (objects, rounds) of each plane."""
    everything = np.concatenate(chosen)
    rounds = everything.shape[1]
    row: Row = {f"miou_{number + 1}": float(everything[:, number].mean()) for number in range(rounds)}
    counts = np.array([len(one) for one in chosen])
    for number in range(1, rounds):
        gains = np.array([(one[:, number] - one[:, number - 1]).sum() for one in chosen])
        row[f"gain_low_{number + 1}"] = bootstrap(gains, counts)[0]
    return row | {f"noc{goal}": float(clicks_needed(everything, goal / 100).mean()) for goal in (85, 90)}


def commit() -> str:
    """The commit of the checkout that this runs from ("-dirty" when files differ), or else the package's version."""
    root = Path(__file__).parents[3]
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            pass
    try:
        return version("napari-segany")
    except PackageNotFoundError:
        return "unknown"


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as a JSON list.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    try:
        path.write_text(json.dumps(rows, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
