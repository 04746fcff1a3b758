"""Decides what K would commit now, and shows it in the status line and the buttons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_segany.layers.binding import Binding
from napari_segany.layers.output_layer import SLIVER
from napari_segany.session.plane_candidates import PlaneCandidates
from napari_segany.session.session import SegmentRequest, Session
from napari_segany.widgets.controllers.pending_objects import PendingKind, PendingObjects, count_of
from napari_segany.widgets.controllers.search_controller import SearchController
from napari_segany.widgets.panels.automatic_masks_panel import AutomaticMasksPanel
from napari_segany.widgets.panels.candidate_panel import CandidatePanel, shown_score
from napari_segany.widgets.panels.prompt_panel import PromptPanel
from napari_segany.widgets.panels.status_panel import StatusPanel

READY = "Click an object. N switches between clicks on it and off it, K keeps the mask, Q clears the prompts."


@dataclass(frozen=True, slots=True, eq=False)
class PendingPanels:
    """The panels that show what can be committed."""

    prompts: PromptPanel
    automatic_masks: AutomaticMasksPanel
    candidates: CandidatePanel
    status: StatusPanel


class PendingController(QObject):
    """Knows what is pending: a mask, objects that were found, or nothing.

    Parameters
    ----------
    session : Session
        Has the mask.
    finder : SearchController
        Has the objects that were found.
    panels : PendingPanels
        Show what is pending.
    parent : QObject
        Owns this object.

    Attributes
    ----------
    due : Signal
        Emitted without arguments when a mask arrives that K has already committed.
    """

    due = Signal()

    def __init__(self, session: Session, finder: SearchController, panels: PendingPanels, parent: QObject) -> None:
        super().__init__(parent)
        self._session, self._finder, self._panels = session, finder, panels
        self._binding: Binding | None = None
        self._latest = PendingKind.MASK
        self._queued = False
        self._done = ""
        self._found: PlaneCandidates | None = None
        self._problem = ""
        session.requested.connect(self._requested)
        session.preview_changed.connect(self._mask_changed)
        finder.shown.connect(self._found_shown)

    def bind(self, binding: Binding | None) -> None:
        """Be about another image."""
        self._binding = binding
        if binding is not None:
            binding.problem.connect(self._warn)
            binding.moved.connect(self._moved)
            binding.undo_stack.travelled.connect(self.say_done)
            binding.recorder.repainted.connect(self._repainted)

    @property
    def offer(self) -> PendingObjects:
        """What K would keep now."""
        if self._binding is None:
            return PendingObjects()
        waiting, result = self._session.waiting, self._session.result
        prompted = waiting or result is not None
        if self._finder.here and (self._latest is PendingKind.FOUND or not prompted):
            return PendingObjects(PendingKind.FOUND, self._finder.line, self._finder.count > 0)
        if waiting:
            text = "Keeping the mask as soon as it is there …" if self._queued else ""
            return PendingObjects(PendingKind.WAITING, text, True)
        return self._offer_of_mask(self._binding) if result is not None else PendingObjects()

    def _offer_of_mask(self, binding: Binding) -> PendingObjects:
        mask, result = self._session.mask, self._session.result
        size = 0 if mask is None else int(np.count_nonzero(mask.pixels))
        if mask is None or result is None or not size:
            return PendingObjects(PendingKind.MASK, "Nothing was found there. Click elsewhere, or draw a box.")
        name = f", {mask.class_name} ({mask.class_probability:.2f})" if mask.class_name else ""
        text = f"{count_of(size, 'pixel')}, predicted IoU {shown_score(mask.score)}{name}."
        opened, inside = binding.keeping.opened, binding.picker.clicked()
        if opened is not None and opened.view == result.request.plane:
            text = f"{text} K changes object {opened.label}, Q leaves it as it is."
            return PendingObjects(PendingKind.MASK, text, True)
        if inside and not binding.output.overwrite:
            free = binding.output.free(result.request.plane, mask.pixels)
            keeps = f"K keeps the {count_of(free, 'free pixel')} as a new object." if free >= SLIVER * size else ""
            text = f"This is object {inside}. U changes it, Q clears the click. {keeps}".strip()
            return PendingObjects(PendingKind.MASK, text, bool(keeps), inside)
        return PendingObjects(PendingKind.MASK, f"{text} K keeps it.", True)

    def begins(self) -> bool:
        """Whether a click now would begin an object."""
        idle = self._session.result is None and not self._session.waiting
        return idle and self._panels.prompts.clicking and self.offer.subject is PendingKind.NOTHING

    def queue(self) -> None:
        """Have the mask kept as soon as it is there."""
        self._queued = True
        self.show_state()

    def unqueue(self) -> None:
        """Keep no mask that comes later."""
        self._queued = False

    def forget_done(self) -> None:
        """Remove the message about the last action, and commit no mask that arrives later."""
        self._queued = False
        self._done = ""

    def say_done(self, text: str) -> None:
        """Show a message about the last action, until the next one."""
        self._done = text
        self.show_state()

    def show_state(self) -> None:
        """Show in the status line and the buttons what the keys would do."""
        offer, panels = self.offer, self._panels
        found = offer.subject is PendingKind.FOUND
        panels.prompts.set_keepable(offer.keepable)
        panels.automatic_masks.set_keepable(found and offer.keepable and not self._finder.prompted)
        panels.candidates.show_choice(None if found else self._session)
        text = " ".join(filter(None, (self._done, offer.text)))
        if text:
            panels.status.say(text)
        elif offer.subject is PendingKind.NOTHING and self._binding is not None:
            panels.status.rest(READY)

    def _warn(self, problem: str) -> None:
        """Show a problem of the prompts; an empty string removes it."""
        if problem:
            self._panels.status.warn(problem)
        else:
            self._panels.status.take_back(self._problem)
        self._problem = problem

    def _requested(self, request: SegmentRequest) -> None:
        """A prediction is under way, and it is what the keys are about."""
        self.forget_done()
        if self._latest is not PendingKind.MASK:
            self._latest = PendingKind.MASK
            if self._binding is not None:
                self._binding.mask_preview.show_mask()
        self.show_state()

    def _mask_changed(self) -> None:
        """There is another mask, or none any more."""
        if self._session.result is not None:
            self._latest = PendingKind.MASK
        elif self._finder.here and not self._session.waiting:
            self._finder.show()
        self.show_state()
        if self._queued and not self._session.waiting:
            self._queued = False
            if self._session.mask is not None:
                self.due.emit()

    def _found_shown(self) -> None:
        """Other objects that were found are offered, or none any more."""
        if self._finder.found is not None:
            self._latest = PendingKind.FOUND
        if self._finder.found is not self._found:
            self._done = ""
        self._found = self._finder.found
        self.show_state()

    def _moved(self) -> None:
        """Another plane is shown; what was found there is offered again."""
        self._done = ""
        if self._finder.here and self._session.result is None and not self._session.waiting:
            self._finder.show()
        self.show_state()

    def _repainted(self, labels: Labels, window: object) -> None:
        """Labels changed, from any source: other found objects may be new now."""
        QTimer.singleShot(0, self._renew)

    def _renew(self) -> None:
        if self.offer.subject is PendingKind.FOUND:
            self._finder.refresh()
        elif self.offer.subject is PendingKind.MASK:
            self.show_state()
