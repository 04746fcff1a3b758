"""Steps of undo: what is done to labels and prompts together is undone and redone together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from napari.components import ViewerModel
from napari.layers import Labels, Layer, Points, Shapes
from psygnal import Signal

from napari_segany.core.views import View
from napari_segany.layers.recorder import Recorder
from napari_segany.session.history import Step
from napari_segany.session.session import Session

TITLES = {"start anew": "clear prompts", "follow": "track", "follow anew": "track again"}
"""How kinds of steps are shown whose names in session files are older than the names in the window."""


class UndoStack:
    """Records steps in the session's history, and undoes and redoes them.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer of the layers.
    session : Session
        Its history has the steps.
    recorder : Recorder
        Compares and changes the layers.
    report : callable
        Called with a message when there is nothing to undo.
    refresh : callable
        Reads the prompts again.

    Attributes
    ----------
    travelled : Signal
        Emitted with a message when a step was undone or redone.
    classified : Signal
        Emitted with labels, and the class of each before and after, when a step of classes was undone or redone.
    states_changed : Signal
        Emitted with the step when one that set states was undone or redone.
    """

    travelled = Signal(str)
    classified = Signal(object)
    states_changed = Signal(object)

    def __init__(
        self,
        viewer: ViewerModel,
        session: Session,
        recorder: Recorder,
        report: Callable[[str], None],
        refresh: Callable[[], None],
    ) -> None:
        self._viewer, self._session, self._recorder = viewer, session, recorder
        self._report, self._refresh = report, refresh
        self._refused = False

    def bind_keys(self, layer: Layer) -> None:
        """Have Ctrl+Z and Ctrl+Shift+Z in a layer undo and redo steps."""
        self._recorder.bind_keys(layer, self.undo, self.redo)

    def watch(self, layer: Labels | Points | Shapes) -> None:
        """Make steps of what changes in a layer, and undo them by its keys."""
        self._recorder.watch(layer)
        self.bind_keys(layer)

    @contextmanager
    def step(self, about: Step, plane: View | None = None, *, pixels: bool = True) -> Iterator[None]:
        """Record all changes of labels and prompts within it as one step of undo, and read prompts at its end.

        A step within a step belongs to the outer one.

        Parameters
        ----------
        about : Step
            Its kind, and further properties.
        plane : View, optional
            The only plane that changes within it; see :meth:`Recorder.sync`.
        pixels : bool
            Whether pixels change within it. Without, pixels are not compared: what was written into arrays without an
            event is found by a later step.
        """
        if self._recorder.held:
            yield
            return
        self.withdraw_refused()
        if pixels:
            self._recorder.sync(plane)
        with self._recorder.hold(replace(about, choice=(self._session.choice, 0))):
            yield
        self._refresh()

    def note_prompts(self) -> bool:
        """Make a step of what changed in prompt layers; False when nothing did, or it is a part of another step."""
        return not self._recorder.held and self._recorder.note(Step("prompt", choice=(self._session.choice, 0)))

    def refuse_prompts(self) -> None:
        """What was just added to a prompt layer is no prompt; napari is adding it, so it goes before the next step."""
        self._refused = True

    def withdraw_refused(self) -> None:
        """Take away what was clicked in 3D, where nothing is a prompt, so that it is none in 2D either."""
        if self._refused:
            self._refused = False
            self._recorder.withdraw_marks()

    def undo(self) -> bool:
        """Undo the last step; False, with a message, when there is none."""
        self.withdraw_refused()
        self._recorder.sync()
        return self._travel(self._session.undo(), "undo")

    def redo(self) -> bool:
        """Redo the last undone step; False, with a message, when there is none."""
        self.withdraw_refused()
        self._recorder.sync()
        return self._travel(self._session.redo(), "redo")

    def _travel(self, step: Step | None, what: str) -> bool:
        if step is None:
            self._report(f"there is nothing to {what}")
            return False
        kind = TITLES.get(step.kind, step.kind)
        changed = self._recorder.apply(step)
        if step.classes:
            self.classified.emit(step.classes)
        if step.states:
            self.states_changed.emit(step)
        self._refresh()
        if step.choice[0] != step.choice[1]:
            self._session.restore_choice(step.choice[1])
        if step.label:
            self._session.begin_at(step.label + (what == "redo"))
        self.travelled.emit(f"{'Undone' if what == 'undo' else 'Redone'}: {kind}.")
        hidden = [layer.name for layer in changed if layer not in self._viewer.layers]
        if hidden or not (changed or step.classes or step.states or step.choice[0] != step.choice[1]):
            self._report(f"{what}: {kind}, in a layer that is no longer there")
        return True
