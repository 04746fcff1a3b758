"""``napari-segany bench engine``: what annotating a series of images costs, with and without learning meanwhile.

The data engine of the paper (Kirillov et al. 2023, section 4) in the small: an annotator works through the images of a
set, one after the other, and the model learns from what is done.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from napari_segany.core.automatic_masks import Candidate
from napari_segany.core.errors import InputError
from napari_segany.core.exemplars import Exemplars, ObjectDescriptors, describe
from napari_segany.core.masks import box_of
from napari_segany.core.planes import Region
from napari_segany.core.query import exemplar_query, query_for
from napari_segany.core.ranking import RankingPrior
from napari_segany.core.segmenter import Segmenter
from napari_segany.experiments.benchmark import commit, set_name
from napari_segany.experiments.datasets import LabelledPlane, Target, labelled_planes, targets
from napari_segany.experiments.scores import Row
from napari_segany.experiments.simulated_users import click_until
from napari_segany.models.loading import load_segmenter
from napari_segany.training.data import Sample
from napari_segany.training.fine_tune import FineTuneConfig, fine_tune

ROUNDS = 8
"""Clicks on an object, at most; then it is painted by hand."""
GOOD = 0.85
"""IoU from which on the annotator is content with a mask."""
ENOUGH = 3
"""Committed objects from which on others like them are searched for."""
LATEST = 30
"""Committed and rejected objects that are exemplars, the latest ones, as in the window."""

SECONDS_A_CLICK = 2.4
"""A point on an object takes 2.4 s (Bearman et al. 2016); committing the result is part of it."""
SECONDS_AN_ACCEPT = 1.0
"""Looking at a mask that is right."""
SECONDS_A_REJECT = 1.5
"""Looking at a mask that is wrong, and removing it; or dismissing all found masks at once."""
SECONDS_BY_HAND = 20.0
"""Painting an object that clicks do not reach."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to annotate.

    Parameters
    ----------
    name : str
        As in the rows.
    alike : bool
        Whether committed objects rank the masks of clicks, and find others like them (levels 0 and 1).
    fine_tuned : bool
        Whether the model is fine-tuned between images (level 2).
    """

    name: str
    alike: bool
    fine_tuned: bool


WAYS = (
    Way("plain", alike=False, fine_tuned=False),
    Way("alike", alike=True, fine_tuned=False),
    Way("fine-tuned", alike=False, fine_tuned=True),
    Way("all", alike=True, fine_tuned=True),
)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What is simulated.

    Parameters
    ----------
    data : Path
        Folder of a set.
    images : int
        Length of the series, at most.
    objects : int
        Objects of each image, at most, drawn with a fixed seed; the others are not part of the task.
    after : tuple of int
        Numbers of images, from 1, after which the model is fine-tuned.
    ways : tuple of str
        Names of ``WAYS``.
    seed : int
        Of the order of the images and of the objects.
    """

    data: Path
    images: int = 10
    objects: int = 10
    after: tuple[int, ...] = (1, 3, 6, 10)
    ways: tuple[str, ...] = tuple(way.name for way in WAYS)
    seed: int = 0


