"""Shows on the current slice what a correction of shapes would do, before it is applied."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QApplication

from napari_segany.core.clean_up import CleanUp, ShapeChange, clean_objects, told_changes
from napari_segany.core.errors import InputError, SeganyError
from napari_segany.core.views import View
from napari_segany.layers.binding import Binding
from napari_segany.layers.object_features import ObjectFeatures
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.panels.clean_up_panel import CleanUpPanel
from napari_segany.widgets.panels.objects_panel import ObjectsPanel

REST_MS = 80
"""How long after a change the preview is computed, together with later changes."""
ADDED, REMOVED = "added", "removed"
COLOURS = {ADDED: "#009e73", REMOVED: "#d55e00"}
"""Of Okabe and Ito (2008), as in the panel's text."""


class CleanUpPreview(QObject):
    """Connects the panel of corrections with the preview layer of the image; it writes nothing.

    Parameters
    ----------
    box : CleanUpPanel
        Has the switch. Owns this object.
    objects : ObjectsPanel
        The objects, and which are selected.
    jobs : Jobs
        The worker.
    """

    def __init__(self, box: CleanUpPanel, objects: ObjectsPanel, jobs: Jobs) -> None:
        super().__init__(box)
        self._box, self._panel, self._jobs = box, objects, jobs
        self._binding: Binding | None = None
        self._on = False
        self._chosen: list[int] = []
        self._stale: ObjectFeatures | None = None
        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(self._compute)
        box.previewed.connect(self._switch)
        objects.listed.connect(self._selected)

    def bind(self, binding: Binding | None) -> None:
        """Preview objects of another image from here on."""
        self.end()
        self._binding = binding

    def end(self) -> None:
        """Switch the preview off."""
        self._box.preview.setChecked(False)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """End the preview on Esc, which does what else it does, too."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Escape:
            self.end()
        return False

    def _switch(self, on: bool) -> None:
        if on and not self._on:
            self._begin()
        elif not on and self._on:
            self._finish()
        if self._on:
            self._rest.start()

    def _begin(self) -> None:
        binding = self._binding
        if binding is None or binding.session.result is not None or self._shown():
            self._box.tell("Keep (K) or clear (Q) the mask that is shown first." if binding is not None else "")
            self._box.preview.setChecked(False)
            return
        self._on = True
        binding.viewer.dims.events.current_step.connect(self._moved)
        binding.session.preview_changed.connect(self._overtaken)
        if (application := QApplication.instance()) is not None:
            application.installEventFilter(self)

    def _finish(self) -> None:
        self._on = False
        self._rest.stop()
        self._follow(None)
        if (application := QApplication.instance()) is not None:
            application.removeEventFilter(self)
        self._box.tell("")
        binding = self._binding
        if binding is not None:
            binding.viewer.dims.events.current_step.disconnect(self._moved)
            binding.session.preview_changed.disconnect(self._overtaken)
            binding.mask_preview.show_mask()

    def _shown(self) -> bool:
        """Whether the preview layer shows something else, such as found objects."""
        layer = None if self._binding is None else self._binding.mask_preview.layer
        return layer is not None and bool(layer.data.any())

    def _overtaken(self) -> None:
        """A click asks for a mask, which is shown instead."""
        if self._binding is not None and self._binding.session.result is not None:
            self.end()

    def _moved(self, event: Any = None) -> None:
        self._rest.start()

    def _selected(self) -> None:
        before, self._chosen = self._chosen, self._panel.chosen
        if self._on and not self._box.all_objects and self._chosen != before:
            self._rest.start()

    def _changed(self) -> None:
        self._rest.start()

    def _follow(self, objects: ObjectFeatures | None) -> None:
        """Compute again when the pixels of these objects change."""
        if self._stale is not None:
            self._stale.stale.disconnect(self._changed)
        self._stale = objects
        if objects is not None:
            objects.stale.connect(self._changed)

    def _compute(self) -> None:
        try:
            objects, view = self._parts()
            windows = objects.windows(objects.present if self._box.all_objects else self._panel.chosen)
        except SeganyError as error:
            self._show(None, [], str(error))
            return
        if objects is not self._stale:
            self._follow(objects)
        how = self._box.how
        if how is not CleanUp.SMALL:
            windows = {label: here for label, window in windows.items() if (here := on_slice(window, view))}
        work = partial(clean_objects, objects.labels.data, windows, how, self._box.amount, view.axes)
        names = {label: objects.about(label).name for label in windows}
        self._jobs.run(
            partial(_told, work, how, view, names),
            done=partial(self._take, view),
            failed=self._refuse,
            instead_of="clean up preview",
            unseen=True,
        )

    def _parts(self) -> tuple[ObjectFeatures, View]:
        view = None if self._binding is None else self._binding.planes.view()
        if self._panel.objects is None or view is None:
            raise InputError("There are no objects on this slice.")
        self._panel.objects.update()
        return self._panel.objects, view

    def _take(self, view: View, found: tuple[list[ShapeChange], str]) -> None:
        if self._on:
            self._show(view, *found)

    def _refuse(self, error: Exception) -> None:
        # (labels that were painted into meanwhile are looked at again)
        if self._on and isinstance(error, SeganyError):
            self._show(None, [], str(error))

    def _show(self, view: View | None, changes: list[ShapeChange], text: str) -> None:
        binding = self._binding
        if binding is None or not self._on:
            return
        self._box.tell(text)
        if view is None or self._panel.objects is None:
            binding.mask_preview.show_mask()
            return
        plane = np.zeros(view.plane_shape(self._panel.objects.labels.data.shape), np.uint8)
        for change in changes:
            for number, index in enumerate((change.added, change.removed), start=1):
                here = np.all([index[axis] == view.position[axis] for axis in view.leading], axis=0)
                rows, columns = index[view.axes[0]], index[view.axes[1]]
                plane[(rows[here], columns[here]) if view.leading else (rows, columns)] = number
        binding.mask_preview.show_labels(view, plane, {1: ADDED, 2: REMOVED}, COLOURS)


def on_slice(window: tuple[slice, ...], view: View) -> tuple[slice, ...]:
    """The part of a window that lies on the plane of a view; empty where none does."""
    inside = all(window[axis].start <= view.position[axis] < window[axis].stop for axis in view.leading)
    here = {axis: slice(view.position[axis], view.position[axis] + 1) for axis in view.leading}
    return tuple(here.get(axis, side) for axis, side in enumerate(window)) if inside else ()


def _told(work: Any, how: CleanUp, view: View, names: dict[int, str]) -> tuple[list[ShapeChange], str]:
    """Runs in the worker: the changes, and a line about them."""
    changes = work()
    where = " on this slice" if view.leading and how is not CleanUp.SMALL else ""
    return changes, f"{told_changes(changes, how, view.axes, names)}{where}."
