"""Keeps sessions in files as they happen, and finds those that were not ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from psygnal import Signal

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.planes import ChannelSettings, LazyArray
from napari_segany.engine.journal_writer import JournalWriter, Reopened
from napari_segany.engine.session_files import SessionStart, session_files
from napari_segany.session.events import ActionEvent, Event, LayerEvent, PromptEvent
from napari_segany.session.fingerprint import ImageFingerprint, fingerprint_of, sample_fingerprint
from napari_segany.session.history import Step
from napari_segany.session.journal import Journal, is_open
from napari_segany.session.recovery import Recovered, recover
from napari_segany.session.session import Session

FLUSH_SECONDS = 10.0
"""How long a prediction waits for a disk that does not respond, before it is shown all the same."""


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
        The latest session that holds objects, else the latest one that holds anything, whether it is offered or not.
    sessions : tuple of SavedSession
        See :func:`saved_sessions`.
    busy : bool
        Whether a window has a session of the image open.
    """

    offered: Recovered | None = None
    latest: Recovered | None = None
    sessions: tuple[SavedSession, ...] = ()
    busy: bool = False


def earlier_sessions(array: LazyArray, cancelled: Callable[[], bool] = bool, path: str = "") -> EarlierSession:
    """Find earlier sessions of an image; all its values are read only where there are files of its sample.

    Parameters
    ----------
    array : array
        The image.
    cancelled : callable
        See :func:`~napari_segany.session.fingerprint.fingerprint_of`.
    path : str
        Where the image was opened from, see :func:`~napari_segany.engine.session_files.session_files`.
    """
    sampled = sample_fingerprint(array)
    if not session_files(sampled, path):
        return EarlierSession()
    content = fingerprint_of(array, cancelled)
    sessions = tuple(saved_sessions(content, path=path))
    chosen = next((one for one in sessions if one.objects), sessions[0] if sessions else None)
    latest = None if chosen is None else recover(chosen.path, partial=True)
    busy = any(is_open(file) for file in session_files(content, path))
    return EarlierSession(unfinished_sessions(content, path), latest, sessions, busy)


def unfinished_sessions(content: ImageFingerprint, path: str = "") -> Recovered | None:
    """The latest session of an image that is worth continuing; None when there is none.

    These are sessions that were not ended, and those that were ended with labels that were neither saved nor exported.
    Of a damaged file, the records before the damage count. Files without a readable record are skipped, and so are
    files that another window writes to. No file is changed. `path` is as of :func:`earlier_sessions`.
    """
    for file in session_files(content, path):
        found = _readable(file, content)
        if found is not None and not found.empty and not found.state.dismissed and _worth_continuing(found):
            return found
    return None


def saved_sessions(
    content: ImageFingerprint, most: int = 10, *, being_written: bool = False, path: str = ""
) -> list[SavedSession]:
    """The latest sessions of an image that hold anything, the newest first; see :func:`unfinished_sessions`.

    Parameters
    ----------
    content : ImageFingerprint
        Of the image.
    most : int
        How many, at most.
    being_written : bool
        Whether those that a window has open count, as far as they are written.
    path : str
        As of :func:`earlier_sessions`.
    """
    sessions: list[SavedSession] = []
    for file in session_files(content, path):
        found = _readable(file, content, being_written=being_written)
        if found is None or found.empty:
            continue
        when = datetime.fromtimestamp(file.stat().st_mtime, UTC).astimezone()
        state, warning = found.state, found.journal.warning
        kept = SavedSession(file, when, found.objects, found.prompts, not state.unsaved, state.dismissed, warning)
        sessions.append(kept)
        if len(sessions) == most:
            break
    return sessions


def _readable(path: Path, content: ImageFingerprint, *, being_written: bool = False) -> Recovered | None:
    """A session of this image as far as it can be read; None where it cannot, or is of another.

    None, too, where a window has it open, unless `being_written`.
    """
    try:
        # take the lock first, so that no record is written between the search and the lock
        if not being_written and is_open(path):
            return None
        found = recover(path, partial=True)
    except (InputError, OSError):
        return None
    return found if found.journal.image.is_same_as(content) else None


def _worth_continuing(found: Recovered) -> bool:
    return not found.state.finished or (found.state.unsaved and found.objects > 0)


