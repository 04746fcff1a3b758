"""Connects an image and its prompt, preview and output layers with a session, and disconnects them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from psygnal import Signal

from napari_segany.core.errors import SeganyError
from napari_segany.core.planes import ChannelSettings, Stack
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.views import View
from napari_segany.layers import read, write
from napari_segany.layers.commit import Committer
from napari_segany.layers.output_layer import OutputLayer
from napari_segany.layers.prompt_layers import PromptLayers
from napari_segany.layers.prompt_marks import write_marks
from napari_segany.layers.proxies import unwrapped
from napari_segany.layers.recorder import Recorder
from napari_segany.layers.removal import leave_paint_mode, remove_layer
from napari_segany.session.events import ActionEvent
from napari_segany.session.history import Step
from napari_segany.session.recovery import Recovered
from napari_segany.session.session import SegmentRequest, Session

_MOVES = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


class Binding:
    """The layers of one annotation.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are.
    session : Session
        Gets the prompts, gives the masks.
    image : Image
        What is segmented.
    labels : Labels, optional
        Where masks are kept; made when the first mask is kept, if not given.

    Attributes
    ----------
    problem : Signal
        Emitted with a line of text when something cannot be done, and with an empty one when all is well again.
    moved : Signal
        Emitted without arguments when another plane is looked at, or the picture changed.
    travelled : Signal
        Emitted with a line of text when a step was undone or done again.
    listed : Signal
        Emitted with a View and a list of Prompt when everything said on the plane is an object of its own.
    several : bool
        Whether it is.
    look : ChannelSettings
        How the image is looked at; see :meth:`set_look`.
    prompts : PromptLayers
        Where clicks and shapes are read from.
    output : OutputLayer
        Where masks are kept.
    keeping : Committer
        Keeps them.
    """

    problem = Signal(str)
    moved = Signal()
    travelled = Signal(str)
    listed = Signal(View, list)

    def __init__(self, viewer: ViewerModel, session: Session, image: Image, labels: Labels | None = None) -> None:
        viewer, image, labels = unwrapped(viewer), unwrapped(image), unwrapped(labels)
        self.viewer, self.session, self.image = viewer, session, image
        self.recorder = Recorder(viewer, session)
        self.prompts = PromptLayers(viewer, image)
        self.prompts.said.connect(self._said)
        self.prompts.adopted.connect(self._adopted)
        self.output = OutputLayer(viewer, image)
        self.output.made.connect(self._put_below)
        self.keeping = Committer(session, self.output, self.step, self.clear_prompts)
        self.set_labels(labels)
        self.several = False
        self._refused = False
        self._used: tuple[Layer | None, bool] = (None, False)
        self.look = ChannelSettings()
        self.preview: write.Preview | None = None
        self._stacks: dict[tuple[int, int], Stack] = {}
        self._view: View | None = None
        self._said_last: tuple[View, Prompt] | None = None
        self._connections: list[tuple[Any, Callable[..., None]]] = []
        self._connect(viewer.dims.events.current_step, self._look)
        self._connect(viewer.dims.events.order, self._look)
        self._connect(viewer.dims.events.ndisplay, self._look)
        for event in (viewer.layers.events.inserting, viewer.layers.events.removing):
            self._connect(event, self._rest)
        self._connect(viewer.layers.events.removed, self._forget)
        self._connect(image.events.data, self._renew)
        for move in _MOVES:
            self._connect(getattr(image.events, move), self._follow)
        session.preview_changed.connect(self._show)
        session.committed.connect(self.keeping.paint)
        self.ensure_layers()

    @property
    def points(self) -> Points | None:
        """The layer that clicks are read from."""
        return self.prompts.points

    @property
    def shapes(self) -> Shapes | None:
        """The layer that boxes, scribbles and outlines are read from."""
        return self.prompts.shapes

    @property
    def labels(self) -> Labels | None:
        """The layer that masks are kept in; None before there is one."""
        return self.output.labels

    def ensure_layers(self) -> None:
        """Make the prompt and preview layers that are not there."""
        if self.preview is None:
            self.preview = write.Preview(self.image)
            self.viewer.add_layer(self.preview.layer)
            self.preview.layer.events.paint.connect(self._brushed)
            self.recorder.bind_keys(self.preview.layer, self.undo, self.redo)
        self.prompts.ensure()

    def _adopted(self, layer: Points | Shapes) -> None:
        self._watch(layer)
        self.refresh()

    def _watch(self, layer: Labels | Points | Shapes) -> None:
        self.recorder.watch(layer)
        self.recorder.bind_keys(layer, self.undo, self.redo)

    def set_labels(self, labels: Labels | None) -> None:
        """Keep masks in another layer from now on; None has a new one made.

        Raises
        ------
        InputError
            When the layer does not fit the image; then nothing changes.
        """
        labels = unwrapped(labels)
        self.output.choose(labels)
        if labels is not None:
            self._watch(labels)
        self.session.begin_at(self.output.next_label)

    def view(self) -> View | None:
        """The plane that is looked at; None, and `problem` says why, when there is none."""
        try:
            view = read.current_view(self.image, self.viewer.dims)
        except SeganyError as error:
            self.problem.emit(str(error))
            return None
        self.problem.emit("")
        return view

    @property
    def shown(self) -> View | None:
        """The plane that is looked at, or None; nothing is said of why."""
        try:
            return read.current_view(self.image, self.viewer.dims)
        except SeganyError:
            return None

    def place(self, position: Sequence[float]) -> tuple[View, Point] | None:
        """The plane that is looked at and the pixel of a place in the world; None when that is not on the image."""
        view = self.shown
        if view is None:
            return None
        at = np.asarray(self.image.world_to_data(np.asarray(position, float)[-self.image.ndim :]))
        y, x = (float(at[axis]) for axis in view.axes)
        height, width = view.plane_shape(read.image_shape(self.image))
        inside = -0.5 < y < height - 0.5 and -0.5 < x < width - 0.5
        return (view, Point(y, x)) if inside else None

    def label_under(self, position: Sequence[float]) -> tuple[View | None, int]:
        """The plane that is looked at and the label of the object that is kept at a place in the world, 0 for none."""
        place = self.place(position)
        if place is None:
            return None, 0
        view, point = place
        return view, self.output.label_at(view, round(point.y), round(point.x))

    def stack(self, view: View) -> tuple[Stack, int]:
        """The planes parallel to a view, and its number among them."""
        if view.axes not in self._stacks:
            self._stacks[view.axes] = read.stack_of(self.image, view, self.look)
        return self._stacks[view.axes], view.number(read.image_shape(self.image), self.look.together)

    def set_look(self, look: ChannelSettings) -> None:
        """Have the model see the image otherwise from here on; what is asked now is asked again.

        Raises
        ------
        InputError
            When the look does not suit the image; then nothing changes.
        """
        view = self.shown
        if view is not None:
            read.stack_of(self.image, view, look)
        if look != self.look:
            self.look = look
            self._stacks.clear()
            self.session.tell(look)
            self.moved.emit()
            self.session.repeat()

    def refresh(self) -> None:
        """Read the prompts of the plane that is looked at and hand them to the session."""
        if self.recorder.held:
            return
        view = self.view()
        if view is None:
            self._said_last = None
            self.session.discard()
            return
        if self.several:
            self._said_last = None
            self.session.discard()
            self.listed.emit(view, self.prompts.read_all(view))
            return
        prompt = self.keeping.with_base(view, self.prompts.read(view))
        # napari tells of one click several times; one question is enough
        if self._said_last is None or self._said_last[0] != view or not prompt.says_the_same(self._said_last[1]):
            self._said_last = view, prompt
            self.session.set_prompt(view, prompt)

    def set_several(self, several: bool) -> None:
        """Take everything that is said for objects of their own, or all of it for one object."""
        self.several = several
        self.refresh()

    def reopen(self, position: Sequence[float]) -> bool:
        """Change the object under a place in the world: what it was made from comes back, else its mask is refined.

        Keeping it then replaces its pixels on this plane. False where there is no object.
        """
        view, label = self.label_under(position)
        if view is None or not label:
            return False
        self._open(view, label)
        return True

    def _open(self, view: View, label: int) -> None:
        self.clear_prompts()
        said = self.keeping.open(view, label)
        if said is not None:
            self.prompts.write(said, view)
        self.refresh()

    def object_clicked(self) -> int:
        """The label of the committed object that all positive clicks lie in; 0 for none, or while it is changed."""
        said, view = self.session.said, self.shown
        clicks = [] if said is None else [point for point in said.points if point.positive]
        if view is None or not clicks or self.labels is None or self.keeping.opened is not None:
            return 0
        plane = view.read(self.labels.data)
        inside = {
            int(plane[round(point.y), round(point.x)])
            for point in clicks
            if 0 <= round(point.y) < plane.shape[0] and 0 <= round(point.x) < plane.shape[1]
        }
        return inside.pop() if len(inside) == 1 else 0

    def reopen_label(self, label: int) -> None:
        """Change an object of the plane that is looked at; what was prompted there goes."""
        view = self.shown
        if view is not None:
            self._open(view, label)

    def close_reopened(self) -> None:
        """Leave the object that was being changed as it is."""
        if self.keeping.close_opened():
            self.refresh()

    def clear_prompts(self) -> None:
        """Take the clicks and shapes of this plane away."""
        view = self.view()
        if view is not None:
            with self.step(Step("start anew")):
                self.prompts.clear(view)

    @property
    def painting(self) -> bool:
        """Whether the mouse paints into the preview: it is the active layer, and in a mode of the brush."""
        active = self.viewer.layers.selection.active
        return self.preview is not None and self.preview.painting and active is self.preview.layer

    @property
    def erasing(self) -> bool:
        """Whether the brush rubs out."""
        return self.painting and self.preview is not None and str(self.preview.layer.mode) == "erase"

    def stop_painting(self) -> None:
        """Put the brush away, so that nothing brings it back but the tool."""
        if self.preview is not None:
            leave_paint_mode(self.preview.layer)

    def ready_to_paint(self, *, erase: bool = False) -> None:
        """Make the preview the layer that the brush paints into: what is painted there is a rough mask to refine."""
        self.ensure_layers()
        view = self.shown
        if self.preview is None or view is None:
            return
        kind = write.labels_in(self.session.label)
        if self.preview.view != view or self.preview.layer.data.dtype.itemsize < kind.itemsize:
            nothing = np.zeros(view.plane_shape(read.image_shape(self.image)), bool)
            self.preview.show(view, nothing, number=self.session.label)
        self.preview.layer.selected_label = self.session.label
        self.viewer.layers.selection.active = self.preview.layer
        self.preview.layer.mode = "erase" if erase else "paint"

    def _brushed(self, event: Any) -> None:
        """Somebody painted into the preview: what it shows now is the rough mask."""
        view = self.view()
        if self.preview is None or view is None or self.preview.view != view:
            self._show()
            return
        with self.step(Step("brush")):
            self.prompts.draw(self.preview.with_strokes(event.value), view)

    def close(self) -> None:
        """Disconnect everything; take the preview and empty prompt layers away and leave the rest to the user."""
        self._rest()
        for event, callback in self._connections:
            event.disconnect(callback)
        self._connections.clear()
        self.session.preview_changed.disconnect(self._show)
        self.session.committed.disconnect(self.keeping.paint)
        self.recorder.close()
        self.session.forget()
        self.prompts.close()
        if self.preview is not None:
            self.preview.layer.events.paint.disconnect(self._brushed)
            remove_layer(self.viewer, self.preview.layer)

    def _connect(self, event: Any, callback: Callable[..., None]) -> None:
        event.connect(callback)
        self._connections.append((event, callback))

    def _said(self) -> None:
        if self.viewer.dims.ndisplay != 2 and not self.recorder.held:
            # napari is in the midst of adding it; it goes before anything else is done
            self._refused = True
            self.view()
            return
        # napari tells of one click several times
        if not self.recorder.held and self.recorder.note(Step("prompt", choice=(self.session.choice, 0))):
            self.refresh()

    def resume(self, found: Recovered, labels: Labels | None = None) -> None:
        """Put labels and prompts of an earlier session into layers, and take up its history.

        Parameters
        ----------
        found : Recovered
            The session; nothing may have been prompted yet in this one.
        labels : Labels, optional
            A layer that holds the same labels and is to be used; by default they get a layer of their own.
        """
        self.ensure_layers()
        current = found.state.current
        self.recorder.begin_at(max(current.values(), default=0) + 1)
        self.session.forget(found.state.history)
        with self.recorder.hold(None):
            for kind, layer in (("points", self.points), ("shapes", self.shapes)):
                if layer is not None:
                    write_marks(layer, tuple(m for m in found.marks(kind) if len(m.corners[0]) == layer.ndim))
                    self.recorder.watch(layer, current.get(kind))
            if found.labels is not None:
                if labels is None:
                    labels = self.output.make(found.labels)
                self.output.choose(labels)
                self.recorder.watch(labels, current["labels"])
                self.session.begin_at(self.output.next_label)
        self.set_look(found.state.look)
        self.refresh()
        if found.state.choice:
            self.session.restore_choice(found.state.choice)

    @contextmanager
    def step(self, about: Step, plane: View | None = None) -> Iterator[None]:
        """Make one step of undo of all that is done within, to labels and to prompts, and ask once at its end.

        A step within a step belongs to the outer one.

        Parameters
        ----------
        about : Step
            How it is called, and what else there is to say of it.
        plane : View, optional
            The only plane that is changed within; see :meth:`Recorder.sync`.
        """
        if self.recorder.held:
            yield
            return
        self._withdraw_refused()
        self.recorder.sync(plane)
        with self.recorder.hold(replace(about, choice=(self.session.choice, 0))):
            yield
        self.refresh()

    def undo(self) -> bool:
        """Take the last step back; False, and `problem` says so, when there is none."""
        self._withdraw_refused()
        self.recorder.sync()
        return self._travel(self.session.undo(), "undo")

    def redo(self) -> bool:
        """Do the step again that was undone last; False, and `problem` says so, when there is none."""
        self._withdraw_refused()
        self.recorder.sync()
        return self._travel(self.session.redo(), "redo")

    def _travel(self, step: Step | None, what: str) -> bool:
        if step is None:
            self.problem.emit(f"there is nothing to {what}")
            return False
        changed = self.recorder.apply(step)
        self.refresh()
        if step.choice[0] != step.choice[1]:
            self.session.restore_choice(step.choice[1])
        if step.label:
            self.session.begin_at(step.label + (what == "redo"))
        self.travelled.emit(f"{'Undone' if what == 'undo' else 'Done again'}: {step.kind}.")
        hidden = [layer.name for layer in changed if layer not in self.viewer.layers]
        if hidden or not (changed or step.choice[0] != step.choice[1]):
            self.problem.emit(f"{what}: {step.kind}, in a layer that is no longer there")
        return True

    def _withdraw_refused(self) -> None:
        """Take away what was clicked in 3D, where nothing is a prompt, so that it is none in 2D either."""
        if self._refused:
            self._refused = False
            self.recorder.withdraw_marks()

    def _look(self, event: Any = None) -> None:
        self._withdraw_refused()
        view = self.view()
        if view != self._view:
            self._view = view
            if self.preview is not None and self.painting:
                self.ready_to_paint(erase=self.erasing)
            self.refresh()
            self.moved.emit()

    def _renew(self, event: Any = None) -> None:
        """The picture has other values now: what was computed from the old ones is void."""
        self._stacks.clear()
        self._view = self._said_last = None
        self.session.forget(self.session.history)
        self.session.tell(ActionEvent("new image"))
        self._look()

    def _follow(self, event: Any = None) -> None:
        """The image was moved: so are the layers that were made for it, and the clicks stay on their pixels."""
        self.prompts.follow()
        self.output.follow()
        if self.preview is not None:
            self.preview.follow()
        self._show()

    def _rest(self, event: Any = None) -> None:
        """A layer is about to come or to go: nothing is to be painted into then."""
        self._used = self.viewer.layers.selection.active, self.painting
        for layer in (self._used[0], None if self.preview is None else self.preview.layer):
            if isinstance(layer, Labels):
                leave_paint_mode(layer)

    def _forget(self, event: Any) -> None:
        """A layer was removed from the viewer; prompts that were on it are withdrawn."""
        layer: Layer = event.value
        if self.preview is not None and layer is self.preview.layer:
            layer.events.paint.disconnect(self._brushed)
            self.preview = None
        elif self.output.forget(layer):
            self.session.begin_at(1)
        elif self.prompts.forget(layer):
            self.refresh()

    def _show(self) -> None:
        result = self.session.result
        if result is not None:
            self.ensure_layers()
        if self.preview is None:
            return
        self.preview.colours.clear()
        if result is None or self.session.mask is None:
            self.preview.clear()
        else:
            self.preview.show(result.request.plane, self.session.mask.pixels, number=self.session.label)

    def expect(self, request: SegmentRequest) -> None:
        """Have the preview lie where the answer to a click will be, while it is being computed."""
        points = request.prompt.points
        if self.preview is not None and points:
            plane = request.plane.plane_shape(read.image_shape(self.image))
            self.preview.expect(request.plane, plane, (points[-1].y, points[-1].x))

    def show_labels(self, view: View, labels: np.ndarray, names: Mapping[int, str]) -> dict[str, str]:
        """Preview labels (rows, columns) of a plane; where they have several names, by colours, which are returned."""
        self.ensure_layers()
        if self.preview is None:
            return {}
        self.preview.show(view, labels)
        return self.preview.colours.show(names)

    def show_hint(self, view: View, pixels: np.ndarray) -> None:
        """Show lightly what a click would give: (rows, columns) bool of a plane."""
        self.ensure_layers()
        if self.preview is not None:
            self.preview.colours.clear()
            self.preview.show(view, pixels, number=self.session.label, hint=True)

    def show_nothing(self) -> None:
        """Take what is previewed away, but for the mask that was asked for."""
        self._show()

    def go_to(self, view: View) -> None:
        """Show a plane."""
        place = np.asarray(self.image.data_to_world(view.position), float)
        extra = self.viewer.dims.ndim - self.image.ndim
        axes = [axis + extra for axis in view.leading]
        self.viewer.dims.set_point(axes, [float(place[axis]) for axis in view.leading])

    def keep(self) -> bool:
        """Keep the mask that is shown as a new label; False, and `problem` says why, when that cannot be."""
        try:
            self.keeping.keep(self.object_clicked())
        except SeganyError as error:
            self.problem.emit(str(error))
            return False
        self.refresh()
        return True

    def _put_below(self, labels: Labels) -> None:
        """Keep clicks above new labels, and the layer that was being used, in use."""
        self.recorder.bind_keys(labels, self.undo, self.redo)
        if not self.recorder.held:
            # what is restored has the number that it had before
            self.recorder.watch(labels)
        active, painting = self._used
        if active not in (self.points, self.shapes):
            active = self.points or self.shapes
        for layer in (*([self.preview.layer] if self.preview else []), *self.prompts.layers):
            if layer in self.viewer.layers:
                self.viewer.layers.move(self.viewer.layers.index(layer), len(self.viewer.layers))
        self.viewer.layers.selection.active = active
        if painting:
            self.ready_to_paint()
