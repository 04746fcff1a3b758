"""Folders of labelled images to the layout of SA-1B and back, and what such sets are like.

A set of labelled images is ``images/`` next to ``labels/``, each label image with the name of its image. SA-1B has an
image next to a .json of its masks. https://github.com/facebookresearch/segment-anything#dataset
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import scipy

from napari_segany.core.arguments import as_path
from napari_segany.core.errors import InputError
from napari_segany.core.masks import box_of
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.simulate import centre_point
from napari_segany.io.export import export_labels
from napari_segany.io.formats.labelled_image import LabelledImage
from napari_segany.io.formats.mask_statistics import MaskStatistics, Row, picture, spread
from napari_segany.io.formats.rle import from_rle
from napari_segany.io.formats.sa1b import write_sa1b
from napari_segany.io.images import PICTURES, TIFF, read_image, reading
from napari_segany.io.labels import check_place, compact, read_labels, replacing, write_labels
from napari_segany.io.output_checks import check_apart, named
from napari_segany.session.recovery import recover

AGREEING = (0.9, 0.75)
"""IoU above which two annotations of an object count as agreeing; the values of the paper of SA-1B."""
_LABELS = "_labels"
"""May stand behind the name of a label image, as where ``segment --everything`` wrote it."""


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """What became of an image.

    Parameters
    ----------
    name : str
        Of the image, without its ending.
    masks : int
        How many objects it has.
    lost : int
        Objects of which overlapping ones left no pixel, as labels hold one object at each.
    shared : int
        Pixels of more than one object.
    """

    name: str
    masks: int
    lost: int = 0
    shared: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A mask, cut out: ``mask`` is (h, w) bool, ``corner`` where it begins in its image, (y, x)."""

    mask: np.ndarray
    corner: tuple[int, int]
    about: ObjectInfo

    @property
    def area(self) -> int:
        """How many pixels it has."""
        return int(np.count_nonzero(self.mask))

    @property
    def window(self) -> tuple[slice, slice]:
        """Where it lies in its image."""
        (y, x), (height, width) = self.corner, self.mask.shape
        return slice(y, y + height), slice(x, x + width)


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedImage:
    """The masks of an image.

    Parameters
    ----------
    name : str
        Of the image, without its ending.
    shape : (height, width)
        Of the image.
    masks : list of Cut
        In the order of the file.
    image : str
        File name of the image, where it is known.
    """

    name: str
    shape: tuple[int, int]
    masks: list[Cut]
    image: str = ""


def make_dataset(folder: str | Path, out: str | Path) -> list[DatasetEntry]:
    """Turn labelled images into a set in the layout of SA-1B: a copy of each image, and a .json of its masks.

    The point of a mask is the one farthest from its outline. Predicted IoU and stability come from NAME_objects.csv
    next to the labels where it is there, as ``segment`` writes it; else they are null, as labels by hand have none. The
    crop box is the whole image.

    Parameters
    ----------
    folder : str or Path
        ``images/`` and ``labels/``; see the module. Images of a single plane.
    out : str or Path
        The folder to write, which is not there yet or empty.

    Raises
    ------
    InputError
        An image lacks its labels, or labels their image; they do not fit; or the folder cannot be written. Nothing is
        written then.
    """
    folder, out = as_path(folder, "folder"), as_path(out, "out")
    pairs = _pairs(folder)
    _check_new(out, folder)
    made = []
    with replacing(out) as temporary:
        temporary.mkdir()
        for number, (image, labels) in enumerate(pairs, start=1):
            described = _described(image, labels)
            shutil.copyfile(image, temporary / image.name)
            write_sa1b(described, temporary / f"{image.stem}.json", image_id=number)
            made.append(DatasetEntry(image.stem, len(described.about)))
    return made


