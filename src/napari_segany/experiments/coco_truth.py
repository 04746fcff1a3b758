"""Images and masks of a COCO or LVIS file of annotations, to measure on; masks may overlap."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.masks import window_of
from napari_segany.experiments.datasets import Target
from napari_segany.io.formats.rle import from_rle
from napari_segany.io.images import read_image


@dataclass(frozen=True, slots=True, eq=False)
class CocoImage:
    """An image with its masks.

    Parameters
    ----------
    name : str
        Its file.
    plane : ndarray
        (y, x, 3) uint8.
    targets : tuple of Target
        Its objects; one of no pixel has an empty mask.
    areas : ndarray
        (objects,) pixels, as the file has them: COCO sorts objects into sizes by these.
    """

    name: str
    plane: np.ndarray
    targets: tuple[Target, ...]
    areas: np.ndarray


def annotated_images(path: Path) -> Iterator[CocoImage]:
    """Read a file of annotations, one image at a time.

    Parameters
    ----------
    path : Path
        COCO's or LVIS's JSON. Images lie next to it, in ``images/``, or as COCO is laid out: ``val2017/NAME.jpg`` for
        ``annotations/instances_val2017.json``. Polygons and run lengths are read; crowds are left out, as COCO does.

    Raises
    ------
    InputError
        When the file, an image or a mask cannot be used; or pycocotools, which draws polygons, is not installed.
    """
    content = _content(path)
    of_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for one in content["annotations"]:
        if not one.get("iscrowd"):
            of_image[one.get("image_id")].append(one)
    for image in content["images"]:
        file = _file(path, image)
        stack = read_image(file).stack()
        if len(stack) != 1:
            raise InputError(f"{file} has {len(stack)} planes; an image of {path.name} has one")
        size = stack.plane_shape
        if (image.get("height", size[0]), image.get("width", size[1])) != size:
            raise InputError(f"{path}: {file.name} has another size than {size[0]} x {size[1]}, which it has itself")
        own = of_image[image.get("id")]
        found = [_target(one, (size[0], size[1]), path) for one in own]
        areas = [float(one.get("area", target.mask.sum())) for one, target in zip(own, found, strict=True)]
        yield CocoImage(file.name, stack.plane(0), tuple(found), np.array(areas))


def _content(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a JSON file: {error}") from None
    for key in ("images", "annotations"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise InputError(f"{path} is no COCO or LVIS file: it has no list of {key}")
    found: dict[str, list[dict[str, Any]]] = content
    return found


def _file(path: Path, image: Mapping[str, Any]) -> Path:
    """Where an image lies; LVIS has its address in place of its name."""
    address = PurePosixPath(str(image.get("coco_url", "")))
    name = str(image.get("file_name") or "/".join(address.parts[-2:]))
    split = path.stem.rpartition("_")[2]
    folders = (path.parent, path.parent / "images", path.parent.parent, path.parent.parent / split)
    places = [folder / each for folder in folders for each in (name, PurePosixPath(name).name) if each]
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"{path} has the image {name!r}, which is neither next to it nor in images/")


def _target(annotation: Mapping[str, Any], size: tuple[int, int], path: Path) -> Target:
    shape = annotation.get("segmentation")
    try:
        mask = from_rle(shape) if isinstance(shape, Mapping) else _drawn(shape, size)
    except InputError as error:
        raise InputError(f"{path}: annotation {annotation.get('id')!r}: {error}") from error
    if mask.shape != size:
        raise InputError(f"{path}: annotation {annotation.get('id')!r} is a mask of another size than its image")
    window = window_of(mask)
    if window is None:
        return Target((slice(0, 0), slice(0, 0)), np.zeros((0, 0), bool))
    rows, columns = window
    return Target((rows, columns), mask[rows, columns].copy())


def _drawn(polygons: Any, size: tuple[int, int]) -> np.ndarray:
    """Polygons as COCO draws them, (y, x) bool."""
    if not isinstance(polygons, list) or not polygons or not all(map(_is_polygon, polygons)):
        raise InputError("its segmentation is neither polygons of three points or more nor run lengths")
    try:
        from pycocotools import mask as coding
    except ImportError as error:
        raise InputError("polygons of COCO are drawn by pycocotools, which is not installed") from error
    return from_rle(coding.merge(coding.frPyObjects(polygons, *size)))


def _is_polygon(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) >= 6
        and len(values) % 2 == 0
        and all(isinstance(one, int | float) and math.isfinite(one) for one in values)
    )


def target_overlaps(regions: Sequence[Target], truth: Sequence[Target]) -> np.ndarray:
    """IoU of masks with true ones, which may overlap each other: (regions, truth)."""
    found = np.zeros((len(regions), len(truth)))
    areas = [int(np.count_nonzero(one.mask)) for one in truth]
    for row, one in enumerate(regions):
        own = int(np.count_nonzero(one.mask))
        for column, other in enumerate(truth):
            shared = _shared(one, other)
            if shared:
                found[row, column] = shared / (own + areas[column] - shared)
    return found


def _shared(one: Target, other: Target) -> int:
    """Pixels that two masks share."""
    low = [max(a.start, b.start) for a, b in zip(one.window, other.window, strict=True)]
    high = [min(a.stop, b.stop) for a, b in zip(one.window, other.window, strict=True)]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return 0
    parts = [
        each.mask[
            low[0] - each.window[0].start : high[0] - each.window[0].start,
            low[1] - each.window[1].start : high[1] - each.window[1].start,
        ]
        for each in (one, other)
    ]
    return int(np.count_nonzero(parts[0] & parts[1]))
