"""Automatic masks: prompt the whole plane once, then filter as often as needed without the model.

After Kirillov et al. 2023, appendix B ("Automatic mask generation"). The defaults are those of the automatic mask
generator of ``segment-anything`` 1.0, and the masks are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Protocol, cast

import numpy as np
import scipy

from napari_segany.core.errors import ModelError
from napari_segany.core.filters import Filters
from napari_segany.core.masks import Mask, box_of
from napari_segany.core.planes import Region
from napari_segany.core.prompts import ExampleBox, Point, Prompt
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.text_query import Phrase

BATCH = 32
"""Prompts that are predicted between two checks for cancellation."""
CROP_OVERLAP = 512 / 1500
"""Share of the shorter side by which crops of the first layer overlap."""
THINNING = 2
"""Factor by which each layer of crops has fewer points along each side than the layer before, as in the paper."""
NEAR = 20
"""Masks that come so close, in pixels, to an inner edge of their crop may be cut there, and are dropped."""
LEAST_SCORE = 0.3
"""Predicted IoU below which masks are not stored as candidates: no filter would show them."""


def union(one: Region, other: Region) -> Region:
    """The smallest region that holds two."""
    rows, columns = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return rows, columns


@dataclass(frozen=True, slots=True)
class Grid:
    """Regular grid of point prompts.

    Parameters
    ----------
    side : int
        Points along each side of the plane, evenly spaced.
    crop_layers : int
        Layer i prompts 2^i x 2^i crops of the plane too, to find small objects; 0 for none.
    thinning : int
        Factor by which each layer has fewer points along each side of a crop than the layer before.
    """

    side: int = 32
    crop_layers: int = 0
    thinning: int = 1


@dataclass(frozen=True, slots=True)
class Proposals:
    """In place of a grid: a click on each object that the model proposes, also where it draws objects by itself."""


def grid_of(side: int | None = None, crop_layers: int = 0, *, clicks: bool = False) -> Grid | Proposals | None:
    """The grid of a number of points or of layers of crops; for neither :class:`Proposals` or None, by `clicks`."""
    if side is None and not crop_layers:
        return Proposals() if clicks else None
    return Grid(side or Grid().side, crop_layers, THINNING if crop_layers else 1)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A mask that may be an object, stored as the part of the plane that it fills; made by :meth:`of`.

    A grid finds thousands of candidates before any is dropped, each as large as the plane at worst, so a pixel is
    stored as a bit.

    Parameters
    ----------
    window : tuple of slice
        Rows and columns of its bounding box.
    bits : ndarray
        (n,) uint8, the pixels of the window row by row, eight in each.
    area : int
        Pixels of the mask.
    score, stability : float
        Predicted IoU, and how little the mask depends on its threshold, see :class:`~napari_segany.core.masks.Mask`.
    prompt : Prompt
        The prompt of this mask, in pixels of the crop.
    crop : tuple of slice
        The part of the plane that the model was given.
    class_name : str
        Class that the model predicts; empty where it predicts none.
    """

    window: Region
    bits: np.ndarray
    area: int
    score: float
    stability: float
    prompt: Prompt
    crop: Region
    class_name: str = ""

    @classmethod
    def of(
        cls, window: Region, mask: np.ndarray, score: float, stability: float, prompt: Prompt, crop: Region
    ) -> Candidate:
        """A mask, bool of the window's shape, as a candidate."""
        return cls(window, np.packbits(mask), int(np.count_nonzero(mask)), score, stability, prompt, crop)

    def redrawn(self, window: Region, mask: np.ndarray) -> Candidate:
        """The same with another mask, bool of its window's shape."""
        other = Candidate.of(window, mask, self.score, self.stability, self.prompt, self.crop)
        return replace(other, class_name=self.class_name)

    @property
    def name(self) -> str:
        """Name of the object: the text that found it, else the class that the model predicts."""
        return self.prompt.text or self.class_name

    @property
    def mask(self) -> np.ndarray:
        """The mask, bool of the window's shape, made again each time."""
        height, width = (span.stop - span.start for span in self.window)
        return np.unpackbits(self.bits, count=height * width).reshape(height, width).view(bool)


