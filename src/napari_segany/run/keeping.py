"""Keeps sessions in files as they happen, and finds those that were not ended."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import platformdirs
from psygnal import Signal

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.planes import LazyArray, Look
from napari_segany.models.registry import find
from napari_segany.session.content import Content, content_of
from napari_segany.session.events import Did, Event, LayerBase, Model, Said
from napari_segany.session.history import Step
from napari_segany.session.journal import Header, Journal
from napari_segany.session.recovery import Recovered, recover
from napari_segany.session.session import Session

FOLDER = "SEGANY_SESSIONS"
"""Environment variable that names another folder for sessions."""
UNKNOWN = "fake"
"""What stands for the hash of weights that are in no registry."""
_TAIL = 256


def sessions_folder() -> Path:
    """The folder that sessions are kept in; not created here."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else platformdirs.user_data_path("napari-segany", appauthor=False) / "sessions"


def model_of(name: str) -> Model:
    """A model by its name with the hash of its weights: that of the registry, else SHA-256 of the file."""
    try:
        spec = find(name)
        digest = spec.hash or f"sha256:{hashlib.sha256(spec.path.read_bytes()).hexdigest()}"
    except (ModelError, OSError):
        digest = UNKNOWN
    return Model(name, digest)


def unfinished(content: Content) -> Recovered | None:
    """The latest session of an image that was not ended and has something in it; None when there is none.

    Those that are damaged, or that another window writes into, are passed over.
    """
    for path in sorted(sessions_folder().glob(f"{content.hash[:16]}-*.jsonl"), reverse=True):
        try:
            if _closed(path):
                continue
            found = recover(path)
            Journal.reopen(path, found.journal.whole).close()
        except (InputError, OSError):
            continue
        if found.journal.header.image == content and not found.empty:
            return found
    return None


def _closed(path: Path) -> bool:
    """Whether the last record says so; the file is not read for that."""
    with path.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
        return b'{"do":"closed"' in file.read()


class Keeper:
    """Writes what happens in a session into a file of its own for each image, from the first prompt on.

    Parameters
    ----------
    session : Session
        What is kept.
    model : callable
        Gives the name of the model that answers.

    Attributes
    ----------
    begun : Signal
        Emitted without arguments when a file is begun.
    problem : Signal
        Emitted with a line of text when nothing can be written; the session goes on without.
    """

    begun = Signal()
    problem = Signal(str)

    def __init__(self, session: Session, model: Callable[[], str]) -> None:
        self._session, self._model = session, model
        self._image: Callable[[], LazyArray] | None = None
        self._rgb, self._path = False, ""
        self._bases: list[LayerBase | Look] = []
        self._journal: Journal | None = None
        self._named = ""
        session.happened.connect(self._take)

    @property
    def path(self) -> Path | None:
        """Where the session is kept; None before it has begun."""
        return None if self._journal is None else self._journal.path

    def watch(self, image: Callable[[], LazyArray], *, rgb: bool = False, path: str = "") -> None:
        """Keep what happens to an image from here on; the layers that are in use come next.

        Parameters
        ----------
        image : callable
            Gives the image's array.
        rgb : bool
            Whether its last axis holds colours.
        path : str
            Where it was opened from, if that is known.
        """
        self.close()
        self._image, self._rgb, self._path = image, rgb, path

    def close(self) -> None:
        """End the session's file, if there is one."""
        if self._journal is not None:
            self._write(Did("closed"))
        self._drop()
        self._image, self._bases = None, []

    def disconnect(self) -> None:
        """End the file and listen no more."""
        self.close()
        self._session.happened.disconnect(self._take)

    def resume(self, found: Recovered) -> None:
        """Go on with the file of an earlier session of the same image.

        Raises
        ------
        InputError
            When another window writes into it, or it cannot be written.
        """
        self._drop()
        try:
            self._journal = Journal.reopen(found.path, found.journal.whole)
        except OSError as error:
            raise InputError(f"cannot go on with the session {found.path}: {error.strerror}") from error
        self._named = found.last_model.name
        self._write(Did("resumed"))

    def _take(self, event: Event) -> None:
        if self._image is None:
            return
        if self._journal is None:
            if isinstance(event, LayerBase | Look):
                self._bases.append(event)
            if not isinstance(event, Said | Step):
                return
            self._begin(self._image())
        if isinstance(event, Did) and event.what == "accepted" and self._model() != self._named:
            self._named = self._model()
            self._write(model_of(self._named))
        self._write(event)

    def _begin(self, image: LazyArray) -> None:
        self._named = self._model()
        content = content_of(image)
        header = Header(metadata.version("napari-segany"), model_of(self._named), content, self._rgb, self._path)
        name = f"{content.hash[:16]}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.jsonl"
        try:
            self._journal = Journal.create(sessions_folder() / name, header)
        except OSError as error:
            self._give_up(error)
            return
        for base in self._bases:
            self._write(base)
        self._bases = []
        self.begun.emit()

    def _write(self, event: Event) -> None:
        if self._journal is None:
            return
        try:
            self._journal.write(event)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._drop()
        self._image = None
        self.problem.emit(f"this session cannot be kept for later: {error.strerror or error}")

    def _drop(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
