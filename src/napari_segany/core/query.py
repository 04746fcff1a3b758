"""Find objects on a plane: candidates once, a selection of them as often as filters change.

Window, stacks, command line, Dask workers and benches all make a :class:`Query` and call the same two operations.
:meth:`Query.candidates` runs the model, large planes tile by tile. :meth:`Query.select` filters, selects by attributes,
suppresses duplicates and paints, without a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Protocol

import numpy as np

from napari_segany.core import tiles
from napari_segany.core.attributes import measure_objects
from napari_segany.core.automatic_masks import (
    LEAST_SCORE,
    Candidate,
    Grid,
    Proposals,
    as_example_finder,
    as_text_segmenter,
    filter_candidates,
    fits,
    generate_candidates,
    paint_candidates,
)
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.exemplars import LEAST_SCORE as LEAST_LIKENESS
from napari_segany.core.exemplars import Exemplars, ObjectDescriptors, describe
from napari_segany.core.filters import Filters
from napari_segany.core.planes import Plane, Region
from napari_segany.core.prompts import Box, ExampleBox
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.text_query import Phrase

SAME = 0.5
"""Share of the larger of two masks that both cover, above which they are of one object."""


class TextReader(Protocol):
    """What turns a text into phrases: a CLIP, or the text prompts of a segmenter."""

    def phrases(self, text: str) -> list[Phrase]:
        """Return the phrases of a text."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """All candidates of a plane, before any filter that can still change.

    Parameters
    ----------
    plane : ndarray or LazyPlane
        (y, x, 3) uint8, on which attributes are measured.
    found : sequence of (Region, sequence of Candidate)
        For each tile its rows and columns, and its candidates, in pixels of the tile. A plane that is not large is
        one tile.
    ranked : bool
        Whether the scores come from a ranking, so that the filter of the predicted IoU does not apply.
    described : sequence of ObjectDescriptors
        For each tile what its candidates are compared with exemplars by; empty where they are not.
    """

    plane: Plane
    found: Sequence[tuple[Region, Sequence[Candidate]]]
    ranked: bool = False
    described: Sequence[ObjectDescriptors] = ()

    @classmethod
    def of(cls, plane: Plane, candidates: Sequence[Candidate], *, ranked: bool = False) -> Candidates:
        """Candidates in pixels of the plane."""
        return cls(plane, [(_whole(plane), candidates)], ranked)

    @property
    def shape(self) -> tuple[int, int]:
        """(y, x) of the plane."""
        return self.plane.shape[0], self.plane.shape[1]

    @property
    def tiled(self) -> bool:
        """Whether the plane was searched in several tiles."""
        return len(self.found) > 1

    def like(self, exemplars: Exemplars) -> Candidates:
        """Return them with their likeness to exemplars in the scores; the same where they are not described."""
        if not self.described:
            return self
        pairs = zip(self.found, self.described, strict=True)
        found = [(region, exemplars.with_scores(batch, own)) for (region, batch), own in pairs]
        return Candidates(self.plane, found, self.ranked)

    def without(self, wrong: Candidate) -> Candidates:
        """Return them without one of them, the other masks of its prompt, and masks that are nearly the same."""
        found, described = [], []
        for number, (region, batch) in enumerate(self.found):
            stays = [not _same(tiles.placed(one, region) if self.tiled else one, wrong) for one in batch]
            found.append((region, [one for one, stay in zip(batch, stays, strict=True) if stay]))
            if self.described:
                own = self.described[number]
                described.append(ObjectDescriptors(own.features[stays], own.vectors[stays]))
        return Candidates(self.plane, found, self.ranked, described)

    def __len__(self) -> int:
        return sum(len(batch) for _, batch in self.found)

    def __iter__(self) -> Iterator[Candidate]:
        return chain.from_iterable(batch for _, batch in self.found)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The objects that a query selects on a plane.

    Parameters
    ----------
    labels : ndarray
        (y, x) int32, from 1; 0 is background.
    objects : sequence of Candidate
        In the order of their labels.
    existing : int
        How many more would have been selected, but lie more than half on pixels that are taken.
    """

    labels: np.ndarray
    objects: Sequence[Candidate]
    existing: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """What each object is, where a text or the model names it, in the order of their labels."""
        return tuple(one.name for one in self.objects)


