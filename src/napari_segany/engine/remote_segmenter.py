"""A segmenter in a separate process, behind the same protocol.

Python runs one thread at a time, and a window that draws itself keeps the others waiting: an answer of 30 ms then takes
three times as long, and torch, as it is imported, stops the window for as long. A process shares no such lock, and
what it computes can be stopped at once.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import math
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, Listener, Pipe
from threading import Lock
from typing import Any

import numpy as np
import psutil

from napari_segany.core.errors import ModelError, SeganyError
from napari_segany.core.masks import Mask
from napari_segany.core.planes import Region, Stack
from napari_segany.core.prompts import Prompt
from napari_segany.core.propagate import Planes
from napari_segany.core.segmenter import Capabilities, ImageEmbedding, Segmenter
from napari_segany.core.text_query import Phrase
from napari_segany.engine.messages import Channel
from napari_segany.engine.prediction import MODEL
from napari_segany.engine.worker_jobs import Job, Report

START_SECONDS = 60.0
"""A process without a response after so many seconds is given up."""
POLL_SECONDS = 2.0
HANG_SECONDS = 60.0
"""A process that uses no CPU time for so many seconds during a request is ended."""
LOST_TWICE = 2
"""How often an embedding that is lost is computed again: the process may end once more in between."""
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
            self._process, connection = _started()
            self._line = Channel(connection)
            # It starts for a second. What the window needs for the first object that is kept loads meanwhile.
            importlib.import_module("scipy.ndimage")
            self._greeted()
        except (OSError, EOFError) as error:
            raise ModelError(f"the process that computes could not be started: {error}") from None

    def _greeted(self) -> None:
        """Wait for the first word of the process."""
        try:
            if not self._line.poll(START_SECONDS):
                raise OSError(f"no response for {START_SECONDS:.0f} s")
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
        """Start a request whose result :meth:`wait` returns; no other request may start in between."""
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
            kind, value = self._received(patient=patient)
            if kind == "done":
                return value
            if progress is not None:
                try:
                    progress(*value)
                except Exception:
                    # the result is no longer needed
                    self.close()
                    raise

    def stream(self, job: Job, stack: Stack, *given: Any, report: Report | None = None) -> Generator[Any, None, None]:
        """Run a job there, and yield what it yields; ceasing to iterate stops it at its next yield.

        Parameters
        ----------
        job : callable
            See :mod:`napari_segany.engine.worker_jobs`.
        stack : Stack
            The image; it stays here, and planes are sent when the job requests them.
        *given
            What else the job is given.
        report : callable, optional
            Gets the share that is done; what it raises stops the job.

        Raises
        ------
        WorkerEndedError, Exception
            See :meth:`call`.
        """
        with self._lock:
            self.begin("stream", job, stack, *given)
            running = True
            try:
                while running:
                    kind, value = self._received(patient=False)
                    running = kind != "done"
                    if kind == "item":
                        yield value
                    elif kind == "plane":
                        self._lend(*value)
                    elif kind == "progress" and report is not None:
                        self._report(report, value)
            except GeneratorExit:
                self._stop()
                raise
            finally:
                self._line.lent.clear()

    def _report(self, report: Report, share: float) -> None:
        try:
            report(share)
        except Exception:
            self._stop()
            raise

    def _lend(self, reference: int, number: int, window: Region | None) -> None:
        try:
            self._line.lend_plane(reference, number, window)
        except OSError:
            raise self._ended() from None

    def _stop(self) -> None:
        """Have a job stop, and wait until it did; what it still sends is dropped."""
        with contextlib.suppress(SeganyError):
            self.begin("stop")
            while self._received(patient=False)[0] != "done":
                pass

    def _received(self, *, patient: bool) -> tuple[str, Any]:
        """The next message; raises what went wrong there."""
        used, since = -1.0, time.monotonic()
        try:
            while not self._line.poll(POLL_SECONDS):
                seconds = self._processor_seconds()
                if seconds != used:
                    used, since = seconds, time.monotonic()
                elif not patient and time.monotonic() - since > HANG_SECONDS:
                    raise self._ended(f"hung for {HANG_SECONDS:.0f} s and was ended")
            kind, value = self._line.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        if kind == "error":
            raise value
        return kind, value

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
        """Whether the process accepts requests."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process at once; no other call is possible then."""
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
        # the socket is inherited: one with a name needs a short temporary folder
        ours, theirs = Pipe()
        with theirs:
            handle = theirs.fileno()
            command = [*command, str(handle)]
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=env, pass_fds=[handle]), ours


@dataclass(frozen=True, slots=True, eq=False)
class RemoteEmbedding(ImageEmbedding):
    """An embedding that the worker process has.

    Parameters
    ----------
    key : str
        Of the content of the plane, by which the worker knows it.
    size : int
        Bytes of its features there.
    planes : Planes
        Where the plane is read from again when the embedding is lost.
    number : int
        Of the plane.
    """

    key: str
    size: int
    planes: Planes
    number: int

    @property
    def nbytes(self) -> int:
        """Bytes of memory in the worker process."""
        return self.size


