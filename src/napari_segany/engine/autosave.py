"""Keeps sessions in files as they happen, and finds those that were not ended."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import platformdirs
from psygnal import Signal

from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.planes import ChannelSettings, LazyArray
from napari_segany.models.registry import find
from napari_segany.session.events import ActionEvent, Event, FingerprintEvent, LayerEvent, ModelEvent, PromptEvent
from napari_segany.session.fingerprint import ImageFingerprint, fingerprint_of, sample_fingerprint
from napari_segany.session.history import Step
from napari_segany.session.journal import Header, Journal, is_open
from napari_segany.session.recovery import Recovered, recover
from napari_segany.session.session import Session

FOLDER = "SEGANY_SESSIONS"
"""Environment variable that names another folder for sessions."""
UNKNOWN = "fake"
"""What stands for the hash of weights that are in no registry."""


def sessions_folder() -> Path:
    """The folder that sessions are kept in; not created here."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else platformdirs.user_data_path("napari-segany", appauthor=False) / "sessions"


def model_of(name: str) -> ModelEvent:
    """A model by its name with the hash of its weights: that of the registry, else SHA-256 of the file."""
    try:
        spec = find(name)
        digest = spec.hash or f"sha256:{hashlib.sha256(spec.path.read_bytes()).hexdigest()}"
    except (ModelError, OSError):
        digest = UNKNOWN
    return ModelEvent(name, digest)


@dataclass(frozen=True, slots=True)
class SavedSession:
    """An earlier session of an image.

    Parameters
    ----------
    path : Path
        Its file.
    when : datetime
        When it was last written to, with its time zone.
    objects, prompts : int
        How many labels it has, and how many open clicks and shapes.
    saved : bool
        Whether its labels were saved or exported after they last changed.
    dismissed : bool
        Whether the user chose to start a new session instead.
    problem : str
        A line about what of it cannot be read; empty when all is well.
    """

    path: Path
    when: datetime
    objects: int
    prompts: int
    saved: bool = True
    dismissed: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class EarlierSession:
    """What there is of earlier sessions of an image.

    Parameters
    ----------
    offered : Recovered, optional
        See :func:`unfinished_sessions`.
    latest : Recovered, optional
        The latest session that holds anything, whether it is offered or not.
    sessions : tuple of SavedSession
        See :func:`saved_sessions`.
    """

    offered: Recovered | None = None
    latest: Recovered | None = None
    sessions: tuple[SavedSession, ...] = ()


def earlier_sessions(array: LazyArray, cancelled: Callable[[], bool] = bool) -> EarlierSession:
    """Look for earlier sessions of an image; all its values are read only where there are files of its sample.

    Parameters
    ----------
    array : array
        The image.
    cancelled : callable
        See :func:`~napari_segany.session.fingerprint.fingerprint_of`.
    """
    sampled = sample_fingerprint(array)
    if not _files_of(sampled):
        return EarlierSession()
    content = fingerprint_of(array, cancelled)
    sessions = tuple(saved_sessions(content))
    latest = recover(sessions[0].path, partial=True) if sessions else None
    return EarlierSession(unfinished_sessions(content), latest, sessions)


def unfinished_sessions(content: ImageFingerprint) -> Recovered | None:
    """The latest session of an image that is worth continuing; None when there is none.

    These are sessions that were not ended, and those that were ended with labels that were neither saved nor exported.
    Where a record is damaged, what stands before it counts. Files that no record can be read of are passed over, and so
    are those that another window writes into. Nothing is changed by looking.
    """
    for path in _files_of(content):
        found = _readable(path, content)
        if found is not None and not found.empty and not found.state.dismissed and _worth_continuing(found):
            return found
    return None


def saved_sessions(content: ImageFingerprint, most: int = 10) -> list[SavedSession]:
    """The latest sessions of an image that hold anything, the newest first; see :func:`unfinished_sessions`."""
    sessions: list[SavedSession] = []
    for path in _files_of(content):
        found = _readable(path, content)
        if found is None or found.empty:
            continue
        when = datetime.fromtimestamp(path.stat().st_mtime, UTC).astimezone()
        state, warning = found.state, found.journal.warning
        kept = SavedSession(path, when, found.objects, found.prompts, not state.unsaved, state.dismissed, warning)
        sessions.append(kept)
        if len(sessions) == most:
            break
    return sessions


def dismiss_session(found: Recovered) -> None:
    """Offer a session no more by itself; it stays in the list of :func:`saved_sessions`.

    Raises
    ------
    InputError
        When another window writes into it, or it cannot be written.
    """
    try:
        journal = Journal.reopen(found.path, found.journal.whole, found.journal.size)
        with contextlib.closing(journal):
            journal.write(ActionEvent("dismissed"))
    except OSError as error:
        raise InputError(f"cannot write to the session {found.path}: {error.strerror}") from error


def _files_of(content: ImageFingerprint) -> list[Path]:
    return sorted(sessions_folder().glob(f"{content.name}-*.jsonl"), reverse=True)


