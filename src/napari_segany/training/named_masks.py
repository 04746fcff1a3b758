"""Single objects with their names, each in a separate window, to train names for masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage import filters, io, measure

from napari_segany.core.errors import InputError
from napari_segany.core.known_classes import OTHER
from napari_segany.core.masks import windows_of
from napari_segany.core.planes import Region
from napari_segany.core.synthetic import synthetic_image
from napari_segany.training.augment import MIN_PIXELS, relight, window_view
from napari_segany.training.data import Sample
from napari_segany.training.named_images import BACKGROUND, NamedImage, load_named

SYNTHETIC: Mapping[str, tuple[str, ...]] = {
    "fluorescence": ("nucleus",),
    "two stains": ("cell", "nucleus"),
    "phase contrast": ("cell",),
    "relief": ("cell",),
    "stained tissue": ("nucleus",),
    "smear": ("cell", "nucleus"),
    "membranes": ("cell", "nucleus"),
    "walled tissue": ("cell", "nucleus"),
    "electron microscopy": ("neurite", "mitochondrion"),
    "granulocytes": ("cell", "nucleus", "cell"),
    "budding cells": ("yeast",),
    "rods and filaments": ("bacterium", "bacterium", "bacterium"),
    "flat cells": ("cell", "nucleus"),
    "glands": ("nucleus", OTHER, OTHER),
    "crowded tissue": ("nucleus", "nucleus"),
}
"""For each kind of synthetic picture what its levels show; of what is not named here nothing is learned."""
LEAST_BODY, LEAST_SOLIDITY = 150, 0.85
"""Pixels, and share of the convex hull, of a dark body in a neurite that is taken for a mitochondrion."""
REAL = 3.0
"""How much more often a kind of real pictures is drawn than one of synthetic ones."""
_NEAR_DARK = 0.5
"""Between the darkest pixels and the threshold of the dark class: membranes are above."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedObject:
    """An object of a picture.

    Parameters
    ----------
    source, picture, level, label : str and int
        Which; the number of the picture in its source.
    name : str
        What it is.
    kind : str
        Kind of picture, where a source has several.
    """

    source: str
    picture: int
    level: int
    label: int
    name: str
    kind: str = ""


