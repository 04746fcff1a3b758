"""Corrects the shapes of objects: in the worker, or along the strokes that are drawn on a slice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_segany.core.clean_up import CleanUp, ShapeChange, clean_objects, cut_along, drawn
from napari_segany.core.errors import InputError, SeganyError
from napari_segany.core.views import View
from napari_segany.layers.binding import Binding
from napari_segany.layers.object_features import ObjectFeatures
from napari_segany.layers.read import image_shape, strokes_here
from napari_segany.session.history import Step
from napari_segany.widgets.controllers.clean_up_preview import CleanUpPreview, on_slice
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.panels.clean_up_panel import CleanUpPanel
from napari_segany.widgets.panels.objects_panel import ObjectsPanel


class CleanUpController(QObject):
    """Connects the panel of corrections, the table of objects, and the worker.

    Parameters
    ----------
    box : CleanUpPanel
        Owns this object.
    objects : ObjectsPanel
        The objects, and which are selected.
    jobs : Jobs
        The worker.

    Attributes
    ----------
    message : Signal
        Emitted with a line about what was done.
    failed : Signal
        Emitted with the exception of what failed.
    """

    message = Signal(str)
    failed = Signal(object)

    def __init__(self, box: CleanUpPanel, objects: ObjectsPanel, jobs: Jobs) -> None:
        super().__init__(box)
        self._box, self._panel, self._jobs = box, objects, jobs
        self._binding: Binding | None = None
        self.preview = CleanUpPreview(box, objects, jobs)
        box.wanted.connect(self.clean)
        box.cut_wanted.connect(self.cut)
        box.join_wanted.connect(self.join)

    def bind(self, binding: Binding | None) -> None:
        """Correct objects of another image from here on."""
        self.preview.bind(binding)
        self._binding = binding
        self._box.offer(several=binding is not None and len(image_shape(binding.image)) > 2)

    def clean(self, everything: bool) -> None:
        """Correct all objects, or the selected ones, in one step of undo; a preview ends."""
        self.preview.end()
        try:
            objects, view = self._objects(), self._view()
            objects.update()
            labels = objects.present if everything else self._panel.chosen
            windows = objects.windows(labels)
        except SeganyError as error:
            self.failed.emit(error)
            return
        if not self._box.all_slices and self._box.how is not CleanUp.SMALL:
            windows = {label: here for label, window in windows.items() if (here := on_slice(window, view))}
        data = objects.labels.data
        # painting goes on meanwhile
        work = partial(clean_objects, data.copy(), windows, self._box.how, self._box.amount, view.axes)
        counted = objects.total
        self._jobs.run(
            work, done=partial(self._apply, objects, counted), failed=self.failed.emit, instead_of="clean up"
        )

    def _apply(self, objects: ObjectFeatures, counted: object, changes: list[ShapeChange]) -> None:
        objects.update()
        if objects is not self._panel.objects or objects.total is not counted:
            self.failed.emit(InputError("the labels changed meanwhile: clean up again"))
            return
        if changes:
            objects.repaint(
                [part for one in changes for part in ((one.removed, 0), (one.added, one.label))], "clean up"
            )
        undo = " Ctrl+Z undoes it." if changes else ""
        self.message.emit(f"{self._box.how.value}: {count_of(len(changes), 'object')} changed.{undo}")

    def cut(self) -> None:
        """Cut the objects that strokes on this slice cross; the strokes go."""
        self._with_strokes("split", self._cut, "The strokes divide no object: draw one from side to side.")

    def join(self) -> None:
        """Make one object of those that lie under each stroke on this slice; the strokes go."""
        self._with_strokes("merge", self._join, "Each stroke lies on one object, or on none.")

    def _with_strokes(self, kind: str, act: Callable[[ObjectFeatures, View, np.ndarray], int], nothing: str) -> None:
        try:
            objects, view = self._objects(), self._view()
            binding = self._binding
            if binding is None:
                return
            if not objects.labels.visible:
                raise InputError(f"“{objects.labels.name}” is hidden: show it first")
            paths = strokes_here(binding.shapes, binding.image, view, binding.viewer.dims)
            if not paths:
                raise InputError("draw a stroke over the objects first: Scribble, in the tab One")
            shape = view.plane_shape(objects.labels.data.shape)
            with binding.undo_stack.step(Step(kind)):
                made = sum(act(objects, view, drawn(path, shape)) for path in paths)
                if made:
                    binding.clear_prompts()
        except SeganyError as error:
            self.failed.emit(error)
            return
        words = "cut off" if kind == "split" else "merged"
        self.message.emit(f"{count_of(made, 'object')} {words}. Ctrl+Z undoes it." if made else nothing)

    def _cut(self, objects: ObjectFeatures, view: View, stroke: np.ndarray) -> int:
        """Cut along one stroke; returns how many pieces became objects."""
        crossed = np.unique(view.read(objects.labels.data)[stroke])
        made = 0
        for label, window in objects.windows(crossed[crossed > 0]).items() if (crossed > 0).any() else ():
            part = window if self._box.all_slices else on_slice(window, view)
            turned = np.moveaxis(objects.labels.data[part] == label, view.axes, (-2, -1))
            here = stroke[window[view.axes[0]], window[view.axes[1]]]
            pieces = cut_along(turned, np.broadcast_to(here, turned.shape))
            found = [np.nonzero(np.moveaxis(piece, (-2, -1), view.axes)) for piece in pieces[1:]]
            starts = [side.start for side in part]
            if found:
                shifted = [tuple(axis + at for axis, at in zip(one, starts, strict=True)) for one in found]
                made += len(objects.divide(label, shifted))
        return made

    @staticmethod
    def _join(objects: ObjectFeatures, view: View, stroke: np.ndarray) -> int:
        """Merge under one stroke; returns how many objects became part of another one."""
        under = np.unique(view.read(objects.labels.data)[stroke])
        under = under[under > 0]
        if len(under) < 2:
            return 0
        objects.merge(under.tolist())
        return len(under) - 1

    def _objects(self) -> ObjectFeatures:
        if self._panel.objects is None:
            raise InputError("there are no objects yet")
        return self._panel.objects

    def _view(self) -> View:
        view = None if self._binding is None else self._binding.planes.view()
        if view is None:
            raise InputError("clean up works on slices: open an image, and switch the display from 3D to 2D")
        return view
