"""``napari-segany bench fairness``: whether clicks work as well for each group (Kirillov et al. 2023, section 6)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.metrics import summarise
from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments.benchmark import commit, drawn_targets, set_name
from napari_segany.experiments.datasets import labelled_planes
from napari_segany.experiments.groups import SIZE_CLASSES, modality, size_class
from napari_segany.experiments.scores import Row
from napari_segany.experiments.simulated_users import click_prompts

IMAGE = "image"
"""Column of a table of groups with the name of the image, with or without its extension."""
FEWEST = 2
"""Images of a group that has an interval."""


@dataclass(frozen=True, slots=True)
class FairnessConfig:
    """What is measured.

    Parameters
    ----------
    data : Path
        Folder of a set.
    groups : Path, optional
        A CSV file with a column ``image`` and a column for each attribute, such as stain, laboratory or cell line.
        Without it, the kind of picture and the size of the object.
    clicks : tuple of int
        Numbers of clicks after which is measured.
    limit, per_image : int, optional
        Take the first images only, and so many objects of each, drawn by chance.
    """

    data: Path
    groups: Path | None = None
    clicks: tuple[int, ...] = (1, 3)
    limit: int | None = None
    per_image: int | None = None


def rows_of_fairness(
    config: FairnessConfig, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> list[Row]:
    """Measure clicks by group.

    The first click lies in the middle of the object, further ones in the middle of the largest error.

    Parameters
    ----------
    config : FairnessConfig
        What to measure.
    load : callable
        Makes the segmenter.
    progress : callable, optional
        Called with the number of images done.

    Returns
    -------
    list of dict
        ``bench``, ``set``, ``model``, ``attribute``, ``group``, ``clicks``, ``miou`` (mean over objects), ``low`` and
        ``high`` (95 % bootstrap interval over images; NaN where there are fewer than two), ``differs`` (groups of the
        same attribute whose interval lies apart, as in the paper), ``n`` (objects), ``images`` and ``commit``.

    Raises
    ------
    InputError
        The data or the table cannot be used, or no image has an object.
    ModelError
        From `load`.
    """
    if not config.clicks or min(config.clicks) < 1:
        raise InputError(f"clicks are counted from 1, got {', '.join(map(str, config.clicks)) or 'none'}")
    table = {} if config.groups is None else read_groups(config.groups)
    planes = labelled_planes(config.data)
    segmenter = load()
    measured: list[_Measured] = []
    for done, one in enumerate(islice(planes, config.limit), start=1):
        objects = drawn_targets(one.labels, config.per_image)
        if objects:
            found = click_prompts(segmenter, segmenter.embed(one.plane), objects, max(config.clicks)).chosen
            sizes = size_class(np.array([np.count_nonzero(target.mask) for target in objects]))
            known = {"kind of picture": modality(one.plane)} if config.groups is None else _of(table, one.name)
            measured.append(_Measured(known, sizes if config.groups is None else None, found))
        if progress is not None:
            progress(done)
    if not measured:
        raise InputError(f"{config.data} holds no object that is large enough to count")
    if table and not any(one.groups for one in measured):
        raise InputError(f"{config.groups} names none of the images of {config.data}")
    common: Row = {"bench": "fairness", "set": set_name(config.data), "model": segmenter.name}
    return [{**common, **row, "commit": commit()} for row in _rows(measured, config.clicks)]


def read_groups(path: Path) -> dict[str, dict[str, str]]:
    """Groups of each image by attribute.

    Raises
    ------
    InputError
        It cannot be read, or has no column ``image`` or no other.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    if not rows or IMAGE not in rows[0] or len(rows[0]) < 2:
        raise InputError(f"{path} needs a column {IMAGE} and one of groups, such as stain")
    return {
        Path(row[IMAGE]).stem: {name: value for name, value in row.items() if name not in (IMAGE, None) and value}
        for row in rows
        if row[IMAGE]
    }


def _of(table: Mapping[str, Mapping[str, str]], name: str) -> Mapping[str, str]:
    """Groups of an image; those of a plane of a stack are those of its file."""
    return table.get(Path(name).stem, table.get(Path(name).stem.partition(" ")[0], {}))


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """An image: its groups, classes of size of its objects (n,) or None, and IoU (n, clicks)."""

    groups: Mapping[str, str]
    sizes: np.ndarray | None
    chosen: np.ndarray


def _rows(measured: Sequence[_Measured], clicks: Sequence[int]) -> Iterator[Row]:
    for attribute in dict.fromkeys(name for one in measured for name in one.groups):
        parts: dict[str, list[np.ndarray]] = {}
        for one in measured:
            if attribute in one.groups:
                parts.setdefault(one.groups[attribute], []).append(one.chosen)
        yield from _compared(attribute, parts, clicks)
    sized = [(one.sizes, one.chosen) for one in measured if one.sizes is not None]
    # (objects of one image are alike: the interval is over images here, too)
    classes = {name: [chosen[sizes == name] for sizes, chosen in sized] for name in SIZE_CLASSES}
    parts = {name: [one for one in images if len(one)] for name, images in classes.items()}
    yield from _compared("size", {name: images for name, images in parts.items() if images}, clicks)


def _compared(attribute: str, parts: Mapping[str, Sequence[np.ndarray]], clicks: Sequence[int]) -> Iterator[Row]:
    """Rows of the groups of an attribute; `parts` are IoU (objects, clicks) of each image."""
    for number in clicks:
        found = {group: summarise([one[:, number - 1] for one in images]) for group, images in parts.items()}
        spans = {
            group: (one.low, one.high) if len(parts[group]) >= FEWEST else (np.nan, np.nan)
            for group, one in found.items()
        }
        for group, one in found.items():
            low, high = spans[group]
            apart = [other for other, (start, end) in spans.items() if end < low or high < start]
            yield {
                "attribute": attribute,
                "group": group,
                "clicks": number,
                "miou": one.mean,
                "low": low,
                "high": high,
                "differs": "; ".join(apart),
                "n": one.n,
                "images": len(parts[group]),
            }
