"""Shows what a click would give, lightly, before there is one (as the demo of Kirillov et al. 2023 does)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QObject
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QWidget

from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.views import View
from napari_segany.engine.prediction import PredictionService
from napari_segany.layers.binding import Binding
from napari_segany.session.session import SegmentRequest, SegmentResult
from napari_segany.widgets.jobs import Job, Jobs


class HoverPreview(QObject):
    """Follows the cursor over the image.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer of the cursor.
    jobs : Jobs
        The worker.
    answers : PredictionService
        The model and its embeddings; nothing is encoded for a preview.
    ready : callable
        A method that returns whether a click would begin an object now.
    """

    def __init__(self, viewer: ViewerModel, jobs: Jobs, answers: PredictionService, ready: Callable[[], bool]) -> None:
        super().__init__(jobs)
        self._viewer, self._jobs, self._answers = viewer, jobs, answers
        # the caller owns this object, which must not own the caller
        self._asker = WeakMethod(ready)
        self._binding: Binding | None = None
        self._asked: tuple[View, Point] | None = None
        self._running: Job | None = None
        self._shown: np.ndarray | None = None
        self.enabled = True
        viewer.mouse_move_callbacks.append(self._moved)

    def bind(self, binding: Binding | None) -> None:
        """Use another image."""
        self.stop()
        self._binding = binding

    def close(self) -> None:
        """Let go of the cursor."""
        self.bind(None)
        if self._moved in self._viewer.mouse_move_callbacks:
            self._viewer.mouse_move_callbacks.remove(self._moved)

    def watch(self, window: QWidget | None) -> None:
        """Take the preview away when the cursor leaves the pictures of a window, however fast it is."""
        for canvas in () if window is None else window.findChildren(QOpenGLWidget):
            canvas.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """The cursor has left a picture."""
        if event.type() == QEvent.Type.Leave:
            self.stop()
        return False

    def set_enabled(self, enabled: bool) -> None:
        """Switch it on or off."""
        self.enabled = enabled
        if not enabled:
            self.stop()

    def stop(self) -> None:
        """Drop the preview and its request: something else is shown now."""
        self._asked = None
        if self._running is not None:
            self._jobs.cancel(self._running)
            self._running = None
        self._take_away()

    def _ready(self) -> bool:
        ready = self._asker()
        return ready is not None and ready()

    def _take_away(self) -> None:
        if self._shown is not None:
            self._shown = None
            if self._binding is not None:
                self._binding.mask_preview.show_mask()

    def _moved(self, viewer: ViewerModel, event: Any) -> None:
        if self._binding is None or not self.enabled or not self._ready():
            # (what is shown instead is no preview any more)
            self._asked = self._shown = None
            return
        place = self._binding.planes.place(event.position)
        if place is None:
            self.stop()
            return
        view, point = place
        row, column = round(point.y), round(point.x)
        if self._shown is not None and not self._shown[row, column]:
            self._take_away()
        if self._asked == place:
            return
        self._asked = place
        if self._running is None:
            self._ask(view, point)

    def _ask(self, view: View, point: Point) -> None:
        if self._binding is None:
            return
        stack, number = self._binding.planes.stack(view)
        if not self._answers.ready(stack, number):
            return
        request = SegmentRequest(-1, view, 0, Prompt((point,)))
        self._running = self._jobs.run(
            lambda: self._answers.answer(stack, number, request), done=self._answered, failed=self._gave_up
        )

    def _answered(self, result: SegmentResult) -> None:
        self._running = None
        if self._asked is None or self._binding is None or not self._ready():
            return
        view, point = self._asked
        pixels = result.masks[0].pixels if result.masks else np.zeros((0, 0), bool)
        if result.request.plane == view and pixels[round(point.y), round(point.x)]:
            self._shown = pixels
            self._binding.mask_preview.show_hint(view, pixels)
        if result.request.prompt.points[0] != point:
            self._ask(view, point)

    def _gave_up(self, error: Exception) -> None:
        # A failed preview is not reported; a click reports the error.
        self._running = self._asked = None
