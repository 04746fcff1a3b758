"""Shows the mask of a click that is like the objects that were committed before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QObject

from napari_segany.core.errors import SeganyError
from napari_segany.core.masks import Mask
from napari_segany.core.planes import LazyPlane
from napari_segany.core.ranking import CommittedObject, RankingPrior
from napari_segany.core.views import View
from napari_segany.engine.prediction import PredictionService
from napari_segany.layers.binding import Binding
from napari_segany.session.events import ActionEvent, Event
from napari_segany.session.history import Step
from napari_segany.session.session import Committed, SegmentResult, Session


@dataclass(slots=True, eq=False)
class _LearnedObject:
    """A committed object with the step that undoes it, which is recorded after the commit."""

    label: int
    known: CommittedObject
    step: Step | None = None


class RankingController(QObject):
    """Ranks the masks of a lone click by the committed objects of the image.

    The choice is a candidate like one of the user's, so that the key J goes on from there, and a journal replays it. An
    object that is undone does not count, until it is redone, nor one that is not confirmed, until it is accepted.

    Parameters
    ----------
    session : Session
        Whose objects are learned from, and whose candidates are chosen.
    answers : PredictionService
        Whose model predicts the masks.
    confirmed : callable
        A method that tells whether the user stands for the object of a label; no other one counts.
    parent : QObject
        Owns this object.
    """

    def __init__(
        self, session: Session, answers: PredictionService, confirmed: Callable[[int], bool], parent: QObject
    ) -> None:
        super().__init__(parent)
        self._session, self._answers, self._confirmed = session, answers, confirmed
        self._binding: Binding | None = None
        self._prior = RankingPrior()
        self._enabled = True
        self._first: tuple[View, list[Mask]] | None = None
        self._learned: list[_LearnedObject] = []
        session.committed.connect(self._learn)
        session.happened.connect(self._follow)

    def bind(self, binding: Binding | None) -> None:
        """Rank the masks of another image, of whose objects nothing is known."""
        self._binding, self._prior, self._first, self._learned = binding, RankingPrior(), None, []

    def set_enabled(self, enabled: bool) -> None:
        """Rank from here on, or leave the order to the predicted IoU."""
        self._enabled = enabled

    def rank(self, result: SegmentResult) -> None:
        """Rank the masks of a result that was just accepted, if its prompt is a single click."""
        request = result.request
        if not request.prompt.ambiguous or len(result.masks) < 2:
            return
        self._first = request.plane, list(result.masks)
        plane = self._plane(request.plane)
        self._prior.use(self._answers.segmenter.capabilities.ranking)
        self._use_objects()
        if self._enabled and plane is not None and (best := self._prior.best(plane, result.masks)):
            self._session.restore_choice(best)

    def _learn(self, kept: Committed) -> None:
        plane = self._plane(kept.plane)
        first, self._first = self._first, None
        if plane is not None:
            masks = first[1] if first is not None and first[0] == kept.plane else []
            known = self._prior.add(plane, kept.mask.pixels, masks)
            if known is not None:
                self._learned.append(_LearnedObject(kept.label, known))

    def _follow(self, event: Event) -> None:
        """Find the step of the latest object; after undo and redo, count the objects whose steps hold."""
        if isinstance(event, Step) and event.kind == "keep" and self._learned:
            latest = self._learned[-1]
            if latest.step is None and latest.label == event.label:
                latest.step = event
        elif isinstance(event, ActionEvent) and event.what in ("undone", "redone"):
            self._use_objects()

    def _use_objects(self) -> None:
        """Count the objects whose steps hold, and which are confirmed."""
        held = {id(step) for step in self._session.history.held}
        there = [one for one in self._learned if one.step is None or id(one.step) in held]
        self._prior.use_objects([one.known for one in there if self._confirmed(one.label)])

    def _plane(self, view: View) -> LazyPlane | None:
        """The pixels of a plane; None where it cannot be read, or only slowly: this is the window's thread."""
        if self._binding is None or not isinstance(self._binding.image.data, np.ndarray):
            return None
        try:
            stack, number = self._binding.planes.stack(view)
        except SeganyError:
            return None
        return LazyPlane(stack, number)