class _OnePlane:
    """A plane as a stack of one."""

    def __init__(self, plane: np.ndarray) -> None:
        self._plane = plane
        self.plane_shape = (plane.shape[0], plane.shape[1])

    def __len__(self) -> int:
        return 1

    def plane(self, number: int) -> np.ndarray:
        """The plane."""
        return self._plane


class RemoteSegmenter:
    """A segmenter whose model is in another process.

    Embeddings stay in that process; callers get a key. An embedding that is lost, because the process ended or removed
    it to save memory, is computed again when it is needed.

    Parameters
    ----------
    remote : WorkerConnection
        Connection to a process in which the model is loaded.
    name : str
        Of that model.
    capabilities : Capabilities
        What that model can do.
    source : str, optional
        What the model is loaded from, if that is not its name.

    Attributes
    ----------
    restarted : callable or None
        Called without arguments, in the calling thread, when the process had ended and another one was started.
    """

    def __init__(self, remote: WorkerConnection, name: str, capabilities: Capabilities, source: str = "") -> None:
        self.name, self._capabilities = name, capabilities
        self.restarted: Callable[[], None] | None = None
        self._remote, self._source = remote, source or name
        self._closed = False

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do."""
        return self._capabilities

    def embed(self, plane: np.ndarray) -> RemoteEmbedding:
        """Encode a plane; see :meth:`~napari_segany.core.segmenter.Segmenter.embed`."""
        return self._encoded(plane, _OnePlane(plane), 0)

    def embed_plane(self, stack: Stack, number: int) -> RemoteEmbedding:
        """Encode a plane of a stack; no plane is remembered here."""
        return self._encoded(stack.plane(number), stack, number)

    def _encoded(self, plane: np.ndarray, planes: Planes, number: int) -> RemoteEmbedding:
        key, model, size = self._call("embed", plane)
        return RemoteEmbedding({}, (plane.shape[0], plane.shape[1]), model, key, size, planes, number)

    def segment(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        *,
        candidates: int | None = None,
        at_least: float = -math.inf,
    ) -> list[list[Mask]]:
        """Answer each prompt; see :meth:`~napari_segany.core.segmenter.Segmenter.segment`."""
        found: list[list[Mask]] = self._ask("segment", embedding, list(prompts), candidates, at_least)
        return found

    def name_masks(self, embedding: ImageEmbedding, masks: Sequence[Mask]) -> list[Mask]:
        """See :class:`~napari_segany.core.object_classes.NamesObjects`."""
        found: list[Mask] = self._ask("name_masks", embedding, list(masks))
        return found

    def named_proposals(self, embedding: ImageEmbedding, phrases: Sequence[Phrase]) -> list[Prompt]:
        """See :class:`~napari_segany.core.automatic_masks.ProposesNamedObjects`."""
        found: list[Prompt] = self._ask("named_proposals", embedding, list(phrases))
        return found

    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        """See :class:`~napari_segany.core.automatic_masks.ProposesObjects`."""
        proposals: list[Prompt] = self._ask("seeds", embedding)
        return proposals

    def phrases(self, text: str) -> list[Phrase]:
        """See :class:`~napari_segany.core.automatic_masks.ProposesNamedObjects`."""
        phrases: list[Phrase] = self._call("phrases", text)
        return phrases

    def stream(self, job: Job, stack: Stack, *given: Any, report: Report | None = None) -> Generator[Any, None, None]:
        """Run a job in the worker process, and yield what it yields; see :meth:`WorkerConnection.stream`.

        Where the process ends, the job runs again in another one. It yields the same again, and what has arrived is
        not handed out twice. A process that ends again before anything new has arrived is not started once more.
        """
        arrived, failed_at = 0, -1
        while True:
            try:
                with contextlib.closing(self._remote.stream(job, stack, *given, report=report)) as items:
                    for item in itertools.islice(items, arrived, None):
                        arrived += 1
                        yield item
            except WorkerEndedError:
                if self._closed or failed_at == arrived:
                    raise
                failed_at = arrived
                self._restart()
            else:
                return

    def close(self) -> None:
        """End the process; it accepts no more requests."""
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
        self._remote = remote
        if self.restarted is not None:
            self.restarted()

    def _ask(self, method: str, embedding: ImageEmbedding, *given: Any) -> Any:
        """Have something done with an embedding, which is computed again where it is lost."""
        if not isinstance(embedding, RemoteEmbedding):
            raise ModelError("an embedding is used by the segmenter that made it")
        key = embedding.key
        for _ in range(LOST_TWICE):
            answer = self._call(method, key, *given)
            if answer is not None:
                return answer
            key = self._call("embed", embedding.planes.plane(embedding.number))[0]
        return self._call(method, key, *given)


def load_remote_default() -> Segmenter:
    """The segmenter in the package, in a separate process."""
    return load_remote(MODEL)


def load_remote(name: str, progress: Progress | None = None) -> Segmenter:
    """Load a model in a separate process, which is started when there is none.

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
    """Begin to load a model in a separate process.

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
        loaded, capabilities = remote.wait(progress)
    except Exception:
        remote.close()
        raise
    return RemoteSegmenter(remote, loaded, capabilities, source)
