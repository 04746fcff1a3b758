"""Objects as ImageJ's regions of interest, in a .zip that its ROI Manager opens."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import roifile

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.io.formats.labelled_image import LabelledImage, Piece
from napari_segany.io.formats.outlines import Polygon, outline

LARGEST = 60_535
"""The last pixel that an ImageJ ROI's header can name."""
MOVE, LINE, CLOSE = 0.0, 1.0, 4.0
"""What java.awt.geom.PathIterator calls the steps of a composite ROI."""


def write_rois(image: LabelledImage, path: Path) -> None:
    """Write one ROI for each object and plane, along the edges of its pixels.

    A piece without holes is a traced ROI, as ImageJ's wand makes it; all else is one composite ROI with its pieces and
    holes. Names are the label, the plane and the object's own name; what else is known are the ROI's properties.

    Raises
    ------
    InputError
        When the planes are larger than ImageJ's ROIs.
    """
    if max(image.plane_shape) > LARGEST:
        raise InputError(f"ImageJ's ROIs end at pixel {LARGEST}, so labels of shape {image.labels.shape} do not fit")
    positions = image.positions()
    roifile.roiwrite(path, [_roi(piece, positions[piece.plane]) for piece in image.pieces()], mode="w")


def _roi(piece: Piece, position: dict[str, int]) -> roifile.ImagejRoi:
    polygons = outline(piece.mask, piece.corner)
    (top, left), (height, width) = piece.corner, piece.mask.shape
    roi = roifile.ImagejRoi(top=top, left=left, bottom=top + height, right=left + width)
    if len(polygons) == len(polygons[0]) == 1:
        roi.roitype = roifile.ROI_TYPE.TRACED
        roi.integer_coordinates = (polygons[0][0] - piece.corner)[:, ::-1].astype(np.int32)
        roi.n_coordinates = len(roi.integer_coordinates)
    else:
        roi.roitype = roifile.ROI_TYPE.RECT
        roi.multi_coordinates = _path(polygons)
        roi.shape_roi_size = len(roi.multi_coordinates)
    if len(position) == 1:
        # ImageJ takes the position in a stack for that on its only long axis, be it slices or frames
        roi.position = 1 + next(iter(position.values()))
    else:
        roi.z_position, roi.t_position = (1 + position.get(axis, -1) for axis in "zt")
    where = "".join(f" {axis}{index + 1:04d}" for axis, index in position.items())
    name = f"{piece.about.label:05d}{where} {piece.about.name}".strip()
    roi.name = _plain(name, without='/\\:*?"<>|')  # a file within the .zip has this name
    roi.props = _properties(piece.about)
    return roi


def _path(polygons: list[Polygon]) -> np.ndarray:
    """All rings as one path of steps and the (x, y) that they go to: float32, (n,)."""
    steps: list[float] = []
    for ring in (ring for polygon in polygons for ring in polygon):
        for number, (y, x) in enumerate(ring.tolist()):
            steps += (LINE if number else MOVE, x, y)
        steps.append(CLOSE)
    return np.array(steps, dtype=np.float32)


def _properties(known: ObjectInfo) -> str:
    """What is known of an object, a line for each."""
    numbers = {"score": known.score, "stability": known.stability, "class_probability": known.class_probability}
    parent, kind = known.class_levels
    texts = {"name": known.name, "class": kind, "class_parent": parent, "how": known.source, "state": known.state}
    texts |= {"reviewed_by": known.reviewed_by, "reviewed_at": known.reviewed_at}
    entries = {"label": str(known.label)}
    entries |= {key: f"{value:.6g}" for key, value in numbers.items() if value is not None and math.isfinite(value)}
    entries |= {key: _plain(text) for key, text in texts.items() if text}
    return "".join(f"{key}: {value}\n" for key, value in entries.items())


def _plain(text: str, *, without: str = "\\") -> str:
    """Text on one line, of characters of two bytes, which is all that ROIs hold; backslashes begin Java's escapes."""
    return "".join(sign if sign.isprintable() and sign < "\U00010000" and sign not in without else "_" for sign in text)
