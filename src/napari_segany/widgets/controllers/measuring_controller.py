"""Measures the objects of the table off the window's thread, again whenever they change."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from functools import partial

from qtpy.QtCore import QObject, QTimer, Signal

from napari_segany.core.errors import Cancelled
from napari_segany.io.formats.measurements import group_of
from napari_segany.layers.feature_columns import MeasuredColumns
from napari_segany.layers.layer_measurements import ObjectTable, measurement_of
from napari_segany.layers.object_features import ObjectFeatures
from napari_segany.widgets.jobs import Job, Jobs
from napari_segany.widgets.panels.objects_panel import STEP_SECONDS, ObjectsPanel

REST_MS = 700
"""How long after a change objects are measured, together with later changes."""
YIELD_SECONDS = 0.001
"""How long the worker leaves the interpreter to the window at each report."""
COUNTED = ("size", "slices", "pixels")
"""Groups of columns that the table of objects has anyway, or does not need."""


class MeasuringController(QObject):
    """Between the table of objects and what shows their measurements.

    Parameters
    ----------
    objects : ObjectsPanel
        Whose objects are measured.
    jobs : Jobs
        A worker on which no click waits.
    parent : QObject
        Owns this object.

    Attributes
    ----------
    table : ObjectTable or None
        The latest measurements; None while there are none of the layer.
    began : Signal
        Emitted without arguments when measuring begins.
    progress : Signal
        Emitted from the worker with the amount that is measured, and the total.
    measured : Signal
        Emitted without arguments when `table` is another one.
    failed : Signal
        Emitted with the exception of what failed.
    """

    began = Signal()
    progress = Signal(float, float)
    measured = Signal()
    failed = Signal(object)

    def __init__(self, objects: ObjectsPanel, jobs: Jobs, parent: QObject) -> None:
        super().__init__(parent)
        self._panel, self._jobs = objects, jobs
        self.objects: ObjectFeatures | None = None
        self.table: ObjectTable | None = None
        self._counted: object = None
        self._sweep: Iterator[None] | None = None
        self._job: Job | None = None
        self._closed = False
        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(self._begin)
        self._steps = QTimer(self, interval=0)
        self._steps.timeout.connect(self._step)
        objects.listed.connect(self.follow)

    def follow(self) -> None:
        """Measure the objects of the table, when it is about another layer."""
        if self._closed or self._panel.objects is self.objects:
            return
        self._let_go()
        self.objects, self.table = self._panel.objects, None
        if self.objects is not None:
            self.objects.stale.connect(self._wait)
            self._begin()
        self.measured.emit()

    def close(self) -> None:
        """Stop, and let go of the objects."""
        self._closed = True
        self._let_go()
        self.objects = self.table = None

    def stop(self) -> None:
        """Cancel the measuring that runs; it begins again with the next change."""
        self._rest.stop()
        self._steps.stop()
        self._sweep = None
        if self._job is not None:
            self._jobs.cancel(self._job)
        self._job = None

    def measure(self) -> None:
        """Measure again, also if nothing has changed."""
        self._counted = None
        self._begin()

    def show_columns(self, groups: Collection[str]) -> None:
        """Have the table of objects show these groups of columns; those of movies have several rows for an object."""
        if self.objects is None or self.table is None or self.table.time is not None:
            return
        numbers = self.table.numbers
        shown = {name: values for name, values in numbers.items() if group_of(name) in groups and _is_extra(name)}
        # (the table is written in pieces by the next sweep)
        self.objects.set_measured(MeasuredColumns(self.table.labels, numbers["pixels"], shown))

    def _let_go(self) -> None:
        self.stop()
        if self.objects is not None:
            self.objects.stale.disconnect(self._wait)
        self._counted = None

    def _wait(self) -> None:
        if not self._steps.isActive():
            self._rest.start()

    def _begin(self) -> None:
        if self.objects is not None:
            self._sweep = self.objects.sweep()
            self._steps.start()

    def _step(self) -> None:
        """Count what changed, some blocks at a time; then measure, if anything has."""
        until = time.perf_counter() + STEP_SECONDS
        while self._sweep is not None and time.perf_counter() < until:
            if next(self._sweep, self) is self:
                self._sweep = None
        if self._sweep is None:
            self._steps.stop()
            if self.objects is not None and self.objects.total is not self._counted:
                self._start(self.objects)

    def _start(self, objects: ObjectFeatures) -> None:
        self._counted = objects.total
        what = measurement_of(objects.labels, objects.viewer.layers, objects.image, objects.known)
        self.began.emit()
        self._job = self._jobs.run(
            partial(what.run, self._report),
            done=partial(self._take, objects, objects.total),
            failed=self._fail,
            instead_of="measure",
        )

    def _report(self, done: float, total: float) -> None:
        """Runs in the worker."""
        self._jobs.check()
        self.progress.emit(done, total)
        # the work is Python, of which only one thread runs at a time
        time.sleep(YIELD_SECONDS)

    def _take(self, objects: ObjectFeatures, counted: object, table: ObjectTable) -> None:
        if objects is not self.objects or counted is not self._counted:
            return
        self.table = table
        self.measured.emit()

    def _fail(self, error: Exception) -> None:
        self._counted = None
        if not isinstance(error, Cancelled):
            self.failed.emit(error)


def _is_extra(column: str) -> bool:
    """Whether the table of objects does not have a column anyway."""
    group = group_of(column)
    return group not in COUNTED and group not in ("label", "score", "parent", "class")
