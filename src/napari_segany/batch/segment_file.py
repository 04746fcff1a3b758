"""From an image file and prompts for its objects to a file of labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from napari_segany.core.arguments import as_path, check_callable, check_each, check_type
from napari_segany.core.errors import InputError
from napari_segany.core.masks import Mask
from napari_segany.core.object_classes import named_masks
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.planes import Region, Stack
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.tiles import is_large, segment_in_window
from napari_segany.io.detections import read_detections
from napari_segany.io.export import check_export, export_labels
from napari_segany.io.images import FilePlanes, ImageFile, read_image, reading
from napari_segany.io.label_writer import LabelFileSpec, LabelWriter, open_label_writer
from napari_segany.io.labels import check_axes, check_output, owner_of, read_labels
from napari_segany.io.ome_zarr import is_zarr
from napari_segany.io.output_checks import named
from napari_segany.io.prompt_tables import PlacedPrompt, read_prompts
from napari_segany.io.spacing import unit_shown

MAX_LABEL = 2**32 - 1
DETECTED = "box of a detector"
Place = int | tuple[int, ...]
"""Number of a plane, or its position along the leading axes."""
TOGETHER = 64
"""Prompts that are predicted at once: each mask is as large as the plane, so a whole table may not fit into memory."""


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """What to segment, and where to write it.

    Parameters
    ----------
    image : Path
        Anything that :func:`~napari_segany.io.images.read_image` reads.
    labels : Path
        Anything that :func:`~napari_segany.io.labels.write_labels` writes.
    prompts : tuple of Prompt
        One for each object on `plane`; their labels follow those of `table`.
    table : Path, optional
        A CSV file of clicks, with their labels and planes.
    plane : int, optional
        The plane of `prompts`, leading axes counted in C order. Needed when the image has more than one.
    planes : tuple of int or tuple of int
        The plane of each of `prompts`, where they lie on several: its number, or its position along the leading axes.
    overwrite : bool
        Replace the file of labels when it exists.
    inputs : tuple of Path
        Other files that must not be replaced, such as a checkpoint.
    boxes : Path, optional
        A file of a detector's boxes, each an object, see :func:`~napari_segany.io.detections.read_detections`; those
        without a plane lie on `plane`. A table of the objects is written then, see :func:`objects_path`.
    names : bool
        Whether objects get the names that the model knows, with their probabilities, where it is sure enough.
    """

    image: Path
    labels: Path
    prompts: tuple[Prompt, ...] = ()
    table: Path | None = None
    plane: int | None = None
    overwrite: bool = False
    planes: tuple[Place, ...] = ()
    inputs: tuple[Path, ...] = ()
    boxes: Path | None = None
    names: bool = True

    def __post_init__(self) -> None:
        given = [name for name in ("table", "boxes") if getattr(self, name) is not None]
        for name in ("image", "labels", *given):
            object.__setattr__(self, name, as_path(getattr(self, name), name))
        check_each(self.prompts, Prompt, "prompts")
        check_type(self.plane, (int, np.integer, type(None)), "plane")
        check_each(self.planes, (int, np.integer, tuple), "planes")
        if self.planes and len(self.planes) != len(self.prompts):
            raise InputError(f"planes has {len(self.planes)} entries for {len(self.prompts)} prompts")


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """Result of a job.

    Parameters
    ----------
    path : Path
        Path of the labels.
    painted : dict of int to int
        Pixels of each label, in the order of the objects; 0 when nothing was found or earlier objects have all its
        pixels.
    names : dict of int to (str, float)
        What the model takes objects for, and the probability; without those of which it is not sure.
    """

    path: Path
    painted: dict[int, int]
    names: dict[int, tuple[str, float]] = field(default_factory=dict, kw_only=True)


def object_prompts(points: Sequence[Point], boxes: Sequence[Box], *, together: bool = False) -> tuple[Prompt, ...]:
    """Prompts from points and boxes in the order they were given.

    Parameters
    ----------
    points : sequence of Point
        A positive point starts an object; a negative one belongs to the object of the point before it.
    boxes : sequence of Box
        Each is a separate object.
    together : bool
        All of them describe one object instead.

    Raises
    ------
    InputError
        When a negative point follows no positive one, or one object has two boxes.
    """
    if together:
        if len(boxes) > 1:
            raise InputError(f"one object has one box at most, got {len(boxes)}")
        if not boxes and not any(point.positive for point in points):
            raise InputError("an object needs a positive point or a box")
        return (Prompt(tuple(points), box=boxes[0] if boxes else None),)
    groups: list[list[Point]] = []
    for point in points:
        if point.positive:
            groups.append([point])
        elif groups:
            groups[-1].append(point)
        else:
            raise InputError(f"the negative point {point.y:g},{point.x:g} has no positive one before it")
    return (*(Prompt(tuple(group)) for group in groups), *(Prompt(box=box) for box in boxes))


def segment_file(job: SegmentJob, load: Callable[[], Segmenter]) -> SegmentReport:
    """Segment the prompted objects and write their labels.

    Objects are painted in the order of the prompts; where they overlap, a pixel belongs to the first.

    Parameters
    ----------
    job : SegmentJob
        Image, prompts and output.
    load : callable
        Makes the segmenter; called after everything else is checked.

    Raises
    ------
    InputError
        When the image or the table cannot be used, a prompt lies off the picture, or the labels cannot be written;
        nothing is written then.
    ModelError
        From `load`.
    """
    check_type(job, SegmentJob, "job")
    check_callable(load, "load")
    ready = prepare_job(job)
    segmenter = load()
    found: dict[int, ObjectInfo] = {}
    with open_label_writer(label_file_spec(job, ready)) as labels:
        painted = _paint(FilePlanes(job.image, ready.stack), ready.placed, segmenter, labels, found, named=job.names)
    if job.boxes is not None:
        write_objects(job, ready, found)
    named = {label: (one.class_name, one.class_probability or 0.0) for label, one in found.items() if one.class_name}
    return SegmentReport(job.labels, painted, names={label: named[label] for label in painted if label in named})


@dataclass(frozen=True, slots=True, eq=False)
class PreparedJob:
    """A checked job: its image, planes, prompts, and the axes of its labels.

    `about` has the information of a detector about its objects, by label.
    """

    image: ImageFile
    stack: Stack
    placed: list[PlacedPrompt]
    axes: str
    about: Mapping[int, ObjectInfo] = field(default_factory=dict)


def prepare_job(job: SegmentJob) -> PreparedJob:
    """Check all of a job that can be checked before a model is loaded.

    Raises
    ------
    InputError
        See :func:`segment_file`.
    """
    _check_paths(job)
    image = read_image(job.image)
    with reading(job.image):
        stack = image.stack()
    placed = read_prompts(job.table, image) if job.table else []
    axes = check_axes(job.labels, len(stack.shape + stack.plane_shape), _letters(image))
    detected, about = _detected(job, image, stack, placed, axes)
    placed += detected
    placed += _placed(job, stack, image.label_axes, after=max((one.label for one in placed), default=0))
    if not placed:
        raise InputError("nothing to segment: give at least a point, a box or a table of points")
    for one in placed:
        check_inside(one, stack)
    return PreparedJob(image, stack, placed, axes, about)


def _detected(
    job: SegmentJob, image: ImageFile, stack: Stack, earlier: Sequence[PlacedPrompt], axes: str
) -> tuple[list[PlacedPrompt], dict[int, ObjectInfo]]:
    """The boxes of a detector, labelled after those of the table, and its information about them."""
    if job.boxes is None:
        return [], {}
    if axes not in ("yx", "zyx", "tyx", "tzyx"):
        raise InputError(f"objects are listed on the axes (t)(z)yx, and {job.image} has {image.label_axes}")
    check_export(
        objects_path(job.labels), overwrite=job.overwrite, inputs=(job.image, job.table, job.boxes, *job.inputs)
    )
    taken = {one.label for one in earlier}
    placed: list[PlacedPrompt] = []
    about: dict[int, ObjectInfo] = {}
    for number, one in enumerate(read_detections(job.boxes, image, job.image.name), start=max(taken, default=0) + 1):
        label = number if one.label is None else one.label
        plane = one.plane if one.plane is not None else job.plane
        if plane is None and len(stack) > 1:
            raise InputError(f"{job.boxes}, {one.where} has no plane, and {job.image} has {len(stack)}: give the plane")
        if label in taken:
            raise InputError(f"{job.boxes}, {one.where}: the label {label} stands in {job.table}, too")
        placed.append(PlacedPrompt(label, plane or 0, Prompt(box=one.box)))
        known = ObjectInfo(label, one.name, one.class_name, one.score, source=DETECTED)
        about[label] = max(about.get(label, known), known, key=lambda each: each.score or -math.inf)
    return placed, about


def objects_path(labels: Path) -> Path:
    """Where the table of the objects of a label file goes; not into OME-Zarr images, which hold no tables."""
    return (owner_of(labels) or labels).with_name(f"{labels.stem}_objects.csv")


def write_objects(job: SegmentJob, ready: PreparedJob, found: Mapping[int, ObjectInfo]) -> Path:
    """Write a table of the objects next to their labels, with the scores and classes of a detector.

    Parameters
    ----------
    job : SegmentJob
        Whose labels have been written.
    ready : PreparedJob
        The same job.
    found : mapping of int to ObjectInfo
        What the model predicts of each label: IoU, stability, and its name if it has one. The IoU is the score of
        objects without a score of a detector, and the column "how" distinguishes the two; the name is the class of
        those without a class of a detector.
    """
    objects = []
    for label in dict.fromkeys(one.label for one in ready.placed):
        known = ready.about.get(label, ObjectInfo(label, source="prompt"))
        own = found.get(label, ObjectInfo(label, score=math.nan, stability=math.nan))
        if known.score is None:
            known = replace(known, score=own.score, source=f"{known.source}, predicted IoU")
        if own.class_name and not known.class_name:
            known = replace(known, class_name=own.class_name, class_probability=own.class_probability)
        objects.append(replace(known, stability=own.stability))
    axes = _letters(ready.image)
    calibration = ready.image.label_calibration
    placed = calibration if axes is None else calibration.metric(axes)
    return export_labels(
        read_labels(job.labels),
        objects_path(job.labels),
        objects=objects,
        axes=axes,
        scale=placed.scale,
        unit=unit_shown(placed, axes),
        image_name=job.image.name,
        overwrite=job.overwrite,
        inputs=(job.image, job.table, job.boxes, *job.inputs),
    )


def _letters(image: ImageFile) -> str | None:
    """Axes of the labels; the usual ones where the image has axes that label files have no name for."""
    return image.label_axes if set(image.label_axes) <= set("tzyx") else None


def _check_paths(job: SegmentJob) -> None:
    # (a folder that is no image is refused as such)
    with named(job.image):
        image = None if job.image.is_dir() and not is_zarr(job.image) else job.image
    check_output(job.labels, overwrite=job.overwrite, inputs=(image, job.table, job.boxes, *job.inputs))


def _in_order(place: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """Time and depth in the order of the image: most have time first."""
    return place[::-1] if len(place) == 2 and axes.startswith("zt") else place


def _placed(job: SegmentJob, stack: Stack, axes: str, after: int) -> list[PlacedPrompt]:
    """The job's own prompts, with labels that follow `after`."""
    if job.plane is not None:
        stack.index(job.plane)
    if job.prompts and job.plane is None and not job.planes and len(stack) > 1:
        raise InputError(f"{job.image} has {len(stack)} planes: give the plane, 0 to {len(stack) - 1}")
    given = job.planes or (job.plane or 0,) * len(job.prompts)
    planes = [place if isinstance(place, int) else stack.unindex(_in_order(place, axes)) for place in given]
    pairs = zip(planes, job.prompts, strict=True)
    return [PlacedPrompt(label, plane, prompt) for label, (plane, prompt) in enumerate(pairs, start=after + 1)]


