"""Exemplars from files and arrays: labelled objects that show what to look for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from napari_segany.core.arguments import as_path
from napari_segany.core.errors import InputError
from napari_segany.core.exemplars import Exemplars, ObjectDescriptors, describe_labels
from napari_segany.core.planes import LazyPlane, Stack
from napari_segany.core.segmenter import Segmenter
from napari_segany.io.images import FilePlanes, read_image
from napari_segany.io.labels import read_labels


@dataclass(frozen=True, slots=True)
class ExemplarFiles:
    """Files of exemplars.

    Parameters
    ----------
    image : Path
        The image that they were labelled on.
    labels : Path
        Label image of the exemplars; each label is one object on each plane.
    rejected : Path, optional
        Label image of objects that are not to be found, of the same image.
    """

    image: Path
    labels: Path
    rejected: Path | None = None

    def __post_init__(self) -> None:
        for name in ("image", "labels"):
            object.__setattr__(self, name, as_path(getattr(self, name), name))

    def read(self, segmenter: Segmenter) -> Exemplars:
        """Describe the exemplars.

        Raises
        ------
        InputError
            A file cannot be read, the shapes differ, or there is no labelled object.
        """
        image = read_image(self.image)
        planes = FilePlanes(self.image, image.stack())
        objects = _described(segmenter, planes, self.labels)
        if not len(objects):
            raise InputError(f"{self.labels} holds no labelled object")
        rejected = ObjectDescriptors() if self.rejected is None else _described(segmenter, planes, self.rejected)
        return Exemplars(objects, rejected)

    @property
    def identity(self) -> str:
        """Tells whether two runs had the same exemplars."""
        found = xxhash.xxh3_128(self.image.name.encode())
        for path in filter(None, (self.labels, self.rejected)):
            found.update(np.ascontiguousarray(read_labels(path)).tobytes())
        return found.hexdigest()


def describe_planes(
    segmenter: Segmenter, planes: Stack | FilePlanes, labels: np.ndarray, name: str
) -> ObjectDescriptors:
    """Describe the labelled objects of each plane of an image.

    Parameters
    ----------
    segmenter : Segmenter
        The model that will look for others.
    planes : Stack or FilePlanes
        The image.
    labels : ndarray
        (..., y, x) integers.
    name : str
        What the labels are called in errors.

    Raises
    ------
    InputError
        When the labels do not have the shape of the image.
    """
    flat = labels.reshape(-1, *labels.shape[-2:])
    if flat.shape != (len(planes), *planes.plane_shape):
        raise InputError(
            f"{name} has {len(flat)} planes of {flat.shape[1]} x {flat.shape[2]} pixels, "
            f"the image {len(planes)} of {planes.plane_shape[0]} x {planes.plane_shape[1]}"
        )
    found = ObjectDescriptors()
    for number, plane in enumerate(flat):
        if plane.any():
            found = found.joined(describe_labels(segmenter, LazyPlane(planes, number), plane))
    return found


def _described(segmenter: Segmenter, planes: Stack | FilePlanes, path: Path) -> ObjectDescriptors:
    return describe_planes(segmenter, planes, read_labels(path), str(path))
