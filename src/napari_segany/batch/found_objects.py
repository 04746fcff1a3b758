"""Objects of an image that is an array: found on each plane, and linked through slices and time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_segany.batch.exemplar_files import describe_planes
from napari_segany.core.arguments import check_type
from napari_segany.core.automatic_masks import Candidate
from napari_segany.core.errors import InputError
from napari_segany.core.exemplars import Exemplars
from napari_segany.core.link import Association, Linker, relabel_planes
from napari_segany.core.masks import windows_of
from napari_segany.core.object_classes import NamesObjects
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.planes import LazyPlane, Plane, PlaneParts, Stack
from napari_segany.core.query import Query, exemplar_query, query_for
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.tiles import is_large
from napari_segany.core.track_graph import found_divisions
from napari_segany.engine.crop_ranking import find

if TYPE_CHECKING:
    from napari_segany.models.text.clip import Clip

LabelledPlane = tuple[np.ndarray, Sequence[ObjectInfo]]
"""Labels (y, x) of a plane, from 1, and what is known of its objects, in the order of their labels."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundObjects:
    """The objects of an image.

    Parameters
    ----------
    labels : ndarray
        int32 of the shape of the image without channels or colours; 0 is background.
    objects : tuple of ObjectInfo
        In the order of their labels, from 1.
    """

    labels: np.ndarray
    objects: tuple[ObjectInfo, ...]


def find_objects(  # noqa: PLR0913  each is a keyword of the public function
    image: Any,
    text: str = "",
    *,
    model: str | Segmenter = "tiny",
    filters: Mapping[str, float] | None = None,
    overlap: float = 0.5,
    link: bool = True,
    exemplars: np.ndarray | None = None,
    names: bool = True,
) -> FoundObjects:
    """Find all objects of an image, all that a text names, or all that are like exemplars.

    Parameters
    ----------
    image : array-like or Stack
        (..., y, x) or (..., y, x, 3); a :class:`Stack` to set the axis of channels or contrast limits.
    text : str
        Objects to find, names separated by ``;``, for example "nucleus" or "large round nuclei"; all objects when
        empty.
    model : str or Segmenter
        A name or path, see :func:`load_segmenter`, or a segmenter that is loaded already.
    filters : mapping of str to float, optional
        Fields of :class:`~napari_segany.core.filters.Filters` to use instead of those that suit the model.
    overlap : float
        How much of a mask may lie on masks of higher score, 0 to 1.
    link : bool
        Whether objects that continue along the last axis before y and x have one label.
    exemplars : ndarray, optional
        Integers of the shape of the image without channels or colours: labels of some objects that show what to find.
        They are found again, like the others. Not with a text.
    names : bool
        Whether objects get the names that the model knows, with ``class_probability``, where it is sure enough.

    Returns
    -------
    FoundObjects
        Labels of the whole image, and the known facts about each object.

    Raises
    ------
    InputError
        The image is no image, the text cannot be read or contains an unknown word, or the exemplars do not fit.
    ModelError
        The model cannot be loaded, or takes no text.

    Examples
    --------
    >>> from skimage.data import coins
    >>> found = find_objects(coins())
    >>> found.labels.max() == len(found.objects) > 0
    True
    """
    stack = image if isinstance(image, Stack) else Stack(image)
    check_type(text, str, "text")
    check_type(overlap, (int, float, np.number), "overlap")
    segmenter = segmenter_of(model)
    options: dict[str, Any] = {"changes": filters, "overlap": overlap}
    if exemplars is None:
        query = query_for(segmenter, text, **options)
    elif text.strip():
        raise InputError("either a text or exemplars tell what to find, not both")
    else:
        check_type(exemplars, np.ndarray, "exemplars")
        objects_of = describe_planes(segmenter, stack, exemplars, "exemplars")
        query = exemplar_query(segmenter, Exemplars(objects_of), **options)
    labels = np.zeros((len(stack), *stack.plane_shape), np.int32)
    query = replace(query, named=names)
    planes = (find_on_plane(segmenter, query, stack, number) for number in range(len(stack)))
    length = (stack.shape[-1] if stack.shape else 1) if link else None
    objects = collect_planes(planes, labels, length, seen_frames(segmenter, stack) if link and len(stack) > 1 else None)
    return FoundObjects(labels.reshape(stack.shape + stack.plane_shape), tuple(objects))


def segmenter_of(model: str | Segmenter) -> Segmenter:
    """The segmenter of a name or path; one that is loaded already as it is.

    Raises
    ------
    ModelError
        It cannot be loaded.
    """
    if not isinstance(model, str):
        return model
    from napari_segany.models.loading import load_segmenter

    return load_segmenter(model)


def find_on_plane(
    segmenter: Segmenter, query: Query, planes: PlaneParts, number: int, clip: Clip | None = None
) -> LabelledPlane:
    """Labels of a plane, and what is known of its objects."""
    plane = LazyPlane(planes, number)
    selection = find(segmenter, query, plane, clip)
    objects = [candidate_info(one, label) for label, one in enumerate(selection.objects, start=1)]
    return selection.labels, name_labels(segmenter, plane, selection.labels, objects) if query.named else objects


def name_labels(
    segmenter: Segmenter, plane: Plane, labels: np.ndarray, objects: Sequence[ObjectInfo]
) -> list[ObjectInfo]:
    """Return what is known of the objects of labels (y, x) with the names that a model gives those without a class."""
    known, windows = segmenter.capabilities.known_classes, windows_of(labels)
    nameless = [one.label for one in objects if not one.class_name and one.label in windows]
    if known is None or not nameless:
        return list(objects)
    regions, masks = [windows[label][0] for label in nameless], [windows[label][1] for label in nameless]
    vectors = cast("NamesObjects", segmenter).class_vectors(plane, regions, masks)
    names = {label: one for label, one in zip(nameless, known.suggest(vectors), strict=True) if one[0]}
    return [one.with_class("", names[one.label]) if one.label in names else one for one in objects]