@dataclass(frozen=True, slots=True)
class Query:
    """A search for objects on a plane; made for a model by :func:`query_for`.

    Parameters
    ----------
    grid : Grid or Proposals, optional
        Where to prompt. Without one the model proposes objects itself, if it can, else it is ``Grid()``. A query with
        phrases that the model itself understands needs none.
    phrases : tuple of Phrase
        Objects to find, parsed from a text; all objects when empty.
    filters : Filters
        Which candidates pass.
    overlap : float
        See :func:`~napari_segany.core.automatic_masks.paint_candidates`, 0 to 1.
    exemplars : Exemplars, optional
        Objects that show what to look for. All masks of each proposal are candidates then, and scores are sums of
        predicted IoU and likeness.
    examples : tuple of ExampleBox
        Boxes on the plane that show what to look for, next to the phrases or instead of them; for models with the
        capability ``examples``.
    named : bool
        Whether objects that no text names get the names that the model knows, once they are selected.
    """

    grid: Grid | Proposals | None = None
    phrases: tuple[Phrase, ...] = ()
    filters: Filters = field(default_factory=Filters)
    overlap: float = 0.5
    exemplars: Exemplars | None = None
    examples: tuple[ExampleBox, ...] = ()
    named: bool = False

    def candidates(
        self,
        segmenter: Segmenter,
        plane: Plane,
        *,
        embedding: ImageEmbedding | None = None,
        report: Callable[[float], None] | None = None,
        final: bool = False,
    ) -> Candidates:
        """Run the model on the whole plane, or where it finds objects of the phrases.

        Parameters
        ----------
        segmenter : Segmenter
            The model.
        plane : ndarray or LazyPlane
            (y, x, 3) uint8, as :meth:`Segmenter.embed` takes it. Above ``tiles.LARGE`` pixels it is searched in tiles
            at its own resolution, and never read whole.
        embedding : ImageEmbedding, optional
            Of the whole plane, if there is one; not used for tiles.
        report : callable, optional
            Called with the share of the work that is done, 0 to 1; what it raises stops the work.
        final : bool
            Whether the filters of this query do not change any more. Then masks that they drop are not drawn, and not
            kept for large planes.

        Returns
        -------
        Candidates
            For :meth:`select`, of this query or of one with other filters.

        Raises
        ------
        ModelError
            There are phrases, and the model takes no text.
        """
        shape = plane.shape[0], plane.shape[1]
        large = tiles.is_large(shape)
        regions = tiles.tile_grid(shape) if large else [_whole(plane)]
        least = max(LEAST_SCORE, self.filters.score) if final else LEAST_SCORE
        found: list[tuple[Region, list[Candidate]]] = []
        described: list[ObjectDescriptors] = []
        encoded = self._encoded(segmenter, plane, regions, embedding)
        for number, region in enumerate(regions):
            pixels = plane if isinstance(plane, np.ndarray) and not large else np.ascontiguousarray(plane[region])
            here: list[Candidate] = []
            for done, batch in self._steps(segmenter, pixels, None if large else embedding, least, encoded):
                here += batch
                if report is not None:
                    report((number + done) / len(regions))
            own = [_described(segmenter, pixels, here)] if self.exemplars is not None else []
            if large and final:
                if self.exemplars is not None:
                    here, own = self.exemplars.with_scores(here, own[0]), []
                here = self._thinned(here, (pixels.shape[0], pixels.shape[1]))
            found.append((region, here))
            described += own
        return Candidates(plane if large else pixels, found, described=described)

    def _steps(
        self,
        segmenter: Segmenter,
        pixels: np.ndarray,
        embedding: ImageEmbedding | None,
        least: float,
        encoded: np.ndarray | None,
    ) -> Iterator[tuple[float, list[Candidate]]]:
        """Candidates of a plane or tile as they come, and the share that is done."""
        sources = [self.grid]
        if self.exemplars is not None and not isinstance(self.grid, Grid) and segmenter.capabilities.proposals:
            # objects of a kind that the model does not propose are found by a grid as wide as the exemplars
            side = self.exemplars.grid_side(max(pixels.shape[:2]))
            sources += [Grid(side)] if side else []
            embedding = embedding or segmenter.embed(pixels)
        for number, grid in enumerate(sources):
            for done, batch in generate_candidates(
                segmenter,
                pixels,
                grid,
                embedding=embedding,
                least=least,
                phrases=self.phrases,
                all_masks=self.exemplars is not None,
                examples=encoded,
            ):
                yield (number + done) / len(sources), batch

    def _encoded(
        self, segmenter: Segmenter, plane: Plane, regions: Sequence[Region], embedding: ImageEmbedding | None
    ) -> np.ndarray | None:
        """The example boxes as the model takes them, each encoded on the tile that it lies in; None without any."""
        if not self.examples:
            return None
        finder = as_example_finder(segmenter)
        if finder is None:
            raise ModelError(f"the model {segmenter.name!r} takes no example boxes")
        tiled = len(regions) > 1
        shape = plane.shape[0], plane.shape[1]
        parts = []
        for number, boxes in _by_tile(self.examples, regions, shape).items():
            region = regions[number]
            seen = embedding if embedding is not None and not tiled else None
            seen = seen or segmenter.embed(np.ascontiguousarray(plane[region]))
            parts.append(finder.encode_examples(seen, boxes))
        return np.concatenate(parts)

    def select(self, candidates: Candidates, taken: np.ndarray | None = None) -> Selection:
        """Filter candidates, select them by the attributes of their phrase, and paint them. Needs no model.

        Attributes select among the objects of one name on the plane, see :mod:`napari_segany.core.attributes`.

        Parameters
        ----------
        candidates : Candidates
            From :meth:`candidates`.
        taken : ndarray, optional
            (y, x) bool, pixels of existing objects. An object more than half of which lies on them is left out, and
            hides no other one; the pixels of the others are not cut.

        Returns
        -------
        Selection
            Labels and their objects, those of higher score first.
        """
        if self.exemplars is not None:
            candidates = candidates.like(self.exemplars)
        free, hidden = _apart(candidates, taken)
        fresh: list[Candidate] = []
        existing: list[Candidate] = []
        for phrase in {one.label: one for one in self.phrases}.values() or (None,):
            label = None if phrase is None else phrase.label
            own, others = (self._passing(some, label) for some in (free, hidden))
            if phrase is not None and (phrase.attributes or phrase.lacking):
                good = _satisfying(candidates.plane, [*own, *others], phrase)
                own, others = ([one for one in some if id(one) in good] for some in (own, others))
            fresh += own
            existing += others
        if len(self.phrases) > 1:
            fresh.sort(key=lambda one: -one.score)
        labels, objects = paint_candidates(fresh, candidates.shape, self.overlap)
        count = len(objects)
        if taken is not None:
            labels, objects = _without_taken(labels, objects, taken)
        there = len(paint_candidates(existing, candidates.shape, self.overlap)[1]) if existing else 0
        return Selection(labels, objects, there + count - len(objects))

    def passing(self, candidates: Candidates) -> list[Candidate]:
        """Candidates of any name that pass the filters, in pixels of the plane, the highest score first."""
        return self._passing(candidates, None)

    def _passing(self, candidates: Candidates, label: str | None) -> list[Candidate]:
        """Candidates of a name, or of any, that pass the filters; those of tiles put together."""
        filters = replace(self.filters, score=0.0) if candidates.ranked else self.filters
        if not candidates.tiled:
            return filter_candidates([one for one in candidates if _named(one, label)], filters, candidates.shape)
        inside = _inside_tiles(filters)
        pieces: list[Candidate] = []
        for region, batch in candidates.found:
            own = filter_candidates([one for one in batch if _named(one, label)], inside, _shape_of(region))
            pieces += [tiles.placed(one, region) for one in own]
        return [one for one in tiles.merge_candidates(pieces, candidates.shape) if fits(one, filters, candidates.shape)]

    def _thinned(self, candidates: Sequence[Candidate], shape: tuple[int, int]) -> list[Candidate]:
        """Candidates of a tile that pass the filters, those of each name by themselves."""
        labels = dict.fromkeys(phrase.label for phrase in self.phrases) or (None,)
        inside = _inside_tiles(self.filters)
        return [
            one
            for label in labels
            for one in filter_candidates([c for c in candidates if _named(c, label)], inside, shape)
        ]


