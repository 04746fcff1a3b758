"""From a stack and prompts for objects on some of its slices to labels of the whole stack."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from napari_segany.batch.segment_file import (
    PreparedJob,
    SegmentJob,
    SegmentReport,
    label_file_spec,
    prepare_job,
    segment_prompts,
    write_objects,
)
from napari_segany.core.arguments import check_callable, check_type
from napari_segany.core.confidence import Gates, SliceConfidence
from napari_segany.core.errors import InputError
from napari_segany.core.planes import Region, Stack
from napari_segany.core.propagate import Known, Planes, propagate
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.tiles import is_large
from napari_segany.io.images import FilePlanes
from napari_segany.io.label_writer import open_label_writer
from napari_segany.io.labels import check_place, owner_of, replacing
from napari_segany.io.output_checks import check_apart
from napari_segany.io.prompt_tables import PlacedPrompt

Embed = Callable[[int], ImageEmbedding]


@dataclass(frozen=True, slots=True)
class PropagateReport(SegmentReport):
    """Result of a job.

    Parameters
    ----------
    verdicts : dict of (int, int) to SliceConfidence
        Confidence for each plane and label that was searched for.
    """

    verdicts: dict[tuple[int, int], SliceConfidence]

    def write_confidence(self) -> Path:
        """Write a table next to the labels: label, plane, confidence and flags, a row for each plane and label."""
        path = confidence_path(self.path)
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["label", "plane", "confidence", "flags"])
            for (plane, label), verdict in sorted(self.verdicts.items(), key=lambda one: one[0][::-1]):
                writer.writerow([label, plane, _shown(verdict.confidence), ", ".join(verdict.flags)])
        return path

    @property
    def uncertain(self) -> list[tuple[int, int]]:
        """Planes and labels with a flag, the least sure first."""
        flagged = [key for key, verdict in self.verdicts.items() if verdict.flags]
        return sorted(flagged, key=lambda key: self.verdicts[key].confidence)


def propagate_file(
    job: SegmentJob,
    load: Callable[[], Segmenter],
    gates: Gates | None = None,
    progress: Callable[[int], None] | None = None,
    encoder: Callable[[Path, Stack], Embed] | None = None,
) -> PropagateReport:
    """Segment the prompted objects, propagate them through the stack, and write their labels.

    A file LABELS_confidence.csv next to the labels has the confidence of each object on each plane.

    Only a few planes are in memory; where objects overlap, a pixel belongs to the first. Objects are propagated along
    the last axis before y and x: in (t, z, y, x) through the depth of one time, in (t, y, x) through time.

    Parameters
    ----------
    job : SegmentJob
        Image, prompts and output.
    load : callable
        Makes the segmenter; called after everything else is checked.
    gates : Gates, optional
        When an object counts as lost.
    progress : callable, optional
        Called with the number of each finished plane.
    encoder : callable, optional
        Function of the image and its planes that returns their embeddings; by default the segmenter encodes them.

    Raises
    ------
    InputError
        As for :func:`~napari_segany.batch.segment_file.segment_file`; or when the image is a single plane. Nothing is
        written then.
    ModelError
        From `load`.
    """
    check_type(job, SegmentJob, "job")
    check_callable(load, "load")
    ready = _prepared(job)
    segmenter = load()
    report = PropagateReport(job.labels, {one.label: 0 for one in ready.placed}, {})
    with open_label_writer(label_file_spec(job, ready)) as labels:
        for plane, masks, judged, region in _propagated(segmenter, job, ready, gates, encoder):
            for label, pixels in masks.items():
                report.painted[label] += labels.paint(plane, pixels, label, region)
            report.verdicts.update({(plane, label): verdict for label, verdict in judged.items()})
            if progress is not None and judged:
                progress(plane)
    report.write_confidence()
    if job.boxes is not None:
        write_objects(job, ready, {})
    return report


def _prepared(job: SegmentJob) -> PreparedJob:
    """What the job needs, once it is known that all that is to be written can be."""
    ready = prepare_job(job)
    if len(ready.stack) < 2:
        raise InputError(f"{job.image} is a single plane: there is nowhere to follow an object to")
    table = confidence_path(job.labels)
    check_place(table, overwrite=job.overwrite)
    check_apart(table, (job.image, job.table, job.boxes, *job.inputs), "the table of confidence")
    return ready


def _propagated(
    segmenter: Segmenter,
    job: SegmentJob,
    ready: PreparedJob,
    gates: Gates | None,
    encoder: Callable[[Path, Stack], Embed] | None,
) -> Iterator[tuple[int, Mapping[int, np.ndarray], dict[int, SliceConfidence], Region]]:
    """Plane by plane: its number, masks and verdicts by label, and the part of the plane that they are masks of."""
    planes = FilePlanes(job.image, ready.stack)
    for numbers, group in _series(ready.stack, ready.placed):
        known, region = _known(segmenter, planes, group)
        part = PlanePart(planes, region)
        embed = encoder(job.image, ready.stack) if encoder is not None and part.whole else None
        follow = PlanePropagation(segmenter, part, gates, embed)
        for plane, masks, judged in chain(_given(known), follow.through(known, numbers)):
            yield plane, masks, judged, region


def _shown(confidence: float) -> str:
    return f"{confidence:.3f}" if math.isfinite(confidence) else ""


def confidence_path(labels: Path) -> Path:
    """Where it is written how sure the objects of a label file are; not in OME-Zarr images, which hold no tables."""
    return (owner_of(labels) or labels).with_name(f"{labels.stem}_confidence.csv")


def _given(known: Known) -> Iterator[tuple[int, Mapping[int, np.ndarray], dict[int, SliceConfidence]]]:
    return ((plane, masks, {}) for plane, masks in known.items())


def _series(stack: Stack, placed: Sequence[PlacedPrompt]) -> Iterator[tuple[range, list[PlacedPrompt]]]:
    """Planes that lie on one line along the last axis, and the prompts on them."""
    length = stack.shape[-1]
    for first in sorted({one.z - one.z % length for one in placed}):
        numbers = range(first, first + length)
        yield numbers, [one for one in placed if one.z in numbers]


def _known(
    segmenter: Segmenter, planes: FilePlanes, placed: Sequence[PlacedPrompt]
) -> tuple[dict[int, dict[int, np.ndarray]], Region]:
    """Masks of the planes with prompts, and the window of the planes that they cover.

    A pixel belongs to the first prompt. Of large planes the window is the part around all objects.
    """
    windows: dict[PlacedPrompt, tuple[Region, np.ndarray]] = {}
    for z in sorted({one.z for one in placed}):
        for one, mask, window in segment_prompts(segmenter, planes, [one for one in placed if one.z == z]):
            windows[one] = window or (slice(0, planes.plane_shape[0]), slice(0, planes.plane_shape[1])), mask.pixels
    region = _around([window for window, _ in windows.values()])
    if is_large((region[0].stop - region[0].start, region[1].stop - region[1].start)):
        raise InputError("the objects lie too far apart to be propagated together on large planes; run them one by one")
    known: dict[int, dict[int, np.ndarray]] = {}
    for one, (window, pixels) in windows.items():
        own = np.zeros((region[0].stop - region[0].start, region[1].stop - region[1].start), bool)
        rows, columns = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(window, region, strict=True))
        own[rows, columns] = pixels
        for earlier in known.get(one.z, {}).values():
            own &= ~earlier
        if own.any():
            known.setdefault(one.z, {})[one.label] = own
    return known, region


def _around(windows: Sequence[Region]) -> Region:
    rows, columns = (slice(min(w[i].start for w in windows), max(w[i].stop for w in windows)) for i in (0, 1))
    return rows, columns


@dataclass(frozen=True, slots=True, eq=False)
class PlanePart:
    """A stack of which only a part of each plane is read.

    Parameters
    ----------
    planes : FilePlanes
        All of it.
    region : tuple of slice
        Rows and columns.
    """

    planes: FilePlanes
    region: Region

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Rows and columns of the part."""
        return self.region[0].stop - self.region[0].start, self.region[1].stop - self.region[1].start

    @property
    def whole(self) -> bool:
        """Whether it is all of each plane."""
        return self.plane_shape == self.planes.plane_shape

    def __len__(self) -> int:
        return len(self.planes)

    def plane(self, number: int, /) -> np.ndarray:
        """(y, x, 3) uint8 of the part."""
        return self.planes.part(number, self.region)


@dataclass(frozen=True, slots=True, eq=False)
class PlanePropagation:
    """How objects are propagated: the model, the image, and the source of embeddings."""

    segmenter: Segmenter
    stack: Planes
    gates: Gates | None
    embed: Embed | None

    def through(
        self, known: Known, numbers: range
    ) -> Iterator[tuple[int, dict[int, np.ndarray], dict[int, SliceConfidence]]]:
        """Masks and verdicts plane by plane; nothing where nothing is known."""
        if not known:
            return
        for plane, masks, verdicts in propagate(self.segmenter, self.stack, known, numbers, self.gates, self.embed):
            yield plane, {label: mask.pixels for label, mask in masks.items()}, verdicts
