"""The file that a session is kept in, record by record, as it happens.

One JSON object a line, each with the CRC-32 of what stands before it. A record counts once its line is ended and on the
disk: what a killed process left behind the last line's end was never acknowledged and is cut off.
"""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field, fields, is_dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from napari_segany.core.errors import InputError, SeganyError
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.planes import ChannelSettings
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.views import View
from napari_segany.session.events import (
    ACTS,
    ActionEvent,
    Event,
    FingerprintEvent,
    LayerEvent,
    ModelEvent,
    PromptEvent,
)
from napari_segany.session.fingerprint import ImageFingerprint
from napari_segany.session.history import FAST, Indices, Step, inflate

FORMAT = 1
_MARK = b',"crc":"'
_TIME = "at"
"""Key of the time of an event, in its record."""
T = TypeVar("T")


class NewerError(ValueError):
    """A record that only a newer version of this package knows."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first record: what the session is of.

    Parameters
    ----------
    package : str
        Version of this package that began it.
    model : ModelEvent
        What answers at first.
    image : ImageFingerprint
        The image.
    rgb : bool
        Whether the image's last axis holds the colours of a picture.
    path : str
        Where the image was opened from; empty when it is not known.
    """

    package: str
    model: ModelEvent
    image: ImageFingerprint
    rgb: bool = False
    path: str = ""

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of the image's labels."""
        return self.image.shape[:-1] if self.rgb else self.image.shape

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"do": "begin", "format": FORMAT, "label_shape": self.label_shape, **_plain(self)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Header:
        """The inverse of :meth:`to_json`."""
        header = _made(cls, plain)
        if header.image.sample:
            return header
        # 0.1.0 knew an image by its sample alone
        return replace(header, image=replace(header.image, hash="", sample=header.image.hash))


@dataclass(frozen=True, slots=True)
class JournalFile:
    """What a journal holds.

    Parameters
    ----------
    header : Header
        Its first record.
    events : tuple of Event
        All that follow.
    whole : int
        Bytes up to the end of the last record that could be read.
    warning : str
        A line for the user when there is something behind that; empty when all is well.
    size : int
        Bytes of the file when it was read.
    ends : tuple of int
        Bytes up to the end of the header and of each event.
    times : tuple of float
        When each event happened, in seconds since 1970; NaN where the file does not tell, as in older ones.
    """

    header: Header
    events: tuple[Event, ...]
    whole: int
    warning: str = ""
    size: int = 0
    ends: tuple[int, ...] = field(default=(), repr=False)
    times: tuple[float, ...] = field(default=(), repr=False)

    @property
    def image(self) -> ImageFingerprint:
        """The image, with the hash of all its values where the journal tells it."""
        for event in self.events:
            if isinstance(event, FingerprintEvent):
                return replace(self.header.image, hash=event.hash)
        return self.header.image

    def until(self, events: int, warning: str) -> JournalFile:
        """The same up to a number of events."""
        times = self.times[:events]
        return replace(self, events=self.events[:events], whole=self.ends[events], warning=warning, times=times)