def rows_of_engine(
    config: EngineConfig, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> Iterator[Row]:
    """Simulate an annotator on a series of images of a set.

    Each image begins with a search: for objects like the latest ``LATEST`` committed ones of the series, where the way
    is ``alike`` and there are ``ENOUGH``, else for all objects. A found mask of IoU ``GOOD`` is accepted; one that is
    on no object of the task is rejected. Where more are wrong than right, all are dismissed by one reject. The other
    objects are clicked until ``GOOD``, or painted after ``ROUNDS`` clicks. Ranking begins again with each image, as in
    the window.

    Yields
    ------
    dict
        For each way and image: ``bench``, ``set``, ``way``, ``image`` (from 1), ``objects``, ``clicks`` (for each
        object), ``accepts``, ``rejects``, ``painted`` (in all), ``seconds`` (for each object), ``automatic``,
        ``prefilled`` and ``clicked`` (shares of the objects by where their mask came from: automatic masks, exemplars,
        clicks or painting), ``generation`` (0 for the shipped model), and ``commit``.

    Raises
    ------
    InputError
        The set cannot be used.
    """
    planes = list(labelled_planes(config.data))
    order = np.random.default_rng(config.seed).permutation(len(planes))
    series = [planes[k] for k in order if targets(planes[k].labels)][: config.images]
    done = 0
    for way in (way for way in WAYS if way.name in config.ways):
        annotator = _Annotator(way, load(), config)
        for number, one in enumerate(series, start=1):
            figures = annotator.annotate(one, np.random.default_rng((config.seed, number)))
            yield {
                "bench": "engine",
                "set": set_name(config.data),
                "way": way.name,
                "image": number,
                **figures,
                "generation": annotator.generation,
                "commit": commit(),
            }
            if way.fine_tuned and number in config.after and number < len(series):
                annotator.learn()
            done += 1
            if progress is not None:
                progress(done)


@dataclass(slots=True)
class _Costs:
    """What an image cost, and where the masks of its objects came from."""

    clicks: int = 0
    accepts: int = 0
    rejects: int = 0
    painted: int = 0
    found: dict[str, int] = field(default_factory=lambda: {"automatic": 0, "prefilled": 0, "clicked": 0})

    def row(self) -> Row:
        objects = sum(self.found.values())
        seconds = (
            self.clicks * SECONDS_A_CLICK
            + self.accepts * SECONDS_AN_ACCEPT
            + self.rejects * SECONDS_A_REJECT
            + self.painted * SECONDS_BY_HAND
        )
        return {
            "objects": objects,
            "clicks": self.clicks / objects,
            "accepts": self.accepts,
            "rejects": self.rejects,
            "painted": self.painted,
            "seconds": seconds / objects,
            **{source: count / objects for source, count in self.found.items()},
        }


@dataclass(frozen=True, slots=True, eq=False)
class _SeenObject:
    """An object of an earlier or of this image, described again whenever the model changes."""

    plane: np.ndarray
    window: Region
    mask: np.ndarray

    @classmethod
    def of(cls, plane: np.ndarray, pixels: np.ndarray) -> _SeenObject | None:
        box = box_of(pixels)
        if box is None:
            return None
        window = slice(int(box.y0), int(box.y1) + 1), slice(int(box.x0), int(box.x1) + 1)
        return cls(plane, window, pixels[window])


class _Annotator:
    """Works through a series of images in one way."""

    def __init__(self, way: Way, segmenter: Segmenter, config: EngineConfig) -> None:
        self.way, self.segmenter, self.config = way, segmenter, config
        self.generation = 0
        self._samples: dict[str, Sample] = {}
        self._committed: list[_SeenObject] = []
        self._rejected: list[_SeenObject] = []

    def annotate(self, one: LabelledPlane, rng: np.random.Generator) -> Row:
        """Annotate some objects of an image, and return what it cost."""
        objects = targets(one.labels)
        image = _Image(one, [objects[k] for k in rng.permutation(len(objects))[: self.config.objects]])
        embedding = self.segmenter.embed(one.plane)
        prior = RankingPrior(self.segmenter.capabilities.ranking)
        choose = partial(prior.best, one.plane) if self.way.alike else lambda masks: 0
        searched = self._prefill(image)
        while image.open:
            if self.way.alike and not searched and len(self._committed) >= ENOUGH:
                searched = self._prefill(image)
                continue
            target = image.open[0]
            clicked = click_until(self.segmenter, embedding, target, GOOD, ROUNDS, choose)
            pixels = clicked.pixels if clicked.reached else image.truth(target)
            image.costs.clicks += clicked.clicks
            image.costs.painted += not clicked.reached
            image.commit(target, pixels, "clicked")
            prior.add(one.plane, pixels, clicked.candidates)
            self._remember(self._committed, one.plane, pixels)
        self._samples[one.name] = Sample(one.plane, (image.labels,), complete=False)
        return image.costs.row()

    def learn(self) -> None:
        """Go on with a model that is fine-tuned on all that was committed, if it is better than the shipped one."""
        better = learned(self._samples, self.config.seed)
        if better is not None:
            self.segmenter = better
            self.generation += 1

    def _prefill(self, image: _Image) -> bool:
        """Search the image, accept what is right and reject what is wrong; returns whether exemplars were used."""
        alike = self.way.alike and len(self._committed) >= ENOUGH
        if alike:
            known, wrong = (self._described(seen[-LATEST:]) for seen in (self._committed, self._rejected))
            query = exemplar_query(self.segmenter, Exemplars(known, wrong, self.segmenter.capabilities.ranking))
        else:
            query = query_for(self.segmenter)
        plane = image.one.plane
        found = query.select(query.candidates(self.segmenter, plane), image.labels > 0)
        right, rejected = image.judged(found.objects)
        if len(rejected) > len(right):
            image.costs.rejects += 1
            return alike
        for target, pixels in right:
            image.commit(target, pixels, "prefilled" if alike else "automatic")
            self._remember(self._committed, plane, pixels)
        for pixels in rejected:
            self._remember(self._rejected, plane, pixels)
        image.costs.accepts += len(right)
        image.costs.rejects += len(rejected)
        return alike

    def _described(self, seen: Sequence[_SeenObject]) -> ObjectDescriptors:
        made = ObjectDescriptors()
        for one in seen:
            made = made.joined(describe(self.segmenter, one.plane, [one.window], [one.mask]))
        return made

    @staticmethod
    def _remember(seen: list[_SeenObject], plane: np.ndarray, pixels: np.ndarray) -> None:
        one = _SeenObject.of(plane, pixels)
        if one is not None:
            seen.append(one)


class _Image:
    """An image that is annotated: the objects that are still open, and what was committed."""

    def __init__(self, one: LabelledPlane, wanted: Sequence[Target]) -> None:
        self.one, self.open = one, list(wanted)
        self.labels = np.zeros(one.labels.shape, np.int32)
        self.costs = _Costs()
        self._others = one.labels > 0
        for target in wanted:
            self._others[target.window] &= ~target.mask

    def truth(self, target: Target) -> np.ndarray:
        """(y, x) bool of the whole plane."""
        pixels = np.zeros(self.labels.shape, bool)
        pixels[target.window] = target.mask
        return pixels

    def commit(self, target: Target, pixels: np.ndarray, source: str) -> None:
        """Close an object with its mask, (y, x) bool; painted pixels stay."""
        self.labels[pixels & (self.labels == 0)] = int(self.labels.max()) + 1
        self.open.remove(target)
        self.costs.found[source] += 1

    def judged(self, found: Sequence[Candidate]) -> tuple[list[tuple[Target, np.ndarray]], list[np.ndarray]]:
        """Found masks that are right, each with its open object, and those that are wrong.

        What lies on objects that are not part of the task is neither.
        """
        right, wrong, waiting = [], [], list(self.open)
        for one in found:
            pixels = np.zeros(self.labels.shape, bool)
            pixels[one.window] = one.mask
            target = next((target for target in waiting if target.iou(pixels) >= GOOD), None)
            if target is not None:
                waiting.remove(target)
                right.append((target, pixels))
            elif 2 * np.count_nonzero(pixels & self._others) <= one.area:
                wrong.append(pixels)
        return right, wrong


def learned(samples: Mapping[str, Sample], seed: int) -> Segmenter | None:
    """A model that is fine-tuned on the objects of images; None where there are too few, or it got no better."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "learned.safetensors"
        try:
            *_, last = fine_tune(samples, out, FineTuneConfig(seed=seed))
        except InputError:
            # too few masks can be trained on or held out; the annotator goes on with the model in use
            return None
        return load_segmenter(out) if last.report is not None and last.report.accepted else None
