"""Follows objects to the other slices in the worker, and paints them as they come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QObject, Qt, Signal

from napari_segany.core.errors import InputError, SeganyError
from napari_segany.core.planes import Stack
from napari_segany.core.propagate import Known, propagate
from napari_segany.core.verdicts import Verdict
from napari_segany.core.views import View
from napari_segany.layers.binding import Binding
from napari_segany.layers.read import image_shape
from napari_segany.layers.slices import Followed, Place, planes_along, present
from napari_segany.run.answers import Answers
from napari_segany.widgets.jobs import Job, Jobs
from napari_segany.widgets.stack_box import StackBox

DOUBT = 0.6
"""Confidence below which somebody should look."""


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """What is followed: planes by their number in the stack, and the masks that are known."""

    stack: Stack
    views: dict[int, View]
    known: Known


@dataclass(frozen=True, slots=True, eq=False)
class _Slice:
    """What was found on a slice."""

    walk: _Walk
    view: View
    masks: dict[int, np.ndarray]
    verdicts: dict[int, Verdict]


class Follower(QObject):
    """Between the box for stacks, the worker and the layers.

    Parameters
    ----------
    box : StackBox
        Its buttons.
    jobs : Jobs
        The worker.
    answers : Answers
        The model and its embeddings.

    Attributes
    ----------
    said : Signal
        Emitted with a line about what is going on.
    progress : Signal
        Emitted with how many slices are done, and how many there are.
    remarked : Signal
        Emitted with a label and what is to be said of it in the table.
    failed : Signal
        Emitted with the exception of work that failed.
    """

    said = Signal(str)
    progress = Signal(float, float)
    remarked = Signal(int, str)
    failed = Signal(object)
    _arrived = Signal(object)

    def __init__(self, box: StackBox, jobs: Jobs, answers: Answers) -> None:
        super().__init__(box)
        self._box, self._jobs, self._answers = box, jobs, answers
        self._binding: Binding | None = None
        self._walk: _Walk | None = None
        self._job: Job | None = None
        self._began: int | None = None
        self.followed = Followed()
        box.wanted.connect(self.follow)
        box.doubted.connect(self.show_doubtful)
        box.withdrawn.connect(self.withdraw)
        self._arrived.connect(self._paint, Qt.ConnectionType.QueuedConnection)

    def bind(self, binding: Binding | None) -> None:
        """Follow through another image; what was found in the one before is known no more."""
        self._binding, self._walk, self._began = binding, None, None
        self.followed = Followed()
        deep = binding is not None and len(image_shape(binding.image)) > 2
        self._box.setEnabled(deep)
        text = "" if deep or binding is None else "The image has one slice only."
        self._box.show_state(text, doubtful=0, followed=False)

    def follow(self) -> None:
        """Follow the objects of this slice that are wanted; what somebody labelled on other slices stays."""
        if self._binding is None:
            return
        try:
            walk, anew = self._prepared(self._binding)
        except SeganyError as error:
            self.failed.emit(error)
            return
        self._began = self._binding.session.history.position
        self._binding.keeping.erase(anew)
        self.followed.forget(anew)
        self._walk = walk
        self.said.emit("Following …")
        self._job = self._jobs.run(
            lambda: self._go(walk), done=lambda _: self._end(), failed=self.failed.emit, instead_of="follow"
        )

    def _prepared(self, binding: Binding) -> tuple[_Walk, list[Place]]:
        """What is to be done, and what was found earlier and is to be found anew for that."""
        view, labels = binding.view(), binding.labels
        if view is None or labels is None or not view.leading:
            raise InputError("keep an object on this slice first; then it can be followed to the others")
        there = present(view.read(labels.data))
        wanted = there if self._box.all_objects else [label for label in there if label == labels.selected_label]
        if not wanted:
            what = "there is no object" if self._box.all_objects else f"object {labels.selected_label} is not"
            raise InputError(f"{what} on this slice: nothing to follow")
        up, down = self._box.ways
        length = image_shape(binding.image)[view.leading[-1]]
        views = planes_along(view, length, up=up, down=down, reach=self._box.reach)
        anew = self.followed.depending(labels, wanted, views, view)
        known: dict[int, dict[int, np.ndarray]] = {}
        numbers = {binding.stack(one)[1]: one for one in views}
        for number, one in numbers.items():
            plane = one.read(labels.data)
            here = [label for label in present(plane) if label in wanted and (label, one) not in anew]
            if here:
                known[number] = {label: plane == label for label in here}
        return _Walk(binding.stack(view)[0], numbers, known), anew

    def _go(self, walk: _Walk) -> None:
        """Runs in the worker."""
        stack, answers = walk.stack, self._answers
        order = list(walk.views)
        found = propagate(answers.segmenter, stack, walk.known, order, embed=lambda n: answers.embed(stack, n))
        for done, (number, masks, verdicts) in enumerate(found, start=1):
            pixels = {label: mask.pixels for label, mask in masks.items()}
            self._arrived.emit(_Slice(walk, walk.views[number], pixels, verdicts))
            self.progress.emit(min(done, len(order)), len(order))
            self._jobs.check()

    def _paint(self, found: _Slice) -> None:
        """Paint what was found on a slice, beside all that is there; late news of what was cancelled are dropped."""
        cancelled = self._job is None or self._job.cancelled
        if cancelled or self._binding is None or found.walk is not self._walk:
            return
        self._binding.keeping.add(found.view, found.masks)
        if self._binding.labels is not None:
            self.followed.note(self._binding.labels, found.view, found.verdicts)

    def _end(self) -> None:
        if self._walk is None or self._binding is None or self._binding.labels is None:
            return
        for label in sorted({label for masks in self._walk.known.values() for label in masks}):
            self.remarked.emit(label, self.followed.remark(label, DOUBT))
        doubtful = len(self.followed.doubtful(DOUBT))
        what = f"{doubtful} places to look at, the worst first: Shift+N." if doubtful else "Nothing in it is doubtful."
        self._box.show_state(f"Followed. {what}", doubtful=doubtful, followed=True)
        self.said.emit(f"Followed. {what}")

    def stop(self) -> None:
        """It was cancelled: what is painted stays, and can be taken back."""
        if self._walk is not None and self._job is not None and self._job.cancelled:
            self._job = None
            self._end()

    def show_doubtful(self) -> None:
        """Go to the slice on which an object is least sure, and select it; then to the next one."""
        if self._binding is None or self._binding.labels is None:
            return
        found = self.followed.next_doubtful(self._binding.labels, DOUBT)
        if found is None:
            self._box.show_state("Nothing doubtful is left.", doubtful=0, followed=self._began is not None)
            return
        label, view = found
        self._binding.go_to(view)
        self._binding.labels.selected_label = label
        verdict = self.followed.verdicts[found]
        flags = f" ({', '.join(verdict.flags)})" if verdict.flags else ""
        # below the buttons, for the line of the status soon tells that the slice is ready
        said = f"Object {label}: expected IoU {verdict.confidence:.2f}{flags}. U changes it; Shift+G follows it anew."
        self._box.show_state(said, doubtful=1, followed=self._began is not None)

    def withdraw(self) -> None:
        """Undo all that was followed last, and whatever came after it."""
        if self._binding is None or self._began is None:
            return
        if self._job is not None:
            self._jobs.cancel(self._job)
        while self._binding.session.history.position > self._began and self._binding.undo():
            pass
        self._began = self._walk = None
        self.followed = Followed()
        self._box.show_state("Taken back.", doubtful=0, followed=False)
