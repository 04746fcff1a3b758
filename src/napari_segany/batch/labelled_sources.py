"""Labelled planes that a user has: a session, or images with the label files that this program wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.io.images import PICTURES, TIFF, read_image, reading
from napari_segany.io.labels import read_labels
from napari_segany.session.recovery import recover

NamedPlane = tuple[str, np.ndarray, np.ndarray]
"""Name, plane (y, x, 3) uint8, and labels (y, x) integers."""


def session_planes(session: Path, image: Path | None = None, *, confirmed: bool = True) -> Iterator[NamedPlane]:
    """The planes of a session's image that have objects.

    Parameters
    ----------
    session : Path
        The journal.
    image : Path, optional
        The image, where it is not where it was opened from.
    confirmed : bool
        Leave out objects that the user did not make, correct or accept.

    Raises
    ------
    InputError
        Session or image cannot be read, the image is another one, or no object was kept or none is confirmed.
    """
    found = recover(session)
    if found.labels is None:
        raise InputError(f"no object was kept in the session {session}")
    path = image or Path(found.journal.header.path or "")
    if not path.is_file() and not path.is_dir():
        raise InputError(f"the image of the session {session} is not at {path}; name it with --image")
    labels = found.labels
    unconfirmed = [label for label, about in found.state.described.items() if not about.confirmed]
    if confirmed and unconfirmed:
        labels = np.where(np.isin(labels, unconfirmed), 0, labels)
    yield from _planes(path.stem, path, labels)


def paired_planes(images: Path, labels: Path) -> Iterator[NamedPlane]:
    """The labelled planes of images whose labels lie in a folder as ``NAME_labels.tif`` or ``NAME.tif``.

    Parameters
    ----------
    images : Path
        An image, or a folder of images.
    labels : Path
        Folder of label files, or the label file of the image.

    Raises
    ------
    InputError
        No image has labels, or a file cannot be used.
    """
    count = 0
    for path in [images] if images.is_file() else sorted(images.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in (*TIFF, *PICTURES):
            continue
        own = labels if labels.is_file() else _labels_of(path, labels)
        if own is not None:
            count += 1
            yield from _planes(path.stem, path, read_labels(own))
    if not count:
        raise InputError(f"no image in {images} has labels in {labels}: NAME_labels.tif or NAME.tif")


def _labels_of(image: Path, folder: Path) -> Path | None:
    for name in (f"{image.stem}_labels.tif", f"{image.stem}.tif", f"{image.stem}.png"):
        path = folder / name
        if path.is_file() and path != image:
            return path
    return None


def _planes(name: str, path: Path, labels: np.ndarray) -> Iterator[NamedPlane]:
    file = read_image(path)
    with reading(path):
        stack = file.stack()
        if labels.shape != stack.shape + stack.plane_shape:
            shape = stack.shape + stack.plane_shape
            raise InputError(f"{path} is of shape {shape}, and its labels are of shape {labels.shape}")
        # labels of a file may be any numbers; the same object has the same one on all planes
        labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape) if labels.min() == 0 else labels
        for number in range(len(stack)):
            own = np.asarray(labels[stack.index(number)])
            if own.any():
                yield (f"{name}/{number}" if len(stack) > 1 else name), stack.plane(number), own