class _PackedArray(msgspec.Struct):
    """An array, compressed; bits where it is bool, as a rough mask is as large as the plane."""

    dtype: str
    shape: Indices
    data: bytes

    @classmethod
    def of(cls, array: np.ndarray) -> _PackedArray:
        values = np.packbits(array) if array.dtype == np.bool_ else np.ascontiguousarray(array)
        return cls(array.dtype.str, array.shape, zlib.compress(values.tobytes(), FAST))

    def array(self) -> np.ndarray:
        dtype, count = np.dtype(self.dtype), math.prod(self.shape)
        if dtype == np.bool_:
            bits = np.frombuffer(inflate(self.data, -(-count // 8)), np.uint8)
            return np.unpackbits(bits, count=count).astype(bool).reshape(self.shape)
        return np.frombuffer(inflate(self.data, count * dtype.itemsize), dtype).reshape(self.shape)


class _PromptRecord(msgspec.Struct):
    axes: tuple[int, int]
    position: tuple[int, ...]
    points: tuple[tuple[float, float, bool], ...]
    box: tuple[float, float, float, float] | None
    text: str
    mask: _PackedArray | None

    @classmethod
    def of(cls, event: PromptEvent) -> _PromptRecord:
        prompt, mask = event.prompt, event.prompt.mask
        points, box = tuple(map(astuple, prompt.points)), None if prompt.box is None else astuple(prompt.box)
        packed = None if mask is None else _PackedArray.of(mask)
        return cls(event.plane.axes, event.plane.position, points, box, prompt.text, packed)

    def event(self) -> PromptEvent:
        points, box = tuple(Point(*each) for each in self.points), None if self.box is None else Box(*self.box)
        mask = None if self.mask is None else self.mask.array()
        return PromptEvent(View(self.axes, self.position), Prompt(points, box, self.text, mask))


class _ObjectRecord(msgspec.Struct, rename={"source": "how", "status": "flags"}):
    """What is known of an object, in the keys of version 0.1.0; clicks have records of their own."""

    label: int
    name: str
    score: float | None
    source: str
    status: str
    confidence: float | None
    pixels: int | None
    class_name: str
    state: str = ""
    class_probability: float | None = None
    reviewed_by: str = ""
    reviewed_at: str = ""

    def event(self) -> ObjectInfo:
        return ObjectInfo(**msgspec.structs.asdict(self))


_RECORDS: dict[str, type[Any]] = {
    "step": Step,
    "prompt": _PromptRecord,
    "model": ModelEvent,
    "fingerprint": FingerprintEvent,
    "described": _ObjectRecord,
    "look": ChannelSettings,
    "layer": LayerEvent,
    **dict.fromkeys(ACTS, ActionEvent),
}
"""What a record holds, by its "do"."""
_KINDS = {record: kind for kind, record in _RECORDS.items()}


def _plain(value: Any) -> dict[str, Any]:
    """A value's fields as JSON has them; what JSON has no type for becomes a string."""
    return msgspec.to_builtins(value, enc_hook=lambda one: one.item() if isinstance(one, np.generic) else str(one))


_LATER = frozenset({"classes", "states", "reviews", "state", "class_probability", "reviewed_by", "reviewed_at"})
"""Fields of steps and objects that files of older versions lack; left out where they are empty."""


def _made(record: type[T], plain: Mapping[str, Any]) -> T:
    """The inverse of :func:`_plain`; unknown fields are left out, and numbers may be strings, as 0.1.0 wrote some."""
    # defaults are for those who make events: all fields were written
    lacking = (
        [each.name for each in fields(record) if each.name not in {*plain, *_LATER}] if is_dataclass(record) else []
    )
    if lacking:
        raise KeyError(*lacking)
    return msgspec.convert(plain, record, strict=False)


def encode(event: Event) -> dict[str, Any]:
    """An event as plain values."""
    record: Any = event
    if isinstance(event, ActionEvent):
        return {"do": event.what, "value": event.value}
    if isinstance(event, PromptEvent):
        record = _PromptRecord.of(event)
    elif isinstance(event, ObjectInfo):
        record = _ObjectRecord(*(getattr(event, name) for name in _ObjectRecord.__struct_fields__))
    plain = {name: value for name, value in _plain(record).items() if value or name not in _LATER}
    return {"do": _KINDS[type(record)], **plain}


def decode(plain: Mapping[str, Any]) -> Event:
    """The inverse of :func:`encode`; raises the errors of whatever is missing or wrong."""
    kind = plain["do"]
    if kind not in _RECORDS:
        raise NewerError(f"it holds {kind!r}")
    found: Any = _made(_RECORDS[kind], {"what": kind, **plain})
    return found.event() if isinstance(found, _PromptRecord | _ObjectRecord) else found


def _line(plain: Mapping[str, Any]) -> bytes:
    body = json.dumps(plain, separators=(",", ":")).encode()[:-1]
    return body + _MARK + f'{zlib.crc32(body):08x}"}}\n'.encode()


def _parse(line: bytes) -> dict[str, Any]:
    """A line's values; ValueError when it is not as it was written."""
    body, found, crc = line.rpartition(_MARK)
    if not found or crc != f'{zlib.crc32(body):08x}"}}'.encode():
        raise ValueError("it is not as it was written")
    # not by msgspec, which refuses NaN, and sessions may hold it
    values: dict[str, Any] = json.loads(body + b"}")
    return values


class Journal:
    """Appends events to a file; each is on the disk when :meth:`write` returns.

    Made by :meth:`create` or :meth:`reopen`. While it is open no other process can write to the file. A record that the
    disk does not take whole is cut off again, so that what was written before it can always be read, and later records
    may follow.
    """

    def __init__(self, path: Path, file: FileIO, end: int = 0) -> None:
        self.path = path
        self._file, self._end = file, end

    @classmethod
    def create(cls, path: Path, header: Header) -> Journal:
        """Begin a new file, in a folder that is made when it is not there.

        Raises
        ------
        OSError
            When it cannot be written, or is there already; no file is left then.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = cls(path, path.open("xb", buffering=0))
        try:
            _lock(journal._file, path)
            journal._append(header.to_json())
            _sync_folder(path.parent)
        except OSError:
            journal.close()
            path.unlink(missing_ok=True)
            raise
        return journal

    @classmethod
    def reopen(cls, path: Path, whole: int, size: int | None = None) -> Journal:
        """Go on with a file, behind its last whole record.

        Parameters
        ----------
        path : Path
            The file.
        whole : int
            Bytes up to the end of the last record that could be read.
        size : int, optional
            Bytes of the file when it was read.

        Raises
        ------
        InputError
            When another process has it open, or wrote into it since it was read.
        OSError
            When it cannot be written.

        Notes
        -----
        What stands behind `whole` is put into a file next to it, ``.damaged``, if there is a whole line.
        """
        file = path.open("r+b", buffering=0)
        _lock(file, path)
        try:
            file.seek(whole)
            rest = file.readall()
            if size is not None and whole + len(rest) != size:
                raise InputError(f"another window went on with the session {path}; open the image again")
            if b"\n" in rest:
                path.with_suffix(f".{whole}.damaged").write_bytes(rest)
            file.truncate(whole)
            file.seek(whole)
        except BaseException:
            file.close()
            raise
        return cls(path, file, whole)

    def write(self, event: Event, time: float | None = None) -> None:
        """Append an event; raises OSError when the disk does not take it, and the file is as before.

        Parameters
        ----------
        event : Event
            What happened.
        time : float, optional
            When, in seconds since 1970.
        """
        self._append(encode(event) | ({} if time is None else {_TIME: round(time, 3)}))

    def _append(self, plain: Mapping[str, Any]) -> None:
        line = _line(plain)
        try:
            # a disk that fills takes a part of it, which is no error to the system
            taken = self._file.write(line)
            if taken != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            raise
        self._end += len(line)

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


def is_open(path: Path) -> bool:
    """Whether another window writes into a session's file; nothing is changed by asking.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        try:
            _lock(file, path)
        except InputError:
            return True
    return False


def _lock(file: FileIO, path: Path) -> None:
    """Two windows must not write into one file; the lock goes with the process, however it ends."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise InputError(f"the session {path} is open in another window") from None


def _sync_folder(folder: Path) -> None:
    """Have the name of a new file on the disk, too."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_journal(path: str | Path, *, partial: bool = False) -> JournalFile:
    """Read a journal.

    Parameters
    ----------
    path : str or Path
        The file.
    partial : bool
        Where a record is damaged, read what stands before it, and say so in `warning`.

    Raises
    ------
    InputError
        When it cannot be read, is of a newer version, or is damaged anywhere but behind its last whole line; it names
        the line. With `partial` only where the first line is not read.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the session {path}: {error.strerror}") from error
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].splitlines(keepends=True)
    if not lines:
        raise InputError(f"{path} is no session: it has not one whole line")
    header, ends = _decoded(path, 1, lines[0], _header), [len(lines[0])]
    events: list[Event] = []
    times: list[float] = []
    warning = f"the last record of {path} was not written to its end and is left out" if whole < len(data) else ""
    for number, line in enumerate(lines[1:], start=2):
        try:
            event, time = _decoded(path, number, line, lambda plain: (decode(plain), _time(plain)))
        except InputError as error:
            if not partial:
                raise
            warning = f"{error}; {len(lines) - number + 1} records from there on are left out"
            break
        events.append(event)
        times.append(time)
        ends.append(ends[-1] + len(line))
    return JournalFile(header, tuple(events), ends[-1], warning, len(data), tuple(ends), tuple(times))


def _time(plain: Mapping[str, Any]) -> float:
    """When a record's event happened; NaN where it does not tell."""
    time = plain.get(_TIME)
    return float(time) if isinstance(time, int | float) else math.nan


def _header(plain: Mapping[str, Any]) -> Header:
    if plain["do"] != "begin":
        raise ValueError("it does not begin a session")
    if plain["format"] != FORMAT:
        raise NewerError(f"it is of format {plain['format']}, and this version reads format {FORMAT}")
    return Header.from_json(plain)


NOT_AS_WRITTEN = (
    SeganyError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    zlib.error,
)
"""What foreign or damaged JSON was seen to raise on its way to our values; errors of prompts included."""


def _decoded(path: Path, number: int, line: bytes, decode: Callable[[Mapping[str, Any]], Any]) -> Any:
    try:
        return decode(_parse(line.rstrip(b"\n")))
    except NewerError as error:
        raise InputError(
            f"the session {path} was written by a newer version of napari-segany: line {number}, {error}"
        ) from error
    except NOT_AS_WRITTEN as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"line {number} of the session {path} is damaged: {reason}") from error
