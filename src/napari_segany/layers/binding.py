"""Connects an image and its prompt, preview and output layers with a session, and disconnects them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from psygnal import Signal

from napari_segany.core.errors import SeganyError
from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.views import View
from napari_segany.layers import read, write
from napari_segany.layers.marks import write_marks
from napari_segany.layers.prompts import prompt_points, prompt_shapes
from napari_segany.layers.recorder import Recorder
from napari_segany.session.events import Did
from napari_segany.session.history import Step
from napari_segany.session.recovery import Recovered
from napari_segany.session.session import Committed, Session

_BEFORE = ("adding", "removing", "changing")
_MOVES = ("scale", "translate", "rotate", "shear", "affine")


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
    listed : Signal
        Emitted with a View and a list of Prompt when everything said on the plane is an object of its own.
    several : bool
        Whether it is.
    overwrite : bool
        Whether a kept mask takes pixels of other labels; off unless asked.
    """

    problem = Signal(str)
    moved = Signal()
    listed = Signal(View, list)

    def __init__(self, viewer: ViewerModel, session: Session, image: Image, labels: Labels | None = None) -> None:
        self.viewer, self.session, self.image = viewer, session, image
        self.recorder = Recorder(viewer, session)
        self.labels: Labels | None = None
        self.set_labels(labels)
        self.overwrite = False
        self.several = False
        self.points: Points | None = None
        self.shapes: Shapes | None = None
        self.preview: write.Preview | None = None
        self._stacks: dict[tuple[int, int], Stack] = {}
        self._view: View | None = None
        self._said_last: tuple[View, Prompt] | None = None
        self._reopened: tuple[View, int, np.ndarray | None] | None = None
        self._own: list[Layer] = []
        self._connections: list[tuple[Any, Callable[..., None]]] = []
        self._connect(viewer.dims.events.current_step, self._look)
        self._connect(viewer.dims.events.order, self._look)
        self._connect(viewer.dims.events.ndisplay, self._look)
        self._connect(viewer.layers.events.removed, self._forget)
        self._connect(image.events.data, self._renew)
        for move in _MOVES:
            self._connect(getattr(image.events, move), self._follow)
        session.preview_changed.connect(self._show)
        session.committed.connect(self._paint)
        self.ensure_layers()

    def ensure_layers(self) -> None:
        """Make the prompt and preview layers that are not there."""
        if self.preview is None:
            self.preview = write.Preview(self.image)
            self.viewer.add_layer(self.preview.layer)
            self.recorder.bind_keys(self.preview.layer, self.undo, self.redo)
        if self.shapes is None:
            self.adopt_shapes(self.viewer.add_layer(prompt_shapes(self.image)))
            self._own.append(self.shapes)
        if self.points is None:
            self.adopt_points(self.viewer.add_layer(prompt_points(self.image)))
            self._own.append(self.points)

    def adopt_points(self, points: Points) -> None:
        """Take the clicks of a Points layer as prompts, instead of those of the one before."""
        self._swap(self.points, points)
        self.points = points
        self.refresh()

    def adopt_shapes(self, shapes: Shapes) -> None:
        """Take the shapes of a Shapes layer as prompts, instead of those of the one before."""
        self._swap(self.shapes, shapes)
        self.shapes = shapes
        self.refresh()

    def _swap(self, before: Points | Shapes | None, after: Points | Shapes) -> None:
        if before is not None:
            for event in (before.events.data, before.events.features):
                event.disconnect(self._said)
                self._connections.remove((event, self._said))
        if read.SIGN not in after.features:
            after.features = {**after.features, read.SIGN: np.full(len(after.data), read.POSITIVE, object)}
        self._connect(after.events.data, self._said)
        self._connect(after.events.features, self._said)
        self._watch(after)

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
        if labels is not None:
            write.check_labels(labels, self.image)
            self._watch(labels)
        self.labels = labels
        self.session.begin_at(1 if labels is None else write.free_label(labels, None, 1))

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

    def stack(self, view: View) -> tuple[Stack, int]:
        """The planes parallel to a view, and its number among them."""
        if view.axes not in self._stacks:
            self._stacks[view.axes] = read.stack_of(self.image, view)
        return self._stacks[view.axes], view.number(read.image_shape(self.image))

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
            self.listed.emit(view, read.read_prompts(self.points, self.shapes, self.image, view))
            return
        prompt = self._with_base(view, read.read_prompt(self.points, self.shapes, self.image, view))
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

        Keeping it then replaces its pixels on this plane. False, and `problem` says why, where there is no object.
        """
        place = self.place(position)
        if place is None or self.labels is None or self.several:
            self.problem.emit("there is no object to change under the cursor")
            return False
        view, point = place
        plane = view.read(self.labels.data)
        label = int(plane[round(point.y), round(point.x)])
        if not label:
            self.problem.emit("there is no object to change under the cursor")
            return False
        self.clear_prompts()
        said = self.session.made_from.get(label)
        known = said is not None and said[0] == view and said[1].mask is None and not said[1].text
        self._reopened = view, label, None if known else plane == label
        self.session.begin_at(label)
        if said is not None and known:
            write.write_prompt(said[1], view, self.image, self.points, self.shapes)
        self.refresh()
        return True

    def _with_base(self, view: View, prompt: Prompt) -> Prompt:
        """The prompt, with the mask of the object that is being changed."""
        if self._reopened is None or self._reopened[0] != view or prompt.mask is not None:
            return prompt
        return prompt if self._reopened[2] is None else replace(prompt, mask=self._reopened[2])

    def _replace(self, view: View, label: int, pixels: np.ndarray) -> None:
        """Give an object other pixels on a plane, in one step."""
        if self.labels is None:
            return
        before = view.read(self.labels.data)
        taken = (before != label) & (before != 0) & (not self.overwrite)
        after = np.where(before == label, 0, before)
        after[pixels & ~taken] = label
        rows, columns = np.nonzero(after != before)
        with self.step(Step("change", label=self.session.label)):
            self.labels.data_setitem(view.indices(rows, columns), after[rows, columns])
            self.clear_prompts()

    def close_reopened(self) -> None:
        """Leave the object that was being changed as it is."""
        if self._reopened is not None:
            self._reopened = None
            self.session.begin_at(1 if self.labels is None else write.free_label(self.labels, None, 1))
            self.refresh()

    def clear_prompts(self) -> None:
        """Take the clicks and shapes of this plane away."""
        view = self.view()
        if view is None:
            return
        with self.step(Step("start anew")):
            if self.points is not None:
                self._remove(self.points, read.points_here(self.points, self.image, view))
            if self.shapes is not None:
                self._remove(self.shapes, read.shapes_here(self.shapes, self.image, view))

    @staticmethod
    def _remove(layer: Points | Shapes, indices: np.ndarray) -> None:
        if indices.size:
            layer.selected_data = {int(index) for index in indices}
            layer.remove_selected()

    def close(self) -> None:
        """Disconnect everything; take the preview and empty prompt layers away and leave the rest to the user."""
        for event, callback in self._connections:
            event.disconnect(callback)
        self._connections.clear()
        self.session.preview_changed.disconnect(self._show)
        self.session.committed.disconnect(self._paint)
        self.recorder.close()
        self.session.forget()
        empty = [layer for layer in self._own if isinstance(layer, Points | Shapes) and not len(layer.data)]
        for layer in (*empty, *([self.preview.layer] if self.preview is not None else [])):
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def _connect(self, event: Any, callback: Callable[..., None]) -> None:
        event.connect(callback)
        self._connections.append((event, callback))

    def _said(self, event: Any) -> None:
        # napari says everything twice, before and after; before, the layer still holds the old points
        if str(getattr(event, "action", "")).rpartition(".")[2].lower() not in _BEFORE and not self.recorder.held:
            self.recorder.note(Step("prompt", choice=(self.session.choice, 0)))
            self.refresh()

    def resume(self, found: Recovered) -> None:
        """Put labels and prompts of an earlier session into layers, and take up its history.

        Labels get a layer of their own, prompts those that were made for them; nothing may have been said yet.
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
                self.labels = self.viewer.add_layer(write.new_labels(self.image, found.labels))
                self._own.append(self.labels)
                self.recorder.watch(self.labels, current["labels"])
                self.recorder.bind_keys(self.labels, self.undo, self.redo)
                self._raise_prompts()
                self.session.begin_at(write.free_label(self.labels, None, 1))
        self.refresh()
        if found.state.choice:
            self.session.restore_choice(found.state.choice)

    @contextmanager
    def step(self, about: Step) -> Iterator[None]:
        """Make one step of undo of all that is done within, to labels and to prompts, and ask once at its end.

        A step within a step belongs to the outer one.

        Parameters
        ----------
        about : Step
            How it is called, and what else there is to say of it.
        """
        if self.recorder.held:
            yield
            return
        self.recorder.sync()
        with self.recorder.hold(replace(about, choice=(self.session.choice, 0))):
            yield
        self.refresh()

    def undo(self) -> bool:
        """Take the last step back; False, and `problem` says so, when there is none."""
        self.recorder.sync()
        return self._travel(self.session.undo(), "undo")

    def redo(self) -> bool:
        """Do the step again that was undone last; False, and `problem` says so, when there is none."""
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
        hidden = [layer.name for layer in changed if layer not in self.viewer.layers]
        if hidden or not (changed or step.choice[0] != step.choice[1]):
            self.problem.emit(f"{what}: {step.kind}, in a layer that is no longer there")
        return True

    def _look(self, event: Any = None) -> None:
        view = self.view()
        if view != self._view:
            self._view = view
            self.refresh()
            self.moved.emit()

    def _renew(self, event: Any = None) -> None:
        """The picture has other values now: what was computed from the old ones is void."""
        self._stacks.clear()
        self._view = self._said_last = None
        self.session.forget(self.session.history)
        self.session.tell(Did("new image"))
        self._look()

    def _follow(self, event: Any = None) -> None:
        """The image was moved: so are the layers that were made for it, and the clicks stay on their pixels."""
        for layer in self._own:
            if isinstance(layer, Labels):
                for name, value in write.placement(self.image).items():
                    setattr(layer, name, value)
            else:
                layer.affine = write.data_to_world_matrix(self.image)
        self._show()

    def _forget(self, event: Any) -> None:
        """A layer was removed from the viewer; prompts that were on it are withdrawn."""
        layer: Layer = event.value
        self._own = [own for own in self._own if own is not layer]
        if self.preview is not None and layer is self.preview.layer:
            self.preview = None
        elif layer is self.labels:
            self.labels = None
            self.session.begin_at(1)
        elif layer is self.points or layer is self.shapes:
            self.points = None if layer is self.points else self.points
            self.shapes = None if layer is self.shapes else self.shapes
            self.refresh()

    def _show(self) -> None:
        result = self.session.result
        if result is not None:
            self.ensure_layers()
        if self.preview is None:
            return
        if result is None or self.session.mask is None:
            self.preview.clear()
        else:
            self.preview.show(result.request.plane, np.where(self.session.mask.pixels, self.session.label, 0))

    def show_labels(self, view: View, labels: np.ndarray, *, hint: bool = False) -> None:
        """Preview labels (rows, columns) of a plane; a hint is shown lightly."""
        self.ensure_layers()
        if self.preview is not None:
            self.preview.show(view, labels, hint=hint)

    def show_nothing(self) -> None:
        """Take what is previewed away, but for the mask that was asked for."""
        self._show()

    def keep_labels(self, view: View, found: np.ndarray, *, clear: bool = False) -> dict[int, int]:
        """Paint all objects that were found on a plane, each with a label of its own, in one step.

        Parameters
        ----------
        view : View
            The plane.
        found : ndarray
            (rows, columns) integer labels from 1.
        clear : bool
            Whether to take the clicks and shapes of the plane away in the same step.

        Returns
        -------
        dict of int to int
            The number of each object that was painted, by its label; when it is empty, `problem` says why.
        """
        try:
            labels = self._output()
            fresh = write.new_objects(view.read(labels.data), found, overwrite=self.overwrite)
            count = int(fresh.max(initial=0))
            if not count:
                self.problem.emit("nothing was kept: other labels cover all that was found")
                return {}
            first = write.free_label(labels, view, self.session.label, count=count)
        except SeganyError as error:
            self.problem.emit(str(error))
            return {}
        rows, columns = np.nonzero(fresh)
        values = (fresh[rows, columns] + first - 1).astype(labels.data.dtype)
        with self.step(Step("keep all", label=first)):
            labels.data_setitem(view.indices(rows, columns), values)
            if clear:
                self.clear_prompts()
        self.session.begin_at(first + count)
        return dict(zip(values.tolist(), found[rows, columns].tolist(), strict=True))

    def keep(self) -> bool:
        """Keep the mask that is shown as a new label; False, and `problem` says why, when that cannot be."""
        result, mask = self.session.result, self.session.mask
        if result is None or mask is None or self.session.waiting:
            self.problem.emit("there is no mask to keep yet")
            return False
        plane, pixels = result.request.plane, mask.pixels
        if not pixels.any():
            self.problem.emit("the mask is empty; click elsewhere, or draw a box")
            return False
        if self._reopened is not None and self._reopened[0] == plane:
            label = self._reopened[1]
            self.session.made_from[label] = plane, self.session.said or Prompt()
            self._replace(plane, label, pixels)
            self.close_reopened()
            return True
        try:
            labels = self._output()
            label = write.free_label(labels, plane, self.session.label)
        except SeganyError as error:
            self.problem.emit(str(error))
            return False
        if not write.free_pixels(labels, plane, pixels, overwrite=self.overwrite)[0].size:
            self.problem.emit("nothing was kept: other labels cover the whole mask")
            return False
        with self.step(Step("keep", label=label, overwrite=self.overwrite)):
            self.session.begin_at(label)
            self.session.commit()
        return True

    def _output(self) -> Labels:
        """The layer that masks are kept in, made when there is none."""
        if self.labels is None:
            self.labels = self.viewer.add_layer(write.new_labels(self.image))
            self._own.append(self.labels)
            self._watch(self.labels)
            self._raise_prompts()
        write.check_labels(self.labels, self.image)
        return self.labels

    def _paint(self, kept: Committed) -> None:
        with self.step(Step("keep", label=kept.label, overwrite=self.overwrite)):
            if self.labels is not None:
                free = write.free_pixels(self.labels, kept.plane, kept.mask.pixels, overwrite=self.overwrite)
                self.labels.data_setitem(kept.plane.indices(*free), kept.label)
            self.clear_prompts()

    def _raise_prompts(self) -> None:
        """Keep clicks above labels, and the layer that was being used, in use."""
        active = self.points or self.shapes
        for layer in (self.preview.layer if self.preview else None, self.shapes, self.points):
            if layer is not None and layer in self.viewer.layers:
                self.viewer.layers.move(self.viewer.layers.index(layer), len(self.viewer.layers))
        self.viewer.layers.selection.active = active
