"""Connects the session, the worker and the model: planes are encoded and masks predicted off the window's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from weakref import WeakMethod

from qtpy.QtCore import QObject, QTimer, Signal

from napari_segany.core.errors import SeganyError
from napari_segany.core.planes import Stack
from napari_segany.engine.prediction import PredictionService
from napari_segany.engine.remote_segmenter import load_remote
from napari_segany.layers.binding import Binding
from napari_segany.models.registry import ModelSpec
from napari_segany.session.session import SegmentRequest, SegmentResult, Session
from napari_segany.widgets.jobs import Job, Jobs
from napari_segany.widgets.paint_pause import PaintPause

IDLE_MS = 300
"""Milliseconds without a request until neighbours of the plane are encoded, at least."""
PATIENCE = 2.0
"""The same as a multiple of the encoding time: a click has to wait for an encoding that has begun."""


class PredictionController(QObject):
    """Runs the model in the worker.

    Parameters
    ----------
    session : Session
        Its requests are predicted.
    jobs : Jobs
        The worker; owns this object.
    answers : PredictionService
        The model and its embeddings.
    pause : PaintPause
        Lets the window draw click and mask together.

    Attributes
    ----------
    message : Signal
        Emitted with a message about the current work.
    ready : Signal
        Emitted without arguments when a plane is encoded.
    expected : Signal
        Emitted with the seconds that such work took the last time.
    arrived : Signal
        Emitted with the downloaded bytes, and their total, 0 if that is not known.
    loaded : Signal
        Emitted with the name of a model that is used from here on.
    refused : Signal
        Emitted without arguments when a model could not be loaded, and the one before stays in use.
    accepted : Signal
        Emitted with a SegmentResult that the session accepted.
    rested : Signal
        Emitted without arguments when the user pauses and all neighbours of the plane are encoded.
    failed : Signal
        Emitted with the exception of work that failed.
    """

    rested = Signal()
    message = Signal(str)
    ready = Signal()
    expected = Signal(float)
    arrived = Signal(float, float)
    loaded = Signal(str)
    refused = Signal()
    accepted = Signal(object)
    failed = Signal(object)

    def __init__(self, session: Session, jobs: Jobs, answers: PredictionService, pause: PaintPause) -> None:
        super().__init__(jobs)
        self._session, self._jobs, self._answers, self._pause = session, jobs, answers, pause
        self._binding: Binding | None = None
        self._took: dict[tuple[str, tuple[int, int]], float] = {}
        self._idle = QTimer(self, singleShot=True)
        self._idle.timeout.connect(self._look_ahead)
        self._ahead: Job | None = None
        session.requested.connect(self.predict)
        # the worker may keep the service longer than the window exists, and must not own the window
        restarted = WeakMethod(self._restarted)
        answers.restarted = lambda: _call(restarted)

    def bind(self, binding: Binding | None) -> None:
        """Predict on another image."""
        if self._binding is not None:
            self._binding.moved.disconnect(self.prepare)
        self._binding = binding
        if binding is not None:
            binding.moved.connect(self.prepare)
        else:
            self._hurry()

    def _restarted(self) -> None:
        """Runs in the worker."""
        self.message.emit("The worker process had ended and was started again.")

    def prepare(self) -> None:
        """Encode the current plane before the first click."""
        self._hurry()
        view = self._binding.planes.view() if self._binding is not None else None
        if self._binding is None or view is None:
            return
        try:
            stack, number = self._binding.planes.stack(view)
        except SeganyError as error:
            self.failed.emit(error)
            return
        self.message.emit("Encoding …")
        seconds = self._took.get((self._answers.name, stack.plane_shape))
        if seconds is not None and not self._answers.ready(stack, number):
            self.expected.emit(seconds)
        self._jobs.run(
            partial(self._encode, stack, number),
            done=self._prepared,
            failed=self.failed.emit,
            instead_of="prepare",
        )

    def _prepared(self, _: object) -> None:
        self.ready.emit()
        self._rest()

    def _rest(self) -> None:
        """Begin to wait for a rest of the user's."""
        took = max(self._took.values(), default=0.0)
        self._idle.start(max(IDLE_MS, int(1000 * PATIENCE * took)))

    def _hurry(self) -> None:
        """The user waits: work that was not requested does not begin."""
        self._idle.stop()
        if self._ahead is not None:
            self._jobs.cancel(self._ahead)
            self._ahead = None

    def _look_ahead(self) -> None:
        """Encode the next neighbour of the current plane in the background; one by one, while there is no request."""
        view = self._binding.planes.view() if self._binding is not None else None
        if self._binding is None or view is None:
            return
        stack, number = self._binding.planes.stack(view)
        near = [n for n in (number + 1, number - 1) if 0 <= n < len(stack) and not self._answers.ready(stack, n)]
        if near:
            self._ahead = self._in_background(partial(self._encode, stack, near[0]), self._rest)
        else:
            self.rested.emit()

    def encode_ahead(self, plane: Callable[[], tuple[Stack, int]]) -> None:
        """Encode a plane of another image in the background, where the model recognises it by its values later.

        Parameters
        ----------
        plane : callable
            Runs in the worker: reads the planes of the image, and tells which one.
        """
        self._ahead = self._in_background(partial(self._encode_of, plane), lambda: None)

    def _in_background(self, work: Callable[[], None], done: Callable[[], None]) -> Job:
        # what fails is reported when that plane is shown
        return self._jobs.run(work, done=lambda _: done(), failed=lambda _: None, unseen=True)

    def _encode_of(self, plane: Callable[[], tuple[Stack, int]]) -> None:
        """Runs in the worker."""
        self._encode(*plane())

    def _encode(self, stack: Stack, number: int) -> None:
        """Runs in the worker."""
        if not self._answers.ready(stack, number):
            # the model is loaded once, and that is no measure for the next plane
            _ = self._answers.segmenter
            began = time.monotonic()
            self._answers.embed(stack, number)
            self._took[self._answers.name, stack.plane_shape] = time.monotonic() - began

    def predict(self, request: SegmentRequest) -> None:
        """Start the prediction of a request."""
        self._hurry()
        if self._binding is None:
            return
        try:
            stack, number = self._binding.planes.stack(request.plane)
        except SeganyError as error:
            self.failed.emit(error)
            return
        if self._answers.ready(stack, number):
            self._pause.begin()
        work = partial(self._answers.answer, stack, number, request, named=True)
        self._jobs.run(work, done=self._accept, failed=self.failed.emit, instead_of="answer")
        self._binding.mask_preview.expect(request)

    def _accept(self, result: SegmentResult) -> None:
        if self._session.accept(result):
            self.accepted.emit(result)
        self._pause.end()
        self._rest()

    def load(self, spec: ModelSpec) -> None:
        """Use another model; the current request is repeated."""

        def done(_: object) -> None:
            self.loaded.emit(spec.name)
            self.prepare()
            self._session.repeat()

        def failed(error: Exception) -> None:
            self.refused.emit()
            self._session.repeat()
            self.failed.emit(error)

        self._hurry()
        self._jobs.cancel_all()
        self.message.emit(f"Loading {spec.name} …")
        load = partial(load_remote, spec.name, self._report)
        self._jobs.run(partial(self._answers.use, load), done=done, failed=failed)

    def _report(self, done: int, total: int | None) -> None:
        """Pass on how far a download is; runs in the worker, and stops there what was cancelled."""
        self._jobs.check()
        self.arrived.emit(done, total or 0)


def _call(method: WeakMethod[Callable[[], None]]) -> None:
    act = method()
    if act is not None:
        act()
