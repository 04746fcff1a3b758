"""What annotation cost: seconds and clicks by model, and where masks came from, read from journals.

The time between two events of a journal is work, unless it is longer than `PAUSE`: then the user did something else,
and none of it counts. Time and clicks belong to the model that is in use when labels change next: a journal names
another model with its first result, after the click that it was made from.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from napari_segany.core.objects import ObjectInfo
from napari_segany.session.events import ActionEvent, Event, LayerEvent, ModelEvent
from napari_segany.session.history import History, Patch, Step
from napari_segany.session.journal import JournalFile

PAUSE = 60.0
"""Seconds; a longer time between two events is no work."""
PROMPTS, AUTOMATIC, EXEMPLARS = "prompts", "automatic masks", "exemplars"
PROPAGATION, PAINTING = "propagation", "painting"
ORIGINS = (PROMPTS, AUTOMATIC, EXEMPLARS, PROPAGATION, PAINTING)
"""Where a mask may come from. Those that a text found are automatic masks; what no other one is, is painting."""
_OF_STEP = {"keep": PROMPTS, "keep all": AUTOMATIC, "follow": PROPAGATION}
_SEARCHED = {"everything": AUTOMATIC, "text": AUTOMATIC, "exemplars": EXEMPLARS}
"""By what is noted of objects that were found: the sources of ObjectInfo."""
STROKES = ("brush", "eraser", "fill", "polygon")
"""Kinds of steps that are made by hand, each with one stroke."""

Key = tuple[int, tuple[int, ...], int]
"""A mask: number of its layer, indices of its slice along all but the last two axes, label."""


@dataclass(frozen=True, slots=True)
class ModelEffort:
    """The work with one model.

    Parameters
    ----------
    model : str
        Its name, as sessions record it.
    images : frozenset of str
        Hashes of the images on which masks were made.
    seconds : float
        Work in seconds, without pauses.
    clicks : int
        Points, boxes and strokes.
    masks : mapping of str to int
        Masks that are there at the end of their sessions, by where they came from. An object on three slices has three.
    objects : int
        Objects among them: an object belongs to the model that made its first mask.
    timed : int
        Those of `objects` of which the journal knows the time.
    """

    model: str
    images: frozenset[str] = frozenset()
    seconds: float = 0.0
    clicks: int = 0
    masks: Mapping[str, int] = field(default_factory=dict)
    objects: int = 0
    timed: int = 0

    @property
    def mask_count(self) -> int:
        """Masks in all."""
        return sum(self.masks.values())

    @property
    def seconds_each(self) -> float:
        """Seconds for an object; NaN where no object was made whose time is known."""
        return self.seconds / self.timed if self.timed else math.nan

    @property
    def clicks_each(self) -> float:
        """Clicks for an object; NaN where there is no object."""
        return self.clicks / self.objects if self.objects else math.nan

    @property
    def masks_each_image(self) -> float:
        """Masks for an image; NaN where there is no image."""
        return self.mask_count / len(self.images) if self.images else math.nan

    def share(self, origin: str) -> float:
        """Share of the masks that came from one of ``ORIGINS``, 0 to 1; NaN where there is no mask."""
        return self.masks.get(origin, 0) / self.mask_count if self.mask_count else math.nan

    def __add__(self, other: ModelEffort) -> ModelEffort:
        """Both together."""
        masks = Counter(self.masks) + Counter(other.masks)
        return ModelEffort(
            self.model,
            self.images | other.images,
            self.seconds + other.seconds,
            self.clicks + other.clicks,
            dict(masks),
            self.objects + other.objects,
            self.timed + other.timed,
        )


def measure_effort(journals: Iterable[JournalFile]) -> list[ModelEffort]:
    """The work of sessions by model, in the order in which models were first used.

    Parameters
    ----------
    journals : iterable of JournalFile
        The earliest session first.

    Raises
    ------
    ValueError, zlib.error
        A journal holds a change that does not fit its shape.
    """
    found: dict[str, ModelEffort] = {}
    for journal in journals:
        for one in _of_journal(journal):
            found[one.model] = found[one.model] + one if one.model in found else one
    return list(found.values())


def _of_journal(journal: JournalFile) -> list[ModelEffort]:
    walk = _Walk(journal.header.model.name)
    times = journal.times or (math.nan,) * len(journal.events)
    for event, time in zip(journal.events, times, strict=True):
        walk.take(event, time)
    return walk.efforts(journal.header.image.sample or journal.header.image.hash)


@dataclass(frozen=True, slots=True)
class _Made:
    """How a mask was made: where from, with which model, and whether its time is known."""

    origin: str
    model: str
    timed: bool


class _Walk:
    """Goes through the events of a session."""

    def __init__(self, model: str) -> None:
        self._model, self._last = model, math.nan
        self._history = History()
        self._pixels: Counter[Key] = Counter()
        self._made: dict[Key, _Made] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._clicks: Counter[str] = Counter()
        self._open_seconds, self._open_clicks = 0.0, 0
        self._layers: set[int] = set()

    def take(self, event: Event, time: float) -> None:
        """Go on by an event."""
        if isinstance(event, ModelEvent):
            self._model = event.name
        gone = time - self._last
        if 0 < gone <= PAUSE:
            self._open_seconds += gone
        self._last = time
        if isinstance(event, LayerEvent):
            self._begin(event)
        elif isinstance(event, Step):
            self._history.do(event)
            self._step(event, timed=not math.isnan(time))
        elif isinstance(event, ActionEvent) and event.what in ("undone", "redone"):
            step = self._history.undo() if event.what == "undone" else self._history.redo()
            for number, patch in step.patches if step is not None else ():
                self._count(number, patch)
        elif isinstance(event, ObjectInfo):
            self._describe(event)

    def _begin(self, layer: LayerEvent) -> None:
        """Labels that a layer holds already are nobody's work here."""
        if layer.patch is not None and layer.number not in self._layers:
            self._count(layer.number, layer.patch)
        self._layers.add(layer.number)

    def _step(self, step: Step, *, timed: bool) -> None:
        placed = any(len(stretch.after) > len(stretch.before) for _, stretch in step.marks)
        self._open_clicks += (step.kind == "prompt" and placed) or step.kind in STROKES
        if step.patches:
            self._settle()
        made = _Made(_OF_STEP.get(step.kind, PAINTING), self._model, timed)
        for number, patch in step.patches:
            for key in self._count(number, patch):
                self._made[key] = made

    def _settle(self) -> None:
        """What was done since labels changed last belongs to the model in use."""
        self._seconds[self._model] += self._open_seconds
        self._clicks[self._model] += self._open_clicks
        self._open_seconds, self._open_clicks = 0.0, 0

    def _count(self, number: int, patch: Patch) -> list[Key]:
        """Count pixels; gives the masks that were not there before."""
        new = []
        for key, change in _changes(number, patch):
            if change > 0 and not self._pixels[key]:
                new.append(key)
            self._pixels[key] += change
        return new

    def _describe(self, about: ObjectInfo) -> None:
        """What is noted of an object tells from which search it came."""
        keys = [key for key in self._made if key[2] == about.label]
        origins = {self._made[key].origin for key in keys}
        if not about.source or (not origins <= {AUTOMATIC} and not origins <= {PROPAGATION}):
            return
        # objects that were found on all slices are painted as propagated ones are
        origin = _SEARCHED.get(about.source, PROMPTS if origins == {AUTOMATIC} else PROPAGATION)
        for key in keys:
            made = self._made[key]
            self._made[key] = _Made(origin, made.model, made.timed)

    def efforts(self, image: str) -> list[ModelEffort]:
        """What the session comes to, by model."""
        self._settle()
        there = [(key, made) for key, made in self._made.items() if self._pixels[key] > 0]
        # the first mask of each object
        first = {(number, label): made for (number, _, label), made in reversed(there)}
        models = dict.fromkeys([*self._seconds, *(made.model for _, made in there), *self._clicks])
        efforts = []
        for model in models:
            masks = Counter(made.origin for _, made in there if made.model == model)
            objects = [made for made in first.values() if made.model == model]
            work = ModelEffort(
                model,
                frozenset([image] if masks else []),
                self._seconds.get(model, 0.0),
                self._clicks[model],
                dict(masks),
                len(objects),
                sum(made.timed for made in objects),
            )
            efforts += [work] if work.seconds or work.clicks or masks else []
        return efforts


def _changes(number: int, patch: Patch) -> Iterable[tuple[Key, int]]:
    """How many pixels each mask won or lost, slice by slice along the last two axes."""
    before, after = patch.values()
    for place in np.ndindex(before.shape[:-2]):
        old, new = before[place], after[place]
        differs = old != new
        where = tuple(start + index for start, index in zip(patch.start, place, strict=False))
        change: Counter[int] = Counter()
        for values, sign in ((new[differs], 1), (old[differs], -1)):
            labels, counts = np.unique(values, return_counts=True)
            for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
                change[label] += sign * count
        yield from (((number, where, label), count) for label, count in change.items() if label)
