"""A segmenter in a process of its own, behind the same protocol.

Python runs one thread at a time, and a window that draws itself keeps the others waiting: an answer of 30 ms then takes
three times as long, and torch, as it is imported, stops the window for as long. A process shares no such lock, and
what it computes can be stopped at once.
"""

from __future__ import annotations

import importlib
import math
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection, Listener, Pipe
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import psutil

from napari_segany.core.automatic_masks import Filters
from napari_segany.core.confidence import ConfidenceCalibration
from napari_segany.core.errors import ModelError, SeganyError
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.text_query import Phrase
from napari_segany.engine.mask_packing import unpack_mask
from napari_segany.engine.prediction import MODEL

START_SECONDS = 60.0
"""A process that has not answered by then never will."""
POLL_SECONDS = 2.0
HANG_SECONDS = 60.0
"""A process that uses no processor for so long while it is asked something is ended."""
Progress = Callable[[int, int | None], None]


class WorkerEndedError(ModelError):
    """The process that computes has ended, or was ended because it hung."""


class WorkerConnection:
    """A process that computes, and the line to it.

    Raises
    ------
    ModelError
        When the process cannot be started.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        try:
            self._process, self._line = _started()
            # It starts for a second. What the window needs for the first object that is kept loads meanwhile.
            importlib.import_module("scipy.ndimage")
            self._greeted()
        except (OSError, EOFError) as error:
            raise ModelError(f"the process that computes could not be started: {error}") from None

    def _greeted(self) -> None:
        """Wait for the first word of the process."""
        try:
            if not self._line.poll(START_SECONDS):
                raise OSError(f"it did not answer for {START_SECONDS:.0f} s")
            self._line.recv()
        except (OSError, EOFError) as error:
            self.close()
            raise OSError(f"it ended with status {self._process.returncode}" if not str(error) else error) from None

    def call(self, method: str, *given: Any, progress: Progress | None = None) -> Any:
        """Have something done there, and wait for it.

        Parameters
        ----------
        method : str
            What the worker is to do, see :mod:`napari_segany.engine.worker`.
        *given
            What it is given.
        progress : callable, optional
            Gets news while it is done; when it raises, the process is ended.

        Raises
        ------
        WorkerEndedError
            When the process has ended, perhaps for want of memory, or did nothing for `HANG_SECONDS`.
        Exception
            What went wrong there.
        """
        with self._lock:
            self.begin(method, *given)
            return self.wait(progress, patient=method == "load")

    def begin(self, method: str, *given: Any) -> None:
        """Have something done there that :meth:`wait` waits for; nothing else may be asked in between."""
        try:
            self._line.send((method, given))
        except OSError:
            raise self._ended() from None

    def wait(self, progress: Progress | None = None, *, patient: bool = True) -> Any:
        """The result of what was begun; see :meth:`call`.

        Parameters
        ----------
        progress : callable, optional
            Gets news.
        patient : bool
            Wait even where the process computes nothing, as while it waits for a download.
        """
        while True:
            try:
                kind, value = self._received(patient=patient)
            except (EOFError, OSError):
                raise self._ended() from None
            if kind == "error":
                raise value
            if kind != "progress":
                return value
            if progress is not None:
                try:
                    progress(*value)
                except Exception:
                    # nobody wants the result any more
                    self.close()
                    raise

    def _received(self, *, patient: bool) -> tuple[str, Any]:
        used, since = -1.0, time.monotonic()
        while not self._line.poll(POLL_SECONDS):
            seconds = self._processor_seconds()
            if seconds != used:
                used, since = seconds, time.monotonic()
            elif not patient and time.monotonic() - since > HANG_SECONDS:
                raise self._ended(f"hung for {HANG_SECONDS:.0f} s and was ended")
        news: tuple[str, Any] = self._line.recv()
        return news

    def _processor_seconds(self) -> float:
        """Processor time of the process so far; one that has ended uses none."""
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def _ended(self, what: str = "has ended, perhaps for want of memory") -> WorkerEndedError:
        self.close()
        return WorkerEndedError(f"the process that computes {what}; try again")

    @property
    def alive(self) -> bool:
        """Whether it can be asked anything."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process, whatever it is doing; another call is not possible then."""
        self._process.kill()
        self._process.wait()


def _threads() -> dict[str, str]:
    """One core is the window's: threads that wait for each other wait for the one that it holds up."""
    return {"OMP_NUM_THREADS": str(max((os.cpu_count() or 2) - 1, 1))}


def _started() -> tuple[subprocess.Popen[bytes], Connection]:
    """A new process and the line to it; OSError when it cannot be had."""
    command, env = [sys.executable, "-m", "napari_segany.engine.worker"], {**_threads(), **os.environ}
    if sys.platform == "win32":
        key = secrets.token_bytes(16)
        with Listener(authkey=key) as listener:
            process = subprocess.Popen([*command, str(listener.address)], stdin=subprocess.PIPE, env=env)
            if process.stdin is not None:
                process.stdin.write(key)
                process.stdin.close()
            return process, listener.accept()
    else:
        # handed over by inheritance: a socket with a name needs a short temporary folder
        ours, theirs = Pipe()
        with theirs:
            handle = theirs.fileno()
            command = [*command, str(handle)]
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=env, pass_fds=[handle]), ours


