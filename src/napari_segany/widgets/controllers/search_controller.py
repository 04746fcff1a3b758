"""Finds objects on the shown plane, filters and commits them: between panel, worker and layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_segany.core.automatic_masks import Candidate, Grid, Proposals
from napari_segany.core.errors import InputError, SeganyError
from napari_segany.core.planes import LazyPlane, Stack
from napari_segany.core.prompts import Box, ExampleBox, Point, Prompt
from napari_segany.core.query import Candidates, Query, Selection, example_query, query_for
from napari_segany.core.views import View
from napari_segany.engine.prediction import PredictionService
from napari_segany.engine.worker_jobs import find_candidates, find_candidates_of_prompts
from napari_segany.layers.binding import Binding
from napari_segany.layers.write import numbered
from napari_segany.session.plane_candidates import PlaneCandidates
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.panels.automatic_masks_panel import AutomaticMasksPanel

SINGLE = "#ffff00"
"""Colour of an object that is shown alone."""
Key = tuple[View, tuple[Point, ...], Box | None, bytes]
"""What identifies a prompt: its values and its place."""


def _key(view: View, prompt: Prompt) -> Key:
    return view, prompt.points, prompt.box, b"" if prompt.mask is None else prompt.mask.tobytes()


def _order(one: Candidate) -> tuple[float, int, int, int]:
    """What found objects are ordered by, the least certain first; two of a plane never have the same."""
    return one.score, one.window[0].start, one.window[1].start, one.area


class SearchController(QObject):
    """Connect the automatic masks panel with the worker and the layers.

    Found objects can be shown one by one, the least certain first: then `current` is the one that is shown, kept and
    rejected.

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
    arrived : Signal
        Emitted without arguments when a search has ended and its objects are offered.
    progress : Signal
        Emitted with the share that is done and 1, from the worker.
    failed : Signal
        Emitted with the exception of work that failed.
    """

    message = Signal(str)
    shown = Signal()
    arrived = Signal()
    progress = Signal(float, float)
    failed = Signal(object)

    def __init__(self, box: AutomaticMasksPanel, jobs: Jobs, answers: PredictionService) -> None:
        super().__init__(box)
        self._box, self._jobs, self._answers = box, jobs, answers
        self._binding: Binding | None = None
        self.found: PlaneCandidates | None = None
        self.current: Candidate | None = None
        self.count = self.labelled = 0
        self._offered: list[Candidate] = []
        self.text = ""
        self._known: dict[Key, Candidate | None] = {}
        self._listed: list[Key] = []
        box.wanted.connect(self.find)
        box.named.connect(self.find)
        box.filtered.connect(self.show)
        box.dropped.connect(self.drop)

    def use_model(self, name: str = "") -> None:
        """Offer what the model that was loaded can do."""
        can = self._answers.segmenter.capabilities
        self._box.offer_clicks(can.draws and can.proposals)

    def bind(self, binding: Binding | None) -> None:
        """Use another image; objects found on the one before are discarded."""
        if self._binding is not None:
            self._binding.reader.listed.disconnect(self.answer)
        self.found = self.current = None
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
            grid = None if text else self._box.grid
            boxes = self._binding.prompts.read_example_boxes(view) if text and self._binding is not None else ()
            self.search(view, lambda: self._query(text, grid, boxes), text or "all objects", text)

    def _query(self, text: str, grid: Grid | Proposals | None, boxes: Sequence[ExampleBox]) -> Query:
        """Runs in the worker; drawn boxes go with a text where the model takes both."""
        segmenter = self._answers.segmenter
        if segmenter.capabilities.examples and any(one.positive for one in boxes):
            return example_query(segmenter, boxes, text)
        return query_for(segmenter, text, grid=grid)

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

    def remove_current(self) -> Candidate | None:
        """Remove the object that is shown alone, go on to the next, and return it; None where there is none."""
        wrong = self.current
        if self.found is None or wrong is None:
            return None
        self.found = replace(self.found, candidates=self.found.candidates.without(wrong))
        self.current = None
        self.show()
        self._go_on(wrong)
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
        self.found, self.current = found, None
        self.show()
        self.arrived.emit()

    def show(self) -> None:
        """Preview the objects that pass the filters and have no label yet, when their plane is shown.

        Where they are shown one by one, the current one alone.
        """
        if self.found is None or self._binding is None:
            return
        selection = self._selected(self.found, self._binding)
        fresh = self._binding.output.fresh(self.found.plane, selection.labels, pointed=self.found.prompted)
        numbers = self._numbers(selection.labels, fresh)
        self._offered = [selection.objects[number - 1] for number in numbers]
        self.count = len(numbers)
        self.labelled = selection.existing + len(selection.objects) - len(numbers)
        if not self.found.prompted:
            self._box.show_count(self.count, len(self.found.candidates), self.labelled)
        place = self._place()
        if place < 0:
            self.current = None
        else:
            fresh, numbers = (fresh == place + 1).astype(fresh.dtype), [numbers[place]]
        self._box.show_single(self.current is not None)
        if self._binding.planes.shown == self.found.plane:
            first = self._binding.output.room_for(len(numbers), self._binding.session.label)
            names = {first + k: selection.names[number - 1] for k, number in enumerate(numbers)}
            # one that is shown alone must be told from committed objects next to it
            chosen = {} if self.current is None else dict.fromkeys(names.values(), SINGLE)
            colours = self._binding.mask_preview.show_labels(self.found.plane, numbered(fresh, first), names, chosen)
            colours = {} if chosen else colours
            self._box.show_legend(colours, Counter(names.values()))
        self.shown.emit()

    @staticmethod
    def _numbers(labels: np.ndarray, fresh: np.ndarray) -> list[int]:
        """The numbers of the objects that are new, in their order, in what was found."""
        new = fresh > 0
        number = np.zeros(int(fresh.max(initial=0)) + 1, np.int64)
        number[fresh[new]] = labels[new]
        return [int(one) for one in number[1:]]

    def _place(self) -> int:
        """Where the current object stands among those that are offered; -1 for none."""
        if self.current is None:
            return -1
        wanted = _order(self.current)
        return next((k for k, one in enumerate(self._offered) if _order(one) == wanted), -1)

    def step(self) -> None:
        """Show the next of the objects alone, the least certain first, and after the last one the first.

        Raises
        ------
        InputError
            No objects were found on this plane, or none is left.
        """
        if not self.here or self.prompted:
            raise InputError("find objects first (G or Shift+F); then step through them, the least certain first")
        if not self._offered:
            raise InputError("there is no object left to step to; lower the sliders")
        ordered = sorted(self._offered, key=_order)
        before = None if self.current is None else _order(self.current)
        self.current = next((one for one in ordered if before is not None and _order(one) > before), ordered[0])
        self.show()
        if self._binding is not None and self.found is not None and self.current is not None:
            self._binding.planes.bring_into_sight(self.found.plane, self.current.window)

    def leave(self) -> None:
        """Show all objects again that are left."""
        self.current = None
        self.show()

    def _go_on(self, before: Candidate) -> None:
        """Step on from an object that was kept or rejected; all are shown again where none is left."""
        self.current = before
        if self._offered:
            self.step()
        else:
            self.leave()

    @property
    def confident(self) -> list[Candidate]:
        """The objects that are offered with a score above the slider for confident ones."""
        return [one for one in self._offered if one.score >= self._box.confident]

    @property
    def at_once(self) -> bool:
        """Whether confident objects of a search are kept without a key."""
        return self._box.at_once

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
        if query is not None and (query.exemplars is not None or query.examples) and not self.text:
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
        if self.current is not None:
            place = 1 + sorted(map(_order, self._offered)).index(_order(self.current))
            return (
                f"Candidate {place} of {self.count}, the least certain first: score {self.current.score:.2f}. "
                "K keeps it, Shift+X rejects it, Shift+J shows the next, Q shows all."
            )
        if self.count:
            them = "it" if self.count == 1 else "them"
            more = "" if self.prompted else f" Shift+X rejects the one under the cursor.{self._about_confident()}"
            return f"{count_of(self.count, 'object')} found.{there} K keeps {them}, Q drops {them}.{more}"
        if there:
            return f"Nothing new was found.{there}"
        what = f" named “{self.text}”" if self.text and not self.prompted else ""
        return f"0 objects{what} found. Lower the sliders, or click."

    def _about_confident(self) -> str:
        count = len(self.confident)
        some = f" Shift+K keeps the {count} confident." if 0 < count < self.count else ""
        return f"{some} Shift+J shows them one by one." if self.count > 1 else some

    def keep(self, only: Sequence[Candidate] | None = None) -> dict[int, Candidate]:
        """Paint what passes the filters into the Labels layer; gives what was painted, by its label.

        Parameters
        ----------
        only : sequence of Candidate, optional
            Some of the objects that are offered; the others stay offered. By default the current one, else all.
        """
        if self.found is None or self._binding is None:
            return {}
        found, binding, current = self.found, self._binding, self.current
        if only is None and current is not None:
            only = [current]
        selection = self._selected(found, binding)
        labels = selection.labels
        if only is not None:
            wanted = set(map(_order, only))
            numbers_wanted = [k for k, one in enumerate(selection.objects, start=1) if _order(one) in wanted]
            labels = np.where(np.isin(labels, numbers_wanted), labels, 0)
        try:
            numbers = binding.keeping.keep_all(found.plane, labels, clear=found.prompted)
        except SeganyError as error:
            binding.problem.emit(str(error))
            return {}
        kept = {label: selection.objects[number - 1] for label, number in numbers.items()}
        for label, candidate in kept.items():
            binding.session.made_from[label] = found.plane, candidate.prompt
        if kept and only is None:
            self.forget()
        elif kept:
            self.current = None
            self.show()
            if current is not None:
                self._go_on(current)
        return kept

    def drop(self) -> None:
        """Show all objects where one is shown alone, else none of them any more."""
        if self.current is not None:
            self.leave()
        else:
            self.forget()

    def forget(self) -> None:
        """Show nothing of it any more."""
        self.found = self.current = None
        self.count = self.labelled = 0
        self._offered = []
        self._listed = []
        self._box.show_count(None, 0)
        if self._binding is not None:
            self._binding.mask_preview.show_mask()
        self.shown.emit()