def check_inside(one: PlacedPrompt, stack: Stack) -> None:
    """Refuse a prompt outside the image, where a model would still return some mask.

    Raises
    ------
    InputError
        It lies outside, has no area, or its label is too large for a file.
    """
    stack.index(one.z)
    if one.label > MAX_LABEL:
        raise InputError(f"the label {one.label} is too large for a file, which holds {MAX_LABEL} at most")
    height, width = stack.plane_shape
    size = f"the picture, which has {height} rows and {width} columns"
    for point in one.prompt.points:
        if not (-0.5 <= point.y <= height - 0.5 and -0.5 <= point.x <= width - 0.5):
            raise InputError(f"the point {point.y:g},{point.x:g} lies outside {size}")
    box = one.prompt.box
    if box is None:
        return
    corners = f"{box.y0:g},{box.x0:g},{box.y1:g},{box.x1:g}"
    if box.y0 == box.y1 or box.x0 == box.x1:
        raise InputError(f"the box {corners} has no area")
    if box.y1 < -0.5 or box.x1 < -0.5 or box.y0 > height - 0.5 or box.x0 > width - 0.5:
        raise InputError(f"the box {corners} lies outside {size}")


def label_file_spec(job: SegmentJob, ready: PreparedJob) -> LabelFileSpec:
    """The labels that a job is to paint."""
    shape = ready.stack.shape + ready.stack.plane_shape
    highest = max(one.label for one in ready.placed)
    placed = ready.image.label_calibration
    return LabelFileSpec(job.labels, shape, ready.axes, placed.scale, highest, job.overwrite, placed)


