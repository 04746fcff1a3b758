"""Boxes that a detector found become prompts: COCO JSON, tables, and ImageJ's regions of interest.

These formats count from the corner of the first pixel, half a pixel before its centre. Only the corners of a table,
``y0,x0,y1,x1``, are those of ``--box``: the centre of the first pixel is (0, 0).
"""

from __future__ import annotations

import csv
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import roifile

from napari_segany.core.arguments import as_path
from napari_segany.core.errors import InputError
from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Box
from napari_segany.io.images import ImageFile
from napari_segany.io.output_checks import MARK
from napari_segany.io.prompt_tables import number_of, plane_of, whole_of

CORNERS = ("y0", "x0", "y1", "x1")
SIZES = ("x", "y", "width", "height")
_HALF = 0.5
_PLANES = re.compile(r"((_[tz]\d+)+)$")
"""How the planes of a stack are called in the COCO files of this program: NAME_t0000_z0000."""
# What damaged archives and regions were seen to raise.
_DAMAGE = (
    OSError, ValueError, LookupError, TypeError, EOFError, NotImplementedError, RuntimeError, MemoryError, struct.error,
    zlib.error, zipfile.BadZipFile,
)  # fmt: skip
_NO_AREA = (roifile.ROI_TYPE.POINT, roifile.ROI_TYPE.LINE, roifile.ROI_TYPE.NOROI)


@dataclass(frozen=True, slots=True)
class Detection:
    """A box of a detector.

    Parameters
    ----------
    box : Box
        Cut to the picture.
        Its place in the file, for messages: "row 3".
    plane : int, optional
        The plane, leading axes counted in C order; None where the file does not contain it.
    label : int, optional
        Its label, where the file contains it.
    score : float, optional
        Score from the detector.
    class_name : str
        Class of the object.
    name : str
        Name of the object.
    """

    box: Box
    where: str
    plane: int | None = None
    label: int | None = None
    score: float | None = None
    class_name: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """What the boxes lie on."""

    file: ImageFile
    stack: Stack
    name: str


def read_detections(path: str | Path, image: ImageFile, name: str = "") -> list[Detection]:
    """Read the boxes of a detector.

    Parameters
    ----------
    path : str or Path
        ``.json``: COCO, a data set or a list of results. ``bbox`` is [x, y, width, height]; category and score are
        kept. ``.csv``: a table with a header, its columns ``y0,x0,y1,x1`` (as of ``--box``) or ``x,y,width,height``
        (as of COCO); ``label`` (a number from 1), ``score``, ``class``, ``name``, ``z`` and ``t`` if wanted. ``.zip``
        or ``.roi``: ImageJ's rectangles, and the bounding boxes of its other regions.
    image : ImageFile
        What the boxes lie on; they are cut to it.
    name : str
        File name of the image, by which a COCO file with several images is searched.

    Returns
    -------
    list of Detection
        In the order of the file.

    Raises
    ------
    InputError
        The file cannot be read or holds no box of this image; or a box has no area, or lies outside the picture: the
        row at fault is named.
    """
    path = as_path(path, "path")
    readers: Mapping[str, Callable[[Path, _Picture], Iterator[Detection]]] = {
        ".json": _coco,
        ".csv": _table,
        ".zip": _rois,
        ".roi": _rois,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"boxes are read from {', '.join(readers)}, not from {path.name}")
    found = list(reader(path, _Picture(image, image.stack(), name)))
    if not found:
        raise InputError(f"{path} holds no box of {name or 'this image'}")
    return _labelled(found, path, strict=reader is _table)


def _labelled(found: list[Detection], path: Path, *, strict: bool) -> list[Detection]:
    """Return the labels in the file where they are unique, else none.

    Raises
    ------
    InputError
        `strict`, and two boxes of a plane have the same label.
    """
    first: dict[tuple[int | None, int | None], Detection] = {}
    for one in found:
        other = first.setdefault((one.label, one.plane), one)
        if strict and one.label is not None and other is not one:
            raise InputError(f"{path}, {one.where}: the label {one.label} is that of {other.where} already")
    if len(first) == len(found) and all(one.label is not None for one in found):
        return found
    return [replace(one, label=None) for one in found]


def _made(path: Path, where: str, make: Callable[[], Detection], picture: _Picture) -> Detection:
    """Return a detection with its box cut to the picture; errors name its place in the file."""
    try:
        one = make()
        box = one.box
        if box.y0 == box.y1 or box.x0 == box.x1:
            raise InputError(f"the box {_shown(box)} has no area")
        height, width = picture.stack.plane_shape
        cut = box.within((height, width))
        if cut is None or cut.y0 == cut.y1 or cut.x0 == cut.x1:
            raise InputError(
                f"the box {_shown(box)} lies outside the picture, which has {height} rows and {width} columns"
            )
        if one.plane is not None:
            picture.stack.index(one.plane)
    except InputError as error:
        raise InputError(f"{path}, {where}: {error}") from None
    return replace(one, box=cut, where=where)