def read_dataset(folder: str | Path, out: str | Path) -> list[DatasetEntry]:
    """Turn a set in the layout of SA-1B into labelled images: the way back of :func:`make_dataset`.

    Labels are the ids of the masks; where these are no labels, masks are numbered in their order. Where masks overlap,
    the smaller one keeps the pixels. Predicted IoU and stability go to labels/NAME_objects.csv.

    Parameters
    ----------
    folder : str or Path
        With a .json for each image.
    out : str or Path
        The folder to write, which is not there yet or empty.

    Raises
    ------
    InputError
        A file is none of SA-1B, or its masks do not fit its image; or the folder cannot be written. Nothing is written
        then.
    """
    folder, out = as_path(folder, "folder"), as_path(out, "out")
    files = _sa1b_files(folder)
    _check_new(out, folder)
    made = []
    with replacing(out) as temporary:
        for part in ("images", "labels"):
            (temporary / part).mkdir(parents=True)
        for path in files:
            one = _read_sa1b(path)
            labels, shared = _painted(one)
            image = _image_of(path, one.image)
            if image is not None:
                shutil.copyfile(image, temporary / "images" / f"{one.name}{image.suffix}")
            place = temporary / "labels" / f"{one.name}.tif"
            write_labels(place, labels)
            about = [cut.about for cut in one.masks]
            if any(known.score is not None or known.stability is not None for known in about):
                export_labels(labels, place.with_name(f"{one.name}_objects.csv"), objects=about)
            lost = len(one.masks) - np.count_nonzero(np.unique(labels))
            made.append(DatasetEntry(one.name, len(one.masks), int(lost), shared))
    return made


def report_dataset(folder: str | Path, against: str | Path | None = None) -> list[Row]:
    """Compute the statistics of a data set, as the paper of SA-1B does (Kirillov et al. 2023, section 5).

    Parameters
    ----------
    folder : str or Path
        Labelled images, the layout of SA-1B, or the file of a session.
    against : str or Path, optional
        Other annotations of the same images.

    Returns
    -------
    list of dict
        "what" names the statistic of a row: "images"; "masks per image"; "relative mask size", sqrt(area of the mask /
        area of the image); "concavity", 1 - area / area of the convex hull, both along the edges of pixels; "overlap",
        share of the annotated pixels of an image that lie in several masks; with "n", "mean", "median", "min", "max".
        "centres" has a "heat_map": the share of masks with their centroid in each of 8 x 8 parts of the image, rows
        from the top. With `against`: "IoU" of each mask with its partner of the others, 0 without one, and "IoU above
        0.9" and "IoU above 0.75" with the "share" of the masks, and how many masks the others have, "others".

    Raises
    ------
    InputError
        A file cannot be used, or the two sets are not of the same images.
    """
    folder = as_path(folder, "folder")
    rows = statistics_of(folder).rows()
    return rows if against is None else rows + _agreement(folder, as_path(against, "against"))


def statistics_of(folder: Path) -> MaskStatistics:
    """The statistics of a data set, or of the labels of a session; errors as of :func:`annotated_images`."""
    found = MaskStatistics()
    for one in annotated_images(folder):
        found.add(one.shape, one.masks)
    return found


def draw_dataset(folder: Path, path: Path) -> None:
    """Draw the statistics of a data set, or of the labels of a session.

    Raises
    ------
    InputError
        There is something at `path` already, it is no .svg, or as of :func:`annotated_images`.
    """
    if path.suffix.lower() != ".svg":
        raise InputError(f"the picture is an .svg, not {path.name!r}")
    check_place(path, overwrite=False)
    drawn = picture(statistics_of(folder))
    with replacing(path) as temporary:
        temporary.write_text(drawn, encoding="utf-8")


def annotated_images(folder: Path) -> Iterator[AnnotatedImage]:
    """The masks of each image of a set, by the name of the image.

    Parameters
    ----------
    folder : Path
        Labelled images, the layout of SA-1B, or the file of a session, whose slices are images.

    Raises
    ------
    InputError
        It is none of these, or a file cannot be used.
    """
    if folder.is_file():
        yield from _session_images(folder)
        return
    if not (folder / "labels").is_dir():
        yield from map(_read_sa1b, _sa1b_files(folder))
        return
    for stem, path in _by_stem(folder / "labels", _LABELS).items():
        image = _labelled(path, read_labels(path), stem)
        yield AnnotatedImage(stem, image.plane_shape, [Cut(one.mask, one.corner, one.about) for one in image.pieces()])


