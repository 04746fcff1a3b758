"""One stack and what was said of objects on some of its slices become labels of the whole stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.masks import paintable
from napari_segany.core.planes import Stack
from napari_segany.core.propagate import Known, propagate
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.verdicts import Gates, Verdict
from napari_segany.run.clicks import PlacedPrompt
from napari_segany.run.images import reading
from napari_segany.run.labels import write_labels
from napari_segany.run.scratch import scratch
from napari_segany.run.segment import TOGETHER, SegmentJob, SegmentReport, prepared

Embed = Callable[[int], ImageEmbedding]


@dataclass(frozen=True, slots=True)
class PropagateReport(SegmentReport):
    """What became of a job.

    Parameters
    ----------
    verdicts : dict of (int, int) to Verdict
        For each plane and label that was looked for, how far to trust it.
    """

    verdicts: dict[tuple[int, int], Verdict]

    @property
    def doubtful(self) -> list[tuple[int, int]]:
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
    """Segment the objects that were asked for, follow them through the stack, and write their labels.

    Only a few planes are in memory; the labels of a pixel are those of the object that had it first. Objects go along
    the last axis before y and x: in (t, z, y, x) through the depth of one time, in (t, y, x) through time.

    Parameters
    ----------
    job : SegmentJob
        What to do.
    load : callable
        Makes the segmenter; called once everything else is known to be in order.
    gates : Gates, optional
        When an object is lost.
    progress : callable, optional
        Called with the number of each plane that is done.
    encoder : callable, optional
        From the image and its planes to what gives their embeddings; by default the segmenter encodes them.

    Raises
    ------
    InputError
        As of :func:`~napari_segany.run.segment.segment_file`; or when the image is a single plane. Nothing is written
        then.
    ModelError
        From `load`.
    """
    ready = prepared(job)
    stack, placed = ready.stack, ready.placed
    if len(stack) < 2:
        raise InputError(f"{job.image} is a single plane: there is nowhere to follow an object to")
    segmenter = load()
    painted = {one.label: 0 for one in placed}
    verdicts: dict[tuple[int, int], Verdict] = {}
    shape = (len(stack), *stack.plane_shape)
    embed = None if encoder is None else encoder(job.image, stack)
    follow = Follow(segmenter, stack, gates, embed)
    with scratch(job.labels.parent, shape, max(painted)) as labels:
        for numbers, group in _series(stack, placed):
            with reading(job.image):
                known = _known(segmenter, stack, group)
                _paint(labels, known, painted)
                for plane, masks, judged in follow.through(known, numbers):
                    _paint(labels, {plane: masks}, painted)
                    verdicts |= {(plane, label): verdict for label, verdict in judged.items()}
                    if progress is not None:
                        progress(plane)
        whole = labels.reshape(stack.shape + stack.plane_shape)
        scale = ready.image.label_scale
        path = write_labels(job.labels, whole, axes=ready.axes, scale=scale, overwrite=job.overwrite)
    return PropagateReport(path, painted, verdicts)


def _series(stack: Stack, placed: Sequence[PlacedPrompt]) -> Iterator[tuple[range, list[PlacedPrompt]]]:
    """Planes that lie on one line along the last axis, and what was said on them."""
    length = stack.shape[-1]
    for first in sorted({one.z - one.z % length for one in placed}):
        numbers = range(first, first + length)
        yield numbers, [one for one in placed if one.z in numbers]


def _known(segmenter: Segmenter, stack: Stack, placed: Sequence[PlacedPrompt]) -> dict[int, dict[int, np.ndarray]]:
    """Masks of the planes on which something was said; a pixel belongs to the first that asked for it."""
    known: dict[int, dict[int, np.ndarray]] = {}
    for z in sorted({one.z for one in placed}):
        here = [one for one in placed if one.z == z]
        embedding = segmenter.embed(stack.plane(z))
        taken = np.zeros(stack.plane_shape, bool)
        for start in range(0, len(here), TOGETHER):
            group = here[start : start + TOGETHER]
            answers = segmenter.segment(embedding, [one.prompt for one in group])
            for one, candidates in zip(group, answers, strict=True):
                free = candidates[0].pixels & ~taken
                if free.any():
                    known.setdefault(z, {})[one.label] = free
                    taken |= free
    return known


@dataclass(frozen=True, slots=True, eq=False)
class Follow:
    """How objects are followed: who is asked, on what, and where embeddings come from."""

    segmenter: Segmenter
    stack: Stack
    gates: Gates | None
    embed: Embed | None

    def through(self, known: Known, numbers: range) -> Iterator[tuple[int, dict[int, np.ndarray], dict[int, Verdict]]]:
        """Masks and verdicts plane by plane; nothing where nothing is known."""
        if not known:
            return
        for plane, masks, verdicts in propagate(self.segmenter, self.stack, known, numbers, self.gates, self.embed):
            yield plane, {label: mask.pixels for label, mask in masks.items()}, verdicts


def _paint(labels: np.ndarray, known: Known, painted: dict[int, int]) -> None:
    for plane, masks in known.items():
        for label, pixels in masks.items():
            free = paintable(labels[plane], pixels)
            labels[plane][free] = label
            painted[label] += len(free[0])