def _shown(box: Box) -> str:
    return ",".join(f"{value:g}" for value in (box.y0, box.x0, box.y1, box.x1))


def _sized(x: float, y: float, width: float, height: float) -> Box:
    """A box from its corner and size, in pixels from the corner of the first one."""
    for name, value in (("width", width), ("height", height)):
        if value <= 0:
            raise InputError(f"{name} is above 0, got {value:g}")
    return Box(y - _HALF, x - _HALF, y + height - _HALF, x + width - _HALF)


def _finite(value: Any, name: str) -> float:
    """A number; text, true and false are none."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} is not a finite number: {str(value)[:40]!r}")
    return number


def _table(path: Path, picture: _Picture) -> Iterator[Detection]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    for number, row in enumerate(rows, start=1):
        cells = {key.strip().lower(): value.strip() for key, value in row.items() if key and isinstance(value, str)}

        def make(cells: Mapping[str, str] = cells) -> Detection:
            return _row(cells, picture)

        yield _made(path, f"row {number}", make, picture)


def _row(cells: Mapping[str, str], picture: _Picture) -> Detection:
    if set(CORNERS) <= set(cells):
        box = Box(*(number_of(cells, name) for name in CORNERS))
    elif set(SIZES) <= set(cells):
        box = _sized(*(_finite(number_of(cells, name), name) for name in SIZES))
    else:
        raise InputError(f"a box has the columns {','.join(CORNERS)} or {','.join(SIZES)}, got {','.join(cells)}")
    label = whole_of(cells, "label") if "label" in cells else None
    if label is not None and label < 1:
        raise InputError(f"label counts from 1, got {label}")
    score = _finite(number_of(cells, "score"), "score") if cells.get("score") else None
    plane = plane_of(cells, None, picture.file) if cells.get("z") or cells.get("t") else None
    return Detection(box, "", plane, label, score, cells.get("class", ""), cells.get("name", ""))


def _coco(path: Path, picture: _Picture) -> Iterator[Detection]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a JSON file: {error}") from None
    whole = {"annotations": content} if isinstance(content, list) else content
    if not isinstance(whole, dict) or not isinstance(whole.get("annotations"), list):
        raise InputError(f"{path} is not a COCO file: it has no list of annotations")
    entries = {key: _entries(whole, key, path) for key in ("images", "annotations", "categories")}
    images = _chosen(entries["images"], entries["annotations"], path, picture)
    about = whole.get("info")
    # elsewhere "label" may be anything, such as the number of a class
    own = isinstance(about, dict) and about.get("contributor") == MARK
    classes = {_key(one.get("id")): str(one.get("name", "")) for one in entries["categories"]}
    for number, one in enumerate(entries["annotations"], start=1):
        if (plane_cells := images.get(_key(one.get("image_id")))) is None:
            continue

        def make(one: dict[str, Any] = one, cells: dict[str, str] = plane_cells) -> Detection:
            found = _annotation(one, cells, classes, picture)
            return found if own else replace(found, label=None)

        yield _made(path, f"annotation {number}", make, picture)


def _entries(content: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    entries = content.get(key) or []
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise InputError(f"{path} is not a COCO file: {key} is no list of objects")
    return entries


def _key(value: Any) -> str:
    """An id by which entries of a file name one another: some write numbers, some write text."""
    return json.dumps(value)


def _chosen(
    images: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]], path: Path, picture: _Picture
) -> dict[str, dict[str, str]]:
    """The ids that belong to the picture, with the place of the plane that each of them is.

    Raises
    ------
    InputError
        None does, or several do, or its size is another.
    """
    if not images:
        ids: dict[str, dict[str, str]] = {_key(one.get("image_id")): {} for one in annotations}
        own = [key for key in ids if key in (_key(picture.name), _key(Path(picture.name).stem))]
        if len(ids) > 1 and len(own) != 1:
            raise InputError(
                f"{path} names no images, and its annotations belong to {len(ids)}: the image of a box is unknown"
            )
        return {key: {} for key in own} or ids
    called = [one for one in images if _file(one) == picture.name]
    planes = [one for one in images if _plane_of_stack(one, picture)]
    if len(called) > 1:
        raise InputError(f"{path} has {len(called)} images of the name {picture.name}")
    chosen = called or planes or (list(images) if len(images) == 1 else [])
    if not chosen:
        raise InputError(f"{path} has {len(images)} images, and none of them is called {picture.name}")
    height, width = picture.stack.plane_shape
    for one in chosen:
        size = one.get("height", height), one.get("width", width)
        if size != (height, width):
            raise InputError(
                f"{path}: the image {_file(one)!r} has {size[0]} rows and {size[1]} columns, "
                f"but {picture.name} has {height} and {width}"
            )
    return {_key(one.get("id")): {axis: str(one[axis]) for axis in "tz" if axis in one} for one in chosen}


def _file(image: Mapping[str, Any]) -> str:
    return PurePosixPath(str(image.get("file_name", "")).replace("\\", "/")).name


def _plane_of_stack(image: Mapping[str, Any], picture: _Picture) -> bool:
    """Whether an entry is a plane of the picture, as this program writes them."""
    name = Path(_file(image))
    stem = _PLANES.sub("", name.stem)
    named = f"{stem}{name.suffix}" == picture.name or (not name.suffix and stem == Path(picture.name).stem)
    return bool(_PLANES.search(name.stem)) and named and ("z" in image or "t" in image)


def _annotation(
    one: Mapping[str, Any], place: Mapping[str, str], classes: Mapping[str, str], picture: _Picture
) -> Detection:
    bbox = one.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise InputError(f"bbox is [x, y, width, height], got {str(bbox)[:60]}")
    box = _sized(*(_finite(value, name) for value, name in zip(bbox, SIZES, strict=True)))
    score = None if one.get("score") is None else _finite(one["score"], "score")
    kind = one.get("category_id")
    class_name = "" if kind is None else classes.get(_key(kind), str(kind))
    label = one.get("label")
    own = label if isinstance(label, int) and not isinstance(label, bool) and label > 0 else None
    plane = plane_of(place, None, picture.file) if place else None
    return Detection(box, "", plane, own, score, class_name, str(one.get("name") or ""))


def _rois(path: Path, picture: _Picture) -> Iterator[Detection]:
    try:
        found = roifile.roiread(path)
        rois = found if isinstance(found, list) else [found]
    except FileNotFoundError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except _DAMAGE as error:
        raise InputError(f"{path} holds something that is no region of ImageJ: {error}") from error
    for number, roi in enumerate(rois, start=1):

        def make(roi: roifile.ImagejRoi = roi) -> Detection:
            return _region(roi, picture)

        where = f"region {number} ({roi.name})" if roi.name else f"region {number}"
        yield _made(path, where, make, picture)


def _region(roi: roifile.ImagejRoi, picture: _Picture) -> Detection:
    if roi.roitype in _NO_AREA:
        raise InputError(f"{roi.roitype.name.lower()} regions have no area")
    properties = dict(line.split(": ", 1) for line in (roi.props or "").splitlines() if ": " in line)
    score = properties.get("score", "").strip()
    label = properties.get("label", "").strip()
    return Detection(
        _bounds(roi),
        "",
        _position(roi, picture),
        int(label) if label.isdecimal() and int(label) > 0 else None,
        _finite(number_of({"score": score}, "score"), "score") if score else None,
        properties.get("class", "").strip(),
        properties.get("name", "").strip() or roi.name or "",
    )


def _bounds(roi: roifile.ImagejRoi) -> Box:
    """Return the bounding box of a region; some regions have coordinates between pixels."""
    if roi.roitype in (roifile.ROI_TYPE.RECT, roifile.ROI_TYPE.OVAL) and roi.multi_coordinates is None:
        if roi.subpixelrect:
            return _sized(roi.xd, roi.yd, roi.widthd, roi.heightd)
    else:
        try:
            rings = [ring for ring in roi.coordinates(multi=True) if len(ring)]
        except _DAMAGE as error:
            raise InputError(f"its outline cannot be read: {error}") from error
        if rings:
            x0, y0 = (float(min(ring[:, axis].min() for ring in rings)) for axis in (0, 1))
            x1, y1 = (float(max(ring[:, axis].max() for ring in rings)) for axis in (0, 1))
            return _sized(x0, y0, x1 - x0, y1 - y0)
    return _sized(roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top)


def _position(roi: roifile.ImagejRoi, picture: _Picture) -> int | None:
    """Number of the plane that a region lies on; None where it lies on all, or has no position."""
    axes = {"z": roi.z_position, "t": roi.t_position}
    cells = {axis: str(at - 1) for axis, at in axes.items() if at > 0}
    if cells and picture.stack.shape:
        return plane_of(cells, None, picture.file)
    if roi.position <= 0 or not picture.stack.shape:
        return None
    if len(picture.stack.shape) > 1:
        raise InputError(f"its position {roi.position} does not define the plane of an image with several axes")
    return roi.position - 1
