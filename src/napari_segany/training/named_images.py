"""Training pictures with the names of what is in them, and square crops of single objects for the text towers."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from skimage import io

from napari_segany.core.attributes import measure_labels
from napari_segany.core.errors import InputError
from napari_segany.core.planes import Stack
from napari_segany.core.synthetic import synthetic_image
from napari_segany.core.terms import TERMS
from napari_segany.core.text_query import ATTRIBUTES
from napari_segany.training.augment import MIN_PIXELS
from napari_segany.training.data import read_folder

CROP = 80
"""Side in pixels of a stored crop."""
GROWN = 2.0
"""Side of a stored crop over the longest side of the object; what is seen of it is drawn when it is used."""
COLOURED, BRIGHT = 12.0, 96.0
"""Mean spread of the channels of a coloured picture; median of a bright one."""
BACKGROUND = "background"

PARENTS = {term.name: term.parents for term in TERMS}
NAMES = tuple(PARENTS) + tuple(dict.fromkeys(p for parents in PARENTS.values() for p in parents if p not in PARENTS))
"""All names that are learned; those of parents are among them."""
MICROSCOPY = tuple(term.name for term in TERMS if term.kind == "microscopy")
ATTRIBUTE_NAMES = tuple(ATTRIBUTES)
MODALITY_NAMES = (
    "fluorescence",
    "stained tissue",
    "brightfield",
    "phase contrast",
    "electron microscopy",
    "photograph",
)

_COCO = {0: "person", 2: "car", 16: "dog", 41: "cup", 45: "bowl", 56: "chair"}
_COCO |= dict.fromkeys((1, 3, 4, 5, 6, 7, 8), "vehicle") | dict.fromkeys((14, 15, 17, 18, 19, 20, 21, 22, 23), "animal")
_COCO |= dict.fromkeys(range(46, 56), "food") | dict.fromkeys((57, 59, 60), "furniture")
_COCO |= dict.fromkeys((39, 40, 42, 43, 44), "dish")


@dataclass(frozen=True, slots=True, eq=False)
class NamedImage:
    """A labelled picture whose objects have names.

    Parameters
    ----------
    image : ndarray
        (y, x, 3) uint8.
    levels : tuple of ndarray
        (y, x) int32 label images.
    names : tuple of dict of int to str
        For each level the name of each label; a label without one is an object without a known name.
    undecided : frozenset of str
        Names that may be true of unlabelled objects in the picture: neither present nor absent.
    modality : str
        Kind of picture.
    complete : bool
        Whether all objects of the present names are labelled, so that the rest is background.
    """

    image: np.ndarray
    levels: tuple[np.ndarray, ...]
    names: tuple[Mapping[int, str], ...]
    undecided: frozenset[str] = frozenset()
    modality: str = ""
    complete: bool = True

    @property
    def present(self) -> tuple[str, ...]:
        """Names of what is labelled, with their parents."""
        own = dict.fromkeys(name for names in self.names for name in names.values())
        return tuple(dict.fromkeys(one for name in own for one in (name, *PARENTS.get(name, ()))))

    def union(self, name: str) -> np.ndarray:
        """(y, x) bool, all pixels of a name."""
        mask = np.zeros(self.image.shape[:2], bool)
        for level, names in zip(self.levels, self.names, strict=True):
            labels = [label for label, own in names.items() if name in (own, *PARENTS.get(own, ()))]
            mask |= np.isin(level, labels)
        return mask


def kind_of(image: np.ndarray) -> str:
    """Estimate the modality of a picture of nuclei (y, x, 3): fluorescent, stained, or bright field."""
    channels = image.astype(np.int16)
    if (channels.max(-1) - channels.min(-1)).mean() > COLOURED:
        return "stained tissue"
    return "brightfield" if np.median(image) > BRIGHT else "fluorescence"


def _all_of(levels: Sequence[np.ndarray], names: Sequence[str]) -> tuple[dict[int, str], ...]:
    return tuple(
        {int(label): name for label in np.unique(level) if label} for level, name in zip(levels, names, strict=True)
    )


@dataclass(frozen=True, slots=True)
class SourceNames:
    """What the labels of a training source are.

    Parameters
    ----------
    name : str
        Of all its objects.
    modality : str
        One of ``MODALITY_NAMES``, or empty where none fits; "by looks" when it differs between images, see
        :func:`kind_of`.
    undecided : tuple of str
        Names of which it is unknown whether they apply to something that is not labelled.
    complete : bool
        Whether all objects are labelled.
    named : dict of str to str
        Other names, by the beginning of the image's name.
    """

    name: str
    modality: str
    undecided: tuple[str, ...] = ()
    complete: bool = True
    named: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, image: str) -> str:
        """Return the name of the objects of an image."""
        return next((name for start, name in self.named.items() if image.startswith(start)), self.name)


_EM, _PHASE, _FLUORESCENCE = "electron microscopy", "phase contrast", "fluorescence"
_PARTS = ("nucleus", "mitochondrion")
SOURCES: Mapping[str, SourceNames] = {
    "dsb2018": SourceNames("nucleus", "by looks", ("cell",)),
    "usiigaci": SourceNames("cell", _PHASE, ("nucleus",)),
    "flyem": SourceNames("neurite", _EM, ("cell", "axon", *_PARTS)),
    "axon_sem": SourceNames("axon", _EM, ("cell", *_PARTS), complete=False),
    "c2c12_phase": SourceNames("cell", _PHASE, ("nucleus",)),
    "cellpainting": SourceNames("cell", _FLUORESCENCE, ("nucleus",), named={"jump_nuclei": "nucleus"}),
    "chloroplast_em": SourceNames("chloroplast", _EM, ("cell", "grain", "pore", *_PARTS), complete=False),
    "ecoli_colicoords": SourceNames("bacterium", "by looks", complete=False),
    "epithelium": SourceNames("cell", _FLUORESCENCE, ("nucleus",)),
    "flakes_2d": SourceNames("flake", "brightfield", ("grain",), complete=False),
    "insect_embryos": SourceNames("embryo", "", ("cell", "animal")),
    "maize_clsm": SourceNames("cell", _FLUORESCENCE, ("nucleus",)),
    "microglia": SourceNames("microglia", _FLUORESCENCE, ("nucleus", "neurite"), complete=False),
    "mushrooms": SourceNames("mushroom", "photograph", ("food", "background"), complete=False),
    "pebbles_imagegrains": SourceNames("pebble", "photograph"),
    "shale_pores_sem": SourceNames("pore", _EM, ("grain",), complete=False),
    "steel_grains": SourceNames("grain", "brightfield"),
    "yeast_baby": SourceNames("yeast", "brightfield", ("nucleus",), complete=False),
}
"""Training sources of the package whose objects have one name each, by folder."""


def _named_source(folder: Path) -> list[NamedImage]:
    source, found = SOURCES[folder.name], []
    for name, sample in read_folder(folder).items():
        own = source.name_of(name)
        undecided = frozenset(source.undecided) - {own} | ({"cell"} if own == "nucleus" else set())
        modality = kind_of(sample.image) if source.modality == "by looks" else source.modality
        names = _all_of(sample.levels, [own] * len(sample.levels))
        complete = source.complete and sample.complete
        found.append(NamedImage(sample.image, sample.levels, names, undecided, modality, complete))
    return found


def _photographs(folder: Path) -> list[NamedImage]:
    found = []
    paths = [path for path in sorted((folder / "labels").glob("*.txt")) if path.read_text().strip()]
    for path, sample in zip(paths, read_folder(folder).values(), strict=True):
        classes = [int(line.split()[0]) for line in path.read_text().splitlines()]
        names = tuple(
            {int(n): _COCO[classes[n - 1]] for n in np.unique(level) if n and classes[n - 1] in _COCO}
            for level in sample.levels
        )
        unknown = frozenset(("pebble", "grain", "mushroom"))
        found.append(NamedImage(sample.image, sample.levels, names, unknown, "photograph", complete=False))
    return found


_SYNTHETIC = {
    "fluorescence": (("nucleus",), ("cell",), "fluorescence"),
    "two stains": (("cell", "nucleus"), (), "fluorescence"),
    "phase contrast": (("cell",), ("nucleus",), "phase contrast"),
    "relief": (("cell",), ("nucleus",), "phase contrast"),
    "stained tissue": (("nucleus",), ("cell",), "stained tissue"),
    "smear": (("cell", "nucleus"), (), "stained tissue"),
    "membranes": (("cell", "nucleus"), (), "fluorescence"),
    "walled tissue": (("cell", "nucleus"), (), "fluorescence"),
    "electron microscopy": (("neurite", "mitochondrion"), ("cell", "nucleus", "axon"), "electron microscopy"),
}
"""For each kind of synthetic picture: names of its levels, undecided names, and the modality."""


def synthetic(count: int, seed: int) -> list[NamedImage]:
    """Made-up pictures of 320 x 320 pixels, of all kinds whose objects have names."""
    found = []
    for number in range(count):
        rng = np.random.default_rng((seed, 77, number))
        picture = synthetic_image(rng, (320, 320), kind=str(rng.choice(list(_SYNTHETIC))))
        names, undecided, modality = _SYNTHETIC[picture.kind]
        levels = picture.levels[: len(names)]
        named = _all_of(levels, names[: len(levels)])
        found.append(NamedImage(picture.image, levels, named, frozenset(undecided), modality))
    return found


def _folder(folder: Path) -> list[NamedImage]:
    """A user's own: ``images/``, ``labels/`` and ``names.csv`` with the columns image, label and name."""
    table: dict[str, dict[int, str]] = {}
    try:
        with (folder / "names.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                table.setdefault(row["image"], {})[int(row["label"])] = row["name"].strip().lower()
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{folder / 'names.csv'} is no table of image, label and name: {error}") from error
    found = []
    for path in sorted((folder / "labels").iterdir()):
        images = [one for one in (folder / "images").iterdir() if one.stem == path.stem]
        if path.stem not in table or not images:
            raise InputError(f"{folder} lacks the image or the names of {path.name}")
        labels = io.imread(path).astype(np.int32)
        found.append(NamedImage(Stack(io.imread(images[0])).plane(0), (labels,), (table[path.stem],)))
    return found


def load_named(root: Path, names: Sequence[str], *, count: int, seed: int) -> dict[str, list[NamedImage]]:
    """Read training sources with names.

    Parameters
    ----------
    root : Path
        Folder that holds one folder per source.
    names : sequence of str
        ``synthetic``, sources of the package, or any other folder with ``images/``, ``labels/`` and ``names.csv``
        (columns image, without its ending, label and name).
    count, seed : int
        How many synthetic pictures are made, and from what.

    Raises
    ------
    InputError
        A source is missing, empty, or cannot be read.
    """
    found: dict[str, list[NamedImage]] = {}
    for name in names:
        folder = root / name
        if name != "synthetic" and not folder.is_dir():
            raise InputError(f"training source {name!r} is not in {root}")
        if name == "synthetic":
            found[name] = synthetic(count, seed)
        elif name in SOURCES:
            found[name] = _named_source(folder)
        elif name == "coco128":
            found[name] = _photographs(folder)
        else:
            found[name] = _folder(folder)
        if not found[name]:
            raise InputError(f"training source {name!r} holds no labelled picture")
    return found


@dataclass(frozen=True, slots=True, eq=False)
class CropSpec:
    """Single objects of N crops, packed.

    Parameters
    ----------
    pixels : ndarray
        (N, CROP, CROP, 4) uint8: red, green, blue, and 255 where the object is.
    names : ndarray
        (N, names) bool, which of ``NAMES`` are true.
    decided : ndarray
        (N, names) bool, which of them are decided.
    attributes : ndarray
        (N, attributes) bool, which of ``ATTRIBUTE_NAMES`` are true.
    modality : ndarray
        (N,) int, which of ``MODALITY_NAMES``.
    """

    pixels: np.ndarray
    names: np.ndarray
    decided: np.ndarray
    attributes: np.ndarray
    modality: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)


