"""Training pictures with their instance masks, from folders and from synthesis."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from skimage import draw, io

from napari_segany.core.errors import InputError
from napari_segany.core.planes import Stack
from napari_segany.core.synthetic import synthetic_image


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One labelled picture.

    Parameters
    ----------
    image : ndarray
        (y, x, 3) uint8.
    levels : tuple of ndarray
        (y, x) int32 label images; objects of one level may lie inside those of another.
    complete : bool
        True when everything that is an object is labelled, so that the rest is known to be background.
    group : str
        Samples of one group, such as the planes of a stack, show the same objects: what is held out of them is never
        trained on in another one. A sample without a group is one by itself.
    """

    image: np.ndarray
    levels: tuple[np.ndarray, ...]
    complete: bool = True
    group: str = ""


def _plane(array: np.ndarray) -> np.ndarray:
    return Stack(array).plane(0)


def _image_folder(folder: Path) -> dict[str, Sample]:
    """``images/NAME.png`` and ``labels/NAME.png``."""
    samples = {}
    for path in sorted((folder / "labels").glob("*.png")):
        labels = io.imread(path).astype(np.int32)
        samples[path.stem] = Sample(_plane(io.imread(folder / "images" / path.name)), (labels,))
    return samples


def _volume(folder: Path) -> dict[str, Sample]:
    """Every fourth slice along each axis of an isotropic volume ``image.tif`` with ``labels.tif``."""
    image, labels = (io.imread(folder / name) for name in ("image.tif", "labels.tif"))
    samples = {}
    for axis in range(3):
        for index in range(0, image.shape[axis], 4):
            plane, truth = image.take(index, axis), labels.take(index, axis)
            samples[f"{axis}-{index}"] = Sample(_plane(plane), (truth.astype(np.int32),), complete=False)
    return samples


def _polygons(folder: Path) -> dict[str, Sample]:
    """Photographs with polygons as text: class, then x y pairs from 0 to 1; objects may overlap."""
    samples = {}
    for path in sorted((folder / "labels").glob("*.txt")):
        image = _plane(io.imread(folder / "images" / f"{path.stem}.jpg"))
        shape = image.shape[:2]
        levels: list[np.ndarray] = []
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            xy = np.array(line.split()[1:], float).reshape(-1, 2) * shape[::-1]
            rows, columns = draw.polygon(xy[:, 1], xy[:, 0], shape)
            level = next((x for x in levels if not x[rows, columns].any()), None)
            if level is None:
                level = np.zeros(shape, np.int32)
                levels.append(level)
            level[rows, columns] = number
        if levels:
            samples[path.stem] = Sample(image, tuple(levels), complete=False)
    return samples


def _made_up(seed: int, number: int) -> Sample:
    picture = synthetic_image(np.random.default_rng((seed, number)), (320, 320))
    return Sample(picture.image, picture.levels)


def synthetic_samples(count: int, seed: int, workers: int = 1) -> list[Sample]:
    """Made-up pictures of 320 x 320 pixels of all kinds, the same by any number of processes."""
    make = partial(_made_up, seed)
    if workers < 2:
        return [make(number) for number in range(count)]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return list(pool.map(make, range(count), chunksize=8))


@dataclass(frozen=True)
class SourceConfig:
    """Which labelled pictures are learned from, and what their labels mean.

    Parameters
    ----------
    shares : dict of str to float
        Folders below the data folder, and the share of crops from each; ``synthetic`` is made here. A folder holds
        ``images/NAME.png`` and ``labels/NAME.png``, ``images/NAME.jpg`` and ``labels/NAME.txt`` (polygons), or
        ``image.tif`` and ``labels.tif``.
    partial : tuple of str
        Folders in which not every object is labelled: what lies outside their labels is unknown, not background.
    nested : dict of str to str
        Pictures, ``FOLDER/NAME``, whose objects contain those of other labels of the same field, ``FOLDER/NAME``.
    held_out : dict of str to int
        Folders of which one picture in so many is kept for testing, by groups of names that differ in their last part
        (channels and slices of one field); the last rows of each picture where there are fewer groups.
    at_most : dict of str to int
        Folders of which only so many pictures are learned from, drawn by the seed; with more of them, those with fewer
        are among them.
    synthetic : int
        How many synthetic pictures are made.
    """

    shares: dict[str, float]
    partial: tuple[str, ...] = ()
    nested: dict[str, str] = field(default_factory=dict)
    held_out: dict[str, int] = field(default_factory=dict)
    at_most: dict[str, int] = field(default_factory=dict)
    synthetic: int = 1000