def _session_images(session: Path) -> Iterator[AnnotatedImage]:
    labels = recover(session).labels
    if labels is None:
        raise InputError(f"no object was kept in the session {session}")
    for number, plane in enumerate(labels.reshape(-1, *labels.shape[-2:])):
        name = session.stem if labels.ndim == 2 else f"{session.stem}/{number}"
        image = _labelled(session, plane, name)
        yield AnnotatedImage(name, image.plane_shape, [Cut(one.mask, one.corner, one.about) for one in image.pieces()])


def _agreement(folder: Path, against: Path) -> list[Row]:
    others = {one.name: one for one in annotated_images(against)}
    overlaps: list[float] = []
    count = 0
    for one in annotated_images(folder):
        other = others.pop(one.name, None)
        if other is None:
            raise InputError(f"{against} holds no annotation of {one.name}, as {folder} does")
        if other.shape != one.shape:
            raise InputError(f"{one.name} has the shape {one.shape} in {folder}, and {other.shape} in {against}")
        overlaps += matching_files(one.masks, other.masks)
        count += len(other.masks)
    if others:
        raise InputError(f"{folder} holds no annotation of {min(others)}, as {against} does")
    row = spread("IoU", overlaps) | {"others": count}
    shares = [float(np.mean(np.array(overlaps) > least)) if overlaps else None for least in AGREEING]
    agreement = [
        {"what": f"IoU above {least:g}", "n": len(overlaps), "share": share}
        for least, share in zip(AGREEING, shares, strict=True)
        if share is not None
    ]
    return [row, *agreement]


def matching_files(masks: Sequence[Cut], others: Sequence[Cut]) -> list[float]:
    """IoU of each mask with its partner, when each of the others is the partner of one at most; 0 without a partner."""
    overlap = np.array([[_iou(one, other) for other in others] for one in masks]).reshape(len(masks), len(others))
    found = np.zeros(len(masks))
    pairs = scipy.optimize.linear_sum_assignment(overlap, maximize=True)
    found[pairs[0]] = overlap[pairs]
    result: list[float] = found.tolist()
    return result


def _iou(one: Cut, other: Cut) -> float:
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one.window, other.window, strict=True)
    )
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return 0.0
    parts = [
        cut.mask[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        for cut, (y, x) in ((one, one.corner), (other, other.corner))
    ]
    shared = int(np.count_nonzero(parts[0] & parts[1]))
    return shared / (one.area + other.area - shared)


def _check_new(out: Path, folder: Path) -> None:
    """Refuse a folder that holds something, or the set itself."""
    with named(out):
        if not out.parent.is_dir():
            raise InputError(f"there is no folder {out.parent}")
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise InputError(f"{out} exists; a set is written to a new folder, or an empty one")
    check_apart(out, [folder], "the set")


def _by_stem(folder: Path, ending: str = "") -> dict[str, Path]:
    """The image files of a folder by the name of their image; hidden files do not count."""
    found: dict[str, Path] = {}
    with named(folder):
        paths = sorted(folder.iterdir())
    for path in paths:
        if path.name.startswith(".") or path.suffix.lower() not in (*TIFF, *PICTURES):
            continue
        stem = path.stem.removesuffix(ending) if ending else path.stem
        if stem in found:
            raise InputError(f"{found[stem]} and {path} are of one name: which of them is meant is not known")
        found[stem] = path
    if not found:
        raise InputError(f"{folder} holds no image file")
    return found


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Images with their labels."""
    for part in ("images", "labels"):
        if not (folder / part).is_dir():
            raise InputError(f"{folder} holds no folder {part}/, as a set of labelled images does")
    images, labels = _by_stem(folder / "images"), _by_stem(folder / "labels", _LABELS)
    for stem in sorted(images.keys() ^ labels.keys()):
        lacking, there = ("labels", images) if stem in images else ("images", labels)
        raise InputError(f"{there[stem]} has no partner in {folder / lacking}")
    return [(images[stem], labels[stem]) for stem in images]


def _labelled(path: Path, labels: np.ndarray, name: str) -> LabelledImage:
    labels = labels.reshape(labels.shape[-2:]) if labels.ndim > 2 and math.prod(labels.shape[:-2]) == 1 else labels
    if labels.ndim != 2:
        raise InputError(f"{path} has the shape {labels.shape}: a set is of images of a single plane")
    return LabelledImage(compact(labels), "yx", {}, (1.0, 1.0), name=name)


def _described(image: Path, labels: Path) -> LabelledImage:
    """Labels with all fields of SA-1B."""
    with reading(image):
        stack = read_image(image).stack()
    found = _labelled(labels, read_labels(labels), image.name)
    if len(stack) != 1 or stack.plane_shape != found.plane_shape:
        shape = stack.shape + stack.plane_shape
        raise InputError(f"{labels} has the shape {found.plane_shape}, and {image} has {shape}")
    known = _table(labels.with_name(f"{image.stem}_objects.csv"))
    about = {}
    for piece in found.pieces():
        label, (y, x), inner = piece.about.label, piece.corner, centre_point(piece.mask)
        score, stability = known.get(label, (None, None))
        about[label] = ObjectInfo(label, score=score, stability=stability, points=((inner.y + y, inner.x + x),))
    return replace(found, about=about)


def _table(path: Path) -> dict[int, tuple[float | None, float | None]]:
    """Predicted IoU and stability of objects by label, from their table where there is one."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
        return {int(row["label"]): (_cell(row.get("score")), _cell(row.get("stability"))) for row in rows}
    except (OSError, UnicodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no table of objects: {error}") from error


def _cell(text: str | None) -> float | None:
    return float(text) if text else None


def _sa1b_files(folder: Path) -> list[Path]:
    with named(folder):
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}")
        found = sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))
    if not found:
        raise InputError(f"{folder} holds neither labels/ nor a .json for each image, as SA-1B has it")
    return found


