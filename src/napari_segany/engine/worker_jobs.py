"""Whole jobs that run where the model is, and stream what they yield: in the worker process, or here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from napari_segany.core.automatic_masks import Candidate, candidates_of_prompts
from napari_segany.core.exemplars import ObjectDescriptors, describe
from napari_segany.core.label_refinement import RefinedObject, refine_labels
from napari_segany.core.object_classes import ClassDescriptors, NamesObjects, describe_for_classes
from napari_segany.core.planes import LazyPlane, PlaneParts, Region, Stack
from napari_segany.core.prompts import Prompt
from napari_segany.core.propagate import Known, Planes, Step, propagate
from napari_segany.core.query import Candidates, Query
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.tiles import is_large
from napari_segany.engine.stack_search import PlaneObjects, StackPlane, search_stack

Report = Callable[[float], None]


class StackPlanes(Planes, PlaneParts, Protocol):
    """Planes, whole and in parts; :class:`~napari_segany.core.planes.Stack` has them."""


DESCRIBED_AT_ONCE = 64
"""Objects between two reports."""


@dataclass(frozen=True, slots=True, eq=False)
class JobContext:
    """What a job works with.

    Parameters
    ----------
    segmenter : Segmenter
        The model, in the same process as the job.
    planes : Planes
        The image; in the worker process its planes are requested as they are needed.
    embed : callable
        Plane number to its embedding, which is computed once while it is remembered.
    report : callable
        Takes the share of the work that is done, 0 to 1, between two yields; raises Cancelled where the job is to stop.
    """

    segmenter: Segmenter
    planes: StackPlanes
    embed: Callable[[int], ImageEmbedding]
    report: Report


@dataclass(frozen=True, slots=True, eq=False)
class PlaneSource:
    """Planes that are made when they are needed, in the process that makes this; a job gets them as `Planes`.

    Parameters
    ----------
    plane_shape : tuple of int
        Rows and columns.
    length : int
        How many planes there are.
    read : callable
        Plane number to its values.
    """

    plane_shape: tuple[int, int]
    length: int
    read: Callable[[int], np.ndarray]

    def __len__(self) -> int:
        return self.length

    def plane(self, number: int) -> np.ndarray:
        """The values of a plane."""
        return self.read(number)


Job = Callable[..., Generator[Any, None, None]]
"""A function of a module that gets a `JobContext` and what else it is given. Ceasing to iterate cancels it."""


@runtime_checkable
class RunsJobs(Protocol):
    """A segmenter whose model is in another process."""

    def embed_plane(self, stack: Stack, number: int) -> ImageEmbedding:
        """Encode a plane of a stack, which is read again if its embedding is lost."""

    def stream(self, job: Job, stack: Stack, *given: Any, report: Report | None = None) -> Generator[Any, None, None]:
        """Run a job there, and yield what it yields."""


def propagate_objects(context: JobContext, known: Known, numbers: Sequence[int]) -> Generator[Step, None, None]:
    """Propagate objects through a stack; see :func:`~napari_segany.core.propagate.propagate`."""
    yield from propagate(context.segmenter, context.planes, known, numbers, embed=context.embed)


def find_candidates(context: JobContext, number: int, query: Query) -> Generator[Candidates, None, None]:
    """Find the candidates of a plane; see :meth:`~napari_segany.core.query.Query.candidates`."""
    embedding = None if is_large(context.planes.plane_shape) else context.embed(number)
    plane = LazyPlane(context.planes, number)
    yield query.candidates(context.segmenter, plane, embedding=embedding, report=context.report)


def find_candidates_of_prompts(
    context: JobContext, number: int, prompts: Sequence[Prompt]
) -> Generator[list[Candidate | None], None, None]:
    """Find an object for each prompt; see :func:`~napari_segany.core.automatic_masks.candidates_of_prompts`."""
    yield candidates_of_prompts(context.segmenter, context.embed(number), prompts)


def find_edges(context: JobContext, number: int) -> Generator[np.ndarray, None, None]:
    """Compute the edges of a plane; see :func:`~napari_segany.engine.edges.edge_map`."""
    from napari_segany.engine.edges import edge_map

    yield edge_map(
        context.segmenter, context.planes.plane(number), embedding=context.embed(number), report=context.report
    )


def refine_slices(
    context: JobContext, numbers: Sequence[int], labels: Planes
) -> Generator[tuple[int, list[RefinedObject]], None, None]:
    """Draw the objects of slices again; see :func:`~napari_segany.core.label_refinement.refine_labels`.

    Parameters
    ----------
    context : JobContext
        The model and the image.
    numbers : sequence of int
        Planes of the image.
    labels : Planes
        (y, x) integers for each of them, in the same order.

    Yields
    ------
    place : int
        In `numbers`.
    objects : list of RefinedObject
        Those that change most first.
    """
    large = is_large(context.planes.plane_shape)
    for place, number in enumerate(numbers):
        found: list[RefinedObject] = []
        own = labels.plane(place)
        if own.any():
            embedding = None if large else context.embed(number)
            plane, report = LazyPlane(context.planes, number), _part(context.report, place, len(numbers))
            found = refine_labels(context.segmenter, plane, own, embedding=embedding, report=report)
        yield place, found
        context.report((place + 1) / len(numbers))


def _part(report: Report, place: int, count: int) -> Report:
    """What reports the share of one of so many parts as that of the whole."""
    return lambda share: report((place + share) / count)


@dataclass(frozen=True, slots=True, eq=False)
class PlaneObject:
    """An object of a plane.

    Parameters
    ----------
    number : int
        Of the plane.
    window : tuple of slice
        Rows and columns of its bounding box.
    mask : ndarray
        bool, of the window's shape.
    """

    number: int
    window: Region
    mask: np.ndarray


def describe_objects(context: JobContext, objects: Sequence[PlaneObject]) -> Generator[ObjectDescriptors, None, None]:
    """Describe objects; see :func:`~napari_segany.core.exemplars.describe`."""
    found = ObjectDescriptors()
    for number in dict.fromkeys(one.number for one in objects):
        own = [one for one in objects if one.number == number]
        plane = LazyPlane(context.planes, number)
        here = describe(context.segmenter, plane, [one.window for one in own], [one.mask for one in own])
        found = found.joined(here)
    yield found


def describe_for_classification(
    context: JobContext, objects: Sequence[PlaneObject]
) -> Generator[ClassDescriptors, None, None]:
    """Describe objects, in their order; see :func:`~napari_segany.core.object_classes.describe_for_classes`."""
    found = ClassDescriptors()
    order: list[int] = []
    for rows, plane, windows, masks in _groups(context, objects):
        found = found.joined(describe_for_classes(context.segmenter, plane, windows, masks))
        order += rows
        context.report(len(order) / len(objects))
    yield found.chosen(np.argsort(order))


def name_objects(context: JobContext, objects: Sequence[PlaneObject]) -> Generator[list[tuple[str, float]], None, None]:
    """Name objects, in their order; nothing is yielded where the model knows no names."""
    known = context.segmenter.capabilities.known_classes
    if known is None:
        return
    named: dict[int, tuple[str, float]] = {}
    for rows, plane, windows, masks in _groups(context, objects):
        vectors = cast("NamesObjects", context.segmenter).class_vectors(plane, windows, masks)
        named |= zip(rows, known.suggest(vectors), strict=True)
        context.report(len(named) / len(objects))
    yield [named[row] for row in range(len(objects))]


def _groups(
    context: JobContext, objects: Sequence[PlaneObject]
) -> Iterator[tuple[list[int], LazyPlane, list[Region], list[np.ndarray]]]:
    """Objects of one plane that are described together: their rows, the plane, windows and masks."""
    for number in dict.fromkeys(one.number for one in objects):
        rows = [row for row, one in enumerate(objects) if one.number == number]
        plane = LazyPlane(context.planes, number)
        for start in range(0, len(rows), DESCRIBED_AT_ONCE):
            part = rows[start : start + DESCRIBED_AT_ONCE]
            yield part, plane, [objects[row].window for row in part], [objects[row].mask for row in part]


def search_slices(
    context: JobContext, numbers: Sequence[int], query: Query, taken: Planes
) -> Generator[PlaneObjects, None, None]:
    """Find objects slice by slice, and link them; see :func:`~napari_segany.engine.stack_search.search_stack`.

    Parameters
    ----------
    context : JobContext
        The model and the image.
    numbers : sequence of int
        Planes, in the order in which they are neighbours.
    query : Query
        Objects to find.
    taken : Planes
        (y, x) bool for each plane: pixels that already belong to objects.
    """
    planes = (
        StackPlane(number, context.planes.plane(number), context.embed(number), taken.plane(number))
        for number in numbers
    )
    from napari_segany.models.mask2former.identity_queries import identity_for

    yield from search_stack(context.segmenter, planes, query, identity_for(context.segmenter))
