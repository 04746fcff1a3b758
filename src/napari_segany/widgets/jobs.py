"""The only file that starts threads: long work runs in one long-lived worker, its results arrive on the main thread."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

from napari_segany.core.errors import Cancelled

NICENESS = 5
"""How much the worker yields to the window on systems where each thread has a separate niceness."""


LAST_SECONDS = 30.0
"""How long the end of the program waits for work that cannot be interrupted."""
_left: list[Job] = []
"""Jobs whose window is gone; they are let go in the main thread, when the next job is queued."""
_workers: weakref.WeakKeyDictionary[threading.Thread, queue.SimpleQueue[Job | None]] = weakref.WeakKeyDictionary()


@atexit.register
def _end_workers() -> None:
    """Torch must not be computing when the program takes itself apart: it would abort."""
    for thread, jobs in list(_workers.items()):
        jobs.put(None)
        thread.join(LAST_SECONDS)


class Job:
    """One piece of work that waits, runs, or is done.

    Parameters
    ----------
    work : callable
        Runs in the worker thread, without arguments.
    done : callable
        Gets the result, on the main thread.
    failed : callable
        Gets the exception, on the main thread.
    """

    def __init__(
        self, work: Callable[[], Any], done: Callable[[Any], object], failed: Callable[[Exception], None]
    ) -> None:
        self.work, self.done, self.failed = work, done, failed
        self.cancelled = False
        self.result: Any = None
        self.error: Exception | None = None


class Jobs(QObject):
    """Runs jobs one after the other in a thread that lives as long as this object is open.

    Parameters
    ----------
    parent : QObject, optional
        Owns this object.
    before_delivery : method, optional
        Called in the worker before a result is delivered; it may wait. Its object is not kept alive by this one.

    One thread for all of them: torch keeps a pool of threads for each thread that calls it, and two computations at
    once only slow each other down.

    Attributes
    ----------
    busy : Signal
        Emitted with True when work begins to wait or run, with False when there is none left.
    """

    busy = Signal(bool)
    _finished = Signal(object)

    def __init__(self, parent: QObject | None = None, before_delivery: Callable[[], object] | None = None) -> None:
        super().__init__(parent)
        self._before_delivery = None if before_delivery is None else weakref.WeakMethod(before_delivery)
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._open: list[Job] = []
        self._latest: dict[str, Job] = {}
        self._running: Job | None = None
        self._since = 0.0
        self._finished.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        # the window may go without a word; the queue is no part of Qt and still there then
        self.destroyed.connect(partial(self._queue.put, None))
        self._thread = threading.Thread(target=self._work, name="napari-segany worker", daemon=True)
        self._thread.start()
        _workers[self._thread] = self._queue

    def run(
        self,
        work: Callable[[], Any],
        *,
        done: Callable[[Any], object],
        failed: Callable[[Exception], None],
        instead_of: str = "",
        unseen: bool = False,
    ) -> Job:
        """Queue work.

        Parameters
        ----------
        work : callable
            Runs in the worker thread.
        done, failed : callable
            Get the result or the exception on the main thread, unless the job was cancelled.
        instead_of : str
            A name; an earlier job of the same name that is not done is cancelled.
        unseen : bool
            Background work: it does not count as being busy.
        """
        _left.clear()
        job = Job(work, done, failed)
        if instead_of:
            if instead_of in self._latest:
                self.cancel(self._latest[instead_of])
            self._latest[instead_of] = job
        if not unseen:
            self._open.append(job)
            if len(self._open) == 1:
                self._since = time.monotonic()
                self.busy.emit(True)
        self._queue.put(job)
        return job

    @property
    def busy_seconds(self) -> float:
        """For how long there has been work; 0 while there is none."""
        return time.monotonic() - self._since if self._open else 0.0

    def check(self) -> None:
        """Check whether the current job was cancelled; called by the work, in the worker.

        Raises
        ------
        Cancelled
            The result of the work is no longer needed.
        """
        if self._running is not None and self._running.cancelled:
            raise Cancelled("cancelled")

    def cancel(self, job: Job) -> None:
        """Drop a job: it does not begin, or its result is ignored when it has begun."""
        job.cancelled = True
        self._close_job(job)

    def cancel_all(self) -> None:
        """Drop everything that is not done."""
        for job in list(self._open):
            self.cancel(job)

    def close(self) -> None:
        """Drop everything and let the thread end."""
        self.cancel_all()
        self._queue.put(None)

    def end(self) -> None:
        """Let the thread end when what is queued is done."""
        self._queue.put(None)

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended, after :meth:`close`."""
        self._thread.join(seconds)

    def _close_job(self, job: Job) -> None:
        # what a job holds, an image for one, must not outlive it here
        self._latest = {name: latest for name, latest in self._latest.items() if latest is not job}
        if job in self._open:
            self._open.remove(job)
            if not self._open:
                self.busy.emit(False)

    def _work(self) -> None:
        if sys.platform == "linux":
            # the window goes first when both want the processor
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while (job := self._queue.get()) is not None:
            if not job.cancelled:
                self._running = job
                try:
                    job.result = job.work()
                    self._settle()
                except Exception as error:  # noqa: BLE001 - every error is passed to the main thread
                    job.error = error
                self._running = None
            # The last reference to what a job holds must not go here: Qt takes a lock to disconnect what is gone, and
            # waits for the interpreter, while the window has the interpreter, and waits for the lock. So cancelled
            # jobs are handed back, too.
            try:
                self._finished.emit(job)
            except RuntimeError:  # the window, and with it this object's C++ half, is gone
                _left.append(job)
            del job

    def _settle(self) -> None:
        settle = None if self._before_delivery is None else self._before_delivery()
        if settle is not None:
            settle()

    def _deliver(self, job: Job) -> None:
        if job.cancelled:
            return
        self._close_job(job)
        if job.error is not None:
            job.failed(job.error)
        else:
            job.done(job.result)
