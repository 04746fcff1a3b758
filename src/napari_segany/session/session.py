"""The only mutable state: open prompts, predictions, committed objects."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from psygnal import Signal

from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Prompt
from napari_segany.core.views import View
from napari_segany.session.events import ActionEvent, Event, PromptEvent
from napari_segany.session.history import History, Step

REMEMBERED = 32
"""Remembered requests, each with a rough mask of about 1 MB, so that undo repeats exactly the same request."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentRequest:
    """A request for the segmenter.

    Parameters
    ----------
    generation : int
        Grows with every request; the result of an earlier one is stale.
    plane : View
        The plane that was prompted.
    label : int
        The label that the object would get.
    prompt : Prompt
        All prompts for the object.
    """

    generation: int
    plane: View
    label: int
    prompt: Prompt


@dataclass(frozen=True, slots=True, eq=False)
class SegmentResult:
    """The result of a request: candidate masks, the most confident first."""

    request: SegmentRequest
    masks: tuple[Mask, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Committed:
    """A committed object: its label, plane, mask and prompt."""

    label: int
    plane: View
    mask: Mask
    prompt: Prompt


class Session:
    """What the user is doing, on the main thread only.

    Attributes
    ----------
    label : int
        The label that the next committed object gets.
    result : SegmentResult or None
        The result that is shown now.
    choice : int
        Which of its masks is shown, and committed.
    made_from : dict of int to (View, Prompt)
        Prompts of the committed objects, by label.
    history : History
        Steps that can be undone and redone.
    requested : Signal
        Emitted with a :class:`SegmentRequest` that waits for a result; pass that to :meth:`accept`.
    preview_changed : Signal
        Emitted without arguments when `result` changes.
    committed : Signal
        Emitted with a :class:`Committed` that is to be painted.
    happened : Signal
        Emitted with an event, see :mod:`napari_segany.session.events`, for each change that the journal records.
    """

    requested = Signal(SegmentRequest)
    preview_changed = Signal()
    committed = Signal(Committed)
    happened = Signal(object)

    def __init__(self) -> None:
        self.label = 1
        self.result: SegmentResult | None = None
        self.choice = 0
        self.history = History()
        self.made_from: dict[int, tuple[View, Prompt]] = {}
        self._wanted = 0
        self._generation = 0
        self._current: tuple[View, Prompt] | None = None
        self._sent: deque[tuple[View, Prompt, Prompt]] = deque(maxlen=REMEMBERED)

    @property
    def mask(self) -> Mask | None:
        """The mask that is shown, and would be committed."""
        return self.result.masks[self.choice] if self.result is not None and self.result.masks else None

    def choose(self, choice: int) -> None:
        """Show another candidate mask; further clicks refine that one. Numbers that do not exist change nothing.

        Parameters
        ----------
        choice : int
            From 0, the most confident.
        """
        if self.result is not None and 0 <= choice < len(self.result.masks) and choice != self.choice:
            self.do(Step("candidate", choice=(self.choice, choice)))
            self._pick(choice)

    def restore_choice(self, choice: int) -> None:
        """Show a candidate without recording a step, as soon as there is a result that contains it."""
        self.happened.emit(ActionEvent("chosen", choice))
        self._wanted = choice
        if self.result is not None and not self.waiting and choice < len(self.result.masks):
            self._pick(choice)

    def _pick(self, choice: int) -> None:
        if choice != self.choice:
            self.choice = choice
            self.preview_changed.emit()

    def do(self, step: Step) -> None:
        """Record a step that was made."""
        self.history.do(step)
        self.happened.emit(step)

    def undo(self) -> Step | None:
        """Return the step whose reverse is to be applied to undo it; None when there is none."""
        return self._travelled(self.history.undo(), "undone")

    def redo(self) -> Step | None:
        """Return the last undone step, to be applied again; None when there is none."""
        return self._travelled(self.history.redo(), "redone")

    def _travelled(self, step: Step | None, what: str) -> Step | None:
        if step is not None:
            self.happened.emit(ActionEvent(what))
        return step

    @property
    def prompt(self) -> Prompt | None:
        """All prompts for the current object; None when there are none."""
        return None if self._current is None else self._current[1]

    @property
    def waiting(self) -> bool:
        """Whether a request has no result yet."""
        return self._current is not None and (self.result is None or self.result.request.generation != self._generation)

    def set_prompt(self, plane: View, prompt: Prompt) -> None:
        """Set the prompt of the current object; earlier requests become stale.

        When it only adds clicks to the prompt of the result, the mask is passed to the model with them, as the
        model was trained (Kirillov et al. 2023, appendix A); without it, further clicks would make masks worse.

        A prompt that is empty, or only negative, withdraws the request. A prompt that undo restores is requested with
        the same rough mask as before.
        """
        if prompt or self._current is not None:
            self.happened.emit(PromptEvent(plane, prompt))
        self._request(plane, prompt)

    def _request(self, plane: View, prompt: Prompt) -> None:
        self._generation += 1
        self._wanted = 0
        negative_only = not any(point.positive for point in prompt.points)
        if not prompt or (negative_only and prompt.box is None and prompt.mask is None and not prompt.text.strip()):
            self._current = None
            self._show(None)
            return
        self._current = plane, prompt
        if self.result is not None and self.result.request.plane != plane:
            self._show(None)
        earlier = (sent for where, known, sent in self._sent if where == plane and known.says_the_same(prompt))
        sent = next(earlier, None)
        if sent is None:
            sent = self._continued(prompt)
            self._sent.append((plane, prompt, sent))
        self.requested.emit(SegmentRequest(self._generation, plane, self.label, sent))

    def _continued(self, prompt: Prompt) -> Prompt:
        """The prompt, with the mask that is shown where it adds clicks to the prompt of that one."""
        if self.result is None or self.mask is None or prompt.mask is not None:
            return prompt
        before = self.result.request.prompt
        more = len(prompt.points) > len(before.points) and prompt.points[: len(before.points)] == before.points
        if not more or (prompt.box, prompt.text) != (before.box, before.text):
            return prompt
        return replace(prompt, mask=self.mask.logits)

    def repeat(self) -> None:
        """Repeat the current request, after the model or the picture changed."""
        self.happened.emit(ActionEvent("repeated"))
        self._sent.clear()
        if self._current is not None:
            plane, prompt = self._current
            # without the mask that another model, or another picture, gave
            self._sent.append((plane, prompt, prompt))
            self._request(plane, prompt)

    def accept(self, result: SegmentResult) -> bool:
        """Accept a result; return False, and change nothing, when it is stale."""
        if result.request.generation != self._generation or self._current is None:
            return False
        self.happened.emit(ActionEvent("accepted", result.request.generation))
        self._show(result)
        return True

    def begin_at(self, label: int) -> None:
        """Give the next committed object this label, the first that is free in its layer."""
        self.label = label

    def commit(self) -> Committed | None:
        """Commit the mask that is shown; None when there is none, or when it belongs to an earlier request."""
        if self.mask is None or self.waiting or self._current is None:
            return None
        plane, prompt = self._current
        committed = Committed(self.label, plane, self.mask, prompt)
        self.made_from[committed.label] = plane, prompt
        self.committed.emit(committed)
        self.label = committed.label + 1
        self._clear()
        return committed

    def discard(self) -> None:
        """Discard the prompt of the current object."""
        if self._current is not None:
            self.happened.emit(ActionEvent("discarded"))
        self._clear()

    def forget(self, history: History | None = None) -> None:
        """Reset the session: no prompt, nothing remembered, and another history or none."""
        self._clear()
        self._sent.clear()
        self.made_from.clear()
        self.history = history or History()

    def record(self, event: Event) -> None:
        """Record an event that changes nothing here, such as a newly used layer."""
        self.happened.emit(event)

    def _clear(self) -> None:
        self._generation += 1
        self._current = None
        self._show(None)

    def _show(self, result: SegmentResult | None) -> None:
        if result is not self.result:
            wanted = self._wanted if result is not None and self._wanted < len(result.masks) else 0
            self.result, self.choice = result, wanted
            self.preview_changed.emit()
