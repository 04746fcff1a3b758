"""Review of objects, one after the other: accepted, rejected or marked uncertain, and on to the next."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ACCEPTED, REJECTED, UNCERTAIN
from napari_segany.core.review import FILTERS, TO_CHECK
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.panels.objects_panel import ObjectsPanel

DONE = {ACCEPTED: "accepted", REJECTED: "rejected", UNCERTAIN: "marked uncertain"}


class ReviewController(QObject):
    """Decides on the objects that are selected in the table.

    Parameters
    ----------
    table : ObjectsPanel
        The objects, with the panel of the review; owns this object.

    Attributes
    ----------
    message : Signal
        Emitted with a line about what was done.
    failed : Signal
        Emitted with the exception of what failed.
    """

    message = Signal(str)
    failed = Signal(object)

    def __init__(self, table: ObjectsPanel) -> None:
        super().__init__(table)
        self._table = table
        table.review_box.decided.connect(self.decide)

    def decide(self, state: str) -> None:
        """Give the selected objects a state, in one step of undo, and select the next object of the table.

        Without a selected object the first one is selected, and nothing is decided.
        """
        table = self._table
        table.catch_up()
        if table.objects is None or not table.objects.present:
            self.failed.emit(InputError("there is no object to review"))
            return
        chosen = [label for label in table.chosen if table.about(label).state in FILTERS[table.review_box.filter]]
        if not chosen:
            self.step(1)
            return
        following = table.following(chosen)
        table.set_state(chosen, state)
        done, count = table.progress
        what = f"Object {chosen[0]}" if len(chosen) == 1 else count_of(len(chosen), "object")
        self.message.emit(f"{what} {DONE[state]}: {done} of {count} checked. Ctrl+Z undoes it.")
        if following:
            table.go_to(following)

    def step(self, by: int) -> None:
        """Select the object that many rows further down the table."""
        if not self._table.go(by):
            self.message.emit(self._nothing())

    def _nothing(self) -> str:
        done, count = self._table.progress
        if self._table.review_box.filter == TO_CHECK:
            return f"Nothing is left to check: {done} of {count} objects are checked."
        return "The table shows no objects; choose others in the row below it."
