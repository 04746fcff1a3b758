"""What the system does to a command: names that a console cannot show, and signals that end it."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

ENDING = ("SIGTERM", "SIGHUP")
"""Signals by which queues, time limits and closed terminals end a run."""


class Ended(BaseException):
    """The operating system requests this process to end.

    Parameters
    ----------
    signal : int
        The signal that was received.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have signals raise :class:`Ended`, so that temporary files are removed as after Ctrl+C.

    Signals that are ignored (``nohup``) or handled already stay as they are.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ENDING:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(number)


@contextlib.contextmanager
def writable_names() -> Iterator[None]:
    """Replace letters that the console's encoding lacks: output must never fail after the work is done."""
    changed = []
    for stream in (sys.stdout, sys.stderr):
        errors = getattr(stream, "errors", None)
        if errors in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
            changed.append((stream, errors))
    try:
        yield
    finally:
        for stream, errors in changed:
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors=errors)
