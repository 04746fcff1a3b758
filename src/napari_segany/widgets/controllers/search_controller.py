"""Finds objects on the shown plane, filters and commits them: between panel, worker and layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_segany.core.automatic_masks import Candidate
from napari_segany.core.errors import SeganyError
from napari_segany.core.planes import LazyPlane, Stack
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.query import Candidates, Query, Selection, query_for
from napari_segany.core.views import View
from napari_segany.engine.prediction import PredictionService
from napari_segany.engine.worker_jobs import find_candidates, find_candidates_of_prompts
from napari_segany.layers.binding import Binding
from napari_segany.layers.write import numbered
from napari_segany.session.plane_candidates import PlaneCandidates
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.panels.automatic_masks_panel import AutomaticMasksPanel

Key = tuple[View, tuple[Point, ...], Box | None, bytes]
"""What identifies a prompt: its values and its place."""


def _key(view: View, prompt: Prompt) -> Key:
    return view, prompt.points, prompt.box, b"" if prompt.mask is None else prompt.mask.tobytes()


class SearchController(QObject):
    """Connect the automatic masks panel with the worker and the layers.

    Parameters
    ----------
    box : AutomaticMasksPanel
        Its buttons and sliders.
    jobs : Jobs
        The worker.
    answers : PredictionService
        The model and its embeddings.

    Attributes
    ----------
    message : Signal
        Emitted with a message about found or committed objects.
    shown : Signal
        Emitted without arguments when other objects are offered, or none.
    progress : Signal
        Emitted with the share that is done and 1, from the worker.
    failed : Signal
        Emitted with the exception of work that failed.
    """

    message = Signal(str)
    shown = Signal()
    progress = Signal(float, float)
    failed = Signal(object)

    def __init__(self, box: AutomaticMasksPanel, jobs: Jobs, answers: PredictionService) -> None:
        super().__init__(box)
        self._box, self._jobs, self._answers = box, jobs, answers
        self._binding: Binding | None = None
        self.found: PlaneCandidates | None = None
        self.count = self.labelled = 0
        self.text = ""
        self._known: dict[Key, Candidate | None] = {}
        self._listed: list[Key] = []
        box.wanted.connect(self.find)
        box.named.connect(self.find)
        box.filtered.connect(self.show)
        box.dropped.connect(self.forget)

    def bind(self, binding: Binding | None) -> None:
        """Use another image; objects found on the one before are discarded."""
        if self._binding is not None:
            self._binding.reader.listed.disconnect(self.answer)
        self.found = None
        self._known.clear()
        self._listed = []
        self._binding = binding
        if binding is not None:
            binding.reader.listed.connect(self.answer)
        self._box.setEnabled(binding is not None)
        self._box.show_count(None, 0)

    def find(self, text: str = "") -> None:
        """Search the current plane for all objects, or for what a text names; its prompts stay."""
        view = self._binding.planes.view() if self._binding is not None else None
        if view is not None:
            text = text.strip()
            self.search(view, lambda: query_for(self._answers.segmenter, text), text or "all objects", text)

    def search(self, view: View, make_query: Callable[[], Query], what: str, text: str = "") -> None:
        """Search a plane.

        Parameters
        ----------
        view : View
            The plane.
        make_query : callable
            Makes the query; runs in the worker.
        what : str
            What is searched for, for the status line.
        text : str
            Names in the query, for the status line.
        """
        if self._binding is None:
            return
        stack, number = self._binding.planes.stack(view)
        # objects that were found before belong to another search
        self.forget()
        self.text = text
        self.message.emit(f"Searching for {what} …")
        self._jobs.run(
            lambda: self._search(view, stack, number, make_query()),
            done=self._arrived,
            failed=self.failed.emit,
            instead_of="everything",
        )

    def _search(self, view: View, stack: Stack, number: int, query: Query) -> PlaneCandidates:
        """Runs in the worker."""
        (candidates,) = self._answers.stream(find_candidates, stack, number, query, report=self._report)
        return PlaneCandidates(view, candidates, query)

    def remove(self, view: View, point: Point) -> Candidate | None:
        """Remove the found object at a pixel of a plane, and return it; None where there is none."""
        if self.found is None or self._binding is None or view != self.found.plane or self.found.prompted:
            return None
        selection = self._selected(self.found, self._binding)
        label = int(selection.labels[round(point.y), round(point.x)])
        if not label:
            return None
        wrong = selection.objects[label - 1]
        self.found = replace(self.found, candidates=self.found.candidates.without(wrong))
        self.show()
        return wrong

    def _report(self, done: float) -> None:
        self._jobs.check()
        self.progress.emit(done, 1.0)

    def answer(self, view: View, prompts: list[Prompt]) -> None:
        """Predict an object for each of many prompts; earlier predictions are reused."""
        if self._binding is None or not prompts:
            self.forget()
            return
        stack, number = self._binding.planes.stack(view)
        keys = [_key(view, prompt) for prompt in prompts]
        if keys == self._listed:
            # napari emits several events for one click
            return
        self._listed = keys
        fresh = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in self._known}

        def arrived(answers: list[Candidate | None]) -> None:
            self._known = {key: self._known.get(key) for key in keys} | dict(zip(fresh, answers, strict=True))
            candidates = [one for key in keys if (one := self._known[key]) is not None]
            self.found = PlaneCandidates(view, Candidates.of(LazyPlane(stack, number), candidates))
            self.show()

        self._jobs.run(
            lambda: self._prompted(stack, number, list(fresh.values())),
            done=arrived,
            failed=self.failed.emit,
            instead_of="several",
        )

    def _prompted(self, stack: Stack, number: int, prompts: list[Prompt]) -> list[Candidate | None]:
        """Runs in the worker."""
        (found,) = self._answers.stream(find_candidates_of_prompts, stack, number, prompts) if prompts else ([],)
        return list(found)

    def _arrived(self, found: PlaneCandidates) -> None:
        if found.query is not None:
            self._box.suit(found.query.filters, named=bool(found.query.phrases))
        self.found = found
        self.show()

    def show(self) -> None:
        """Preview the objects that pass the filters and have no label yet, when their plane is shown."""
        if self.found is None or self._binding is None:
            return
        selection = self._selected(self.found, self._binding)
        fresh = self._binding.output.fresh(self.found.plane, selection.labels, pointed=self.found.prompted)
        numbers = self._numbers(selection.labels, fresh)
        self.count = len(numbers)
        self.labelled = selection.existing + len(selection.objects) - len(numbers)
        if not self.found.prompted:
            self._box.show_count(self.count, len(self.found.candidates), self.labelled)
        if self._binding.planes.shown == self.found.plane:
            first = self._binding.output.room_for(self.count, self._binding.session.label)
            names = {first + k: selection.names[number - 1] for k, number in enumerate(numbers)}
            colours = self._binding.mask_preview.show_labels(self.found.plane, numbered(fresh, first), names)
            self._box.show_legend(colours, Counter(names.values()))
        self.shown.emit()

    @staticmethod
    def _numbers(labels: np.ndarray, fresh: np.ndarray) -> list[int]:
        """The numbers of the objects that are new, in their order, in what was found."""
        new = fresh > 0
        number = np.zeros(int(fresh.max(initial=0)) + 1, np.int64)
        number[fresh[new]] = labels[new]
        return [int(one) for one in number[1:]]

    def refresh(self) -> None:
        """Labels changed: what is new among what was found may be other objects now."""
        if self.found is not None:
            self.show()

    def _selected(self, found: PlaneCandidates, binding: Binding) -> Selection:
        """The objects that pass the filters, and have the attributes of the text."""
        return found.select(self._box.filters, self._box.overlap, binding.output.taken(found.plane))

    @property
    def prompted(self) -> bool:
        """Whether what was found was pointed at."""
        return self.found is not None and self.found.prompted

    @property
    def how(self) -> str:
        """By what the objects were found, as it is noted of them; empty where they were pointed at."""
        if self.found is None or self.found.prompted:
            return ""
        query = self.found.query
        if query is not None and query.exemplars is not None:
            return "exemplars"
        return "text" if self.text else "everything"

    @property
    def here(self) -> bool:
        """Whether objects were found on the current plane."""
        return self.found is not None and self._binding is not None and self._binding.planes.shown == self.found.plane

    @property
    def line(self) -> str:
        """Text about the found objects."""
        there = "1 object is" if self.labelled == 1 else f"{self.labelled:,} objects are"
        there = f" {there} labelled already." if self.labelled else ""
        if self.count:
            them = "it" if self.count == 1 else "them"
            reject = "" if self.prompted else " Shift+X rejects the one under the cursor."
            return f"{count_of(self.count, 'object')} found.{there} K keeps {them}, Q drops {them}.{reject}"
        if there:
            return f"Nothing new was found.{there}"
        what = f" named “{self.text}”" if self.text and not self.prompted else ""
        return f"0 objects{what} found. Lower the sliders, or click."

    def keep(self) -> dict[int, Candidate]:
        """Paint what passes the filters into the Labels layer; gives what was painted, by its label."""
        if self.found is None or self._binding is None:
            return {}
        found, binding = self.found, self._binding
        selection = self._selected(found, binding)
        try:
            numbers = binding.keeping.keep_all(found.plane, selection.labels, clear=found.prompted)
        except SeganyError as error:
            binding.problem.emit(str(error))
            return {}
        kept = {label: selection.objects[number - 1] for label, number in numbers.items()}
        for label, candidate in kept.items():
            binding.session.made_from[label] = found.plane, candidate.prompt
        if kept:
            self.forget()
        return kept

    def forget(self) -> None:
        """Show nothing of it any more."""
        self.found = None
        self.count = self.labelled = 0
        self._listed = []
        self._box.show_count(None, 0)
        if self._binding is not None:
            self._binding.mask_preview.show_mask()
        self.shown.emit()
