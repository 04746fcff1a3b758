"""``napari-segany bench speed``: how fast we are, next to others in the same run.

Ours and theirs take turns on the same picture and the same clicks, so that what else the machine does slows both. The
weights of ViT-B are those of :mod:`napari_segany.experiments.untrained`, and segment-anything has the same; the clock
does not mind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_segany.core.automatic_masks import Candidate, Grid
from napari_segany.core.errors import InputError
from napari_segany.core.metrics import iou
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.query import Query
from napari_segany.core.segmenter import ImageEmbedding
from napari_segany.core.synthetic import synthetic_image
from napari_segany.experiments.benchmark import commit
from napari_segany.experiments.rivals import Rival, SegmentAnything, installed
from napari_segany.experiments.scores import Row
from napari_segany.experiments.untrained import random_vit_b
from napari_segany.models.device import pick_dtype
from napari_segany.models.loading import load_segmenter
from napari_segany.models.sam.model import Sam, build_sam
from napari_segany.models.sam_segmenter import SamSegmenter

SIDE = 1024
MANY = 64
RATE_SIDE = 2048
"""Side of the matrices whose product measures how fast this machine multiplies."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How often each measurement is repeated; the median counts.

    Parameters
    ----------
    embeds, clicks, many : int
        Repetitions of encoding, of single clicks, and of slow work other than encoding.
    grid : int
        Side of the grid of clicks of automatic masks, which are made once.
    others : bool
        Whether rivals other than the first are measured, and prompts in float32 too where users get another type.
    """

    embeds: int = 3
    clicks: int = 15
    many: int = 3
    grid: int = 32
    others: bool = True


QUICK = Effort(embeds=1, clicks=7, many=1, grid=5, others=False)


@dataclass(frozen=True, slots=True)
class _Ours:
    """What we do, in which type, and how many operations that takes."""

    what: str
    work: Callable[[], Any]
    dtype: torch.dtype
    operations: int


@dataclass(frozen=True, slots=True)
class _Case:
    """The same thing done by us, in one or several ways, and by a rival; and how alike the results are."""

    ours: Sequence[_Ours]
    rival: str
    theirs: Callable[[], Any]
    turns: int
    same: Callable[[Any, Any], float] | None = None


@dataclass(slots=True)
class _Scene:
    """The picture, its prompts, and the models that are measured."""

    plane: np.ndarray
    model: Sam
    single: SamSegmenter
    reduced: SamSegmenter | None
    places: np.ndarray
    embedding: ImageEmbedding | None = None

    def embed(self, segmenter: SamSegmenter) -> ImageEmbedding:
        """Encode the picture; what is made in float32 is what clicks are answered from."""
        made = segmenter.embed(self.plane)
        if segmenter is self.single:
            self.embedding = made
        return made

    @property
    def usual(self) -> SamSegmenter:
        """The segmenter that a user gets on this machine."""
        return self.reduced or self.single

    @property
    def known(self) -> ImageEmbedding:
        """The embedding that clicks are answered from."""
        return self.embedding or self.embed(self.single)

    def ours(self, what: str, work: Callable[[SamSegmenter], Any], effort: Effort) -> list[_Ours]:
        """What a user gets under the plain name, and, given time, what float32 gives where that is another."""
        models = [(what, self.usual)]
        if self.reduced is not None and effort.others:
            models.append((f"{what}_fp32", self.single))
        count = operations(partial(work, self.usual))
        return [_Ours(name, partial(work, one), one.dtype, count) for name, one in models]


def rows_of_speed(*, quick: bool = False) -> list[Row]:
    """Time what users wait for.

    Parameters
    ----------
    quick : bool
        Do each thing once or a few times, and only a part of the grid: under a minute.

    Returns
    -------
    list of dict
        ``what``; ``ours_ms`` and ``rival_ms``, medians, each with its ``_spread`` (largest less smallest, over the
        median); ``rival``; ``ratio``, theirs over ours; ``floor_ms``, the operations of ours over the rate at which
        this machine multiplies matrices of that type; ``same``, for encoding the distance of the two embeddings over
        the norm of theirs, else the mean IoU of the masks, automatic ones with their best match; ``dtype``,
        ``threads`` and ``commit``.

    Raises
    ------
    InputError
        None of the rivals is installed.
    """
    return list(measured_speed(quick=quick))


def measured_speed(*, quick: bool = False) -> Iterator[Row]:
    """Yield the rows of :func:`rows_of_speed` one by one; parameters and errors are its own."""
    effort = QUICK if quick else Effort()
    scene = _scene()
    rivals = installed(scene.model)
    if not rivals:
        raise InputError("nothing to compare with: pip install segment-anything opencv-python-headless transformers")
    rates = {dtype: matrix_rate(dtype) for dtype in {torch.float32, scene.usual.dtype}}
    common = {"threads": torch.get_num_threads(), "commit": commit()}
    for case in _cases(scene, rivals, effort):
        yield from ({**row, **common} for row in _rows(case, rates))


def _scene() -> _Scene:
    model = random_vit_b()
    rng = np.random.default_rng(0)
    plane = synthetic_image(rng, (SIDE, SIDE), kind="fluorescence", radius=SIDE / 25).image
    dtype = pick_dtype("auto", torch.device("cpu"))
    reduced = None if dtype == torch.float32 else SamSegmenter(model, "vit_b", dtype=dtype)
    return _Scene(plane, model, SamSegmenter(model, "vit_b"), reduced, rng.uniform(0, SIDE - 1, (MANY, 2)))


def _cases(scene: _Scene, rivals: Sequence[Rival], effort: Effort) -> Iterator[_Case]:
    for rival in rivals if effort.others else rivals[:1]:
        yield _embeds(scene, rival, effort)
        yield from _prompts(scene, rival, effort)
        if isinstance(rival, SegmentAnything):
            all_masks = scene.ours("everything", partial(_all_masks, scene, effort.grid), effort)
            theirs = partial(rival.everything, scene.plane, effort.grid)
            yield _Case(all_masks, rival.name, theirs, 1, partial(_same_found, scene.plane.shape[:2]))
    tiny = load_segmenter("tiny", "cpu")
    work = partial(tiny.embed, np.ascontiguousarray(scene.plane[: SIDE // 2, : SIDE // 2]))
    ours = _Ours("tiny_embed", work, scene.usual.dtype, operations(work))
    yield _Case([ours], "our ViT-B", partial(scene.usual.embed, scene.plane), effort.embeds)


def _embeds(scene: _Scene, rival: Rival, effort: Effort) -> _Case:
    with torch.device("meta"):
        # The number of operations depends on shapes only.
        meta = build_sam("vit_b").eval()
        count = operations(lambda: meta.encode(torch.empty(1, 3, SIDE, SIDE)))
    made = [
        _Ours(name, partial(scene.embed, segmenter), segmenter.dtype, count)
        for name, segmenter in (("embed_fp32", scene.single), ("embed_bf16", scene.reduced))
        if segmenter is not None
    ]
    same = _distance if isinstance(rival, SegmentAnything) else None
    return _Case(made, rival.name, partial(rival.embed, scene.plane), effort.embeds, same)


def _prompts(scene: _Scene, rival: Rival, effort: Effort) -> Iterator[_Case]:
    place = (float(scene.places[0, 0]), float(scene.places[0, 1]))
    same = _agreement if isinstance(rival, SegmentAnything) else None
    one = scene.ours("click", partial(_pixels, scene, 1), effort)
    yield _Case(one, rival.name, partial(rival.click, place), effort.clicks, same)
    many = scene.ours(f"prompts{MANY}", partial(_pixels, scene, MANY), effort)
    yield _Case(many, rival.name, partial(rival.clicks, scene.places), effort.many)


def _pixels(scene: _Scene, count: int, segmenter: SamSegmenter) -> list[np.ndarray]:
    prompts = [Prompt((Point(float(y), float(x)),)) for y, x in scene.places[:count]]
    return [mask.pixels for masks in segmenter.segment(scene.known, prompts) for mask in masks]


def _all_masks(scene: _Scene, side: int, segmenter: SamSegmenter) -> list[Candidate]:
    """Filters of the published generator: those of the paper, applied before masks are computed."""
    query = Query(Grid(side))
    return query.passing(query.candidates(segmenter, scene.plane, embedding=scene.known, final=True))


def _distance(ours: ImageEmbedding, theirs: np.ndarray) -> float:
    difference = ours.features["image_embed"].astype(np.float32) - theirs
    return float(np.linalg.norm(difference) / np.linalg.norm(theirs))


def _agreement(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    return float(np.mean([iou(one, other) for one, other in zip(ours, theirs, strict=True)]))


def _same_found(shape: tuple[int, int], ours: Sequence[Candidate], theirs: Sequence[np.ndarray]) -> float:
    """Mean of the best IoU that each mask of either side reaches with one of the other's."""
    found = []
    for one in ours:
        mask = np.zeros(shape, bool)
        mask[one.window] = one.mask
        found.append(np.flatnonzero(mask))
    known = [np.flatnonzero(mask) for mask in theirs]
    if not (found and known):
        return float(not found and not known)
    a, b = (_as_rows(pixels, shape) for pixels in (found, known))
    shared = (a @ b.T).toarray()
    overlap = shared / (np.array([len(one) for one in found])[:, None] + [len(one) for one in known] - shared)
    return float(np.concatenate([overlap.max(axis=0), overlap.max(axis=1)]).mean())


