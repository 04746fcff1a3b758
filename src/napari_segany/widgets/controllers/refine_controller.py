"""Draws the objects of a Labels layer again in the worker, and lets the user choose between old and new masks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QObject, Qt, Signal

from napari_segany.core.errors import InputError, SeganyError
from napari_segany.core.label_refinement import RefinedObject
from napari_segany.core.planes import Stack
from napari_segany.core.views import View
from napari_segany.engine.prediction import PredictionService
from napari_segany.engine.worker_jobs import PlaneSource, refine_slices
from napari_segany.layers.binding import Binding
from napari_segany.layers.read import image_shape
from napari_segany.layers.refined_labels import RefinedLabels
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.jobs import Job, Jobs
from napari_segany.widgets.panels.refine_panel import LISTED, RefinedRow, RefinePanel


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What is done: the layers, the image's planes, and the slices with their numbers among these."""

    labels: RefinedLabels
    stack: Stack
    views: Sequence[View]
    numbers: Sequence[int]


class RefineController(QObject):
    """Connects the panel for refined labels, the worker and the layers.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are.
    box : RefinePanel
        Owns this object.
    jobs : Jobs
        The worker.
    answers : PredictionService
        The model.

    Attributes
    ----------
    message : Signal
        Emitted with a line about what is done.
    progress : Signal
        Emitted with the share that is done and 1, from the worker.
    failed : Signal
        Emitted with the exception of what failed.
    shown : Signal
        Emitted when an object of the list is shown.
    """

    message = Signal(str)
    progress = Signal(float, float)
    failed = Signal(object)
    shown = Signal()
    _arrived = Signal(object, int, object)

    def __init__(self, viewer: ViewerModel, box: RefinePanel, jobs: Jobs, answers: PredictionService) -> None:
        super().__init__(box)
        self._viewer, self._box, self._jobs, self._answers = viewer, box, jobs, answers
        self._binding: Binding | None = None
        self._run: _Run | None = None
        self._job: Job | None = None
        self._listed: list[tuple[View, RefinedObject]] = []
        box.decided.connect(self._decide)
        box.all_decided.connect(self._decide_all)
        box.selected.connect(self._go_to)
        self._arrived.connect(self._add, Qt.ConnectionType.QueuedConnection)
        events = viewer.layers.events
        self._watched = (events.inserted, events.removed, events.renamed, viewer.layers.selection.events.active)
        for event in self._watched:
            event.connect(self._offer)

    def bind(self, binding: Binding | None) -> None:
        """Refine labels of another image; the list of the one before goes, its layers stay."""
        self._binding, self._run, self._listed = binding, None, []
        self._box.show_rows([])
        self._box.say("")
        self._offer()

    def close(self) -> None:
        """Let go of the viewer."""
        for event in self._watched:
            event.disconnect(self._offer)

    @property
    def source(self) -> Labels | None:
        """The layer to refine: the active Labels layer, else the one in use, else the one on top."""
        binding = self._binding
        if binding is None:
            return None
        ours = (binding.mask_preview.layer, self._run.labels.layer if self._run is not None else None)
        there = [one for one in self._viewer.layers if type(one) is Labels and not any(one is own for own in ours)]
        wanted = (self._viewer.layers.selection.active, binding.labels)
        chosen = next((one for layer in wanted for one in there if one is layer), None)
        return chosen if chosen is not None else there[-1] if there else None

    def _offer(self, event: Any = None) -> None:
        binding, source = self._binding, self.source
        several = binding is not None and len(image_shape(binding.image)) > 2
        self._box.offer("" if source is None else source.name, several=several)

    def refine(self) -> None:
        """Draw the objects of the layer again, on all slices or the shown one, into a new layer."""
        if self._binding is None:
            return
        try:
            run = self._prepared(self._binding)
        except SeganyError as error:
            self.failed.emit(error)
            return
        self._run, self._listed = run, []
        run.labels.show(self._viewer)
        self._box.show_rows([])
        self._box.say("")
        self.message.emit(f"Refining {run.labels.source.name!r} …")
        self._job = self._jobs.run(
            lambda: self._go(run), done=lambda _: self._end(), failed=self._fail, instead_of="refine"
        )

    def _prepared(self, binding: Binding) -> _Run:
        source, view = self.source, binding.planes.view()
        if source is None:
            raise InputError("there is no Labels layer to refine: open the labels of Cellpose, StarDist or yours")
        if view is None:
            raise InputError("show slices of the image, not a volume; then labels can be refined")
        labels = RefinedLabels(source, binding.image)
        stack, _ = binding.planes.stack(view)
        views = self._views(binding, view) if self._box.all_slices else [view]
        filled = [one for one in views if labels.labels(one).any()]
        if not filled:
            raise InputError(f"{source.name!r} holds no object on this slice")
        return _Run(labels, stack, filled, [binding.planes.stack(one)[1] for one in filled])

    @staticmethod
    def _views(binding: Binding, view: View) -> list[View]:
        """All planes parallel to one; where channels are seen together, those of its channel."""
        shape, together = image_shape(binding.image), binding.planes.settings.together
        ranges = [
            range(length) if axis in view.leading and axis != together else (view.position[axis],)
            for axis, length in enumerate(shape)
        ]
        return [replace(view, position=tuple(position)) for position in product(*ranges)]

    def _go(self, run: _Run) -> None:
        """Runs in the worker."""
        labels = PlaneSource(run.stack.plane_shape, len(run.views), lambda place: _integers(run, place))
        steps = self._answers.stream(refine_slices, run.stack, list(run.numbers), labels, report=self._report)
        # closed at once when it is cancelled, so that the model stops and is free for clicks
        with closing(steps):
            for place, objects in steps:
                self._arrived.emit(run, place, objects)
                self._jobs.check()

    def _report(self, done: float) -> None:
        self._jobs.check()
        self.progress.emit(done, 1.0)

    def _add(self, run: _Run, place: int, objects: list[RefinedObject]) -> None:
        """Show the objects of a slice; late news of what was cancelled are dropped."""
        if run is not self._run or self._job is None or self._job.cancelled:
            return
        try:
            run.labels.add(run.views[place], objects)
        except SeganyError as error:
            self._jobs.cancel(self._job)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._end()
        self.failed.emit(error)

    def stop(self) -> None:
        """It was cancelled: slices that are done are listed, the others have their old labels."""
        if self._job is not None and self._job.cancelled:
            self._end()

    def _end(self) -> None:
        self._job = None
        if self._run is None:
            return
        labels = self._run.labels
        self._listed = labels.ranked
        rows = [_row(labels, view, one) for view, one in self._listed]
        self._box.show_rows(rows)
        kept = sum(not row.new for row in rows)
        text = f"{count_of(len(rows), 'object')} drawn again in {labels.layer.name!r}, those that change most first."
        text += f" {count_of(kept, 'object')} kept the old mask: the new one is elsewhere." if kept else ""
        text += f" The first {LISTED} are listed." if len(rows) > LISTED else ""
        self._box.say(text)
        self.message.emit(text)

    def _decide(self, row: int, new: bool) -> None:
        self._use(self._listed[row : row + 1], new)

    def _decide_all(self, new: bool) -> None:
        self._use(self._listed, new)

    def _use(self, objects: Sequence[tuple[View, RefinedObject]], new: bool) -> None:
        if self._run is None:
            return
        labels = self._run.labels
        try:
            labels.use([(view, one.label) for view, one in objects], new=new)
        except SeganyError as error:
            self.failed.emit(error)
        self._box.tick([labels.shows_new(view, one.label) for view, one in self._listed[:LISTED]])

    def _go_to(self, row: int) -> None:
        if self._binding is None or row >= len(self._listed):
            return
        view, one = self._listed[row]
        self._binding.planes.go_to(view)
        self._binding.planes.bring_into_sight(view, one.window, centred=True)
        self.shown.emit()


def _integers(run: _Run, place: int) -> np.ndarray:
    return run.labels.labels(run.views[place])


def _row(labels: RefinedLabels, view: View, one: RefinedObject) -> RefinedRow:
    name = ", ".join(str(view.position[axis]) for axis in view.leading)
    return RefinedRow(one.label, name, one.iou, one.score, labels.shows_new(view, one.label))