def candidate_info(one: Candidate, label: int) -> ObjectInfo:
    """What is known of an object that was found without a prompt by the user."""
    corner = (one.crop[0].start, one.crop[1].start)
    points = tuple((point.y + corner[0], point.x + corner[1]) for point in one.prompt.points)
    stability = None if math.isnan(one.stability) else one.stability
    source = "text" if one.prompt.text else "automatic"
    return ObjectInfo(label, class_name=one.name, score=one.score, stability=stability, points=points, source=source)


def collect_planes(
    planes: Iterable[LabelledPlane], labels: np.ndarray, link: int | None, seen: SeenFrames | None = None
) -> list[ObjectInfo]:
    """Write the labels of planes into an array, where no two objects of different planes have one label.

    Parameters
    ----------
    planes : iterable of (labels, objects)
        In the order of `labels`.
    labels : ndarray
        (planes, y, x) integers, written in place.
    link : int or None
        Length of the stacks of neighbouring planes within which objects are linked; None does not link.
    seen : SeenFrames, optional
        What tells objects apart; without, they are linked by overlap.

    Returns
    -------
    list of ObjectInfo
        In the order of their labels, from 1; an object of several planes is described by its highest score.
    """
    objects: list[ObjectInfo] = []
    for number, (found, here) in enumerate(planes):
        before = len(objects)
        labels[number] = np.where(found, found + before, 0)
        objects += [replace(one, label=one.label + before) for one in here]
    return objects if link is None else _link(labels, link, objects, seen)


def _link(labels: np.ndarray, length: int, objects: Sequence[ObjectInfo], seen: SeenFrames | None) -> list[ObjectInfo]:
    """Link objects of slices within stacks of `length` slices each."""
    count = 0
    best: dict[int, ObjectInfo] = {}
    for first in range(0, len(labels), length):
        linker = Linker(association=None if seen is None else seen.association)
        for number, plane in enumerate(labels[first : first + length], start=first):
            linker.add(plane, None if seen is None else seen.embed(number))
        for number, names in enumerate(linker.numbers(), start=first):
            new = {old: name + count for old, name in names.items()}
            labels[number] = relabel_planes(labels[number], new)
            _keep_best(best, objects, new)
        count = len(best)
    return [best[name] for name in sorted(best)]


def seen_frames(segmenter: Segmenter, planes: PlaneParts) -> SeenFrames | None:
    """What tells objects of the frames of a movie apart by the features of a model; None where it cannot."""
    from napari_segany.models.mask2former.identity_queries import identity_for

    association = None if is_large(planes.plane_shape) else identity_for(segmenter)
    if association is None:
        return None
    whole = tuple(slice(0, length) for length in planes.plane_shape)
    return SeenFrames(association, lambda number: segmenter.embed(planes.part(number, (whole[0], whole[1]))))


@dataclass(frozen=True, slots=True, eq=False)
class SeenFrames:
    """What tells the objects of neighbouring frames or slices apart by how they look.

    Parameters
    ----------
    association : Association
        Decides which objects of two frames are one.
    embed : callable
        The embedding of a frame by its number.
    """

    association: Association
    embed: Callable[[int], ImageEmbedding]


def link_frames(labels: np.ndarray, objects: Sequence[ObjectInfo], seen: SeenFrames | None) -> list[ObjectInfo]:
    """Link the objects of the frames of (t, y, x) labels through time, in place, and find which divide.

    Parameters
    ----------
    labels : ndarray
        Integers; no two objects of different frames have one number.
    objects : sequence of ObjectInfo
        In the order of their labels, from 1.
    seen : SeenFrames, optional
        What tells objects apart; without, they are linked by overlap.

    Returns
    -------
    list of ObjectInfo
        In the order of their new labels; the parent of each is the label of its mother, 0 for none. One daughter keeps
        the label of its mother.
    """
    linker, best = Linker(association=None if seen is None else seen.association), dict[int, ObjectInfo]()
    for number, frame in enumerate(labels):
        linker.add(np.asarray(frame), None if seen is None else seen.embed(number))
    for time, names in enumerate(linker.numbers()):
        labels[time] = relabel_planes(np.asarray(labels[time]), names)
        _keep_best(best, objects, names)
    mothers = found_divisions(labels) if seen is None else linker.mothers()
    return [replace(best[name], parent=mothers.get(name, 0)) for name in sorted(best)]


def link_volumes(labels: np.ndarray, objects: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """Link the objects of the volumes of (t, z, y, x) labels through time, in place; returned as they are then."""
    linker, best = Linker(), dict[int, ObjectInfo]()
    for volume in labels:
        linker.add(np.asarray(volume))
    for time, names in enumerate(linker.numbers()):
        labels[time] = relabel_planes(np.asarray(labels[time]), names)
        _keep_best(best, objects, names)
    return [best[name] for name in sorted(best)]


def _keep_best(best: dict[int, ObjectInfo], objects: Sequence[ObjectInfo], new: Mapping[int, int]) -> None:
    """Describe objects under their new labels by whichever of their parts has the highest score."""
    for old, name in new.items():
        one = replace(objects[old - 1], label=name)
        best[name] = max(best.get(name, one), one, key=lambda each: each.score or 0.0)
