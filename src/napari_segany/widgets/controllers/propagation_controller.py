"""Follows objects to the other slices in the worker, or finds all of them there, and paints them as they come."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Qt, Signal

from napari_segany.core.errors import InputError, SeganyError
from napari_segany.core.link import relabel_planes
from napari_segany.core.planes import Stack
from napari_segany.core.propagate import Known
from napari_segany.core.query import Query
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.views import View
from napari_segany.engine.prediction import PredictionService
from napari_segany.engine.stack_search import PlaneObjects
from napari_segany.engine.worker_jobs import PlaneSource, propagate_objects, search_slices
from napari_segany.layers.binding import Binding
from napari_segany.layers.lineage import may_divide, note_parents
from napari_segany.layers.propagated_objects import Place, PropagatedObjects, planes_along, present_labels
from napari_segany.layers.read import image_shape
from napari_segany.layers.write import free_label
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.jobs import Job, Jobs
from napari_segany.widgets.panels.stack_panel import StackPanel

QueryMaker = Callable[[str], Callable[[Segmenter], Query]]

CONFIDENCE = "confidence"
"""In the layer's metadata: a table of how sure each object is on each slice where it was followed or found."""
DOUBT = 0.6
"""Confidence below which a slice counts as uncertain."""


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """What is done.

    Parameters
    ----------
    views : dict of int to View
        Planes, by their number in the stack.
    find : callable
        Finds objects on them, in the worker.
    labels : dict of int to int
        The label of each object, by the number that `find` knows it by.
    names : dict of int to str
        What objects are called, by their labels.
    first : int
        The first label to give, where objects are found again and have labels when they come; else 0.
    parents : dict of int to int
        The label of the mother of each daughter that was found.
    """

    views: dict[int, View]
    find: Callable[[], Generator[PlaneObjects, None, None]]
    labels: dict[int, int]
    names: dict[int, str]
    first: int = 0
    parents: dict[int, int] = field(default_factory=dict)

    @property
    def fresh(self) -> bool:
        """Whether objects are found again."""
        return self.first > 0