def read_folder(folder: Path) -> dict[str, Sample]:
    """Read the labelled pictures of a folder, by name; the reader is chosen by the folder's layout.

    Raises
    ------
    InputError
        When the folder is missing or has none of the layouts of :class:`SourceConfig`.
    """
    if not folder.is_dir():
        raise InputError(f"training source {folder.name!r} is not in {folder.parent}")
    if (folder / "labels.tif").exists():
        return _volume(folder)
    if any((folder / "labels").glob("*.txt")):
        return _polygons(folder)
    samples = _image_folder(folder)
    if not samples:
        raise InputError(
            f"training source {folder.name!r} holds no labelled picture (images/NAME.png, labels/NAME.png)"
        )
    return samples


def split(samples: dict[str, Sample], every: int) -> tuple[dict[str, Sample], dict[str, Sample]]:
    """Divide pictures into those to learn from and those to test with; see ``held_out`` of :class:`SourceConfig`."""
    groups = sorted({name.rpartition("_")[0] or name for name in samples})
    if len(groups) >= every:
        kept = set(groups[every - 1 :: every])
        apart = {name for name in samples if (name.rpartition("_")[0] or name) in kept}
        return {n: s for n, s in samples.items() if n not in apart}, {n: samples[n] for n in sorted(apart)}
    learned, tested = {}, {}
    for name, sample in samples.items():
        row = len(sample.image) * (every - 1) // every
        learned[name], tested[name] = (_rows(sample, part) for part in (slice(row), slice(row, None)))
    return learned, tested


def _rows(sample: Sample, rows: slice) -> Sample:
    return replace(sample, image=sample.image[rows], levels=tuple(level[rows] for level in sample.levels))


def _drawn(samples: dict[str, Sample], count: int, seed: int) -> dict[str, Sample]:
    if count < 1:
        raise InputError(f"at least one picture of a source is learned from, got at_most = {count}")
    names = sorted(samples)
    order = np.random.default_rng(seed).permutation(len(names))
    return {names[number]: samples[names[number]] for number in sorted(order[:count])}


def load_sources(root: Path, config: SourceConfig, *, seed: int, workers: int = 1) -> dict[str, list[Sample]]:
    """Read the training sources.

    Parameters
    ----------
    root : Path
        Folder that holds one folder per source.
    config : SourceConfig
        Which, and what their labels mean.
    seed : int
        For the synthetic pictures.
    workers : int
        Processes that make them.

    Raises
    ------
    InputError
        When a source is missing, empty or of another layout.
    """
    folders = {name: read_folder(root / name) for name in config.shares if name != "synthetic"}
    for whole, parts in config.nested.items():
        (outer, name), (inner, other) = (each.split("/") for each in (whole, parts))
        sample = folders[outer][name]
        folders[outer][name] = replace(sample, levels=(*sample.levels, *folders[inner][other].levels))
    sources = {}
    for name in config.shares:
        if name == "synthetic":
            sources[name] = synthetic_samples(config.synthetic, seed, workers)
            continue
        samples = folders[name]
        if name in config.held_out:
            samples, _ = split(samples, config.held_out[name])
        if name in config.at_most:
            samples = _drawn(samples, config.at_most[name], seed)
        partly = name in config.partial
        sources[name] = [replace(s, complete=s.complete and not partly) for s in samples.values()]
    return sources