def _paint(
    planes: FilePlanes,
    placed: Sequence[PlacedPrompt],
    segmenter: Segmenter,
    canvas: LabelWriter,
    found: dict[int, ObjectInfo],
    *,
    named: bool,
) -> dict[int, int]:
    """Paint all objects, the first one first; the pixels that each got. What the model predicts of them is noted."""
    painted = {one.label: 0 for one in placed}
    for z in sorted({one.z for one in placed}):
        here = [one for one in placed if one.z == z]
        for one, mask, window in segment_prompts(segmenter, planes, here, named=named):
            painted[one.label] += canvas.paint(z, mask.pixels, one.label, window)
            before = found.get(one.label)
            if before is None or (before.score or 0.0) < mask.score:
                found[one.label] = predicted_info(one.label, mask)
    return painted


def predicted_info(label: int, mask: Mask) -> ObjectInfo:
    """What a model predicts of an object, by the mask of a prompt."""
    about = ObjectInfo(label, score=mask.score, stability=mask.stability, source="prompt")
    return about.with_class("", (mask.class_name, mask.class_probability)) if mask.class_name else about


def segment_prompts(
    segmenter: Segmenter, planes: FilePlanes | Stack, placed: Sequence[PlacedPrompt], *, named: bool = False
) -> Iterator[tuple[PlacedPrompt, Mask, Region | None]]:
    """Predict the best mask of each prompt on one plane, in their order.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    planes : FilePlanes or Stack
        Source of the plane.
    placed : sequence of PlacedPrompt
        Prompts on one plane.
    named : bool
        Whether masks get the names that the model knows.

    Yields
    ------
    one : PlacedPrompt
        The prompt.
    mask : Mask
        Its best mask.
    window : tuple of slice or None
        The part of a large plane that the mask covers; only this part is read.
    """
    z, shape = placed[0].z, planes.plane_shape
    if is_large(shape):
        for one in placed:
            window, masks = segment_in_window(segmenter, partial(planes.part, z), shape, one.prompt)
            part = planes.part(z, window) if named else np.zeros((0, 0, 3), np.uint8)
            yield one, (named_masks(segmenter, part, masks[:1]) if named else masks)[0], window
        return
    embedding = segmenter.embed(planes.plane(z))
    for start in range(0, len(placed), TOGETHER):
        group = placed[start : start + TOGETHER]
        answers = segmenter.segment(embedding, [one.prompt for one in group])
        best = [candidates[0] for candidates in answers]
        if named:
            best = named_masks(segmenter, planes.plane(z), best)
        for one, mask in zip(group, best, strict=True):
            yield one, mask, None
