"""Labelled images to measure on, in the layouts of the public sets that docs/development/measurement-log.md names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from napari_segany.core.errors import InputError
from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Box, Point
from napari_segany.core.simulate import centre_point
from napari_segany.io.images import read_image
from napari_segany.io.labels import read_labels

MIN_PIXELS = 16
"""Smaller objects are not measured: their IoU hangs on single pixels."""

PARTS = ("nucleus", "cell")
"""Sets within a folder with ``labels_class/``."""
NUCLEUS = (2, 255)
"""Values of nuclei there: 1 and 2, or 128 and 255, are the rest of the cell and its nucleus."""

IMAGE_KINDS = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPlane:
    """A plane with its truth.

    Parameters
    ----------
    name : str
        Of the image, and the plane's number where there are several.
    plane : ndarray
        (y, x, 3) uint8, from :class:`~napari_segany.core.planes.Stack`, one intensity range per volume.
    labels : ndarray
        (y, x) integers, 0 is background.
    """

    name: str
    plane: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One object of a plane, kept as the part of the plane that it fills.

    Parameters
    ----------
    window : tuple of slice
        Rows and columns of the object's bounding box.
    mask : ndarray
        bool, of the window's shape.
    """

    window: tuple[slice, slice]
    mask: np.ndarray

    @property
    def point(self) -> Point:
        """The point farthest from the boundary: the click of the paper's protocol."""
        inner = centre_point(self.mask)
        return Point(inner.y + self.window[0].start, inner.x + self.window[1].start)

    @property
    def box(self) -> Box:
        """The exact box, in pixel centres."""
        rows, columns = self.window
        return Box(float(rows.start), float(columns.start), rows.stop - 1.0, columns.stop - 1.0)

    def iou(self, pixels: np.ndarray) -> float:
        """Intersection over union with a mask (y, x) of the whole plane."""
        shared = int(np.count_nonzero(pixels[self.window] & self.mask))
        return shared / (int(np.count_nonzero(pixels)) + int(np.count_nonzero(self.mask)) - shared)


def targets(labels: np.ndarray) -> list[Target]:
    """The objects of at least ``MIN_PIXELS`` pixels of a label image (y, x), in the order of their labels."""
    kept, compact = np.unique(labels, return_inverse=True)
    # find_objects searches for every number up to the highest, and skips 0
    compact = compact.reshape(labels.shape) + (0 if kept[0] == 0 else 1)
    found = []
    for number, window in enumerate(ndimage.find_objects(compact), start=1):
        if window is not None:
            mask = compact[window] == number
            if np.count_nonzero(mask) >= MIN_PIXELS:
                found.append(Target(window, mask))
    return found


def parts_of(folder: Path) -> list[Path]:
    """The sets that a folder holds: a set with ``labels_class/`` is one of nuclei and one of whole cells.

    A part is named by a path below the folder, such as ``wbc/nucleus``, which :func:`labelled_planes` takes.
    """
    return [folder / part for part in PARTS] if (folder / "labels_class").is_dir() else [folder]


