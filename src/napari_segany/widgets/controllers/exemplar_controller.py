"""Finds objects like the committed ones, and learns from found objects that are rejected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_segany.core.errors import InputError
from napari_segany.core.exemplars import Exemplars, ObjectDescriptors
from napari_segany.core.masks import window_of
from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Box, ExampleBox
from napari_segany.core.query import Query, example_query, exemplar_query
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.views import View
from napari_segany.engine.prediction import PredictionService
from napari_segany.engine.worker_jobs import PlaneObject, describe_objects
from napari_segany.layers.binding import Binding
from napari_segany.session.session import Session
from napari_segany.widgets.controllers.search_controller import SearchController
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.panels.automatic_masks_panel import AutomaticMasksPanel

LATEST = 30
"""Committed objects that are exemplars, the latest ones."""


class ExemplarController(QObject):
    """Connect committed and rejected objects with the search.

    Parameters
    ----------
    session : Session
        Knows which plane each object was committed on.
    finder : SearchController
        Searches, and shows what it found.
    box : AutomaticMasksPanel
        Its sliders.
    jobs : Jobs
        The worker.
    answers : PredictionService
        The model.
    confirmed : callable
        A method that tells whether the user stands for the object of a label; no other one is an exemplar.

    Attributes
    ----------
    message : Signal
        Emitted with a line about what was done.
    failed : Signal
        Emitted with the exception of work that failed.
    """

    message = Signal(str)
    failed = Signal(object)

    def __init__(
        self,
        session: Session,
        finder: SearchController,
        box: AutomaticMasksPanel,
        jobs: Jobs,
        answers: PredictionService,
        confirmed: Callable[[int], bool],
    ) -> None:
        super().__init__(box)
        self._session, self._finder, self._box, self._jobs, self._answers = session, finder, box, jobs, answers
        self._confirmed = confirmed
        self._binding: Binding | None = None
        self._rejected: list[tuple[View, PlaneObject]] = []
        box.like_wanted.connect(self.find)

    def bind(self, binding: Binding | None) -> None:
        """Work on another image, of which nothing is rejected."""
        self._binding = binding
        self._rejected = []

    def find(self) -> None:
        """Search the current plane for objects like the committed ones, and like those in drawn boxes.

        A model that takes example boxes gets those of the objects on this plane, too.
        """
        view = self._binding.planes.view() if self._binding is not None else None
        if self._binding is None or view is None:
            return
        objects = self._committed(self._binding, view)
        drawn = self._binding.prompts.read_example_boxes(view)
        nothing = self._nothing(self._binding, view)
        if not objects and not any(one.positive for one in drawn):
            self.failed.emit(InputError(nothing))
            return
        stack, number = self._binding.planes.stack(view)
        rejected = [one for where, one in self._rejected if where.axes == view.axes]
        boxes = [*drawn, *_boxes(objects, number, positive=True), *_boxes(rejected, number, positive=False)]

        def make() -> Query:
            segmenter = self._answers.segmenter
            if segmenter.capabilities.examples and any(one.positive for one in boxes):
                return example_query(segmenter, boxes)
            if not objects:
                raise InputError(nothing)
            return self._query(stack, objects, rejected)

        self._finder.search(view, make, f"objects like {_counted(len(objects), len(drawn))}")

    def reject(self, position: Sequence[float]) -> None:
        """Remove the found object that is shown alone, else that at a place in the world, and what is like it.

        Raises
        ------
        InputError
            When there is no found object.
        """
        found, place = self._finder.found, None if self._binding is None else self._binding.planes.place(position)
        single = self._finder.current is not None
        candidate = self._finder.remove_current()
        if candidate is None and place is not None:
            candidate = self._finder.remove(*place)
        if candidate is None or found is None or self._binding is None:
            raise InputError("there is no found object under the cursor to reject")
        stack, number = self._binding.planes.stack(found.plane)
        wrong = PlaneObject(number, candidate.window, candidate.mask)
        self._rejected.append((found.plane, wrong))
        if not single:
            # (where they are shown one by one, the status line is about the next)
            self.message.emit("Object rejected.")
        if found.query is not None and found.query.exemplars is not None:
            self._jobs.run(
                lambda: self._described(stack, [wrong]),
                done=self._learn,
                failed=self.failed.emit,
                instead_of="reject",
            )

    def _learn(self, wrong: ObjectDescriptors) -> None:
        """Lower the scores of what is like a rejected object."""
        found = self._finder.found
        if found is None or found.query is None or found.query.exemplars is None:
            return
        known = found.query.exemplars
        exemplars = replace(known, rejected=known.rejected.joined(wrong))
        self._finder.found = replace(found, query=replace(found.query, exemplars=exemplars))
        self._finder.show()

    def query_maker(self, text: str = "") -> Callable[[Segmenter], Query]:
        """Return what makes the query for other slices: the exemplars of this one, or that of the panel."""
        found = self._finder.found
        if text.strip() or found is None or found.query is None or found.query.exemplars is None:
            return self._box.query_maker(text)
        return partial(
            exemplar_query,
            exemplars=found.query.exemplars,
            changes=asdict(self._box.filters),
            overlap=self._box.overlap,
        )

    def _committed(self, binding: Binding, view: View) -> list[PlaneObject]:
        """The latest committed objects, on the planes that they were committed on; all of this plane where none is."""
        labels = binding.output.labels
        if labels is None:
            return []
        made = [(label, where) for label, (where, _) in self._session.made_from.items() if where.axes == view.axes]
        known = [(label, where) for label, where in made if self._confirmed(label)][-LATEST:]
        planes = {where: where.read(labels.data) for _, where in known}
        found = [(where, _object(planes[where], label)) for label, where in known]
        if not any(one is not None for _, one in found):
            plane = view.read(labels.data)
            found = [(view, _object(plane, label)) for label in self._labels(plane)]
        return [PlaneObject(binding.planes.stack(where)[1], *one) for where, one in found if one is not None][-LATEST:]

    def _labels(self, plane: np.ndarray) -> list[int]:
        """The confirmed objects of a plane of labels."""
        return [label for label in np.unique(plane[plane > 0]).tolist() if self._confirmed(label)]

    @staticmethod
    def _nothing(binding: Binding, view: View) -> str:
        """Why there is no exemplar."""
        labels = binding.output.labels
        if labels is not None and np.any(view.read(labels.data) > 0):
            return (
                "the objects of this slice are not confirmed yet: accept an object in the tab Objects, or commit one; "
                "then all objects like it can be found"
            )
        return "commit an object first; then all objects like it can be found"

    def _query(self, stack: Stack, objects: Sequence[PlaneObject], rejected: Sequence[PlaneObject]) -> Query:
        """Runs in the worker."""
        exemplars = Exemplars(
            self._described(stack, objects),
            self._described(stack, rejected) if rejected else ObjectDescriptors(),
            self._answers.segmenter.capabilities.ranking,
        )
        return exemplar_query(self._answers.segmenter, exemplars)

    def _described(self, stack: Stack, objects: Sequence[PlaneObject]) -> ObjectDescriptors:
        """Runs in the worker."""
        (found,) = self._answers.stream(describe_objects, stack, list(objects))
        described: ObjectDescriptors = found
        return described


def _boxes(objects: Sequence[PlaneObject], number: int, *, positive: bool) -> list[ExampleBox]:
    """The boxes of those objects that lie on a plane."""
    return [
        ExampleBox(
            Box(*(float(span.start) for span in one.window), *(span.stop - 1.0 for span in one.window)), positive
        )
        for one in objects
        if one.number == number
    ]


def _counted(objects: int, drawn: int) -> str:
    """What is looked for others of, in words."""
    if not objects:
        return "that in the box" if drawn == 1 else f"those in the {drawn} boxes"
    return "the committed object" if objects == 1 else f"the {objects} committed objects"


def _object(plane: np.ndarray, label: int) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """The window and the mask of an object of a plane of labels; None where it has no pixel."""
    mask = plane == label
    window = window_of(mask)
    return None if window is None else (window, mask[window])