@dataclass(eq=False)
class NamedPictures:
    """Pictures of all sources, and their objects by name.

    Parameters
    ----------
    pictures : dict of str to list of NamedImage
        By source.
    objects : list of NamedObject
        Of at least ``MIN_PIXELS``.
    """

    pictures: dict[str, list[NamedImage]]
    objects: list[NamedObject] = field(default_factory=list)
    _windows: dict[tuple[str, int, int], dict[int, tuple[Region, np.ndarray]]] = field(default_factory=dict)

    def window(self, one: NamedObject) -> tuple[Region, np.ndarray]:
        """The box of an object, and its mask within."""
        key = one.source, one.picture, one.level
        if key not in self._windows:
            self._windows[key] = windows_of(self.pictures[one.source][one.picture].levels[one.level])
        return self._windows[key][one.label]

    def view(
        self, one: NamedObject, rng: np.random.Generator, size: tuple[int, float], *, plain: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """A window of an object.

        Parameters
        ----------
        one : NamedObject
            Which.
        rng : numpy.random.Generator
            Source of chance.
        size : tuple of int and float
            Side of the window, and longest side of the object in it.
        plain : bool
            As at inference, without another light, scale or outline.

        Returns
        -------
        image : ndarray
            (side, side, 3) uint8.
        mask : ndarray
            (side, side) bool.
        """
        picture = self.pictures[one.source][one.picture]
        window, _ = self.window(one)
        sample = Sample(picture.image, (picture.levels[one.level],))
        image, level = window_view(sample, window, rng, *size, plain=plain)
        mask = level == one.label
        return (image, mask) if plain else (relight(image, rng), _another_outline(mask, rng))


def _another_outline(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As a model or a hand would draw it: often as it is, else smaller, larger, smoother or elsewhere by a little."""
    kind = rng.integers(6)
    changed = mask
    if kind == 0:
        changed = ndimage.binary_erosion(mask, iterations=int(rng.integers(1, 4)))
    elif kind == 1:
        changed = ndimage.binary_dilation(mask, iterations=int(rng.integers(1, 4)))
    elif kind == 2:
        changed = ndimage.gaussian_filter(mask.astype(np.float32), rng.uniform(1, 3)) > rng.uniform(0.35, 0.6)
    elif kind == 3:
        changed = np.roll(mask, rng.integers(-3, 4, 2), (0, 1))
    return changed if changed.any() else mask


def read_pictures(
    root: Path, sources: Sequence[str], names: Sequence[str], *, synthetic: int, seed: int
) -> NamedPictures:
    """Read training sources, and list their objects under `names`; all others are "other".

    Parameters
    ----------
    root : Path
        Folder that holds one folder per source.
    sources : sequence of str
        As :func:`~.named_images.load_named` takes them, and ``synthetic``.
    names : sequence of str
        What is told apart.
    synthetic, seed : int
        How many pictures are made, and from what.
    """
    real = load_named(root, [name for name in sources if name != "synthetic"], count=0, seed=seed)
    if "flyem" in real:
        real["flyem"] = with_dark_bodies(root / "flyem", real["flyem"])
    pictures = {**real, **({"synthetic": synthetic_pictures(synthetic, seed)} if "synthetic" in sources else {})}
    found = NamedPictures(pictures)
    for source, own in pictures.items():
        for number, picture in enumerate(own):
            found.objects += [NamedObject(source, number, *one, picture.modality) for one in _objects(picture, names)]
        if not own:
            raise InputError(f"training source {source!r} holds no labelled picture")
    return found


def _objects(picture: NamedImage, names: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    for number, (level, named) in enumerate(zip(picture.levels, picture.names, strict=True)):
        counts = np.bincount(level.ravel())
        for label in np.flatnonzero(counts >= MIN_PIXELS).tolist():
            name = named.get(label, OTHER)
            if label:
                yield number, label, name if name in names else OTHER


def synthetic_pictures(count: int, seed: int) -> list[NamedImage]:
    """Made-up pictures of 320 x 320 pixels of all kinds, whose last level is of places where nothing is."""
    kinds = list(SYNTHETIC)
    found = []
    for number in range(count):
        rng = np.random.default_rng((seed, 78, number))
        picture = synthetic_image(rng, (320, 320), kind=kinds[number % len(kinds)])
        levels = picture.levels[: len(SYNTHETIC[picture.kind])]
        named = tuple(
            {int(label): name for label in np.unique(level) if label}
            for level, name in zip(levels, SYNTHETIC[picture.kind], strict=False)
        )
        empty = empty_places(picture.levels, rng, 3)
        blank = {int(label): BACKGROUND for label in np.unique(empty) if label}
        found.append(NamedImage(picture.image, (*levels, empty), (*named, blank), modality=picture.kind))
    return found


def empty_places(levels: Sequence[np.ndarray], rng: np.random.Generator, count: int) -> np.ndarray:
    """(y, x) int32, discs and ellipses that lie off all objects."""
    taken, found = np.max(levels, axis=0) > 0, np.zeros(levels[0].shape, np.int32)
    y, x = np.ogrid[: taken.shape[0], : taken.shape[1]]
    for label in range(1, count + 1):
        radius, stretch = float(np.exp(rng.uniform(np.log(4), np.log(30)))), rng.uniform(0.6, 1.6)
        middle = [int(rng.integers(n)) for n in taken.shape]
        disc = (y - middle[0]) ** 2 + ((x - middle[1]) * stretch) ** 2 <= radius**2
        if not (disc & (taken | (found > 0))).any():
            found[disc] = label
    return found


def with_dark_bodies(folder: Path, pictures: Sequence[NamedImage]) -> list[NamedImage]:
    """Slices of a volume with the mitochondria of its neurites, which are its dark, smooth, compact bodies.

    They are found by a threshold on the smoothed volume, and are not checked by hand.
    """
    image = io.imread(folder / "image.tif")
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 2)
    threshold, _ = filters.threshold_multiotsu(smooth[::4, ::4, ::4], 3)
    darkest = float(np.percentile(smooth, 1))
    dark = ndimage.binary_opening(smooth < threshold + (darkest - threshold) * _NEAR_DARK, iterations=3)
    slices = [dark.take(index, axis) for axis in range(3) for index in range(0, dark.shape[axis], 4)]
    return [_with_bodies(*pair) for pair in zip(pictures, slices, strict=True)]


def _with_bodies(picture: NamedImage, dark: np.ndarray) -> NamedImage:
    labels = measure.label(dark).astype(np.int32)
    kept = [
        one.label for one in measure.regionprops(labels) if one.area >= LEAST_BODY and one.solidity >= LEAST_SOLIDITY
    ]
    level = np.where(np.isin(labels, kept), labels, 0).astype(np.int32)
    names = dict.fromkeys(kept, "mitochondrion")
    return replace(picture, levels=(*picture.levels, level), names=(*picture.names, names))


def drawn(
    objects: Sequence[NamedObject], shares: Mapping[str, float], count: int, rng: np.random.Generator
) -> list[NamedObject]:
    """Draw objects: a name by its share, then a kind of picture of a source, a picture, and an object of that name.

    A kind of real pictures is drawn ``REAL`` times as often as one of synthetic ones.
    """
    tree: dict[str, dict[tuple[str, str], dict[int, list[NamedObject]]]] = {}
    for one in objects:
        kind = (one.source, one.kind)
        tree.setdefault(one.name, {}).setdefault(kind, {}).setdefault(one.picture, []).append(one)
    names = [name for name in shares if name in tree]
    weights = np.array([shares[name] for name in names], float)
    found = []
    for name in rng.choice(names, count, p=weights / weights.sum()):
        kinds = list(tree[name])
        odds = np.array([1.0 if source == "synthetic" else REAL for source, _ in kinds])
        pictures = tree[name][kinds[int(rng.choice(len(kinds), p=odds / odds.sum()))]]
        own = pictures[int(rng.choice(list(pictures)))]
        found.append(own[int(rng.integers(len(own)))])
    return found
