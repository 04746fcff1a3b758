"""A query on slice after slice: what is one object on neighbouring slices has one label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from napari_segany.core.confidence import SliceConfidence
from napari_segany.core.link import LIFE, Association, Linker, Node, relabel_planes
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
    parents : mapping of int to int
        The label of the mother of each daughter that is now known to stay, having been on ``LIFE`` planes.
    """

    number: int
    labels: np.ndarray
    verdicts: Mapping[int, SliceConfidence]
    names: Mapping[int, str]
    parents: Mapping[int, int] = field(default_factory=dict)


def search_stack(
    segmenter: Segmenter, planes: Iterable[StackPlane], query: Query, association: Association | None = None
) -> Iterator[PlaneObjects]:
    """Find objects slice by slice, and link each slice to the one before.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    planes : iterable of StackPlane
        In the order in which they are neighbours; each is read after the one before is processed.
    query : Query
        Objects to find.
    association : Association, optional
        Decides which objects of neighbouring planes are one; without, their overlap does.

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
    linker, known = Linker(association=association), dict[Node, int]()
    ages: dict[int, int] = {}
    for plane in planes:
        candidates = query.candidates(segmenter, plane.plane, embedding=plane.embedding, final=True)
        selection = query.select(candidates, plane.taken)
        found, objects = np.where(plane.taken, 0, selection.labels), selection.objects
        linker.add(found, plane.embedding)
        began = linker.latest()
        for node in began.values():
            known.setdefault(node, len(known) + 1)
        name_of = {here: known[node] for here, node in began.items()}
        for label in name_of.values():
            ages[label] = ages.get(label, 0) + 1
        mothers = {known[child]: known[mother] for child, mother in linker.mother_nodes().items() if mother in known}
        yield PlaneObjects(
            plane.number,
            relabel_planes(found, name_of),
            {label: SliceConfidence(objects[here - 1].score) for here, label in name_of.items()},
            {label: text for here, label in name_of.items() if (text := objects[here - 1].prompt.text)},
            {label: mothers[label] for label in name_of.values() if ages[label] == LIFE and label in mothers},
        )
