"""``napari-segany bench``: the paper's single-point protocol (section 7.1) and its kin, on labelled images."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments import empty_prompts, groups, scores, sizes
from napari_segany.experiments.baselines import BASELINES
from napari_segany.experiments.datasets import PARTS, LabelledPlane, Target, labelled_planes, targets
from napari_segany.experiments.prompt_kinds import PROMPTS, prompted
from napari_segany.experiments.scores import Row, Scores
from napari_segany.experiments.simulated_users import box_prompts, click_prompts
from napari_segany.io.labels import replacing
from napari_segany.io.output_checks import check_apart

Key = tuple[tuple[str, str], ...]
"""What a row is of, next to set and bench: pairs of a column and its value, the model first."""


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """Settings of a benchmark.

    Parameters
    ----------
    bench : {"clicks", "boxes", "prompts", "sizes", "empty"}
        Prompts for each object: a click, a box, each of ``PROMPTS``, clicks and boxes in each of ``VARIANTS`` of
        the plane, or clicks and boxes for objects and for empty places.
    data : Path
        Folder of a set, see :func:`~napari_segany.experiments.datasets.labelled_planes`.
    limit : int, optional
        Take the first planes only.
    per_image : int, optional
        Take so many objects of each plane, drawn with a fixed seed.
    rounds : int
        Clicks on each object.
    by_group : bool
        Also a row for each modality and each class of size, where the bench has objects one by one.
    """

    bench: str
    data: Path
    limit: int | None = None
    per_image: int | None = None
    rounds: int = 1
    by_group: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """One plane: what it and its objects are, and what each method made of them."""

    modality: str
    sizes: np.ndarray
    results: dict[Key, Any]


def rows_of(
    config: BenchConfig, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> list[Row]:
    """Measure a model, and for clicks the plain baselines next to it.

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
        bootstrap over images), ``images`` and ``seconds``; ``score_correlation`` and ``score_error`` of the predicted
        IoU. With more than one round also ``miou_1`` to ``miou_K``, ``gain_low_2`` to ``gain_low_K`` (lower end of the
        95% bootstrap interval of what a click gained over the one before, paired), and ``noc85`` and ``noc90`` (mean
        number of clicks to IoU 0.85 and 0.90, K at most). ``prompt``, ``variant`` and ``group`` name what a row is of;
        ``drop`` is what a variant lost against the plane as it is. ``empty`` has ``auroc``, ``score_object``,
        ``score_empty`` and ``n_empty`` instead.

    Raises
    ------
    InputError
        When the data cannot be used, or hold no object that counts.
    ModelError
        From `load`.
    """
    planes = labelled_planes(config.data)
    segmenter = load()
    measured: list[_Measured] = []
    for done, one in enumerate(islice(planes, config.limit), start=1):
        if found := _measure(config, segmenter, one):
            measured.append(found)
        if progress is not None:
            progress(done)
    if not measured:
        raise InputError(f"{config.data} holds no object that is large enough to count")
    known: Row = {"bench": config.bench, "set": set_name(config.data)}
    rows = []
    for key in dict.fromkeys(key for one in measured for key in one.results):
        device = segmenter.capabilities.device if dict(key)["model"] == segmenter.name else "cpu"
        common = {**known, **dict(key), "device": device, "commit": commit()}
        rows += [{**common, **figures} for figures in _figures(config, measured, key)]
    return _with_drops(rows)


def _measure(config: BenchConfig, segmenter: Segmenter, one: LabelledPlane) -> _Measured | None:
    objects = drawn_targets(one.labels, config.per_image)
    if not objects:
        return None
    classes = groups.size_class(np.array([np.count_nonzero(target.mask) for target in objects]))
    results = dict(_BENCHES[config.bench](config, segmenter, one, objects))
    return _Measured(groups.modality(one.plane), classes, results)


def drawn_targets(labels: np.ndarray, most: int | None) -> list[Target]:
    """Objects of a plane that count; of more than `most`, so many drawn with a fixed seed."""
    objects = targets(labels)
    if most is None or len(objects) <= most:
        return objects
    drawn = np.random.default_rng(0).choice(len(objects), most, replace=False)
    return [objects[index] for index in sorted(drawn)]


def _timed(measure: Callable[[], Scores]) -> Scores:
    started = time.perf_counter()
    result = measure()
    return replace(result, seconds=time.perf_counter() - started)


def _clicks(
    config: BenchConfig, segmenter: Segmenter, one: LabelledPlane, objects: Sequence[Target]
) -> Iterator[tuple[Key, Scores]]:
    yield (
        (("model", segmenter.name),),
        _timed(lambda: click_prompts(segmenter, segmenter.embed(one.plane), objects, config.rounds)),
    )
    for name, cut in BASELINES.items():
        yield (("model", name),), _timed(lambda cut=cut: _baseline(cut, one.plane, objects))  # type: ignore[misc]


def _boxes(
    config: BenchConfig, segmenter: Segmenter, one: LabelledPlane, objects: Sequence[Target]
) -> Iterator[tuple[Key, Scores]]:
    yield (("model", segmenter.name),), _timed(lambda: box_prompts(segmenter, segmenter.embed(one.plane), objects))


def _prompts(
    config: BenchConfig, segmenter: Segmenter, one: LabelledPlane, objects: Sequence[Target]
) -> Iterator[tuple[Key, Scores]]:
    embedding = segmenter.embed(one.plane)
    for kind in PROMPTS:
        key = (("model", segmenter.name), ("prompt", kind))
        yield key, _timed(lambda kind=kind: prompted(segmenter, embedding, objects, kind))  # type: ignore[misc]


def _sizes(
    config: BenchConfig, segmenter: Segmenter, one: LabelledPlane, objects: Sequence[Target]
) -> Iterator[tuple[Key, Scores]]:
    for name, make in sizes.VARIANTS.items():
        parts: dict[str, list[Scores]] = {"click": [], "box": []}
        for variant in make(one, objects):
            embedding = segmenter.embed(variant.plane)
            parts["click"].append(click_prompts(segmenter, embedding, variant.targets))
            parts["box"].append(box_prompts(segmenter, embedding, variant.targets))
        for prompt, results in parts.items():
            key = (("model", segmenter.name), ("variant", name), ("prompt", prompt))
            yield key, scores.joined(results)


def _empty(
    config: BenchConfig, segmenter: Segmenter, one: LabelledPlane, objects: Sequence[Target]
) -> Iterator[tuple[Key, tuple[np.ndarray, np.ndarray]]]:
    embedding = segmenter.embed(one.plane)
    for kind in ("click", "box"):
        key = (("model", segmenter.name), ("prompt", kind))
        yield key, empty_prompts.score_empty_prompts(segmenter, embedding, one.labels, objects, kind)


_BENCHES: dict[str, Callable[[BenchConfig, Segmenter, LabelledPlane, Sequence[Target]], Iterator[tuple[Key, Any]]]] = {
    "clicks": _clicks,
    "boxes": _boxes,
    "prompts": _prompts,
    "sizes": _sizes,
    "empty": _empty,
}


def _baseline(cut: Callable[[np.ndarray], np.ndarray], plane: np.ndarray, objects: Sequence[Target]) -> Scores:
    """A label image answers each click with the label that lies there."""
    labels = cut(plane)
    places = [(int(target.point.y), int(target.point.x)) for target in objects]
    reached = np.array([t.iou(labels == labels[p]) for t, p in zip(objects, places, strict=True)])
    return Scores(reached[:, None], reached)


def _figures(config: BenchConfig, measured: Sequence[_Measured], key: Key) -> Iterator[Row]:
    """Figures of all objects, and of each group if wanted."""
    if config.bench == "empty":
        yield empty_prompts.figures([one.results[key] for one in measured])
        return
    yield scores.figures([one.results[key] for one in measured])
    if not config.by_group or dict(key)["model"] in BASELINES:
        return
    for modality in sorted({one.modality for one in measured}):
        yield {"group": modality, **scores.figures([one.results[key] for one in measured if one.modality == modality])}
    for name in groups.SIZE_CLASSES:
        parts = [one.results[key].of(one.sizes == name) for one in measured]
        if any(len(part.oracle) for part in parts):
            yield {"group": name, **scores.figures(parts)}


def _with_drops(rows: list[Row]) -> list[Row]:
    """Next to each variant what it lost against the plane as it is."""
    whole = {row["prompt"]: row["miou"] for row in rows if row.get("variant") == sizes.UNCHANGED}
    return [{**row, "drop": whole[row["prompt"]] - row["miou"]} if "variant" in row else row for row in rows]


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


def set_name(folder: Path) -> str:
    """What a set is called: as the user calls it, and not as a folder that a link leads to."""
    name = folder.absolute().name or folder.resolve().name
    return f"{folder.absolute().parent.name}_{name}" if name in PARTS and not folder.exists() else name


def check_rows(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Check before the work starts whether rows may be written to a file: it is new, or contains rows.

    Parameters
    ----------
    path : Path
        The file.
    inputs : iterable of Path
        Data sets, which must not be replaced.

    Raises
    ------
    InputError
        When it contains anything else, or its folder is missing.
    """
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}")
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    check_apart(path, [one for one in inputs if one.is_file()], "the rows")
    if path.is_file() and path.stat().st_size and not _holds_rows(path):
        raise InputError(f"{path} is there and holds no rows of a bench, so it is not replaced; take another name")


def _holds_rows(path: Path) -> bool:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(rows, list) and all(isinstance(row, dict) and ("bench" in row or "what" in row) for row in rows)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as a JSON list, which is whole at any time.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