class PropagationController(QObject):
    """Connects the panel for stacks, the worker and the layers.

    Parameters
    ----------
    box : StackPanel
        Its buttons.
    jobs : Jobs
        The worker.
    answers : PredictionService
        The model and its embeddings.
    query_maker : callable
        Function of a text, empty for all objects, that returns a function of the model that makes the query.

    Attributes
    ----------
    message : Signal
        Emitted with a message about the current work.
    progress : Signal
        Emitted with the number of slices that are done, and of all slices.
    found : Signal
        Emitted with the label of a new object, and its name.
    remarked : Signal
        Emitted with a label, its remark in the table, and its lowest confidence.
    failed : Signal
        Emitted with the exception of work that failed.
    """

    message = Signal(str)
    progress = Signal(float, float)
    found = Signal(int, str)
    remarked = Signal(int, str, float)
    failed = Signal(object)
    _arrived = Signal(object, object)

    def __init__(self, box: StackPanel, jobs: Jobs, answers: PredictionService, query_maker: QueryMaker) -> None:
        super().__init__(box)
        self._box, self._jobs, self._answers, self._query_maker = box, jobs, answers, query_maker
        self._binding: Binding | None = None
        self._walk: _Walk | None = None
        self._job: Job | None = None
        self._began: int | None = None
        self.followed = PropagatedObjects()
        box.wanted.connect(self.follow)
        box.doubted.connect(self.show_uncertain)
        box.withdrawn.connect(self.withdraw)
        self._arrived.connect(self._paint, Qt.ConnectionType.QueuedConnection)

    def bind(self, binding: Binding | None) -> None:
        """Follow through another image; what was found in the one before is known no more."""
        self._binding, self._walk, self._began = binding, None, None
        self.followed = PropagatedObjects()
        deep = binding is not None and len(image_shape(binding.image)) > 2
        self._box.setEnabled(deep)
        text = "" if deep or binding is None else "The image has one slice only."
        self._box.show_state(text, uncertain=0, followed=False)

    def follow(self) -> None:
        """Propagate the objects of this slice, or find all; existing labels of the user on other slices stay."""
        if self._binding is None:
            return
        try:
            walk, renewed = self._sweep(self._binding) if self._box.everything else self._prepared(self._binding)
        except SeganyError as error:
            self.failed.emit(error)
            return
        self._began = self._binding.session.history.position
        self._binding.keeping.erase(renewed)
        self.followed.forget(renewed)
        self._walk = walk
        self.message.emit("Searching the slices …" if self._box.everything else "Tracking …")
        self._job = self._jobs.run(
            lambda: self._go(walk), done=lambda _: self._end(), failed=self.failed.emit, instead_of="follow"
        )

    def _prepared(self, binding: Binding) -> tuple[_Walk, list[Place]]:
        """What is to be done, and what was found earlier and is to be found again for that."""
        view, labels = binding.planes.view(), binding.labels
        if view is None or labels is None or not view.leading:
            raise InputError("keep an object on this slice first; then it can be followed to the others")
        there = present_labels(view.read(labels.data))
        wanted = there if self._box.all_objects else [label for label in there if label == labels.selected_label]
        if not wanted:
            what = "there is no object" if self._box.all_objects else f"object {labels.selected_label} is not"
            raise InputError(f"{what} on this slice: nothing to follow")
        views = self._views(binding, view)
        renewed = self.followed.depending(labels, wanted, views, view)
        numbers = {binding.planes.stack(one)[1]: one for one in views}
        followed: dict[int, int] = {}
        known = partial(_known, labels.data, numbers, wanted, followed)
        return _Walk(
            numbers,
            partial(_followed, self._answers, binding.planes.stack(view)[0], known, list(numbers)),
            followed,
            {},
        ), renewed

    def _views(self, binding: Binding, view: View) -> list[View]:
        """The planes to go through."""
        up, down = self._box.ways
        length = image_shape(binding.image)[view.leading[-1]]
        return planes_along(view, length, up=up, down=down, reach=self._box.reach)

    def _sweep(self, binding: Binding) -> tuple[_Walk, list[Place]]:
        """What is to be done to find all objects of all slices, next to those that there are."""
        view = binding.planes.view()
        if view is None or not view.leading:
            raise InputError("this image has one slice only: use the page All")
        labels = binding.output.ensure()
        numbers = {binding.planes.stack(one)[1]: one for one in self._views(binding, view)}
        stack = binding.planes.stack(view)[0]

        def taken(number: int) -> np.ndarray:
            return numbers[number].read(labels.data) > 0

        find = partial(_found, self._answers, stack, list(numbers), self._query_maker(self._box.words), taken)
        return _Walk(numbers, find, {}, {}, free_label(labels, None, binding.session.label)), []

    def _go(self, walk: _Walk) -> None:
        """Runs in the worker."""
        # closed at once when it is cancelled, so that the model stops and is free for clicks
        with closing(walk.find()) as planes:
            for done, found in enumerate(planes, start=1):
                self._arrived.emit(walk, found)
                self.progress.emit(min(done, len(walk.views)), len(walk.views))
                self._jobs.check()

    def _paint(self, walk: _Walk, found: PlaneObjects) -> None:
        """Paint what was found on a slice, next to all that is there; late news of what was cancelled are dropped."""
        job = self._job
        if job is None or job.cancelled or self._binding is None or walk is not self._walk:
            return
        view, binding = walk.views[found.number], self._binding
        if walk.fresh:
            try:
                self._give_labels(binding, walk, [number for number in found.verdicts if number not in walk.labels])
            except SeganyError as error:
                self._jobs.cancel(job)
                self.stop()
                self.failed.emit(error)
                return
        binding.keeping.add(view, relabel_planes(found.labels, walk.labels))
        if binding.labels is not None:
            verdicts = {walk.labels[number]: verdict for number, verdict in found.verdicts.items()}
            self.followed.note(binding.labels, view, verdicts)
        walk.parents.update({walk.labels[one]: walk.labels[mother] for one, mother in found.parents.items()})
        walk.names.update({walk.labels[number]: name for number, name in found.names.items()})

    def _give_labels(self, binding: Binding, walk: _Walk, numbers: list[int]) -> None:
        """Labels for new objects: the next free ones, as the user may have committed others meanwhile."""
        changing = binding.keeping.opened is not None
        first = max(walk.labels.values(), default=walk.first - 1) + 1
        # while an object is being changed, the session's label is that object's
        first = first if changing else max(first, binding.session.label)
        if numbers:
            first = free_label(binding.output.ensure(), next(iter(walk.views.values())), first, count=len(numbers))
        walk.labels.update(zip(numbers, range(first, first + len(numbers)), strict=True))
        if not changing:
            binding.session.begin_at(first + len(numbers))

    def _end(self) -> None:
        if self._walk is None or self._binding is None or self._binding.labels is None:
            return
        labels = sorted(self._walk.labels.values())
        for label in labels if self._walk.fresh else ():
            self.found.emit(label, self._walk.names.get(label, ""))
        remarks = self.followed.remarks(DOUBT)
        for label in labels:
            self.remarked.emit(label, *remarks.get(label, ("", math.nan)))
        uncertain = len(self.followed.uncertain(DOUBT))
        self._binding.labels.metadata[CONFIDENCE] = self.followed.table()
        if self._walk.fresh and may_divide(self._binding.labels):
            note_parents(self._binding.labels, {label: self._walk.parents.get(label, 0) for label in labels})
        what = (
            f"{count_of(uncertain, 'place')} to check, the worst first: Shift+N."
            if uncertain
            else "Nothing is uncertain."
        )
        done = f"Found {count_of(len(labels), 'object')}." if self._walk.fresh else "Tracked."
        self._box.show_state(f"{done} {what}", uncertain=uncertain, followed=True)
        self.message.emit(f"{done} {what}")

    def stop(self) -> None:
        """It was cancelled: what is painted stays, and can be taken back."""
        if self._walk is not None and self._job is not None and self._job.cancelled:
            self._job = None
            self._end()

    def show_uncertain(self) -> None:
        """Go to the slice on which an object is least sure, and select it; then to the next one."""
        if self._binding is None or self._binding.labels is None:
            return
        found = self.followed.next_uncertain(self._binding.labels, DOUBT)
        if found is None:
            self._box.show_state("Nothing uncertain is left.", uncertain=0, followed=self._began is not None)
            return
        label, view = found
        self._binding.planes.go_to(view)
        self._binding.labels.selected_label = label
        verdict = self.followed.verdicts[found]
        flags = f" ({', '.join(verdict.flags)})" if verdict.flags else ""
        # below the buttons, since the status line is soon overwritten when the slice is encoded
        text = f"Object {label}: expected IoU {verdict.confidence:.2f}{flags}. U changes it; Shift+G tracks it again."
        self._box.show_state(text, uncertain=1, followed=self._began is not None)

    def withdraw(self) -> None:
        """Undo the last propagation, and all later changes."""
        if self._binding is None or self._began is None:
            return
        if self._job is not None:
            self._jobs.cancel(self._job)
        while self._binding.session.history.position > self._began and self._binding.undo():
            pass
        self._began = self._walk = None
        self.followed = PropagatedObjects()
        self._box.show_state("Tracking undone.", uncertain=0, followed=False)