class ProposesObjects(Segmenter, Protocol):
    """A segmenter with the capability ``proposals``."""

    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        """A prompt for each object that seems to be there, of an embedding by the same segmenter."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundObject:
    """An object that a model proposes without a prompt.

    Parameters
    ----------
    mask : Mask
        Of the plane's shape.
    point : Point
        A place inside the object.
    class_name : str
        Class of the object; empty where the model predicts none.
    """

    mask: Mask
    point: Point
    class_name: str = ""


class DrawsObjects(Segmenter, Protocol):
    """A segmenter with the capability ``draws``: it finds and draws objects in one go, without prompts."""

    def found_objects(self, embedding: ImageEmbedding) -> Iterator[FoundObject]:
        """The objects of an embedding by the same segmenter, the highest score first."""


class ProposesNamedObjects(Segmenter, Protocol):
    """A segmenter with the capability ``texts``."""

    def phrases(self, text: str) -> list[Phrase]:
        """The phrases of a text; see :func:`napari_segany.core.query.phrases_of`."""

    def named_proposals(self, embedding: ImageEmbedding, phrases: Sequence[Phrase]) -> list[Prompt]:
        """A prompt with a click and the label of its phrase for each object; none for a phrase that names no object."""


class FindsByExamples(Segmenter, Protocol):
    """A segmenter with the capability ``examples``."""

    def encode_examples(self, embedding: ImageEmbedding, examples: Sequence[ExampleBox]) -> np.ndarray:
        """(n, C) float32 that describes example boxes on the plane of an embedding by the same segmenter."""

    def example_objects(
        self, embedding: ImageEmbedding, phrases: Sequence[Phrase], encoded: np.ndarray
    ) -> Iterator[FoundObject]:
        """The objects like examples of this or another plane, and of a text where there are phrases.

        Their class is the label of the phrase; empty without phrases.
        """


def as_example_finder(segmenter: Segmenter) -> FindsByExamples | None:
    """The segmenter if it has the capability ``examples``, else None."""
    return cast("FindsByExamples", segmenter) if segmenter.capabilities.examples else None


def as_proposer(segmenter: Segmenter) -> ProposesObjects | None:
    """The segmenter if it has the capability ``proposals``, else None."""
    return cast("ProposesObjects", segmenter) if segmenter.capabilities.proposals else None


def as_drawer(segmenter: Segmenter) -> DrawsObjects | None:
    """The segmenter if it has the capability ``draws``, else None."""
    return cast("DrawsObjects", segmenter) if segmenter.capabilities.draws else None


def as_text_segmenter(segmenter: Segmenter) -> ProposesNamedObjects | None:
    """The segmenter if it has the capability ``texts``, else None."""
    return cast("ProposesNamedObjects", segmenter) if segmenter.capabilities.texts else None


def crop_windows(shape: tuple[int, int], layers: int) -> list[tuple[int, Region]]:
    """The plane and its crops, each with its layer.

    Parameters
    ----------
    shape : tuple of int
        (y, x) of the plane.
    layers : int
        Layers next to the plane itself, which is layer 0.
    """
    found: list[tuple[int, Region]] = [(0, (slice(0, shape[0]), slice(0, shape[1])))]
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(CROP_OVERLAP * min(shape) * 2 / count)
        lengths = [-(-(overlap * (count - 1) + whole) // count) for whole in shape]
        for column, row in product(range(count), range(count)):
            starts = [(length - overlap) * i for length, i in zip(lengths, (row, column), strict=True)]
            rows, columns = (
                slice(start, min(start + length, whole))
                for start, length, whole in zip(starts, lengths, shape, strict=True)
            )
            found.append((layer, (rows, columns)))
    return found


def grid_points(shape: tuple[int, int], side: int) -> list[Point]:
    """`side` x `side` points, evenly spaced over a plane of `shape` (y, x), row by row."""
    along = np.linspace(1 / (2 * side), 1 - 1 / (2 * side), side)
    return [Point(float(y * shape[0]), float(x * shape[1])) for y in along for x in along]


def generate_candidates(  # noqa: PLR0913  each is a part of a query
    segmenter: Segmenter,
    plane: np.ndarray,
    grid: Grid | Proposals | None = None,
    *,
    embedding: ImageEmbedding | None = None,
    least: float = LEAST_SCORE,
    phrases: Sequence[Phrase] = (),
    all_masks: bool = False,
    examples: np.ndarray | None = None,
) -> Iterator[tuple[float, list[Candidate]]]:
    """Predict masks all over a plane, or of the objects that a text names.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    plane : ndarray
        (y, x, 3) uint8, as :meth:`Segmenter.embed` takes it.
    grid : Grid or Proposals, optional
        Where to place prompts. By default the objects that the segmenter draws (:class:`DrawsObjects`), else its
        proposals (:class:`ProposesObjects`), else ``Grid()``.
    embedding : ImageEmbedding, optional
        Of the whole plane, when there is one.
    least : float
        Candidates whose predicted IoU is lower are left out.
    phrases : sequence of Phrase
        Objects to find; all objects when empty. The text of each candidate's prompt is the label of its phrase.
    all_masks : bool
        Keep all masks of each proposal, not only the one with the highest score.
    examples : ndarray, optional
        Example boxes as the segmenter encoded them, see :class:`FindsByExamples`.

    Yields
    ------
    done : float
        Share of the work that is done, 0 to 1.
    candidates : list of Candidate
        Candidates of the last batch. The rest is cancelled when the iteration stops.

    Raises
    ------
    ModelError
        There are phrases, and the model takes no text.
    """
    whole = embedding or segmenter.embed(plane)
    region = (slice(0, plane.shape[0]), slice(0, plane.shape[1]))
    if examples is not None and (finder := as_example_finder(segmenter)) is not None:
        yield 1.0, _found(finder.example_objects(whole, phrases, examples), whole.shape, least, named=bool(phrases))
    elif phrases:
        named = as_text_segmenter(segmenter)
        if named is None:
            raise ModelError(f"the model {segmenter.name!r} takes points, boxes and masks, but no text")
        yield from _asked(
            segmenter, whole, near_first(named.named_proposals(whole, phrases)), region, least, candidates=1
        )
    elif grid is None and (drawer := as_drawer(segmenter)) is not None:
        yield 1.0, _found(drawer.found_objects(whole), whole.shape, least)
    elif not isinstance(grid, Grid) and (proposer := as_proposer(segmenter)) is not None:
        for done, batch in _asked(segmenter, whole, near_first(proposer.seeds(whole)), region, least):
            # A seed stands for one object: what else it may mean is another seed's.
            best = {id(one.prompt): one for one in sorted(batch, key=lambda one: one.score)}
            yield done, batch if all_masks else list(best.values())
    else:
        yield from _on_grid(segmenter, plane, whole, grid if isinstance(grid, Grid) else Grid(), least)


def _on_grid(
    segmenter: Segmenter, plane: np.ndarray, whole: ImageEmbedding, grid: Grid, least: float
) -> Iterator[tuple[float, list[Candidate]]]:
    """Candidates of a grid of points on a plane, and on its magnified crops."""
    regions = crop_windows(whole.shape, grid.crop_layers)
    for number, (layer, region) in enumerate(regions):
        seen = whole if number == 0 else segmenter.embed(np.ascontiguousarray(plane[region]))
        points = grid_points(seen.shape, max(grid.side // grid.thinning**layer, 1))
        for done, batch in _asked(segmenter, seen, [Prompt((point,)) for point in points], region, least):
            yield (number + done) / len(regions), [one for one in batch if not _cut(one, whole.shape)]


def _found(
    objects: Iterator[FoundObject], shape: tuple[int, int], least: float, *, named: bool = False
) -> list[Candidate]:
    """Candidates of the objects that a segmenter draws by itself; `named` where a text found them."""
    region = (slice(0, shape[0]), slice(0, shape[1]))
    found = []
    for one in objects:
        prompt = Prompt((one.point,), text=one.class_name if named else "")
        candidate = _candidate(one.mask, prompt, region) if one.mask.score >= least else None
        if candidate is not None:
            found.append(replace(candidate, class_name=one.class_name))
    return found


def candidates_of_prompts(
    segmenter: Segmenter, embedding: ImageEmbedding, prompts: Sequence[Prompt]
) -> list[Candidate | None]:
    """Predict the best mask of each of many prompts on a plane; None where it is empty."""
    region = (slice(0, embedding.shape[0]), slice(0, embedding.shape[1]))
    answers = segmenter.segment(embedding, list(prompts))
    return [_candidate(masks[0], prompt, region) for prompt, masks in zip(prompts, answers, strict=True)]


def _asked(
    segmenter: Segmenter,
    embedding: ImageEmbedding,
    prompts: Sequence[Prompt],
    region: Region,
    least: float,
    *,
    candidates: int = 3,
) -> Iterator[tuple[float, list[Candidate]]]:
    """Answers to prompts on a region of a plane, batch by batch."""
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        answers = segmenter.segment(embedding, batch, candidates=candidates, at_least=least)
        found = [
            candidate
            for prompt, masks in zip(batch, answers, strict=True)
            for mask in masks
            if (candidate := _candidate(mask, prompt, region)) is not None
        ]
        yield (start + len(batch)) / len(prompts), found


def near_first(prompts: Sequence[Prompt], most: int = BATCH) -> list[Prompt]:
    """The same prompts in an order in which each `most` of them lie near each other: a model may encode these together.

    The prompts are divided across the longer side of the box around them, again and again.
    """
    if len(prompts) <= most:
        return list(prompts)
    places = np.array([_place(prompt) for prompt in prompts])
    axis = int(np.argmax(np.ptp(places, axis=0)))
    order = np.argsort(places[:, axis], kind="stable").tolist()
    half = most * round(len(prompts) / most / 2) or most
    near, far = ([prompts[k] for k in part] for part in (order[:half], order[half:]))
    return near_first(near, most) + near_first(far, most)


def _place(prompt: Prompt) -> tuple[float, float]:
    """Where (y, x) a prompt is: its first point, or the middle of its box; the origin where it is neither."""
    if prompt.points:
        return prompt.points[0].y, prompt.points[0].x
    box = prompt.box
    return (0.0, 0.0) if box is None else ((box.y0 + box.y1) / 2, (box.x0 + box.x1) / 2)


def _candidate(mask: Mask, prompt: Prompt, region: Region) -> Candidate | None:
    box = box_of(mask.pixels)
    if box is None:
        return None
    rows, columns = slice(int(box.y0), int(box.y1) + 1), slice(int(box.x0), int(box.x1) + 1)
    window = tuple(slice(s.start + r.start, s.stop + r.start) for s, r in zip((rows, columns), region, strict=True))
    return Candidate.of((window[0], window[1]), mask.pixels[rows, columns], mask.score, mask.stability, prompt, region)


def _cut(one: Candidate, shape: tuple[int, int]) -> bool:
    """Whether a mask comes close to an edge of its crop within which the plane goes on."""
    for window, crop, length in zip(one.window, one.crop, shape, strict=True):
        for at, edge, end in ((window.start, crop.start, 0), (window.stop - 1, crop.stop, length)):
            # The border of the plane is as near as it is far, whichever side of the plane it is.
            near_border = abs(at - end) <= NEAR
            if abs(at - edge) <= NEAR and not near_border:
                return True
    return False


def filter_candidates(candidates: Sequence[Candidate], filters: Filters, shape: tuple[int, int]) -> list[Candidate]:
    """What passes the filters, the most confident first.

    Parameters
    ----------
    candidates : sequence of Candidate
        All that :func:`everything` brought.
    filters : Filters
        What to keep.
    shape : tuple of int
        (y, x) of the plane.
    """
    # The models' numbers are single precision: 0.95 is what they call so, not a hair more.
    score, stability = np.float32(filters.score), np.float32(filters.stability)
    good = [
        one
        for one in candidates
        if np.float32(one.score) > score and np.float32(one.stability) >= stability and fits(one, filters, shape)
    ]
    groups: dict[tuple[int, ...], list[Candidate]] = {}
    for one in good:
        groups.setdefault(tuple(bound for span in one.crop for bound in (span.start, span.stop)), []).append(one)
    best = [
        group[i]
        for group in groups.values()
        for i in suppress_overlaps([one.window for one in group], [one.score for one in group], filters.box_overlap)
    ]
    if len(groups) > 1:
        small_first = [1 / ((c[0].stop - c[0].start) * (c[1].stop - c[1].start)) for c in (one.crop for one in best)]
        best = [best[i] for i in suppress_overlaps([one.window for one in best], small_first, filters.box_overlap)]
    if filters.tidy:
        best = [clean_mask(one, filters.tidy) for one in best]
        best = [
            best[i]
            for i in suppress_overlaps([one.window for one in best], [one.score for one in best], filters.box_overlap)
        ]
    return sorted(best, key=lambda one: -one.score)


def fits(one: Candidate, filters: Filters, shape: tuple[int, int]) -> bool:
    """Whether the size and the place of a mask on a plane of `shape` (y, x) pass the filters."""
    return filters.smallest <= one.area <= filters.largest and not (filters.whole and _at_border(one, shape))


def _at_border(one: Candidate, shape: tuple[int, int]) -> bool:
    return any(span.start == 0 or span.stop == length for span, length in zip(one.window, shape, strict=True))


def suppress_overlaps(windows: Sequence[Region], scores: Sequence[float], overlap: float) -> list[int]:
    """Non-maximum suppression of boxes.

    Parameters
    ----------
    windows : sequence of tuple of slice
        Bounding boxes; they reach from the centre of their first pixel to that of their last.
    scores : sequence of float
        The higher one stays; of equal ones the first.
    overlap : float
        Boxes with a higher IoU are too much alike.

    Returns
    -------
    list of int
        Indices of those that stay, the highest score first.
    """
    boxes = np.array([[r.start, c.start, r.stop - 1, c.stop - 1] for r, c in windows], float).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.argsort(-np.asarray(scores, float), kind="stable")
    stay = []
    while left.size:
        first, rest = left[0], left[1:]
        stay.append(int(first))
        low = np.maximum(boxes[first, :2], boxes[rest, :2])
        high = np.minimum(boxes[first, 2:], boxes[rest, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        union = areas[first] + areas[rest] - shared
        left = rest[shared <= overlap * union]
    return stay


def clean_mask(one: Candidate, area: int) -> Candidate:
    """The candidate with holes and islands of fewer than `area` pixels filled and taken away; the largest stays."""
    before = one.mask
    mask = _without_small(_without_small(before, area, holes=True), area, holes=False)
    box = box_of(mask)
    if mask is before or box is None:
        return one
    inner = slice(int(box.y0), int(box.y1) + 1), slice(int(box.x0), int(box.x1) + 1)
    rows, columns = (
        slice(span.start + part.start, span.start + part.stop) for span, part in zip(one.window, inner, strict=True)
    )
    return one.redrawn((rows, columns), mask[inner])


def _without_small(mask: np.ndarray, area: int, *, holes: bool) -> np.ndarray:
    # What lies around the window is background, and never a hole.
    regions, _ = scipy.ndimage.label(np.pad(mask ^ holes, 1, constant_values=holes), np.ones((3, 3)))
    sizes = np.bincount(regions.ravel())
    small = np.setdiff1d(np.flatnonzero(sizes < area), [0, regions[0, 0]])
    if not small.size:
        return mask
    if holes:
        filled: np.ndarray = mask | np.isin(regions, small)[1:-1, 1:-1]
        return filled
    large = np.setdiff1d(np.arange(1, sizes.size), small)
    stays: np.ndarray = np.isin(regions, large if large.size else [sizes[1:].argmax() + 1])[1:-1, 1:-1]
    return stays


def paint_candidates(
    candidates: Sequence[Candidate], shape: tuple[int, int], overlap: float = 0.5
) -> tuple[np.ndarray, list[Candidate]]:
    """One label for each object: where two masks overlap, the first has the pixels.

    Parameters
    ----------
    candidates : sequence of Candidate
        The best first.
    shape : tuple of int
        (y, x) of the plane.
    overlap : float
        A mask that shares more than this part of itself, or of the one before it, with an object that is there, is
        taken for the same, or a part or the whole of it, and left out.

    Returns
    -------
    labels : ndarray
        (y, x) int32, from 1.
    objects : list of Candidate
        Those that have a label, in the order of their labels.
    """
    labels = np.zeros(shape, np.int32)
    objects: list[Candidate] = []
    areas = [0]
    for one in candidates:
        here, mask = labels[one.window], one.mask
        shared = np.bincount(here[mask], minlength=len(areas))[1:]
        if (shared > overlap * np.minimum(one.area, areas[1:])).any():
            continue
        free = mask & (here == 0)
        if free.any():
            objects.append(one)
            areas.append(one.area)
            here[free] = len(objects)
    return labels, objects