def _as_rows(pixels: Sequence[np.ndarray], shape: tuple[int, int]) -> scipy.sparse.csr_array:
    """A row for each mask, given as places in a flat plane, with ones there."""
    ends = np.cumsum([0, *map(len, pixels)])
    ones = np.ones(ends[-1], np.int32)
    return scipy.sparse.csr_array((ones, np.concatenate(pixels), ends), shape=(len(pixels), shape[0] * shape[1]))


def matrix_rate(dtype: torch.dtype, side: int = RATE_SIDE) -> float:
    """Operations a second at which this machine multiplies two square matrices of a type; the best of five."""
    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    return 2 * side**3 / min(_timed(partial(torch.matmul, a, b))[0] for _ in range(5))


def operations(work: Callable[[], Any]) -> int:
    """Operations of the matrix products and convolutions that some work takes."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _rows(case: _Case, rates: dict[torch.dtype, float]) -> Iterator[Row]:
    """A row for each of ours, all of which took turns with the rival."""
    works = [*(one.work for one in case.ours), case.theirs]
    times = np.zeros((case.turns, len(works)))
    results: list[Any] = [None] * len(works)
    for turn in range(case.turns):
        for number, work in enumerate(works):
            times[turn, number], results[number] = _timed(work)
    medians = 1000 * np.median(times, axis=0)
    spreads = np.ptp(times, axis=0) * 1000 / medians
    for number, one in enumerate(case.ours):
        row: Row = {
            "what": one.what,
            "ours_ms": float(medians[number]),
            "rival": case.rival,
            "rival_ms": float(medians[-1]),
            "ratio": float(medians[-1] / medians[number]),
            "floor_ms": 1000 * one.operations / rates[one.dtype],
            "ours_spread": float(spreads[number]),
            "rival_spread": float(spreads[-1]),
            "dtype": str(one.dtype).removeprefix("torch."),
        }
        yield row if case.same is None else {**row, "same": case.same(results[number], results[-1])}