def _known(data: Any, views: Mapping[int, View], wanted: list[int], followed: dict[int, int]) -> Known:
    """Runs in the worker: the masks of objects on the planes where they are labelled; `followed` gets their labels."""
    known: dict[int, dict[int, np.ndarray]] = {}
    for number, view in views.items():
        plane = view.read(data)
        here = [label for label in present_labels(plane) if label in wanted]
        if here:
            known[number] = {label: plane == label for label in here}
            followed.update((label, label) for label in here)
    return known


def _followed(
    answers: PredictionService, stack: Stack, known: Callable[[], Known], numbers: list[int]
) -> Generator[PlaneObjects, None, None]:
    """Runs in the worker: objects that are known on some planes, on the others."""
    with closing(answers.stream(propagate_objects, stack, known(), numbers)) as steps:
        for number, masks, verdicts in steps:
            labels = np.zeros(stack.plane_shape, np.int32 if max(masks, default=0) < 2**31 else np.int64)
            for label, mask in masks.items():
                labels[mask.pixels] = label
            yield PlaneObjects(number, labels, verdicts, {})


def _found(
    answers: PredictionService,
    stack: Stack,
    numbers: list[int],
    make_query: Callable[[Segmenter], Query],
    taken: Callable[[int], np.ndarray],
) -> Generator[PlaneObjects, None, None]:
    """Runs in the worker: all objects of all planes."""
    query, pixels = make_query(answers.segmenter), PlaneSource(stack.plane_shape, len(stack), taken)
    yield from answers.stream(search_slices, stack, numbers, query, pixels)
