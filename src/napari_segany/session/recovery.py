"""What a journal's events come to: labels, prompts and history, without a model and without a viewer."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.planes import ChannelSettings
from napari_segany.session.events import ActionEvent, Event, LayerEvent, ModelEvent, PromptEvent
from napari_segany.session.history import History, Marks, Step
from napari_segany.session.journal import NOT_AS_WRITTEN, JournalFile, read_journal


class State:
    """State of a session after all events so far.

    Attributes
    ----------
    labels : dict of int to ndarray
        Label arrays, under their layers' numbers.
    marks : dict of int to tuple of Mark
        Contents of the prompt layers, under their numbers.
    current : dict of str to int
        Number of the layer in use, of each kind: "labels", "points", "shapes".
    history : History
        Steps that can be undone and redone.
    choice : int
        Which candidate is shown.
    channel_settings : ChannelSettings
        Channels, limits and inversion of the image.
    finished : bool
        Whether the session was closed, and not resumed since.
    unsaved : bool
        Whether labels were changed since they were saved or exported last.
    dismissed : bool
        Whether the user chose not to continue, and did not since.
    described : dict of int to ObjectInfo
        Known facts about the objects, by label.
    largest : int
        Largest number of pixels that a label array may have.
    """

    def __init__(self, largest: int = sys.maxsize) -> None:
        self.largest = largest
        self.labels: dict[int, np.ndarray] = {}
        self.marks: dict[int, Marks] = {}
        self.current: dict[str, int] = {}
        self.history = History()
        self.described: dict[int, ObjectInfo] = {}
        self._named: dict[int, tuple[str, float]] = {}
        self.choice = 0
        self.channel_settings = ChannelSettings()
        self.finished = self.unsaved = self.dismissed = False

    def take(self, event: Event) -> None:
        """Apply an event."""
        self.finished = event in (ActionEvent("closed"), ActionEvent("dismissed"))
        self.dismissed = event == ActionEvent("dismissed")
        if event == ActionEvent("saved"):
            self.unsaved = False
        if isinstance(event, LayerEvent):
            self.add(event)
        elif isinstance(event, ChannelSettings):
            self.channel_settings = event
        elif isinstance(event, ObjectInfo):
            self._describe(event)
        elif isinstance(event, Step):
            self.history.do(event)
            self._apply(event)
        elif isinstance(event, ActionEvent) and event.what in ("undone", "redone"):
            step = self.history.undo() if event.what == "undone" else self.history.redo()
            if step is None:
                raise InputError(f"something is {event.what} that was never done")
            self._apply(step)
        elif isinstance(event, ActionEvent) and event.what == "chosen":
            self.choice = event.value
        elif isinstance(event, PromptEvent):
            self.choice = 0

    def _describe(self, about: ObjectInfo) -> None:
        self.described[about.label] = about
        if about.class_probability is not None:
            self._named[about.label] = about.class_name, about.class_probability
        elif not about.class_name:
            self._named.pop(about.label, None)

    def _apply(self, step: Step) -> None:
        step.apply(self.labels, self.marks)
        self.unsaved = self.unsaved or bool(step.patches or step.classes or step.states)
        for label, _, name in step.classes:
            known = self.described.get(label, ObjectInfo(label))
            self.described[label] = known.with_class(name, self._named.get(label))
        reviews = {label: after for label, _, after in step.reviews}
        for label, _, state in step.states:
            known = self.described.get(label, ObjectInfo(label))
            self.described[label] = known.with_state(state, reviews.get(label, ("", "")))
        if step.choice[0] != step.choice[1]:
            self.choice = step.choice[1]

    def add(self, base: LayerEvent) -> None:
        """Begin with a layer."""
        self.current[base.kind] = base.number
        if base.kind != "labels":
            self.marks.setdefault(base.number, base.marks)
        elif base.number not in self.labels:
            if math.prod(base.shape) > self.largest:
                raise InputError(f"labels of shape {base.shape} do not fit the image")
            self.labels[base.number] = np.zeros(base.shape, base.dtype)
            if base.patch is not None:
                base.patch.apply(self.labels[base.number])


@dataclass(frozen=True, slots=True)
class Recovered:
    """A journal and what it comes to."""

    path: Path
    journal: JournalFile
    state: State

    @property
    def labels(self) -> np.ndarray | None:
        """The label array that was in use last, of the layer's own type; None when no object was ever kept."""
        number = self.state.current.get("labels")
        return None if number is None else self.state.labels[number]

    def marks(self, kind: str) -> Marks:
        """What lies in the prompt layer in use, of "points" or "shapes"."""
        return self.state.marks.get(self.state.current.get(kind, 0), ())

    @property
    def last_model(self) -> ModelEvent:
        """The last model."""
        named = [event for event in self.journal.events if isinstance(event, ModelEvent)]
        return named[-1] if named else self.journal.header.model

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it that anyone would miss."""
        no_labels = self.labels is None or not self.labels.any()
        return no_labels and not self.marks("points") and not self.marks("shapes") and not len(self.state.history)

    @property
    def objects(self) -> int:
        """How many labels there are."""
        return 0 if self.labels is None else int(np.unique(self.labels[self.labels != 0]).size)

    @property
    def prompts(self) -> int:
        """Number of open clicks and shapes."""
        return len(self.marks("points")) + len(self.marks("shapes"))


def recover(path: str | Path, *, partial: bool = False) -> Recovered:
    """Rebuild labels, open prompts and history from a journal, from its patches alone.

    Parameters
    ----------
    path : str or Path
        The file.
    partial : bool
        Stop at the first record that is damaged or does not follow from those before it, and set the warning of the
        journal.

    Raises
    ------
    InputError
        As :func:`~napari_segany.session.journal.read_journal`, and when its records contradict each other.
    """
    path = Path(path)
    journal = read_journal(path, partial=partial)
    state, taken = _played(journal)
    if taken < len(journal.events):
        reason = f"line {taken + 2} of the session {path} does not follow from those before it"
        if not partial:
            raise InputError(reason)
        left = len(journal.events) - taken
        journal = journal.until(taken, f"{reason}; {left} records from there on are left out")
        # the record that does not follow may have been done in part
        state, _ = _played(journal)
    return Recovered(path, journal, state)


def _played(journal: JournalFile) -> tuple[State, int]:
    """The state after all events, or up to the first that does not follow, and how many events were taken."""
    state = State(math.prod(journal.header.label_shape))
    for number, event in enumerate(journal.events):
        try:
            state.take(event)
        except NOT_AS_WRITTEN:
            return state, number
    return state, len(journal.events)