def _image_of(path: Path, name: str) -> Path | None:
    """Path of the image next to a .json: the one that it names, or else the one of the same name."""
    own = path.with_name(PurePosixPath(name.replace("\\", "/")).name) if name else path
    others = (path.with_suffix(ending) for ending in (*TIFF, *PICTURES))
    return next((one for one in (own, *others) if one != path and one.is_file()), None)


def _read_sa1b(path: Path) -> AnnotatedImage:
    """The masks of a .json of SA-1B."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        about, annotations = content["image"], content["annotations"]
        shape = int(about["height"]), int(about["width"])
        name = str(about.get("file_name", ""))
        ids = [one["id"] for one in annotations]
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no file of SA-1B: {type(error).__name__} {error}") from error
    usable = len({*map(str, ids)}) == len(ids) and all(type(one) is int and 0 < one < 2**32 for one in ids)
    masks = []
    for number, one in enumerate(annotations, start=1):
        try:
            label = one["id"] if usable else number
            masks.append(_cut(one, shape, label))
        except InputError as error:
            raise InputError(f"{path}, annotation {number}: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}, annotation {number} is none of SA-1B: {error}") from error
    return AnnotatedImage(path.stem, shape, masks, name)


def _cut(one: Mapping[str, Any], shape: tuple[int, int], label: int) -> Cut:
    pixels = from_rle(one["segmentation"])
    if pixels.shape != shape:
        raise InputError(f"a mask of shape {pixels.shape} does not fit an image of shape {shape}")
    box = box_of(pixels)
    if box is None:
        raise InputError("the mask has no pixel")
    rows, columns = slice(int(box.y0), int(box.y1) + 1), slice(int(box.x0), int(box.x1) + 1)
    about = ObjectInfo(label, score=_told(one, "predicted_iou"), stability=_told(one, "stability_score"))
    return Cut(pixels[rows, columns].copy(), (rows.start, columns.start), about)


def _told(one: Mapping[str, Any], name: str) -> float | None:
    return None if one.get(name) is None else float(one[name])


def _painted(one: AnnotatedImage) -> tuple[np.ndarray, int]:
    """Labels, the smaller of overlapping masks on top, and how many pixels several masks share."""
    labels = np.zeros(one.shape, np.uint32)
    times = np.zeros(one.shape, np.uint16)
    for cut in sorted(one.masks, key=lambda cut: -cut.area):
        labels[cut.window][cut.mask] = cut.about.label
        times[cut.window] += cut.mask
    return labels, int(np.count_nonzero(times > 1))
