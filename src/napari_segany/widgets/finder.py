"""Finds everything on the plane that is looked at, filters it, and keeps it: the box and what it sets going."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from napari_segany.core.everything import Candidate, everything, filters_of
from napari_segany.core.planes import Stack
from napari_segany.core.views import View
from napari_segany.layers.binding import Binding
from napari_segany.run.answers import Answers
from napari_segany.session.candidates import Found
from napari_segany.widgets.everything_box import EverythingBox
from napari_segany.widgets.jobs import Jobs


class Finder(QObject):
    """Between the box for everything, the worker and the layers.

    Parameters
    ----------
    box : EverythingBox
        Its buttons and sliders.
    jobs : Jobs
        The worker.
    answers : Answers
        The model and its embeddings.

    Attributes
    ----------
    said : Signal
        Emitted with a line about what was found or kept.
    progress : Signal
        Emitted with the share that is done and 1, from the worker.
    failed : Signal
        Emitted with the exception of work that failed.
    """

    said = Signal(str)
    progress = Signal(float, float)
    failed = Signal(object)

    def __init__(self, box: EverythingBox, jobs: Jobs, answers: Answers) -> None:
        super().__init__(box)
        self._box, self._jobs, self._answers = box, jobs, answers
        self._binding: Binding | None = None
        self.found: Found | None = None
        box.wanted.connect(self.find)
        box.filtered.connect(self.show)
        box.dropped.connect(self.forget)

    def bind(self, binding: Binding | None) -> None:
        """Look at another image; what was found on the one before is forgotten."""
        self.found = None
        self._binding = binding
        self._box.setEnabled(binding is not None)
        self._box.show_count(None, 0)

    def find(self) -> None:
        """Look for everything on the plane that is shown; what is prompted there stays."""
        view = self._binding.view() if self._binding is not None else None
        if self._binding is None or view is None:
            return
        stack, number = self._binding.stack(view)
        self.said.emit("Looking for everything …")
        self._jobs.run(
            lambda: self._search(view, stack, number),
            done=self._arrived,
            failed=self.failed.emit,
            instead_of="everything",
        )

    def _search(self, view: View, stack: Stack, number: int) -> Found:
        """Runs in the worker."""
        embedding = self._answers.embed(stack, number)
        candidates: list[Candidate] = []
        for done, batch in everything(self._answers.segmenter, stack.plane(number), embedding=embedding):
            self._jobs.check()
            candidates += batch
            self.progress.emit(done, 1.0)
        return Found(view, embedding.shape, tuple(candidates))

    def _arrived(self, found: Found) -> None:
        if self.found is None:
            self._box.suit(filters_of(self._answers.segmenter))
        self.found = found
        self.show()

    def show(self) -> None:
        """Preview what passes the filters, when its plane is the one that is looked at."""
        if self.found is None or self._binding is None:
            return
        labels, objects = self.found.objects(self._box.filters, self._box.overlap)
        self._box.show_count(len(objects), len(self.found.candidates))
        if self._binding.view() == self.found.plane:
            first = self._binding.session.label
            self._binding.show_labels(self.found.plane, (labels > 0) * (labels + first - 1))
            self.said.emit(f"{len(objects)} objects. K keeps them, Q forgets them.")

    @property
    def showing(self) -> bool:
        """Whether what is previewed is what was found, and the keys K and Q are about that."""
        return (
            self.found is not None
            and self._binding is not None
            and self._binding.session.result is None
            and self._binding.view() == self.found.plane
        )

    def keep(self) -> dict[int, Candidate]:
        """Paint what passes the filters into the Labels layer; gives what was painted, by its label."""
        if self.found is None or self._binding is None:
            return {}
        labels, objects = self.found.objects(self._box.filters, self._box.overlap)
        numbers = self._binding.keep_labels(self.found.plane, labels)
        if numbers:
            self.forget()
            self.said.emit(f"Kept {len(numbers)} objects. Ctrl+Z takes them back.")
        return {label: objects[number - 1] for label, number in numbers.items()}

    def forget(self) -> None:
        """Show nothing of it any more."""
        self.found = None
        self._box.show_count(None, 0)
        if self._binding is not None:
            self._binding.show_nothing()