def labelled_planes(folder: Path) -> Iterator[LabelledPlane]:
    """All labelled planes of a set, one at a time.

    Parameters
    ----------
    folder : Path
        One of: ``images/`` next to ``labels/`` with a label image of the same name for each; ``images/`` next to
        ``labels_bits/`` and ``classes.json``, the slices of one volume, of which the mitochondria are the objects;
        or volumes ``NAME_image.tif`` next to ``NAME_labels.tif``, taken slice by slice; or one of :func:`parts_of`.

    Raises
    ------
    InputError
        When the folder is none of these, or a file in it cannot be used.
    """
    if folder.name in PARTS and (folder.parent / "labels_class").is_dir():
        return _smears(folder.parent, folder.name)
    for fits, reader in _LAYOUTS.items():
        if any(_seen(folder.glob(fits))):
            return reader(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    raise InputError(f"{folder} holds neither images/ with labels/ or labels_bits/ nor NAME_image.tif")


@dataclass(frozen=True, slots=True, eq=False)
class LabelledVolume:
    """A stack with its truth: (planes, y, x) integers, an object has one number on all of them, 0 is background."""

    name: str
    stack: Stack
    labels: np.ndarray


def labelled_volumes(folder: Path) -> Iterator[LabelledVolume]:
    """All labelled stacks of a set, one at a time.

    Parameters
    ----------
    folder : Path
        One of: ``images/`` next to ``labels_bits/`` and ``classes.json``, the slices of one volume, of which connected
        mitochondrial pixels are an object; ``images/`` next to ``labels_auto/``, the frames of a movie; volumes
        ``NAME_image.tif`` next to ``NAME_labels.tif``; or ``image.tif`` next to ``labels.tif``.

    Raises
    ------
    InputError
        When the folder is none of these, or a file in it cannot be used.
    """
    if (folder / "labels_bits").is_dir():
        bit = _bit(folder / "classes.json", "mitochondrion")
        stack, labels = _slices(folder, "labels_bits")
        yield LabelledVolume(folder.name, stack, ndimage.label(labels & bit)[0])
    elif (folder / "labels_auto").is_dir():
        yield LabelledVolume(folder.name, *_slices(folder, "labels_auto"))
    else:
        images = sorted([*_seen(folder.glob("*_image.tif")), *folder.glob("image.tif")])
        if not images:
            raise InputError(
                f"{folder} holds no stack: neither images/ with labels_bits/ or labels_auto/ nor image.tif"
            )
        for path in images:
            stack, labels = read_image(path).stack(), read_labels(path.with_name(path.name.replace("image", "labels")))
            if labels.shape != stack.shape + stack.plane_shape:
                raise InputError(f"{path.name}: labels of another shape, {labels.shape}")
            yield LabelledVolume(path.name.removesuffix(".tif").removesuffix("_image"), stack, labels)


def _slices(folder: Path, kind: str) -> tuple[Stack, np.ndarray]:
    """A folder of pictures as one stack, and its label images."""
    paths = _files(folder / kind)
    slices = [np.asarray(read_image(_partner(folder / "images", path.stem)).array[...]) for path in paths]
    return Stack(np.stack(slices)), np.stack([read_labels(path) for path in paths])


def _image_folder(folder: Path) -> Iterator[LabelledPlane]:
    for path in _files(folder / "labels"):
        image = _partner(folder / "images", path.stem)
        yield from _planes(path.stem, read_image(image).stack(), read_labels(path))


def _mitochondria(folder: Path) -> Iterator[LabelledPlane]:
    """Slices of one volume with a bit for each class; connected mitochondrial pixels of a slice are one object."""
    bit = _bit(folder / "classes.json", "mitochondrion")
    stack, labels = _slices(folder, "labels_bits")
    yield from _planes(folder.name, stack, np.stack([ndimage.label(one & bit)[0] for one in labels]))


def membrane_planes(folder: Path) -> Iterator[LabelledPlane]:
    """Slices of a volume with ``labels_bits/`` and ``classes.json``, one at a time; label 1 is its membranes."""
    bit = _bit(folder / "classes.json", "membranes")
    stack, labels = _slices(folder, "labels_bits")
    yield from _planes(folder.name, stack, (labels & bit > 0).astype(np.uint8))


def _volumes(folder: Path) -> Iterator[LabelledPlane]:
    for path in sorted(_seen(folder.glob("*_image.tif"))):
        name = path.name.removesuffix("_image.tif")
        yield from _planes(name, read_image(path).stack(), read_labels(folder / f"{name}_labels.tif"))


def _smears(folder: Path, part: str) -> Iterator[LabelledPlane]:
    """Images with one cell each: the higher value is its nucleus, the lower one the rest of the cell."""
    for path in _files(folder / "labels_class"):
        classes = read_labels(path)
        labels = np.isin(classes, NUCLEUS) if part == "nucleus" else classes > 0
        yield from _planes(
            path.stem, read_image(_partner(folder / "images", path.stem)).stack(), labels.astype(np.int32)
        )


_LAYOUTS: dict[str, Callable[[Path], Iterator[LabelledPlane]]] = {
    "labels": _image_folder,
    "labels_bits": _mitochondria,
    "*_image.tif": _volumes,
}


def _planes(name: str, stack: Stack, labels: np.ndarray) -> Iterator[LabelledPlane]:
    if labels.shape != stack.shape + stack.plane_shape:
        raise InputError(f"{name}: labels of shape {labels.shape} for an image of {stack.shape + stack.plane_shape}")
    for number in range(len(stack)):
        own = f"{name}/{number}" if len(stack) > 1 else name
        yield LabelledPlane(own, stack.plane(number), labels[stack.index(number)])


def _seen(paths: Iterable[Path]) -> Iterator[Path]:
    """Paths without those that systems hide and leave in any folder, as macOS does with ``._NAME``."""
    return (path for path in paths if not path.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    found = sorted(path for path in _seen(folder.iterdir()) if path.suffix.lower() in IMAGE_KINDS)
    if not found:
        raise InputError(f"{folder} holds no label image")
    return found


def _partner(folder: Path, stem: str) -> Path:
    """The image of a label image."""
    for kind in IMAGE_KINDS:
        if (folder / f"{stem}{kind}").is_file():
            return folder / f"{stem}{kind}"
    raise InputError(f"{folder} holds no image {stem}")


def _bit(path: Path, name: str) -> int:
    try:
        classes: dict[str, str] = json.loads(path.read_text())
        return next(int(value) for value, known in classes.items() if known == name)
    except (OSError, ValueError, StopIteration, AttributeError) as error:
        raise InputError(f"{path} does not define which value is a {name}") from error
