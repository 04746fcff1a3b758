"""Sets with names: planes, what is known to be on them by name, and which names are known to be absent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from skimage import draw

from napari_segany.core.errors import InputError
from napari_segany.experiments.datasets import labelled_planes
from napari_segany.io.images import read_image

MICROSCOPY = (
    "nucleus",
    "cell",
    "neurite",
    "mitochondrion",
    "axon",
    "bacterium",
    "yeast",
    "microglia",
    "chloroplast",
    "embryo",
    "pore",
    "flake",
)
_COCO = {
    "person": (0,),
    "car": (2,),
    "dog": (16,),
    "chair": (56,),
    "food": tuple(range(46, 56)),
    "animal": tuple(range(14, 24)),
}
WORDS = (*MICROSCOPY, *_COCO)
"""Texts that are used on every set."""


def _truth(present: Sequence[str], undecided: Sequence[str] = ()) -> Mapping[str, bool]:
    """Whether each word is there, without those of which it is not known."""
    return {word: word in present for word in WORDS if word not in undecided}


_NEURONS = ("cell", "nucleus", "mitochondrion", "axon")

TRUTH: Mapping[str, Mapping[str, bool]] = {
    "dsb2018": _truth(["nucleus"], ["cell"]),
    "usiigaci": _truth(["cell"], ["nucleus"]),
    "wbc": _truth(["nucleus", "cell"]),
    "epfl6": _truth(["neurite", "mitochondrion"], ["cell", "nucleus", "axon"]),
    "isbi2012_em": _truth(["neurite"], _NEURONS),
    "livecell_one": _truth(["cell"], ["nucleus"]),
    "rbc_flow": _truth(["cell"]),
    "calcium_neurons": _truth(["cell"], ["nucleus", "neurite"]),
    "bsds500": _truth([], tuple(_COCO)),
    "coco128": _truth([], tuple(_COCO)),
}
"""Word by set: whether it is there. What is left out cannot be decided, such as "cell" where only nuclei are stained.
On ``coco128`` the words of photographs are decided picture by picture by its own annotations."""


@dataclass(frozen=True, slots=True, eq=False)
class TextQueryCase:
    """A plane, label images of what is known to be on it by name, and which names are known to be there or not."""

    name: str
    plane: np.ndarray
    labels: Mapping[str, np.ndarray]
    truth: Mapping[str, bool]


def text_cases(folder: Path, name: str = "") -> Iterator[TextQueryCase]:
    """Planes of a set by its name; see ``TRUTH``.

    Parameters
    ----------
    folder : Path
        Where the set is.
    name : str
        What it is called; by default as the folder is.

    Raises
    ------
    InputError
        The folder is none of those that are known, or cannot be read.
    """
    name = name or folder.absolute().name
    if name not in TRUTH:
        raise InputError(f"nothing is known of what is on the pictures of {name}; known: {', '.join(TRUTH)}")
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    reader = _READERS.get(name) or partial(_one_name, what=_NAMED.get(name, ""))
    yield from reader(folder, TRUTH[name])


_NAMED = {
    "dsb2018": "nucleus",
    "usiigaci": "cell",
    "isbi2012_em": "neurite",
    "livecell_one": "cell",
    "rbc_flow": "cell",
    "calcium_neurons": "cell",
}
"""What all objects of a set are."""


def _one_name(folder: Path, truth: Mapping[str, bool], *, what: str) -> Iterator[TextQueryCase]:
    for one in labelled_planes(folder):
        yield TextQueryCase(one.name, one.plane, {what: one.labels} if what else {}, truth)


def _blood(folder: Path, truth: Mapping[str, bool]) -> Iterator[TextQueryCase]:
    for path in sorted((folder / "labels_class").glob("*.png")):
        marks = np.asarray(read_image(path).array[...])
        marks = marks if marks.ndim == 2 else marks[..., 0]
        plane = read_image(_image(folder, path.stem)).stack().plane(0)
        # A white blood cell is in the middle; its nucleus may have several lobes.
        yield TextQueryCase(
            path.stem, plane, {"nucleus": (marks == marks.max()).astype(int), "cell": (marks > 0).astype(int)}, truth
        )


def _image(folder: Path, stem: str) -> Path:
    found = sorted((folder / "images").glob(f"{stem}.*"))
    if not found:
        raise InputError(f"{folder} holds no image {stem}")
    return found[0]


def _photographs(folder: Path, truth: Mapping[str, bool]) -> Iterator[TextQueryCase]:
    for path in sorted((folder / "labels").glob("*.txt")):
        plane = read_image(_image(folder, path.stem)).stack().plane(0)
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
        labels = {}
        for name, classes in _COCO.items():
            mask = np.zeros(plane.shape[:2], int)
            for number, row in enumerate((r for r in rows if int(r[0]) in classes), start=1):
                xy = np.array(row[1:], float).reshape(-1, 2) * plane.shape[1::-1]
                mask[draw.polygon(xy[:, 1], xy[:, 0], mask.shape)] = number
            if mask.any():
                labels[name] = mask
        yield TextQueryCase(path.stem, plane, labels, {**truth, **{name: name in labels for name in _COCO}})


def _unlabelled(folder: Path, truth: Mapping[str, bool]) -> Iterator[TextQueryCase]:
    for path in sorted((folder / "images").iterdir()):
        if path.suffix.lower() in (".jpg", ".png", ".tif"):
            yield TextQueryCase(path.stem, read_image(path).stack().plane(0), {}, truth)


_READERS: Mapping[str, Callable[[Path, Mapping[str, bool]], Iterator[TextQueryCase]]] = {
    "wbc": _blood,
    "coco128": _photographs,
    "bsds500": _unlabelled,
    "epfl6": _unlabelled,
}
