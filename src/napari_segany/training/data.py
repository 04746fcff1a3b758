"""Training pictures with their instance masks, from folders and from synthesis."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
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
    """

    image: np.ndarray
    levels: tuple[np.ndarray, ...]
    complete: bool = True


def _plane(array: np.ndarray) -> np.ndarray:
    return Stack(array).plane(0)


def _image_folder(folder: Path) -> list[Sample]:
    """``images/NAME.png`` beside ``labels/NAME.png``."""
    samples = []
    for path in sorted((folder / "labels").glob("*.png")):
        labels = io.imread(path).astype(np.int32)
        samples.append(Sample(_plane(io.imread(folder / "images" / path.name)), (labels,)))
    return samples


def _volume(folder: Path) -> list[Sample]:
    """Every fourth slice along each axis of an isotropic volume ``image.tif`` with ``labels.tif``."""
    image, labels = (io.imread(folder / name) for name in ("image.tif", "labels.tif"))
    samples = []
    for axis in range(3):
        for index in range(0, image.shape[axis], 4):
            plane, truth = image.take(index, axis), labels.take(index, axis)
            samples.append(Sample(_plane(plane), (truth.astype(np.int32),), complete=False))
    return samples


def _polygons(folder: Path) -> list[Sample]:
    """Photographs with polygons as text: class, then x y pairs from 0 to 1; objects may overlap."""
    samples = []
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
            samples.append(Sample(image, tuple(levels), complete=False))
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


READERS: dict[str, Callable[[Path], list[Sample]]] = {
    "dsb2018": _image_folder,
    "usiigaci": _image_folder,
    "flyem": _volume,
    "coco128": _polygons,
}


def load_sources(
    root: Path, names: list[str], *, synthetic: int, seed: int, workers: int = 1
) -> dict[str, list[Sample]]:
    """Read the training sources.

    Parameters
    ----------
    root : Path
        Folder that holds one folder per source.
    names : list of str
        Sources to read; ``synthetic`` is made here.
    synthetic : int
        How many synthetic pictures to make.
    seed : int
        For the synthetic pictures.
    workers : int
        Processes that make them.

    Raises
    ------
    InputError
        When a source is unknown or its folder is missing or empty.
    """
    sources = {}
    for name in names:
        if name == "synthetic":
            sources[name] = synthetic_samples(synthetic, seed, workers)
        elif name not in READERS:
            raise InputError(f"unknown training source {name!r}; known: synthetic, {', '.join(READERS)}")
        elif not (root / name).is_dir():
            raise InputError(f"training source {name!r} is not in {root}")
        else:
            sources[name] = READERS[name](root / name)
        if not sources[name]:
            raise InputError(f"training source {name!r} holds no labelled picture")
    return sources