def square(image: np.ndarray, mask: np.ndarray, centre: tuple[float, float], side: float, size: int) -> np.ndarray:
    """A square part of a picture with the mask as its fourth channel.

    Parameters
    ----------
    image, mask : ndarray
        (y, x, 3) uint8 and (y, x) bool.
    centre : tuple of float
        (y, x) of its middle in pixels.
    side : float
        Its side in pixels; beyond the picture it is black.
    size : int
        Side of the result.

    Returns
    -------
    ndarray
        (size, size, 4) uint8, antialiased.
    """
    low = [int(np.floor(c - side / 2)) for c in centre]
    high = [int(np.ceil(c + side / 2)) + 1 for c in centre]
    part = np.zeros((high[0] - low[0], high[1] - low[1], 4), np.uint8)
    inner = tuple(slice(max(a, 0), max(min(b, n), 0)) for a, b, n in zip(low, high, mask.shape, strict=True))
    place = tuple(slice(s.start - a, s.start - a + max(s.stop - s.start, 0)) for s, a in zip(inner, low, strict=True))
    part[place][..., :3] = image[inner]
    part[place][..., 3] = mask[inner] * np.uint8(255)
    tensor = torch.from_numpy(part).permute(2, 0, 1)[None].float()
    smaller = F.interpolate(tensor, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return smaller[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def crops_of(picture: NamedImage, rng: np.random.Generator, most: int, empty: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Crops of a picture, at most so many of objects of each level and of places where nothing is."""
    modality = MODALITY_NAMES.index(picture.modality) if picture.modality in MODALITY_NAMES else -1
    for level, names in zip(picture.levels, picture.names, strict=True):
        numbers, found = measure_labels(picture.image, level)
        holds = np.stack([found.holds(one) for one in ATTRIBUTE_NAMES], 1) if len(numbers) else np.zeros((0, 1), bool)
        # What has no name that is known is none of those that are.
        for k in rng.permutation(np.flatnonzero(found.area >= 2 * MIN_PIXELS))[:most]:
            mask = level == numbers[k]
            yield (*_crop(picture, mask, names.get(int(numbers[k]), "")), holds[k], np.array(modality))
    if picture.complete:
        nothing = np.zeros(len(ATTRIBUTE_NAMES), bool)
        for pixels in _empty(picture, rng, empty):
            yield pixels, *_truth(picture, BACKGROUND), nothing, np.array(modality)


def _crop(picture: NamedImage, mask: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    centre = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    side = GROWN * (max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1)
    return square(picture.image, mask, centre, side, CROP), *_truth(picture, name)


def _truth(picture: NamedImage, name: str) -> tuple[np.ndarray, np.ndarray]:
    true = (name, *PARENTS.get(name, ()))
    names = np.array([one in true for one in NAMES])
    return names, names | np.array([one not in picture.undecided for one in NAMES])


def _empty(picture: NamedImage, rng: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    """Discs that lie off all objects."""
    taken = np.max(picture.levels, axis=0) > 0
    for _ in range(count):
        radius = float(np.exp(rng.uniform(np.log(4), np.log(40))))
        y, x = (int(rng.integers(n)) for n in taken.shape)
        grid_y, grid_x = np.ogrid[: taken.shape[0], : taken.shape[1]]
        disc = (grid_y - y) ** 2 + ((grid_x - x) * rng.uniform(0.6, 1.6)) ** 2 <= radius**2
        if not (disc & taken).any():
            yield square(picture.image, disc, (y, x), GROWN * 2 * radius, CROP)


def packed(pictures: Sequence[NamedImage], seed: int, most: int, empty: int) -> CropSpec:
    """Crops of many pictures in one array.

    Parameters
    ----------
    pictures : sequence of NamedImage
        Where from.
    seed : int
        Decides which objects.
    most, empty : int
        Crops of objects of each level of a picture, at most, and places of each where nothing is.
    """
    rows = [
        row
        for number, picture in enumerate(pictures)
        for row in crops_of(picture, np.random.default_rng((seed, number)), most, empty)
    ]
    if not rows:
        raise InputError("the training sources hold no object with a name")
    return CropSpec(*(np.stack(column) for column in zip(*rows, strict=True)))
