"""Writes a session's events to their file in a thread, so that no window waits for a hash or for the disk."""

from __future__ import annotations

import atexit
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from napari_segany.core.planes import LazyArray
from napari_segany.engine.session_files import SessionStart, model_of, new_path
from napari_segany.session.events import Event, FingerprintEvent
from napari_segany.session.fingerprint import fingerprint_of
from napari_segany.session.journal import Header, Journal

LAST_SECONDS = 30.0
"""How long the end of the program waits for a disk that does not respond."""


@dataclass(frozen=True, slots=True)
class Reopened:
    """The file of an earlier session, open again, and the last model in it."""

    journal: Journal
    header: Header
    model: str


class JournalWriter:
    """Writes events in their order, each synchronously to the disk.

    Where the disk does not accept a record, it and all that follow wait in memory and are written when there is space.

    Parameters
    ----------
    source : SessionStart or Reopened
        A new file, which is created with the first event, or one that is continued.
    report : callable
        Called in the thread with a message when something cannot be written, once until writing works again, and with
        an empty string when all waiting events are written.

    Attributes
    ----------
    path : Path or None
        The file, once it is created.
    """

    def __init__(self, source: SessionStart | Reopened, report: Callable[[str], None]) -> None:
        self._start = source if isinstance(source, SessionStart) else None
        self._header = source.header if isinstance(source, Reopened) else None
        self._journal = source.journal if isinstance(source, Reopened) else None
        self._model = source.model
        self.path: Path | None = None if self._journal is None else self._journal.path
        self._report = report
        self._waiting: list[tuple[Event, float]] = []
        self._failing = self._broken = self._ended = False
        self._fingerprint: BackgroundHash | None = None
        self._queue: queue.SimpleQueue[tuple[Event, str, float] | None] = queue.SimpleQueue()
        self._put, self._taken = 0, 0
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="napari-segany journal", daemon=True)
        self._thread.start()
        atexit.register(self.end, LAST_SECONDS)

    @property
    def stored(self) -> bool:
        """Whether all events so far are on the disk."""
        return self._taken >= self._put and not (self._failing or self._broken or self._waiting)

    def put(self, event: Event, model: str = "") -> None:
        """Have an event written; returns at once.

        Parameters
        ----------
        event : Event
            What happened.
        model : str
            Name of the model whose prediction it is about, if there is one; a change of models is written, too.

        Notes
        -----
        The time of this call is written with the event.
        """
        self._put += 1
        self._queue.put((event, model, time.time()))

    def flush(self, seconds: float) -> bool:
        """Wait until all events so far are on the disk, or the disk refused them; False when that takes longer.

        After :meth:`end` the file is let go, too, when this returns True.
        """
        if self._ended:
            self._thread.join(seconds)
            return not self._thread.is_alive()
        wanted = self._put
        with self._progress:
            return self._progress.wait_for(lambda: self._taken >= wanted or not self._thread.is_alive(), seconds)

    def end(self, seconds: float = 0.0) -> None:
        """Let the file go when all events are written; wait for that for some seconds."""
        self._ended = True
        self._queue.put(None)
        if seconds:
            self._thread.join(seconds)

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            if not self._broken:
                self._try(*entry)
            with self._progress:
                self._taken += 1
                self._progress.notify_all()
        if self._journal is not None:
            self._journal.close()
        if self._fingerprint is not None:
            self._fingerprint.cancel()
        atexit.unregister(self.end)

    def _try(self, event: Event, model: str, when: float) -> None:
        """Write an event; report the reason where that is not possible."""
        try:
            if self._header is None and self._start is not None:
                self._begin(self._start)
        except Exception as error:  # noqa: BLE001 - reading the user's array may raise anything
            self._break(f"a part of the image cannot be read ({error})")
            return
        try:
            self._take(event, model, when)
        except OSError as error:
            if not self._failing:
                self._failing = True
                reason = error.strerror or error
                self._report(f"this session is not kept for later until the disk accepts it: {reason}")
        except Exception as error:  # noqa: BLE001 - an exception in the thread would be lost
            self._break(f"{type(error).__name__} {error}")

    def _break(self, reason: str) -> None:
        """Write nothing more: what followed could not be read without what is missing."""
        self._broken = True
        self._report(f"this session is not kept for later: {reason}")

    def _begin(self, start: SessionStart) -> None:
        self._header = start.header()
        if not self._header.image.hash:
            self._fingerprint = BackgroundHash(start.image)

    def _take(self, event: Event, model: str, when: float) -> None:
        if self._fingerprint is not None and self._fingerprint.done:
            self._waiting += [(FingerprintEvent(self._fingerprint.hash), when)] if self._fingerprint.hash else []
            self._fingerprint = None
        if model and model != self._model:
            self._model = model
            self._waiting.append((model_of(model), when))
        self._waiting.append((event, when))
        self._catch_up()

    def _catch_up(self) -> None:
        """Write all that waits; OSError when the disk does not take it, and the rest goes on waiting."""
        if self._journal is None and self._header is not None:
            self._journal = Journal.create(new_path(self._header), self._header)
            self.path = self._journal.path
        while self._waiting and self._journal is not None:
            self._journal.write(*self._waiting[0])
            del self._waiting[0]
        if self._failing:
            self._failing = False
            self._report("")


class BackgroundHash:
    """The hash of all values of a large image, computed in a thread.

    Attributes
    ----------
    hash : str
        Empty until it is known, and when the image cannot be read.
    done : bool
        Whether the thread has ended.
    """

    def __init__(self, image: Callable[[], LazyArray]) -> None:
        self.hash, self.done = "", False
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(image,), name="napari-segany hash", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Let the thread end after the block that it reads."""
        self._cancelled.set()

    def join(self, seconds: float) -> None:
        """Wait until the hash is known."""
        self._thread.join(seconds)

    def _work(self, image: Callable[[], LazyArray]) -> None:
        try:
            self.hash = fingerprint_of(image(), self._cancelled.is_set).hash
        except Exception:  # noqa: BLE001 - the sample is what the image is known by then
            self.hash = ""
        self.done = True