def query_for(
    segmenter: Segmenter,
    text: str = "",
    *,
    grid: Grid | Proposals | None = None,
    changes: Mapping[str, Any] | None = None,
    overlap: float = 0.5,
    reader: TextReader | None = None,
) -> Query:
    """Make the query that suits a model; its text is parsed only here.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    text : str
        Names, separated by ``;``; all objects when empty.
    grid : Grid, optional
        See :class:`Query`.
    changes : mapping of str to float, optional
        Fields of :class:`Filters` to use instead of those that suit the model.
    overlap : float
        See :class:`Query`.
    reader : TextReader, optional
        A CLIP that reads the text and ranks crops, see :mod:`napari_segany.engine.crop_ranking`; by default the model
        reads it.

    Raises
    ------
    InputError
        The text cannot be read, is empty, or contains an unknown word.
    ModelError
        There is a text, and the model takes none.
    """
    phrases = tuple(phrases_of(segmenter, text, reader)) if text.strip() else ()
    known = segmenter.capabilities
    own = text_filters(segmenter) if phrases and reader is None else known.filters
    if isinstance(grid, Proposals) and known.draws and known.proposal_filters is not None:
        own = known.proposal_filters
    return Query(grid, phrases, replace(own, **(changes or {})), overlap)


def example_query(
    segmenter: Segmenter,
    examples: Sequence[ExampleBox],
    text: str = "",
    *,
    changes: Mapping[str, Any] | None = None,
    overlap: float = 0.5,
) -> Query:
    """Make the query for objects like those in example boxes, and of a text where there is one.

    Other parameters as of :func:`query_for`.

    Raises
    ------
    InputError
        No box is positive, or the text cannot be read.
    ModelError
        The model takes no example boxes.
    """
    if not segmenter.capabilities.examples:
        raise ModelError(f"the model {segmenter.name!r} takes no example boxes; SAM 3 does")
    if not any(one.positive for one in examples):
        raise InputError("draw a box around an object to find others like it; boxes off the object alone show nothing")
    phrases = tuple(phrases_of(segmenter, text)) if text.strip() else ()
    filters = replace(text_filters(segmenter), **(changes or {}))
    return Query(None, phrases, filters, overlap, examples=tuple(examples))


