"""Keeps, drops, changes and deletes objects: what the keys K, Q, J, U and W do."""

from __future__ import annotations

from collections.abc import Sequence

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from napari_segany.core.automatic_masks import Candidate
from napari_segany.core.errors import InputError
from napari_segany.core.objects import AUTOMATIC, ObjectInfo
from napari_segany.layers.binding import Binding
from napari_segany.layers.feature_columns import known_text
from napari_segany.layers.reopening import close_reopened, reopen_label, reopen_under
from napari_segany.session.history import Step
from napari_segany.session.session import Committed, Session
from napari_segany.widgets.controllers.pending_controller import PendingController
from napari_segany.widgets.controllers.pending_objects import PendingKind, count_of
from napari_segany.widgets.controllers.search_controller import SearchController
from napari_segany.widgets.panels.objects_panel import ObjectsPanel
from napari_segany.widgets.panels.prompt_panel import PromptPanel


class CommitController(QObject):
    """Connects the keys, the pending objects, and the Labels layer.

    Parameters
    ----------
    session : Session
        Its masks are committed; the object under the cursor of its viewer is changed or deleted.
    pending : PendingController
        Knows what would be committed.
    finder : SearchController
        Has the objects that were found.
    prompts : PromptPanel
        Expects a positive click after an object was committed.
    objects : ObjectsPanel
        The table; gets known facts about committed objects. Owns this object.

    Attributes
    ----------
    class_name : str
        The class that new objects get; empty for none.
    editing : Signal
        Emitted without arguments before an object is changed or deleted.
    layers_changed : Signal
        Emitted without arguments when a layer may have been made.
    noted : Signal
        Emitted with the labels of objects that were committed.
    warned : Signal
        Emitted with the reason why something cannot be done.
    """

    editing = Signal()
    layers_changed = Signal()
    noted = Signal(object)
    warned = Signal(str)

    def __init__(
        self,
        session: Session,
        pending: PendingController,
        finder: SearchController,
        prompts: PromptPanel,
        objects: ObjectsPanel,
    ) -> None:
        super().__init__(objects)
        self._session, self._pending, self._finder = session, pending, finder
        self._prompts, self._objects = prompts, objects
        self._binding: Binding | None = None
        self._committed: Committed | None = None
        self.class_name = ""
        session.committed.connect(self._remember)
        pending.due.connect(self.keep)
        finder.arrived.connect(self._keep_at_once)

    def bind(self, binding: Binding | None) -> None:
        """Keep objects of another image."""
        if self._binding is not None:
            self._binding.undo_stack.states_changed.disconnect(self._restore_states)
        self._binding = binding
        if binding is not None:
            binding.undo_stack.states_changed.connect(self._restore_states)

    def _restore_states(self, step: Step) -> None:
        """A step that changed states was undone or redone; the table may list another layer by now."""
        states = {label: new for label, old, new in step.states if self._objects.state_of(label) == old}
        self._objects.restore_states(states, {label: new for label, _, new in step.reviews})

    def set_class(self, name: str) -> None:
        """Give new objects this class from here on; an empty name: none."""
        self.class_name = name

    def keep(self) -> None:
        """Keep what is pending: the mask as a new label, or all objects that were found."""
        offer = self._pending.offer
        if offer.subject is PendingKind.FOUND:
            self._keep_found()
        elif offer.subject is PendingKind.WAITING:
            self._pending.queue()
        elif self._binding is not None:
            self._keep_mask(self._binding)

    def keep_confident(self) -> None:
        """Keep the confident ones of the objects that were found, and mark them as automatic.

        Raises
        ------
        InputError
            There is none.
        """
        if self._finder.found is None or self._finder.prompted:
            raise InputError("find objects first (G or Shift+F); then the confident ones can be kept")
        if not self._finder.confident:
            raise InputError("none of the found objects is above the slider Confident from")
        self._keep_found(self._finder.confident, AUTOMATIC)

    def _keep_at_once(self) -> None:
        if self._finder.at_once and self._finder.confident:
            self.keep_confident()

    def _keep_found(self, only: Sequence[Candidate] | None = None, state: str = "") -> None:
        how = self._finder.how
        kept = self._finder.keep(only)
        self.layers_changed.emit()
        for label, candidate in kept.items():
            name, source = candidate.name, how or known_text(candidate.prompt)
            kind = self.class_name or name
            self._objects.note(ObjectInfo(label, name, kind, candidate.score, source=source, state=state))
        if kept:
            self.noted.emit(list(kept))
            marked = f" and marked {state}" if state else ""
            self._pending.say_done(f"{count_of(len(kept), 'object')} kept{marked}. Ctrl+Z undoes it.")

    def _keep_mask(self, binding: Binding) -> None:
        opened, self._committed = binding.keeping.opened, None
        known = ObjectInfo(0) if opened is None else self._objects.about(opened.label)
        if not binding.keep(known.state, known.review):
            return
        self._prompts.expect_positive()
        self.layers_changed.emit()
        if (kept := self._last_committed()) is not None:
            how, kind = known_text(kept.prompt), self.class_name
            mask = kept.mask
            about = ObjectInfo(kept.label, class_name=kind, score=mask.score, source=how)
            if mask.class_name and not kind:
                about = about.with_class("", (mask.class_name, mask.class_probability))
            self._objects.note(about)
            self.noted.emit([kept.label])
            self._pending.say_done(f"Object {kept.label} kept{kind and f' as {kind}'}. Ctrl+Z undoes it.")
        elif opened is not None:
            self._objects.restore_states({opened.label: ""} if known.state else {})
            self._pending.say_done(f"Object {opened.label} changed. Ctrl+Z undoes it.")

    def _last_committed(self) -> Committed | None:
        """The object that was committed last, as emitted by the session."""
        return self._committed

    def _remember(self, kept: Committed) -> None:
        self._committed = kept

    def note_found(self, label: int, name: str) -> None:
        """An object was found on the slices that was not known before."""
        self._objects.note(ObjectInfo(label, name, self.class_name or name, source="text" if name else "everything"))
        self.noted.emit([label])

    def discard(self) -> None:
        """Forget the clicks and shapes on this plane, or what was found there."""
        self._pending.forget_done()
        if self._pending.offer.subject is PendingKind.FOUND and not self._finder.prompted:
            self._finder.drop()
        elif self._binding is not None:
            self._binding.clear_prompts()
            self._session.discard()
            close_reopened(self._binding)
            self._prompts.expect_positive()
        self._pending.show_state()

    def next_candidate(self) -> None:
        """Show the next of the masks that may be meant."""
        if self._session.result is not None and self._session.result.masks:
            self._session.choose((self._session.choice + 1) % len(self._session.result.masks))

    def reopen(self) -> None:
        """Change the object under the cursor, or the one that was clicked into."""
        if self._binding is None:
            return
        self.editing.emit()
        inside = self._pending.offer.inside
        if self._binding.reader.several:
            self.warned.emit("objects are changed one by one: untick 'Each click or box is an object'")
        elif inside:
            reopen_label(self._binding, inside)
        elif not reopen_under(self._binding, self._cursor(self._binding.viewer)):
            self.warned.emit("there is no object to change under the cursor")

    def delete_object(self) -> None:
        """Delete the object under the cursor."""
        label = 0
        if self._binding is not None:
            _, label = self._binding.picker.label_under(self._cursor(self._binding.viewer))
        if label:
            self.editing.emit()
            self._objects.delete([label])
            self._pending.say_done(f"Object {label} deleted. Ctrl+Z brings it back.")
        else:
            self.warned.emit("there is no object under the cursor")

    @staticmethod
    def _cursor(viewer: ViewerModel) -> tuple[float, ...]:
        return tuple(viewer.cursor.position)
