"""The one mutable state: what has been said, what was answered, what was kept."""

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
"""Questions whose masks are kept, so that what is undone is asked as it was asked before; each is about 1 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentRequest:
    """A question for the segmenter.

    Parameters
    ----------
    generation : int
        Grows with every question; an answer to an earlier one is stale.
    plane : View
        The plane that was prompted.
    label : int
        The label that the object would get.
    prompt : Prompt
        What was said of it.
    """

    generation: int
    plane: View
    label: int
    prompt: Prompt


@dataclass(frozen=True, slots=True, eq=False)
class SegmentResult:
    """The answer: candidate masks, the most confident first."""

    request: SegmentRequest
    masks: tuple[Mask, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Committed:
    """An object that was kept: its label, plane, mask and what was said to get it."""

    label: int
    plane: View
    mask: Mask
    prompt: Prompt


class Session:
    """What the user is doing, on the main thread only.

    Attributes
    ----------
    label : int
        The label that the next kept object gets.
    result : SegmentResult or None
        The answer that is shown now.
    choice : int
        Which of its masks is shown, and kept.
    made_from : dict of int to (View, Prompt)
        What was said of the objects that were kept, by label.
    history : History
        What can be undone and done again.
    requested : Signal
        Emitted with a :class:`SegmentRequest` that wants an answer; hand that to :meth:`accept`.
    preview_changed : Signal
        Emitted without arguments when `result` changes.
    committed : Signal
        Emitted with a :class:`Committed` that is to be painted.
    happened : Signal
        Emitted with an event, see :mod:`napari_segany.session.events`, for each thing that is to be journalled.
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
        self._said: tuple[View, Prompt] | None = None
        self._asked: deque[tuple[View, Prompt, Prompt]] = deque(maxlen=REMEMBERED)

    @property
    def mask(self) -> Mask | None:
        """The mask that is shown, and would be kept."""
        return self.result.masks[self.choice] if self.result is not None and self.result.masks else None

    def choose(self, choice: int) -> None:
        """Show another of the candidate masks; further clicks mend that one. Numbers that do not exist change nothing.

        Parameters
        ----------
        choice : int
            From 0, the most confident.
        """
        if self.result is not None and 0 <= choice < len(self.result.masks) and choice != self.choice:
            self.do(Step("candidate", choice=(self.choice, choice)))
            self._pick(choice)

    def restore_choice(self, choice: int) -> None:
        """Show a candidate without making a step of it, as soon as there is an answer that has it."""
        self.happened.emit(ActionEvent("chosen", choice))
        self._wanted = choice
        if self.result is not None and not self.waiting and choice < len(self.result.masks):
            self._pick(choice)

    def _pick(self, choice: int) -> None:
        if choice != self.choice:
            self.choice = choice
            self.preview_changed.emit()

    def do(self, step: Step) -> None:
        """Take note of a step that was made."""
        self.history.do(step)
        self.happened.emit(step)

    def undo(self) -> Step | None:
        """What is to be applied to take the last step back; None when there is none."""
        return self._travelled(self.history.undo(), "undone")

    def redo(self) -> Step | None:
        """What is to be applied to do the step again that was undone last; None when there is none."""
        return self._travelled(self.history.redo(), "redone")

    def _travelled(self, step: Step | None, what: str) -> Step | None:
        if step is not None:
            self.happened.emit(ActionEvent(what))
        return step

    @property
    def said(self) -> Prompt | None:
        """What has been said of the current object."""
        return None if self._said is None else self._said[1]

    @property
    def waiting(self) -> bool:
        """Whether a question is still open."""
        return self._said is not None and (self.result is None or self.result.request.generation != self._generation)

    def set_prompt(self, plane: View, prompt: Prompt) -> None:
        """Say something of the object; what was asked before becomes stale.

        When it only adds clicks to what is answered, the mask that is shown goes back to the model with them, as the
        model was trained (Kirillov et al. 2023, appendix A); without it, further clicks would make masks worse.

        A prompt that names nothing, or only what the object is not, withdraws the question. What was asked a short
        while ago, before it was undone, is asked with the mask that it was asked with then.
        """
        if prompt or self._said is not None:
            self.happened.emit(PromptEvent(plane, prompt))
        self._ask(plane, prompt)

    def _ask(self, plane: View, prompt: Prompt) -> None:
        self._generation += 1
        self._wanted = 0
        negative_only = not any(point.positive for point in prompt.points)
        if not prompt or (negative_only and prompt.box is None and prompt.mask is None and not prompt.text.strip()):
            self._said = None
            self._show(None)
            return
        self._said = plane, prompt
        if self.result is not None and self.result.request.plane != plane:
            self._show(None)
        again = (asked for where, said, asked in self._asked if where == plane and said.says_the_same(prompt))
        asked = next(again, None)
        if asked is None:
            asked = self._continued(prompt)
            self._asked.append((plane, prompt, asked))
        self.requested.emit(SegmentRequest(self._generation, plane, self.label, asked))

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
        """Ask the open or answered question again, after the model or the picture changed."""
        self.happened.emit(ActionEvent("repeated"))
        self._asked.clear()
        if self._said is not None:
            plane, prompt = self._said
            # without the mask that another model, or another picture, gave
            self._asked.append((plane, prompt, prompt))
            self._ask(plane, prompt)

    def accept(self, result: SegmentResult) -> bool:
        """Take an answer; False, and nothing changes, when it is stale."""
        if result.request.generation != self._generation or self._said is None:
            return False
        self.happened.emit(ActionEvent("accepted", result.request.generation))
        self._show(result)
        return True

    def begin_at(self, label: int) -> None:
        """Give the next kept object this label, the first that its layer has free."""
        self.label = label

    def commit(self) -> Committed | None:
        """Keep the mask that is shown; None when there is none, or when it answers an earlier question."""
        if self.mask is None or self.waiting or self._said is None:
            return None
        plane, prompt = self._said
        kept = Committed(self.label, plane, self.mask, prompt)
        self.made_from[kept.label] = plane, prompt
        self.committed.emit(kept)
        self.label = kept.label + 1
        self._clear()
        return kept

    def discard(self) -> None:
        """Forget what was said of the current object."""
        if self._said is not None:
            self.happened.emit(ActionEvent("discarded"))
        self._clear()

    def forget(self, history: History | None = None) -> None:
        """Begin again with nothing said and nothing remembered, and with another history or none."""
        self._clear()
        self._asked.clear()
        self.made_from.clear()
        self.history = history or History()

    def tell(self, event: Event) -> None:
        """Have something journalled that changes nothing here, such as a layer that comes into use."""
        self.happened.emit(event)

    def _clear(self) -> None:
        self._generation += 1
        self._said = None
        self._show(None)

    def _show(self, result: SegmentResult | None) -> None:
        if result is not self.result:
            wanted = self._wanted if result is not None and self._wanted < len(result.masks) else 0
            self.result, self.choice = result, wanted
            self.preview_changed.emit()
