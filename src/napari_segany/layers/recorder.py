"""Records changes of output and prompt layers, from any source, as steps, and applies steps to the layers.

Events only mark where to compare; changes are found by comparing with the state that the history knows. So nothing is
recorded twice, and restored states are not recorded at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from app_model.types import KeyCode, KeyMod
from napari.components import ViewerModel
from napari.layers import Labels, Layer, Points, Shapes
from psygnal import Signal

from napari_segany.core.views import View
from napari_segany.layers.mirror import Mirror, painted_window
from napari_segany.layers.prompt_marks import MarksReader, write_marks
from napari_segany.session.events import LayerEvent
from napari_segany.session.history import Marks, MarksPatch, Step
from napari_segany.session.session import Session

UNDO = KeyMod.CtrlCmd | KeyCode.KeyZ
REDO = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ
TOOLS = {"paint": "brush", "erase": "eraser", "fill": "fill", "polygon": "polygon"}
"""napari's modes in which labels are painted by hand, and what their steps are called."""
EDIT = "edit"


class Recorder:
    """Makes steps of what changes in layers.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are.
    session : Session
        Gets the steps.

    Attributes
    ----------
    held : bool
        Whether what changes now waits to become a step with what follows, or is being restored.
    repainted : Signal
        Emitted with a Labels layer and the window, a slice for each axis, in which it changed.
    """

    repainted = Signal(Labels, tuple)

    def __init__(self, viewer: ViewerModel, session: Session) -> None:
        self._viewer, self._session = viewer, session
        self._prompts: dict[int, Points | Shapes] = {}
        self._marks: dict[int, Marks] = {}
        self._readers: dict[int, MarksReader] = {}
        self._mirrors: dict[int, Mirror] = {}
        self._next = 1
        self._connections: list[tuple[Any, Callable[..., None]]] = []
        self._keys: list[tuple[Layer, Any, Any]] = []
        self.held = False

    def watch(self, layer: Labels | Points | Shapes, number: int | None = None) -> None:
        """Take what lies in a layer as known, and make steps of what changes in it from here on.

        Parameters
        ----------
        layer : Labels, Points or Shapes
            Labels are an array in memory.
        number : int, optional
            What the steps of an earlier session call it.
        """
        number = number or self._number(layer) or self._next
        self._next = max(self._next, number + 1)
        if isinstance(layer, Labels):
            self._listen(layer)
            if number not in self._mirrors:
                self._mirrors[number] = Mirror(layer)
            self._session.record(self._mirrors[number].base(number))
        else:
            self._prompts[number] = layer
            if number not in self._readers:
                self._readers[number] = MarksReader(layer)
                self._marks[number] = self._readers[number].read()
            marks = self._marks[number]
            self._session.record(LayerEvent(number, "points" if isinstance(layer, Points) else "shapes", marks=marks))

    def begin_at(self, number: int) -> None:
        """Know no layer any more; those that are watched from here on get numbers from this one on."""
        self._prompts.clear()
        self._marks.clear()
        self._readers.clear()
        self._mirrors.clear()
        self._next = number

    def _number(self, layer: Layer) -> int | None:
        layers = [(n, mirror.layer) for n, mirror in self._mirrors.items()]
        return next((n for n, other in (*layers, *self._prompts.items()) if other is layer), None)

    def _listen(self, layer: Labels) -> None:
        if any(event.source is layer for event, _ in self._connections):
            return
        for name, callback in (
            ("paint", self._painted),
            ("labels_update", self._updated),
            ("set_data", self._redrawn),
            ("data", self._replaced),
        ):
            event = getattr(layer.events, name)
            event.connect(callback)
            self._connections.append((event, callback))

    def bind_keys(self, layer: Layer, undo: Callable[[], object], redo: Callable[[], object]) -> None:
        """Have the keys of undo and redo do this, instead of napari's own, while a layer is active."""
        if any(layer is bound for bound, _, _ in self._keys):
            return
        for key, act in ((UNDO, undo), (REDO, redo)):

            def press(_: Layer, act: Callable[[], object] = act) -> None:
                act()

            self._keys.append((layer, key, layer.bind_key(key, press, overwrite=True)))

    def close(self) -> None:
        """Disconnect everything, and leave the layers' keys as they were."""
        for event, callback in self._connections:
            event.disconnect(callback)
        self._connections.clear()
        for layer, key, before in self._keys:
            layer.bind_key(key, before, overwrite=True)
        self._keys.clear()
        self.begin_at(1)

    def _mirror(self, event: Any) -> Mirror | None:
        return next((mirror for mirror in self._mirrors.values() if mirror.layer is event.source), None)

    def _painted(self, event: Any) -> None:
        """A stroke, for which napari emits an event at its end, or a single change, with an event just before it."""
        mirror = self._mirror(event)
        if mirror is not None and mirror.fits:
            window = painted_window(event.value, mirror.whole)
            mirror.look_at(window)
            if not self.held and not self._notice(mirror):
                mirror.look_at(window)

    def _updated(self, event: Any) -> None:
        mirror = self._mirror(event)
        if mirror is not None and mirror.window is not None and not self.held:
            self._notice(mirror)

    def _redrawn(self, event: Any) -> None:
        """Someone may have written into the array itself and refreshed the layer; napari's own undo does."""
        mirror = self._mirror(event)
        if mirror is not None and mirror.fits:
            mirror.look_at(mirror.shown(self._viewer.dims))
            if not self.held:
                self._notice(mirror)

    def _replaced(self, event: Any) -> None:
        """An array of another shape or type is another layer to the history."""
        mirror = self._mirror(event)
        if mirror is None or mirror.fits:
            return
        del self._mirrors[self._number(mirror.layer) or 0]
        if isinstance(mirror.layer.data, np.ndarray):
            self._mirrors[self._next] = Mirror(mirror.layer)
            self._session.record(self._mirrors[self._next].base(self._next))
            self._next += 1

    def _notice(self, mirror: Mirror) -> bool:
        return self.note(Step(TOOLS.get(str(mirror.layer.mode), EDIT)), marks=False)

    def sync(self, plane: View | None = None) -> None:
        """Record a step for values that were written into arrays without an event.

        Parameters
        ----------
        plane : View, optional
            Compare this plane only, which takes a fraction of the time; other changes are found later.
        """
        for mirror in self._mirrors.values():
            mirror.look_at(mirror.anywhere(self._viewer.dims) if plane is None else mirror.on(plane))
        self.note(Step(EDIT), marks=False)

    def note(self, about: Step, *, marks: bool = True) -> bool:
        """Record a step for everything that changed since the last one; False when nothing changed.

        Parameters
        ----------
        about : Step
            Further properties of the step. When marks changed, its first choice is the candidate that was shown.
        marks : bool
            Whether prompt layers are compared, too.
        """
        patches = tuple((n, patch) for n, mirror in self._mirrors.items() if (patch := mirror.change()) is not None)
        stretches = tuple(self._moved()) if marks else ()
        made = replace(about, patches=patches, marks=stretches, choice=(about.choice[0], 0) if stretches else (0, 0))
        if made:
            self._session.do(made)
        for number, patch in patches:
            self.repainted.emit(self._mirrors[number].layer, patch.window)
        return bool(made)

    def _moved(self) -> Iterator[tuple[int, MarksPatch]]:
        """What changed in prompt layers; the history knows it from here on."""
        for number, reader in self._readers.items():
            before, self._marks[number] = self._marks[number], reader.read()
            stretch = MarksPatch.between(before, self._marks[number])
            if stretch is not None:
                yield number, stretch

    def withdraw_marks(self) -> None:
        """Take marks away that came since the last step; what changed otherwise stays."""
        with self.hold(None):
            for number, reader in self._readers.items():
                stretch = MarksPatch.between(self._marks[number], reader.read())
                if stretch is not None and len(stretch.after) > len(stretch.before):
                    write_marks(self._prompts[number], self._marks[number], stretch.inverse())
                    self._marks[number] = reader.read()

    @contextmanager
    def hold(self, about: Step | None) -> Iterator[None]:
        """Make one step of all that changes within; None when that is made of steps, and is known."""
        self.held = True
        try:
            yield
        finally:
            self.held = False
            if about is not None:
                self.note(about)

    def apply(self, step: Step) -> list[Layer]:
        """Bring layers to the state after a step, and show the place of the change.

        Returns
        -------
        list of Layer
            Those that changed, without those that have another kind of array by now.
        """
        changed: list[Layer] = []
        with self.hold(None):
            for number, patch in step.patches:
                mirror = self._mirrors.get(number)
                if mirror is not None and mirror.fits:
                    mirror.apply(patch)
                    changed.append(mirror.layer)
                    self.repainted.emit(mirror.layer, patch.window)
                    self._go_to(mirror.layer, np.array([patch.start, np.add(patch.start, patch.shape) - 1], float))
            for number, stretch in step.marks:
                if number in self._prompts:
                    layer = self._prompts[number]
                    write_marks(layer, stretch.apply(self._marks[number]), stretch)
                    self._marks[number] = self._readers[number].read()
                    changed.append(layer)
                    self._go_to(layer, np.array((stretch.after or stretch.before)[-1].corners))
        return changed

    def _go_to(self, layer: Layer, places: np.ndarray) -> None:
        """Show a slice that some of a layer's pixels, (n, axes), lie on, if the one that is shown does not."""
        dims = self._viewer.dims
        extra = dims.ndim - layer.ndim
        here = np.asarray(layer.world_to_data(np.asarray(dims.point)[extra:]), float)
        there = np.clip(here, places.min(axis=0) - 0.5, places.max(axis=0) + 0.5)
        away = np.flatnonzero(here != there).tolist()
        hidden = [axis for axis in away if axis + extra in dims.not_displayed]
        if hidden and extra >= 0:
            near = np.clip(here, places.min(axis=0), places.max(axis=0))
            world = layer.data_to_world(near)
            dims.set_point([axis + extra for axis in hidden], [float(world[axis]) for axis in hidden])
