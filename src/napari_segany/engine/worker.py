"""The worker process: loads a model, holds the latest embeddings, and handles requests until the connection closes.

Embeddings are read from and written to the cache here: :mod:`napari_segany.engine.encoding`.

``python -m napari_segany.engine.worker HANDLE``, an inherited connection (on Windows ADDRESS, with its key on
the standard input); started by :class:`napari_segany.engine.remote_segmenter.WorkerConnection` only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from multiprocessing.connection import Client, Connection
from typing import Any, cast

import numpy as np

from napari_segany.core.automatic_masks import as_proposer, as_text_segmenter
from napari_segany.core.errors import Cancelled, ModelError, SeganyError
from napari_segany.core.masks import Mask
from napari_segany.core.object_classes import NamesObjects
from napari_segany.core.prompts import Prompt
from napari_segany.core.query import phrases_of
from napari_segany.core.segmenter import Capabilities, ImageEmbedding, Segmenter
from napari_segany.core.text_query import Phrase
from napari_segany.engine.encoding import PlaneEncoder, plane_encoder
from napari_segany.engine.messages import Channel, RemotePlanes
from napari_segany.engine.prediction import load_named
from napari_segany.engine.worker_jobs import Job, JobContext

NICENESS = 5
"""How much it gives way to the window."""


class Worker:
    """Serves the requests of one window; the methods are those that :meth:`WorkerConnection.call` names.

    Parameters
    ----------
    line : Channel
        To the window.
    """

    def __init__(self, line: Channel) -> None:
        self._line = line
        self._segmenter: Segmenter | None = None
        self._encoder: PlaneEncoder | None = None

    def serve(self) -> None:
        """Answer until the line is cut."""
        while True:
            try:
                method, given = self._line.recv()
            except (EOFError, OSError):
                return
            if method == "stop":
                # what was to be stopped had ended already
                continue
            try:
                answer = "done", getattr(self, f"do_{method}")(*given)
            except SeganyError as error:
                answer = "error", error
            except Exception as error:  # noqa: BLE001 - every error is sent back to the caller
                answer = "error", model_error(error, method)
            try:
                self._line.send(answer)
            except OSError:
                return

    def do_load(self, name: str) -> tuple[str, Capabilities]:
        """Load a model: its name and what it can do."""
        segmenter = load_named(name, lambda done, total: self._line.send(("progress", (done, total))))
        self._segmenter, self._encoder = segmenter, plane_encoder(segmenter)
        return segmenter.name, segmenter.capabilities

    def do_embed(self, plane: np.ndarray) -> tuple[str, str, int]:
        """Encode a plane and remember it: the key of its content, the model, and the bytes of its features."""
        key, embedding = self._planes.embed_keyed(plane)
        return key, embedding.model, embedding.nbytes

    def do_segment(
        self, key: str, prompts: list[Prompt], candidates: int | None, at_least: float
    ) -> list[list[Mask]] | None:
        """Answer prompts; None when the embedding is not remembered any more."""
        embedding = self._planes.memory.get(key)
        if embedding is None:
            return None
        return self._model.segment(embedding, prompts, candidates=candidates, at_least=at_least)

    def do_name_masks(self, key: str, masks: list[Mask]) -> list[Mask] | None:
        """Name masks of a plane; None when the embedding is not remembered any more."""
        embedding = self._planes.memory.get(key)
        return None if embedding is None else cast("NamesObjects", self._model).name_masks(embedding, masks)

    def do_stream(self, job: Job, planes: RemotePlanes, *given: Any) -> int:
        """Run a job, and send its results until the window sends stop; returns their number."""

        def embed(number: int) -> ImageEmbedding:
            return self._planes.embed(planes.plane(number))

        def report(share: float) -> None:
            self._line.send(("progress", share))
            if self._line.poll():
                self._line.recv()
                raise Cancelled("cancelled")

        sent = 0
        with contextlib.closing(job(JobContext(self._model, planes, embed, report), *given)) as items:
            for item in items:
                self._line.send(("item", item))
                sent += 1
                if self._line.poll():
                    # stop is the only message that the window sends while a job runs
                    self._line.recv()
                    break
        return sent

    def do_seeds(self, key: str) -> list[Prompt] | None:
        """Where objects seem to be; None when the embedding is not remembered any more."""
        embedding = self._planes.memory.get(key)
        proposer = as_proposer(self._model)
        return None if embedding is None or proposer is None else proposer.seeds(embedding)

    def do_named_proposals(self, key: str, phrases: list[Phrase]) -> list[Prompt] | None:
        """Where objects seem to be that phrases name; None when the embedding is not remembered any more."""
        embedding = self._planes.memory.get(key)
        if embedding is None:
            return None
        named = as_text_segmenter(self._model)
        if named is None:
            raise ModelError(f"the model {self._model.name!r} takes points, boxes and masks, but no text")
        return named.named_proposals(embedding, phrases)

    def do_phrases(self, text: str) -> list[Phrase]:
        """Return the phrases of a text, as the model reads it."""
        return phrases_of(self._model, text)

    @property
    def _model(self) -> Segmenter:
        if self._segmenter is None:
            raise SeganyError("no model is loaded")
        return self._segmenter

    @property
    def _planes(self) -> PlaneEncoder:
        if self._encoder is None:
            raise SeganyError("no model is loaded")
        return self._encoder


_NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "cannot allocate memory")
_WORK = {"embed": "to encode this plane", "load": "to load the model"}


def model_error(error: Exception, method: str) -> ModelError:
    """An error that is no line for the user as one; the traceback goes to the standard error."""
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY):
        return ModelError(f"there is not enough memory {_WORK.get(method, 'to segment this plane')}")
    traceback.print_exception(error, file=sys.stderr)
    first = (str(error).splitlines() or [""])[0]
    return ModelError(f"the process that computes failed: {type(error).__name__} {first}".rstrip())


def _line_to_the_window(given: str) -> Connection:
    if sys.platform == "win32":
        return Client(given, authkey=sys.stdin.buffer.read())
    else:  # noqa: RET505 - or mypy takes what follows for unreachable
        return Connection(int(given))


def main() -> None:
    """Connect to the one who started this process, and serve."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    # Ctrl+C in the terminal goes to the whole group; the window decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with _line_to_the_window(sys.argv[1]) as connection:
        line = Channel(connection)
        line.send("ready")
        Worker(line).serve()


if __name__ == "__main__":
    main()