def exemplar_query(
    segmenter: Segmenter,
    exemplars: Exemplars,
    *,
    grid: Grid | Proposals | None = None,
    changes: Mapping[str, Any] | None = None,
    overlap: float = 0.5,
) -> Query:
    """Make the query for objects like given ones; parameters as of :func:`query_for`."""
    # the outline of an object that is like the exemplars need not be stable
    own = replace(segmenter.capabilities.filters, score=LEAST_LIKENESS, stability=0.0)
    return Query(grid, (), replace(own, **(changes or {})), overlap, exemplars)


def text_filters(segmenter: Segmenter) -> Filters:
    """The filters that suit what a text finds: those of the model, but for the score, which also judges the name."""
    known = segmenter.capabilities
    return replace(known.filters, score=min(known.filters.score, known.text_score))


def phrases_of(segmenter: Segmenter, text: str, reader: TextReader | None = None) -> list[Phrase]:
    """Return the phrases of a text, read by a CLIP or by a segmenter that takes texts.

    Raises
    ------
    InputError
        The text cannot be read, is empty, or contains an unknown word.
    ModelError
        The model takes no text, or open_clip cannot be imported.
    """
    texts = reader or as_text_segmenter(segmenter)
    if texts is None:
        raise ModelError(f"the model {segmenter.name!r} takes no text; name a CLIP that ranks its masks (--clip)")
    phrases: list[Phrase] = texts.phrases(text)
    if not phrases:
        raise InputError("an empty text; name what to look for")
    return phrases


