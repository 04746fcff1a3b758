"""A query on slice after slice: what is one object on neighbouring slices has one label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from napari_segany.core.confidence import SliceConfidence
from napari_segany.core.link import Linker, Node, relabel_planes
from napari_segany.core.query import Query
from napari_segany.core.segmenter import ImageEmbedding, Segmenter


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
    verdicts : mapping of int to SliceConfidence
        For each label how far to trust it here.
    names : mapping of int to str
        What each label is, where a text named it.
    """

    number: int
    labels: np.ndarray
    verdicts: Mapping[int, SliceConfidence]
    names: Mapping[int, str]


def search_stack(segmenter: Segmenter, planes: Iterable[StackPlane], query: Query) -> Iterator[PlaneObjects]:
    """Find objects slice by slice, and link each slice to the one before.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    planes : iterable of StackPlane
        In the order in which they are neighbours; each is read after the one before is processed.
    query : Query
        Objects to find.

    Yields
    ------
    PlaneObjects
        Plane by plane, with labels from 1 in the order in which objects appear; the rest is cancelled when the
        iteration stops.

    Raises
    ------
    ModelError
        There are phrases, and the model takes no text.
    """
    linker, known = Linker(), dict[Node, int]()
    for plane in planes:
        candidates = query.candidates(segmenter, plane.plane, embedding=plane.embedding, final=True)
        selection = query.select(candidates, plane.taken)
        found, objects = np.where(plane.taken, 0, selection.labels), selection.objects
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
