"""Objects as JSON: COCO, SA-1B and GeoJSON. Here (y, x) becomes the (x, y) of these formats."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.io.formats.labelled_image import LabelledImage, Piece
from napari_segany.io.formats.outlines import outline
from napari_segany.io.formats.rle import to_rle
from napari_segany.io.output_checks import MARK

CLASS = "object"
"""The category of objects that have no class; COCO knows none without."""


def write_coco(image: LabelledImage, path: Path) -> None:
    """Write instances as COCO: one image for each plane, compressed run lengths, a category for each class.

    An object that lies on several planes has an annotation on each, with the same "label". What COCO has no word for
    stands beside its own entries: "label", "name", "score", "stability_score", "points" ([x, y]), "how".
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
    categories = [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(classes, start=1)]
    about = {"description": image.name, "contributor": MARK}
    _write(path, {"info": about, "images": planes, "annotations": annotations, "categories": categories})


def write_sa1b(image: LabelledImage, path: Path, *, image_id: int = 1) -> None:
    """Write masks as the SA-1B data set does; "id" is the label, what is not known is null, "crop_box" the whole plane.

    https://github.com/facebookresearch/segment-anything#dataset

    Parameters
    ----------
    image : LabelledImage
        Of one plane.
    path : Path
        Where to.
    image_id : int
        Number of the image in its set.

    Raises
    ------
    InputError
        When the labels have more than one plane's axes.
    """
    if image.axes != "yx":
        raise InputError(f"SA-1B describes single planes, not labels with the axes {image.axes}; COCO takes them")
    height, width = image.plane_shape
    annotations = [
        {
            "id": piece.about.label,
            "segmentation": to_rle(piece.mask, corner=piece.corner, shape=image.plane_shape),
            "bbox": piece.box,
            "area": piece.area,
            "predicted_iou": _number(piece.about.score),
            "stability_score": _number(piece.about.stability),
            "crop_box": [0, 0, width, height],
            "point_coords": _points(piece.about),
        }
        for piece in image.pieces()
    ]
    about = {"image_id": image_id, "width": width, "height": height, "file_name": image.name}
    _write(path, {"image": about, "annotations": annotations})


def write_geojson(image: LabelledImage, path: Path) -> None:
    """Write outlines along the edges of pixels as GeoJSON features, in pixels from the corner of the first one.

    Properties are those that QuPath reads: an annotation with its name, class and measurements; its plane stands in
    the geometry. A name that was not given is the label.
    """
    positions = image.positions()
    features = [
        {
            "type": "Feature",
            "geometry": _geometry(piece) | _plane(positions[piece.plane]),
            "properties": _properties(piece.about),
        }
        for piece in image.pieces()
    ]
    _write(path, {"type": "FeatureCollection", "features": features})


def _geometry(piece: Piece) -> dict[str, Any]:
    polygons = [[_closed(ring) for ring in polygon] for polygon in outline(piece.mask, piece.corner)]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _closed(ring: np.ndarray) -> list[list[int]]:
    corners: list[list[int]] = ring[:, ::-1].tolist()
    return [*corners, corners[0]]


def _plane(position: dict[str, int]) -> dict[str, Any]:
    """Where QuPath is to show a geometry; nothing on the only plane of an image. Channel -1 is all of them."""
    return {"plane": {"c": -1, "z": position.get("z", 0), "t": position.get("t", 0)}} if position else {}


def _properties(known: ObjectInfo) -> dict[str, Any]:
    measured = {"label": known.label, "score": _number(known.score), "stability": _number(known.stability)}
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": known.name or str(known.label),
        # QuPath takes no nulls
        "measurements": {name: value for name, value in measured.items() if value is not None},
    }
    if known.class_name:
        properties["classification"] = {"name": known.class_name}
    if known.source:
        properties["metadata"] = {"how": known.source}
    return properties


def _known(known: ObjectInfo) -> dict[str, Any]:
    """What is known of an object, without what is not."""
    entries = {
        "label": known.label,
        "name": known.name or None,
        "score": _number(known.score),
        "stability_score": _number(known.stability),
        "points": _points(known) or None,
        "how": known.source or None,
    }
    return {name: value for name, value in entries.items() if value is not None}


def _points(known: ObjectInfo) -> list[list[float]]:
    return [[float(x), float(y)] for y, x in known.points if math.isfinite(x) and math.isfinite(y)]


def _number(value: float | None) -> float | None:
    """A number as JSON can have it, which knows neither NaN nor infinity."""
    return float(value) if value is not None and math.isfinite(value) else None


def _plane_name(name: str, position: dict[str, int]) -> str:
    """Name of a plane: that of the picture, with its index on each axis before the ending."""
    where = "".join(f"_{axis}{index:04d}" for axis, index in position.items())
    return str(Path(name).with_stem(Path(name).stem + where)) if name else where.strip("_")


def _write(path: Path, content: dict[str, Any]) -> None:
    # A name that is no Unicode keeps its odd bytes as escapes, from which Python gets the same name back.
    text = json.dumps(content, allow_nan=False, ensure_ascii=False)
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