def _by_tile(
    examples: Sequence[ExampleBox], regions: Sequence[Region], shape: tuple[int, int]
) -> dict[int, list[ExampleBox]]:
    """Example boxes in pixels of the tile whose middle is nearest to theirs, by its number."""
    found: dict[int, list[ExampleBox]] = {}
    for one in examples:
        box = one.box.within(shape)
        if box is None:
            raise InputError("an example box lies outside the picture")
        middle = np.array([(box.y0 + box.y1) / 2, (box.x0 + box.x1) / 2])
        away = [
            float(np.abs(middle - [(span.start + span.stop - 1) / 2 for span in region]).max()) for region in regions
        ]
        nearest = int(np.argmin(away))
        top, left = (span.start for span in regions[nearest])
        moved = Box(box.y0 - top, box.x0 - left, box.y1 - top, box.x1 - left)
        found.setdefault(nearest, []).append(replace(one, box=moved))
    return found


def _same(one: Candidate, other: Candidate) -> bool:
    """Whether two masks in pixels of one plane are of one prompt, or share more than ``SAME`` of the larger one."""
    if one.prompt.points and (one.prompt.points, one.crop) == (other.prompt.points, other.crop):
        return True
    shared = tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one.window, other.window, strict=True)
    )
    if any(span.start >= span.stop for span in shared):
        return False
    parts = []
    for each in (one, other):
        inner = tuple(
            slice(part.start - own.start, part.stop - own.start) for part, own in zip(shared, each.window, strict=True)
        )
        parts.append(each.mask[inner])
    return int(np.count_nonzero(parts[0] & parts[1])) > SAME * max(one.area, other.area)


def _described(segmenter: Segmenter, plane: Plane, candidates: Sequence[Candidate]) -> ObjectDescriptors:
    return describe(segmenter, plane, [one.window for one in candidates], [one.mask for one in candidates])


def _whole(plane: Plane) -> Region:
    return slice(0, plane.shape[0]), slice(0, plane.shape[1])


def _shape_of(region: Region) -> tuple[int, int]:
    return region[0].stop - region[0].start, region[1].stop - region[1].start


def _named(one: Candidate, label: str | None) -> bool:
    return label is None or one.prompt.text == label


def _inside_tiles(filters: Filters) -> Filters:
    """Filters for pieces: the edge of a tile is no border, and the size of a piece not that of its object."""
    anything = Filters()
    return replace(filters, whole=False, smallest=anything.smallest, largest=anything.largest)


def _satisfying(plane: Plane, objects: Sequence[Candidate], phrase: Phrase) -> set[int]:
    """Identities of the objects that have the attributes of a phrase."""
    found = measure_objects(plane, [one.window for one in objects], [one.mask for one in objects])
    good = np.flatnonzero(found.satisfying(phrase.attributes, phrase.lacking)).tolist()
    return {id(objects[k]) for k in good}


def _apart(candidates: Candidates, taken: np.ndarray | None) -> tuple[Candidates, Candidates]:
    """Candidates at most half of which lies on taken pixels, and the others."""
    if taken is None or not taken.any():
        return candidates, replace(candidates, found=[])
    free: list[tuple[Region, list[Candidate]]] = []
    hidden: list[tuple[Region, list[Candidate]]] = []
    for region, batch in candidates.found:
        here = taken[region]
        on_taken = [2 * np.count_nonzero(one.mask & here[one.window]) > one.area for one in batch]
        free.append((region, [one for one, is_taken in zip(batch, on_taken, strict=True) if not is_taken]))
        hidden.append((region, [one for one, is_taken in zip(batch, on_taken, strict=True) if is_taken]))
    return replace(candidates, found=free), replace(candidates, found=hidden)


def _without_taken(
    labels: np.ndarray, objects: Sequence[Candidate], taken: np.ndarray
) -> tuple[np.ndarray, list[Candidate]]:
    """The same without objects more than half of whose painted pixels are taken: slivers next to existing objects."""
    areas = np.bincount(labels.ravel(), minlength=len(objects) + 1)
    lost = np.bincount(labels[taken], minlength=len(objects) + 1)
    stays = 2 * lost <= areas
    stays[0] = False
    numbers = np.where(stays, np.cumsum(stays), 0).astype(labels.dtype)
    return numbers[labels], [one for one, stay in zip(objects, stays[1:], strict=True) if stay]