class Autosave:
    """Writes the events of a session to a file for each image, from the first prompt on.

    Nothing here waits for the disk but :meth:`flush` and :meth:`disconnect`; see
    :class:`~napari_segany.engine.journal_writer.JournalWriter`.

    Parameters
    ----------
    session : Session
        The session to record.
    model : callable
        Returns the name of the current model.

    Attributes
    ----------
    begun : Signal
        Emitted without arguments with the first prompt, which creates the file.
    problem : Signal
        Emitted with a line of text when something cannot be written, once until it can be again. This signal and the
        next one come from the thread that writes.
    caught_up : Signal
        Emitted without arguments when all waiting events are written.
    """

    begun = Signal()
    problem = Signal(str)
    caught_up = Signal()

    def __init__(self, session: Session, model: Callable[[], str]) -> None:
        self._session, self._model = session, model
        self._image: Callable[[], LazyArray] | None = None
        self._rgb, self._path = False, ""
        self._bases: list[LayerEvent | ChannelSettings | ObjectInfo] = []
        self._writer: JournalWriter | None = None
        self._ending: list[JournalWriter] = []
        self._stuck = False
        session.happened.connect(self._take)

    @property
    def keeping(self) -> bool:
        """Whether the session has begun, so that there is a file of it or will be one."""
        return self._writer is not None

    @property
    def stored(self) -> bool:
        """Whether all that happened since the first prompt is on the disk."""
        return self._writer is None or self._writer.stored

    @property
    def path(self) -> Path | None:
        """Where the session is kept; None before the file is made."""
        return None if self._writer is None else self._writer.path

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

    def flush(self) -> None:
        """Wait until all events so far are on the disk, or the disk refused them; never called in the window's thread.

        A disk that does not respond is reported once, and not waited for again until it responds.
        """
        seconds = 0.0 if self._stuck else FLUSH_SECONDS
        ending = [writer for writer in self._ending if not writer.flush(seconds)]
        self._ending = [writer for writer in self._ending if writer in ending]
        written = not ending and (self._writer is None or self._writer.flush(seconds))
        if not written and not self._stuck:
            self.problem.emit(f"this session is not on the disk: it has not responded for {FLUSH_SECONDS:.0f} s")
        elif written and self._stuck:
            self.caught_up.emit()
        self._stuck = not written

    def close(self) -> None:
        """End the session's file, if there is one; it is written to its end in the background."""
        if self._writer is not None:
            self._writer.put(ActionEvent("closed"))
        self._drop()
        self._image, self._bases = None, []

    def saved(self) -> None:
        """Take note that all labels have been saved or exported."""
        if self._writer is not None:
            self._writer.put(ActionEvent("saved"))

    def disconnect(self) -> None:
        """End the file, listen no more, and wait until all is written."""
        self.close()
        self._session.happened.disconnect(self._take)
        self.flush()

    def resume(self, found: Recovered) -> None:
        """Go on with the file of an earlier session of the same image.

        Raises
        ------
        InputError
            When another window writes into it, or it cannot be written.
        """
        self._drop()
        self.flush()
        self._writer = self._reopened(found, "continue")
        self._writer.put(ActionEvent("resumed"))

    def dismiss(self, found: Recovered) -> None:
        """Offer a session no more by itself; it stays in the list of :func:`saved_sessions`.

        Raises
        ------
        InputError
            When another window writes into it, or it cannot be written.
        """
        writer = self._reopened(found, "write to")
        writer.put(ActionEvent("dismissed"))
        writer.end()
        self._ending.append(writer)

    def _reopened(self, found: Recovered, to: str) -> JournalWriter:
        try:
            journal = Journal.reopen(found.path, found.journal.whole, found.journal.size)
        except OSError as error:
            raise InputError(f"cannot {to} the session {found.path}: {error.strerror}") from error
        return JournalWriter(Reopened(journal, found.journal.header, found.last_model.name), self._told)

    def _take(self, event: Event) -> None:
        if self._image is None:
            return
        if self._writer is None:
            if isinstance(event, LayerEvent | ChannelSettings | ObjectInfo):
                self._note_base(event)
            if not isinstance(event, PromptEvent | Step):
                return
            self._writer = JournalWriter(SessionStart(self._image, self._rgb, self._path, self._model()), self._told)
            for base in self._bases:
                self._writer.put(base)
            self._bases = []
            self.begun.emit()
        answered = isinstance(event, ActionEvent) and event.what == "accepted"
        # what was found or propagated has no result that was accepted before
        painted = isinstance(event, Step) and event.kind in ("keep all", "follow")
        self._writer.put(event, self._model() if answered or painted else "")

    def _note_base(self, event: LayerEvent | ChannelSettings | ObjectInfo) -> None:
        """Remember what a session begins with: of objects, those of the labels in use."""
        if isinstance(event, LayerEvent) and event.kind == "labels":
            self._bases = [base for base in self._bases if not isinstance(base, ObjectInfo)]
        self._bases.append(event)

    def _told(self, problem: str) -> None:
        """Runs in the thread that writes."""
        if problem:
            self.problem.emit(problem)
        else:
            self.caught_up.emit()

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.end()
            self._ending.append(self._writer)
            self._writer = None


def _absolute(path: str) -> str:
    """A path that holds in other folders too; what is no path of this machine stays as it is."""
    return path if not path or "://" in path else str(Path(path).absolute())
