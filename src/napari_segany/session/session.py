"""The one mutable state: what has been said, what was answered, what was kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from psygnal import Signal

from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Prompt
from napari_segany.core.views import View


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
    requested : Signal
        Emitted with a :class:`SegmentRequest` that wants an answer; hand that to :meth:`accept`.
    preview_changed : Signal
        Emitted without arguments when `result` changes.
    committed : Signal
        Emitted with a :class:`Committed` that is to be painted.
    """

    requested = Signal(SegmentRequest)
    preview_changed = Signal()
    committed = Signal(Committed)

    def __init__(self) -> None:
        self.label = 1
        self.result: SegmentResult | None = None
        self.choice = 0
        self._generation = 0
        self._said: tuple[View, Prompt] | None = None

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
            self.choice = choice
            self.preview_changed.emit()

    @property
    def waiting(self) -> bool:
        """Whether a question is still open."""
        return self._said is not None and (self.result is None or self.result.request.generation != self._generation)

    def set_prompt(self, plane: View, prompt: Prompt) -> None:
        """Say something of the object; what was asked before becomes stale.

        When it only adds clicks to what is answered, the mask that is shown goes back to the model with them, as the
        model was trained (Kirillov et al. 2023, appendix A); without it, further clicks would make masks worse.

        A prompt that names nothing, or only what the object is not, withdraws the question.
        """
        self._generation += 1
        negative_only = not any(point.positive for point in prompt.points)
        if not prompt or (negative_only and prompt.box is None and prompt.mask is None and not prompt.text.strip()):
            self._said = None
            self._show(None)
            return
        self._said = plane, prompt
        if self.result is not None and self.result.request.plane != plane:
            self._show(None)
        self.requested.emit(SegmentRequest(self._generation, plane, self.label, self._continued(prompt)))

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
        if self._said is not None:
            self.set_prompt(*self._said)

    def accept(self, result: SegmentResult) -> bool:
        """Take an answer; False, and nothing changes, when it is stale."""
        if result.request.generation != self._generation or self._said is None:
            return False
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
        self.committed.emit(kept)
        self.label = kept.label + 1
        self.discard()
        return kept

    def discard(self) -> None:
        """Forget what was said of the current object."""
        self._generation += 1
        self._said = None
        self._show(None)

    def _show(self, result: SegmentResult | None) -> None:
        if result is not self.result:
            self.result, self.choice = result, 0
            self.preview_changed.emit()