class RemoteTextPrompter:
    """Reads texts as the model in another process does; see :func:`~napari_segany.core.query.phrases_of`."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def phrases(self, text: str) -> list[Phrase]:
        """What a text asks for."""
        found: list[Phrase] = self._call("phrases", text)
        return found


class RemoteSegmenter:
    """Answers as a segmenter in another process does.

    Parameters
    ----------
    remote : WorkerConnection
        Where a model is loaded.
    name, device : str
        Of that model.
    source : str, optional
        What the model is loaded by, if that is not its name.

    Attributes
    ----------
    restarted : callable or None
        Called without arguments, in the thread that asks, when the process had ended and another one answers.
    """

    def __init__(self, remote: WorkerConnection, name: str, device: str, source: str = "") -> None:
        self.name, self.device = name, device
        self.restarted: Callable[[], None] | None = None
        self.calibration: ConfidenceCalibration | None = None
        self._remote, self._source = remote, source or name
        self._closed = False
        # An embedding stays where it was made; it is sent there again only if it had to make room.
        self._tokens: WeakKeyDictionary[ImageEmbedding, int] = WeakKeyDictionary()
        self._next = 0

    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        """Encode a plane; see :meth:`~napari_segany.core.segmenter.Segmenter.embed`."""
        token = self._token()
        embedding: ImageEmbedding = self._call("embed", token, plane)
        self._tokens[embedding] = token
        return embedding

    def segment(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        *,
        candidates: int | None = None,
        at_least: float = -math.inf,
    ) -> list[list[Mask]]:
        """Answer each prompt; see :meth:`~napari_segany.core.segmenter.Segmenter.segment`."""
        found = self._ask("segment", embedding, list(prompts), candidates, at_least)
        return [[unpack_mask(one) for one in masks] for masks in found]

    def named_proposals(self, embedding: ImageEmbedding, phrases: Sequence[Phrase]) -> list[Prompt]:
        """See :class:`~napari_segany.core.automatic_masks.ProposesNamedObjects`."""
        found: list[Prompt] = self._ask("named_proposals", embedding, list(phrases))
        return found

    @property
    def texts(self) -> RemoteTextPrompter:
        """What reads texts there."""
        return RemoteTextPrompter(self._call)

    def close(self) -> None:
        """End the process; nothing more can be asked."""
        self._closed = True
        self._remote.close()

    def _call(self, method: str, *given: Any) -> Any:
        """Have something done there; where the process has ended, once more by another one with the same model."""
        try:
            return self._remote.call(method, *given)
        except WorkerEndedError:
            if self._closed:
                raise
            self._restart()
            return self._remote.call(method, *given)

    def _restart(self) -> None:
        remote = WorkerConnection()
        try:
            remote.call("load", self._source)
        except SeganyError:
            remote.close()
            raise
        # embeddings that were kept there are sent again when they are needed
        self._remote = remote
        if self.restarted is not None:
            self.restarted()

    def _ask(self, method: str, embedding: ImageEmbedding, *given: Any) -> Any:
        token = self._tokens.setdefault(embedding, self._next + 1)
        self._next = max(self._next, token)
        answer = self._call(method, token, *given)
        if answer is None:
            self._call("keep", token, embedding)
            answer = self._call(method, token, *given)
        return answer

    def _token(self) -> int:
        self._next += 1
        return self._next


class RemoteProposingSegmenter(RemoteSegmenter):
    """The same for a segmenter that can tell where objects are."""

    filters = Filters()

    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        """See :class:`~napari_segany.core.automatic_masks.ProposesObjects`."""
        found: list[Prompt] = self._ask("seeds", embedding)
        return found


def load_remote_default() -> Segmenter:
    """The segmenter in the package, in a process of its own."""
    return load_remote(MODEL)


def load_remote(name: str, progress: Progress | None = None) -> Segmenter:
    """Load a model in a process of its own, which is started when there is none.

    Parameters
    ----------
    name : str
        Of the model, as :func:`~napari_segany.models.loading.load_segmenter` takes it.
    progress : callable, optional
        Gets the bytes that have been downloaded, and how many there are. When it raises, the download is stopped.

    Raises
    ------
    ModelError
        When the model cannot be had, or the process not be started.
    """
    return starting(name)(progress)


def starting(name: str = MODEL) -> Callable[..., Segmenter]:
    """Begin to load a model in a process of its own.

    Parameters
    ----------
    name : str
        See :func:`load_remote`.

    Returns
    -------
    callable
        Waits until it is loaded and returns it, once; takes the `progress` of :func:`load_remote`, and raises alike.
    """
    remote = WorkerConnection()
    remote.begin("load", name)
    return partial(_loaded, remote, name)


def _loaded(remote: WorkerConnection, source: str, progress: Progress | None = None) -> Segmenter:
    try:
        loaded, device, filters, calibration = remote.wait(progress)
    except Exception:
        remote.close()
        raise
    if filters is None:
        segmenter = RemoteSegmenter(remote, loaded, device, source)
    else:
        segmenter = RemoteProposingSegmenter(remote, loaded, device, source)
        segmenter.filters = filters
    segmenter.calibration = calibration
    return segmenter
