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
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection, Listener
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from napari_segany.core.errors import ModelError
from napari_segany.core.everything import Filters
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Prompt
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.words import Phrase
from napari_segany.run.answers import MODEL
from napari_segany.run.parcels import unpacked

START_SECONDS = 60.0
"""A process that has not answered by then never will."""
Progress = Callable[[int, int | None], None]


class Remote:
    """A process that computes, and the line to it.

    Raises
    ------
    ModelError
        When the process cannot be started.
    """

    def __init__(self) -> None:
        key = secrets.token_bytes(16)
        self._lock = Lock()
        with Listener(authkey=key) as listener:
            command = [sys.executable, "-m", "napari_segany.run.worker", str(listener.address)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, env={**_threads(), **os.environ})
            try:
                if self._process.stdin is not None:
                    self._process.stdin.write(key)
                    self._process.stdin.close()
                # It starts for a second. What the window needs for the first object that is kept loads meanwhile.
                importlib.import_module("scipy.ndimage")
                self._line: Connection = _accepted(listener, self._process)
            except OSError as error:
                self.close()
                raise ModelError(f"the process that computes could not be started: {error}") from None

    def call(self, method: str, *given: Any, progress: Progress | None = None) -> Any:
        """Have something done there, and wait for it.

        Parameters
        ----------
        method : str
            What the worker is to do, see :mod:`napari_segany.run.worker`.
        *given
            What it is given.
        progress : callable, optional
            Gets news while it is done; when it raises, the process is ended.

        Raises
        ------
        ModelError
            When the process has ended, perhaps for want of memory.
        Exception
            What went wrong there.
        """
        with self._lock:
            self.begin(method, *given)
            return self.wait(progress)

    def begin(self, method: str, *given: Any) -> None:
        """Have something done there that :meth:`wait` waits for; nothing else may be asked in between."""
        try:
            self._line.send((method, given))
        except OSError:
            raise self._ended() from None

    def wait(self, progress: Progress | None = None) -> Any:
        """The result of what was begun; see :meth:`call`."""
        while True:
            try:
                kind, value = self._line.recv()
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

    def _ended(self) -> ModelError:
        self.close()
        return ModelError("the process that computes has ended, perhaps for want of memory; try again")

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


def _accepted(listener: Listener, process: subprocess.Popen[bytes]) -> Connection:
    """The line to a process that was started; an OSError when it ends first."""
    # A listener waits for ever; its socket does not have to.
    waiting = getattr(getattr(listener, "_listener", None), "_socket", None)
    if waiting is not None:
        waiting.settimeout(START_SECONDS)
    try:
        return listener.accept()
    except OSError as error:
        raise OSError(f"it ended with status {process.poll()}" if process.poll() else str(error)) from None


class RemoteTexts:
    """Reads texts as the model in another process does; see :func:`~napari_segany.run.text.phrases_of`."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def phrases(self, text: str) -> list[Phrase]:
        """What a text asks for."""
        found: list[Phrase] = self._remote.call("phrases", text)
        return found


class RemoteSegmenter:
    """Answers as a segmenter in another process does.

    Parameters
    ----------
    remote : Remote
        Where a model is loaded.
    name, device : str
        Of that model.
    """

    def __init__(self, remote: Remote, name: str, device: str) -> None:
        self.name, self.device = name, device
        self._remote = remote
        # An embedding stays where it was made; it is sent there again only if it had to make room.
        self._tokens: WeakKeyDictionary[ImageEmbedding, int] = WeakKeyDictionary()
        self._next = 0

    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        """Encode a plane; see :meth:`~napari_segany.core.segmenter.Segmenter.embed`."""
        token = self._token()
        embedding: ImageEmbedding = self._remote.call("embed", token, plane)
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
        return [[unpacked(one) for one in masks] for masks in found]

    def text_seeds(self, embedding: ImageEmbedding, text: str) -> list[Prompt]:
        """See :class:`~napari_segany.core.everything.TextSeeding`."""
        found: list[Prompt] = self._ask("text_seeds", embedding, text)
        return found

    @property
    def texts(self) -> RemoteTexts:
        """What reads texts there."""
        return RemoteTexts(self._remote)

    def close(self) -> None:
        """End the process; nothing more can be asked."""
        self._remote.close()

    def _ask(self, method: str, embedding: ImageEmbedding, *given: Any) -> Any:
        token = self._tokens.setdefault(embedding, self._next + 1)
        self._next = max(self._next, token)
        answer = self._remote.call(method, token, *given)
        if answer is None:
            self._remote.call("keep", token, embedding)
            answer = self._remote.call(method, token, *given)
        return answer

    def _token(self) -> int:
        self._next += 1
        return self._next


class RemoteSeeding(RemoteSegmenter):
    """The same for a segmenter that can tell where objects are."""

    filters = Filters()

    def seeds(self, embedding: ImageEmbedding) -> list[Prompt]:
        """See :class:`~napari_segany.core.everything.Seeding`."""
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
    remote = Remote()
    remote.begin("load", name)
    return partial(_loaded, remote)


def _loaded(remote: Remote, progress: Progress | None = None) -> Segmenter:
    try:
        loaded, device, filters = remote.wait(progress)
    except Exception:
        remote.close()
        raise
    if filters is None:
        return RemoteSegmenter(remote, loaded, device)
    segmenter = RemoteSeeding(remote, loaded, device)
    segmenter.filters = filters
    return segmenter
