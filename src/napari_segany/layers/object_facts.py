"""What is known of the objects of a Labels layer next to their pixels: names, classes, states and who reviewed them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from psygnal import Signal

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ACCEPTED, REJECTED, UNCERTAIN, ObjectInfo
from napari_segany.core.review import least_certain_first
from napari_segany.layers.commit import Steps
from napari_segany.session.history import Step

STEPS = {ACCEPTED: "accept", REJECTED: "reject", UNCERTAIN: "mark uncertain"}
"""What the steps of undo are called that set a state."""


@dataclass(slots=True)
class _Lists:
    """Classes and states by label, and for which version of the facts."""

    version: int
    classes: dict[int, str] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)


class ObjectFacts(ABC):
    """Facts about objects by label; subclasses know which objects there are, and show the facts.

    Parameters
    ----------
    step : callable, optional
        Makes one step of undo of what is done within it; by default there is none.

    Attributes
    ----------
    described : Signal
        Emitted with an ObjectInfo when something else is known of an object.
    version : int
        Grows with each change of what is known, or of which objects there are.
    measured : int
        The same, without changes of names, classes and states.
    """

    described = Signal(ObjectInfo)

    def __init__(self, step: Steps | None = None) -> None:
        self.version = self.measured = 0
        self._step: Steps = step or (lambda _, **options: nullcontext())
        self._about: dict[int, ObjectInfo] = {}
        self._suggested: dict[int, tuple[str, float]] = {}
        self._named: dict[int, tuple[str, float]] = {}
        self._unnamed: set[int] = set()
        self._last: dict[int, int] = {}
        self._lists = _Lists(-1)
        self._order: tuple[int, list[int]] = (-1, [])

    @property
    @abstractmethod
    def present(self) -> list[int]:
        """Labels of the objects that are there, sorted."""

    @abstractmethod
    def update(self) -> None:
        """Show all facts."""

    @abstractmethod
    def _check(self, labels: Iterable[int], *, counted: bool = True) -> list[int]:
        """Labels, sorted, all of which there are."""

    @abstractmethod
    def _restate(self, event: object = None, *, facts_only: bool = False) -> None:
        """Note that something changed, which is shown by the next update; `facts_only` of single objects."""

    @abstractmethod
    def _rewrite(self, labels: Iterable[int]) -> None:
        """Show the facts of some objects now."""

    def announce(self) -> None:
        """Emit what is known of objects that the user has not confirmed, for the session that begins with them."""
        for about in list(self._about.values()):
            if not about.confirmed:
                self.described.emit(about)

    def note(self, about: ObjectInfo) -> None:
        """Record what is known of an object that was just painted; what was known of its label before is forgotten."""
        self._about[about.label] = about
        self._named.pop(about.label, None)
        self._unnamed.discard(about.label)
        self._remember_name(about)
        self._last.pop(about.label, None)
        self.described.emit(about)
        self._restate(facts_only=True)

    @property
    def states(self) -> dict[int, str]:
        """The state of each object that is there, by label; empty for one that the user made or corrected."""
        return dict(self._gathered().states)

    def _gathered(self) -> _Lists:
        """Classes and states of the objects that are there: gathered again when more changed than some of them."""
        if self._lists.version != self.version:
            known = list(map(self.about, self.present))
            self._lists = _Lists(
                self.version,
                {about.label: about.given_class for about in known},
                {about.label: about.state for about in known},
            )
        return self._lists

    def _gather(self, labels: Iterable[int]) -> None:
        """Some objects changed, and nothing else."""
        lists = self._gathered()
        for about in map(self.about, labels):
            lists.classes[about.label], lists.states[about.label] = about.given_class, about.state
        self.version += 1
        lists.version = self.version

    def least_certain_first(self) -> list[int]:
        """Labels of the objects that are there, see :func:`~napari_segany.core.review.least_certain_first`."""
        if self._order[0] != self.measured:
            self._order = self.measured, least_certain_first(map(self.about, self.present))
        return self._order[1]

    def take_over(self, known: Mapping[int, ObjectInfo]) -> None:
        """Set known facts about objects of an earlier session."""
        self._about |= known
        for about in known.values():
            self._remember_name(about)
        self._restate()

    def remark(self, label: int, status: str, confidence: float = math.nan) -> None:
        """Record what should be checked in an object, and its confidence on its least certain slice."""
        known = None if math.isnan(confidence) else confidence
        self._about[label] = replace(self.about(label), status=status, confidence=known)
        self.described.emit(self._about[label])
        self._restate(facts_only=True)

    def about(self, label: int) -> ObjectInfo:
        """What is known of an object."""
        return self._about.get(label) or ObjectInfo(label)

    @property
    def classes(self) -> dict[int, str]:
        """The class that was given to each object that is there, by label; empty for none, also with a model's name."""
        return dict(self._gathered().classes)

    @property
    def nameless(self) -> list[int]:
        """Labels of the objects that neither have a class nor were named by a model."""
        return [label for label in self.present if not self.about(label).class_name and label not in self._unnamed]

    def name_objects(self, names: Mapping[int, tuple[str, float]]) -> None:
        """Note what a model takes objects for, and the probability; a class that was given stays.

        An object that gets an empty name is not listed as nameless again until its pixels change.
        """
        for label, (name, probability) in names.items():
            if self.about(label).given_class:
                continue
            if name:
                self._named[label] = name, probability
                self._about[label] = self.about(label).with_class("", self._named[label])
                self.described.emit(self._about[label])
            else:
                self._unnamed.add(label)
        self._restate()
        self.update()

    def forget_names(self, labels: Iterable[int] | None = None) -> None:
        """Drop what a model takes objects for, of some or all of them."""
        for label in list(self._named if labels is None else labels):
            about = self.about(label)
            self._named.pop(label, None)
            if about.class_probability is not None:
                self._about[label] = about.with_class("")
                self.described.emit(self._about[label])
        self._unnamed.clear()
        self._restate()
        self.update()

    @property
    def suggested(self) -> dict[int, tuple[str, float]]:
        """Suggested classes of objects without one, with their probabilities, by label."""
        classes = self.classes
        return {label: one for label, one in self._suggested.items() if not classes.get(label, "-")}

    def suggest(self, classes: Mapping[int, tuple[str, float]]) -> None:
        """List these classes and their probabilities as suggested, and no others."""
        self._suggested = dict(classes)
        self._restate()
        self.update()

    def classify(self, classes: Mapping[int, str]) -> None:
        """Give objects a class, or with an empty name none, in one step of undo.

        Raises
        ------
        InputError
            When there is no such object.
        """
        self._check(classes, counted=False)
        changes = [(label, self.about(label).given_class, name) for label, name in sorted(classes.items())]
        changed = tuple(one for one in changes if one[1] != one[2])
        if changed:
            with self._step(Step("class", classes=changed), pixels=False):
                self.set_classes({label: name for label, _, name in changed})
        if refused := [label for label, before, name in changes if not before and not name]:
            # nothing that the user gave: the model's name goes, and there is no step to undo
            self.forget_names(refused)
            self._unnamed.update(refused)

    def set_classes(self, classes: Mapping[int, str]) -> None:
        """Set classes that a step already records."""
        for label, name in classes.items():
            self._about[label] = self.about(label).with_class(name, self._named.get(label))
        self._rewrite(classes)

    def set_state(self, labels: Iterable[int], state: str, review: tuple[str, str] = ("", "")) -> None:
        """Note one of ``STATES`` of some objects, or an empty one: they are the user's; in one step of undo.

        Parameters
        ----------
        labels : iterable of int
            Of the objects.
        state : str
            The state.
        review : (str, str)
            Who sets it in a review, and when; see :func:`~napari_segany.core.review.review_now`.

        Raises
        ------
        InputError
            When one is not there.
        """
        found = map(self.about, self._check(labels, counted=False))
        # that the user agrees with a state of a model is noted, too
        known = [about for about in found if about.state != state or (any(review) and not any(about.review))]
        if known:
            states = tuple((about.label, about.state, state) for about in known)
            reviews = tuple((about.label, about.review, review) for about in known if about.review != review)
            with self._step(Step(STEPS.get(state, "state"), states=states, reviews=reviews), pixels=False):
                self.set_states({about.label: state for about in known}, {about.label: review for about in known})

    def set_states(self, states: Mapping[int, str], reviews: Mapping[int, tuple[str, str]] | None = None) -> None:
        """Set states, and who set them and when, that a step already records."""
        for label, state in states.items():
            self._about[label] = self.about(label).with_state(state, (reviews or {}).get(label, ("", "")))
            self.described.emit(self._about[label])
        self._rewrite(states)

    @property
    def unconfirmed(self) -> list[int]:
        """Labels of the objects for which the user does not stand yet."""
        return [label for label in self.present if not self.about(label).confirmed]

    @property
    def known(self) -> dict[int, ObjectInfo]:
        """What is known of objects, by label, also of some that are gone and may come back."""
        return dict(self._about)

    def rename(self, label: int, name: str) -> None:
        """Call an object something else."""
        self._check([label], counted=False)
        if name == self.about(label).name:
            raise InputError(f"object {label} is called that already" if name else f"object {label} has no name")
        self._about[label] = replace(self.about(label), name=name)
        self.described.emit(self._about[label])
        self._rewrite([label])

    def _remember_name(self, about: ObjectInfo) -> None:
        """A name by a model comes back when a class that was given is taken away again."""
        if about.class_probability is not None:
            self._named[about.label] = about.class_name, about.class_probability
