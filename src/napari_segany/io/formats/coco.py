"""Objects as COCO JSON. Here (y, x) becomes its (x, y)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_segany.core.objects import ObjectInfo, class_levels
from napari_segany.io.formats.json_values import finite, write_json, xy_places
from napari_segany.io.formats.labelled_image import LabelledImage
from napari_segany.io.formats.rle import to_rle
from napari_segany.io.output_checks import MARK

CLASS = "object"
"""The category of objects that have no class; COCO knows none without."""


def write_coco(image: LabelledImage, path: Path) -> None:
    """Write instances as COCO: one image for each plane, compressed run lengths, a category for each class.

    The parent of a class is its supercategory. An object that lies on several planes has an annotation on each, with
    the same "label". What COCO has no word for stands next to its own entries: "label", "name", "score",
    "stability_score", "points" ([x, y]), "how", "state", "reviewed_by", "reviewed_at", "class_probability".
    https://cocodataset.org/#format-data
    """
    pieces = list(image.pieces())
    classes = list(dict.fromkeys(piece.about.class_name or CLASS for piece in pieces)) or [CLASS]
    height, width = image.plane_shape
    planes = [
        {"id": number, "file_name": _plane_name(image.name, position), "width": width, "height": height} | position
        for number, position in enumerate(image.positions(), start=1)
    ]
    annotations = [
        {
            "id": number,
            "image_id": piece.plane + 1,
            "category_id": classes.index(piece.about.class_name or CLASS) + 1,
            "segmentation": to_rle(piece.mask, corner=piece.corner, shape=image.plane_shape),
            "area": piece.area,
            "bbox": piece.box,
            "iscrowd": 0,
        }
        | _known(piece.about)
        for number, piece in enumerate(pieces, start=1)
    ]
    levels = [class_levels(name) for name in classes]
    categories = [
        {"id": number, "name": name, "supercategory": parent} for number, (parent, name) in enumerate(levels, start=1)
    ]
    about = {"description": image.name, "contributor": MARK}
    write_json(path, {"info": about, "images": planes, "annotations": annotations, "categories": categories})


def _known(known: ObjectInfo) -> dict[str, Any]:
    """What is known of an object, without what is not."""
    entries = {
        "label": known.label,
        "name": known.name or None,
        "score": finite(known.score),
        "stability_score": finite(known.stability),
        "points": xy_places(known) or None,
        "how": known.source or None,
        "state": known.state or None,
        "reviewed_by": known.reviewed_by or None,
        "reviewed_at": known.reviewed_at or None,
        "class_probability": finite(known.class_probability),
    }
    return {name: value for name, value in entries.items() if value is not None}


def _plane_name(name: str, position: dict[str, int]) -> str:
    """Name of a plane: that of the picture, with its index on each axis before the ending."""
    where = "".join(f"_{axis}{index:04d}" for axis, index in position.items())
    return str(Path(name).with_stem(Path(name).stem + where)) if name else where.strip("_")