def _readable(path: Path, content: ImageFingerprint) -> Recovered | None:
    """A session of this image as far as it can be read; None where it cannot, is of another, or is being written."""
    try:
        # the lock first: what is written after it was looked for is not missed
        if is_open(path):
            return None
        found = recover(path, partial=True)
    except (InputError, OSError):
        return None
    return found if found.journal.image.is_same_as(content) else None


def _worth_continuing(found: Recovered) -> bool:
    return not found.state.finished or (found.state.unsaved and found.objects > 0)


class Autosave:
    """Writes what happens in a session into a file of its own for each image, from the first prompt on.

    Where the disk does not take a record, it and all that follow wait in memory and are written when there is room.

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
        Emitted with a line of text when something cannot be written, once until it can be again.
    caught_up : Signal
        Emitted without arguments when all that waited has been written.
    """

    begun = Signal()
    problem = Signal(str)
    caught_up = Signal()

    def __init__(self, session: Session, model: Callable[[], str]) -> None:
        self._session, self._model = session, model
        self._image: Callable[[], LazyArray] | None = None
        self._rgb, self._path = False, ""
        self._bases: list[LayerEvent | ChannelSettings] = []
        self._header: Header | None = None
        self._waiting: list[Event] = []
        self._failing = False
        self._journal: Journal | None = None
        self._fingerprint: BackgroundHash | None = None
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
            Where it was opened from, if that is known; a relative one is of the current folder.
        """
        self.close()
        self._image, self._rgb, self._path = image, rgb, _absolute(path)

    def close(self) -> None:
        """End the session's file, if there is one."""
        if self._header is not None:
            self._write(ActionEvent("closed"))
        self._drop()
        self._image, self._bases = None, []

    def saved(self) -> None:
        """Take note that all labels have been saved or exported."""
        if self._header is not None:
            self._write(ActionEvent("saved"))

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
            self._journal = Journal.reopen(found.path, found.journal.whole, found.journal.size)
        except OSError as error:
            raise InputError(f"cannot continue the session {found.path}: {error.strerror}") from error
        self._header, self._named = found.journal.header, found.last_model.name
        self._write(ActionEvent("resumed"))

    def _take(self, event: Event) -> None:
        if self._image is None:
            return
        if self._header is None:
            if isinstance(event, LayerEvent | ChannelSettings):
                self._bases.append(event)
            if not isinstance(event, PromptEvent | Step) or not self._begin(self._image):
                return
        if isinstance(event, ActionEvent) and event.what == "accepted" and self._model() != self._named:
            self._named = self._model()
            self._write(model_of(self._named))
        self._write(event)

    def _begin(self, image: Callable[[], LazyArray]) -> bool:
        """Have a header, from which on records are written; False when the image cannot be read."""
        self._named = self._model()
        try:
            content = sample_fingerprint(image())
        except Exception as error:  # noqa: BLE001 - whatever reads the user's array may raise anything
            self._image = None
            self.problem.emit(f"this session is not kept for later: a part of the image cannot be read ({error})")
            return False
        version = metadata.version("napari-segany")
        self._header = Header(version, model_of(self._named), content, self._rgb, self._path)
        self._waiting += self._bases
        self._bases = []
        if not content.hash:
            self._fingerprint = BackgroundHash(image)
        return True

    def _write(self, event: Event) -> None:
        if self._fingerprint is not None and self._fingerprint.done:
            self._waiting += [FingerprintEvent(self._fingerprint.hash)] if self._fingerprint.hash else []
            self._fingerprint = None
        self._waiting.append(event)
        try:
            self._catch_up()
        except OSError as error:
            if not self._failing:
                self._failing = True
                reason = error.strerror or error
                self.problem.emit(f"this session is not kept for later until the disk takes it: {reason}")

    def _catch_up(self) -> None:
        """Write all that waits; OSError when the disk does not take it, and the rest goes on waiting."""
        if self._journal is None:
            self._create()
        while self._waiting and self._journal is not None:
            self._journal.write(self._waiting[0])
            del self._waiting[0]
        if self._failing:
            self._failing = False
            self.caught_up.emit()

    def _create(self) -> None:
        if self._header is None:
            return
        name = f"{self._header.image.name}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.jsonl"
        self._journal = Journal.create(sessions_folder() / name, self._header)
        self.begun.emit()

    def _drop(self) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._fingerprint is not None:
            self._fingerprint.cancel()
        self._journal = self._header = self._fingerprint = None
        self._waiting, self._failing = [], False


def _absolute(path: str) -> str:
    """A path that holds in other folders too; what is no path of this machine stays as it is."""
    return path if not path or "://" in path else str(Path(path).absolute())


class BackgroundHash:
    """The hash of all values of a large image, computed in a thread of its own.

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
        threading.Thread(target=self._work, args=(image,), name="napari-segany hash", daemon=True).start()

    def cancel(self) -> None:
        """Let the thread end after the block that it reads."""
        self._cancelled.set()

    def _work(self, image: Callable[[], LazyArray]) -> None:
        try:
            self.hash = fingerprint_of(image(), self._cancelled.is_set).hash
        except Exception:  # noqa: BLE001 - the sample is what the image is known by then
            self.hash = ""
        self.done = True
