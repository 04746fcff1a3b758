"""Everything, or what a text names, on slice after slice: what is one object on neighbouring slices has one label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_segany.core.automatic_masks import (
    Candidate,
    Filters,
    default_filters,
    filter_candidates,
    generate_candidates,
    paint_candidates,
)
from napari_segany.core.confidence import SliceConfidence
from napari_segany.core.link import Linker, Node, relabel_planes
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.engine.text_search import phrases_of, select_named, text_filters


@dataclass(frozen=True, slots=True)
class StackQuery:
    """What is looked for on each slice.

    Parameters
    ----------
    text : str
        Names, parted by ``;``; everything when empty.
    filters : Filters, optional
        What passes; by default what suits the model.
    overlap : float
        See :func:`~napari_segany.core.automatic_masks.paint_candidates`.
    """

    text: str = ""
    filters: Filters | None = None
    overlap: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class StackPlane:
    """A plane of a stack.

    Parameters
    ----------
    number : int
        Of the plane in its stack.
    plane : ndarray
        (y, x, 3) uint8.
    embedding : ImageEmbedding
        Of the plane.
    taken : ndarray
        (y, x) bool: pixels that belong to objects already. What is found there more than by half is one of those, and
        left out whole; of other objects these pixels are taken off.
    """

    number: int
    plane: np.ndarray
    embedding: ImageEmbedding
    taken: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class PlaneObjects:
    """What was found on a plane.

    Parameters
    ----------
    number : int
        Of the plane in its stack.
    labels : ndarray
        (y, x) integers, 0 is background.
    verdicts : mapping of int to Verdict
        For each label how far to trust it here.
    names : mapping of int to str
        What each label is, where a text named it.
    """

    number: int
    labels: np.ndarray
    verdicts: Mapping[int, SliceConfidence]
    names: Mapping[int, str]


def search_stack(segmenter: Segmenter, planes: Iterable[StackPlane], ask: StackQuery) -> Iterator[PlaneObjects]:
    """Find objects slice by slice, and link them as they come.

    Parameters
    ----------
    segmenter : Segmenter
        Who is asked.
    planes : iterable of Plane
        In the order in which they are neighbours; each is asked for when the one before is done.
    ask : Ask
        What is looked for.

    Yields
    ------
    PlaneObjects
        Plane by plane, with labels from 1 in the order in which objects appear; ceasing to iterate cancels the rest.

    Raises
    ------
    InputError
        The text cannot be read.
    ModelError
        A text is asked for, and the model takes none.
    """
    linker, known = Linker(), dict[Node, int]()
    for plane in planes:
        found, objects = _objects(segmenter, plane, ask)
        linker.add(found)
        began = linker.latest()
        for node in began.values():
            known.setdefault(node, len(known) + 1)
        name_of = {here: known[node] for here, node in began.items()}
        yield PlaneObjects(
            plane.number,
            relabel_planes(found, name_of),
            {label: SliceConfidence(objects[here - 1].score) for here, label in name_of.items()},
            {label: text for here, label in name_of.items() if (text := objects[here - 1].prompt.text)},
        )


def _objects(segmenter: Segmenter, here: StackPlane, ask: StackQuery) -> tuple[np.ndarray, Sequence[Candidate]]:
    """Labels (y, x) from 1 of what passes on a plane, off what is taken, and the objects in their order."""
    plane, taken = here.plane, here.taken
    batches = generate_candidates(segmenter, plane, embedding=here.embedding, text=ask.text)
    candidates = [one for _, batch in batches for one in batch]
    free = [one for one in candidates if 2 * np.count_nonzero(one.mask & taken[one.window]) <= one.area]
    if ask.text:
        filters = ask.filters or text_filters(segmenter)
        named = select_named(plane, free, phrases_of(segmenter, ask.text), filters, ask.overlap)
        return np.where(taken, 0, named.labels), named.objects
    shape = (plane.shape[0], plane.shape[1])
    found, objects = paint_candidates(
        filter_candidates(free, ask.filters or default_filters(segmenter), shape), shape, ask.overlap
    )
    return np.where(taken, 0, found), objects
