"""Objects as GeoJSON. Here (y, x) becomes its (x, y)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_segany.core.objects import ObjectInfo
from napari_segany.io.formats.json_values import finite, write_json
from napari_segany.io.formats.labelled_image import LabelledImage, Piece
from napari_segany.io.formats.outlines import outline


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
    write_json(path, {"type": "FeatureCollection", "features": features})


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
    measured = {"label": known.label, "score": finite(known.score), "stability": finite(known.stability)}
    measured["class_probability"] = finite(known.class_probability)
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": known.name or str(known.label),
        # QuPath takes no nulls
        "measurements": {name: value for name, value in measured.items() if value is not None},
    }
    if known.class_name:
        # QuPath's own way to write a class below another
        properties["classification"] = {"name": ": ".join(filter(None, known.class_levels))}
    metadata = {"how": known.source, "state": known.state}
    metadata |= {"reviewed_by": known.reviewed_by, "reviewed_at": known.reviewed_at}
    if any(metadata.values()):
        properties["metadata"] = {name: value for name, value in metadata.items() if value}
    return properties
