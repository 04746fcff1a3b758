"""The file that a session is kept in, record by record, as it happens.

One JSON object a line, each with the CRC-32 of what stands before it. A record counts once its line is ended and on the
disk: what a killed process left behind the last line's end was never acknowledged and is cut off.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_segany.core.errors import InputError
from napari_segany.core.planes import Look
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.views import View
from napari_segany.session.content import Content
from napari_segany.session.events import ACTS, Did, Event, LayerBase, Model, Said
from napari_segany.session.history import FAST, Mark, Patch, Step, pack, unpack

FORMAT = 1
_MARK = b',"crc":"'


@dataclass(frozen=True, slots=True)
class Header:
    """The first record: what the session is of.

    Parameters
    ----------
    package : str
        Version of this package that began it.
    model : Model
        What answers at first.
    image : Content
        The image.
    rgb : bool
        Whether the image's last axis holds the colours of a picture.
    path : str
        Where the image was opened from; empty when it is not known.
    """

    package: str
    model: Model
    image: Content
    rgb: bool = False
    path: str = ""

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of the image's labels."""
        return self.image.shape[:-1] if self.rgb else self.image.shape

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"do": "begin", "format": FORMAT, "label_shape": self.label_shape, **asdict(self)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Header:
        """The inverse of :meth:`to_json`."""
        image = plain["image"]
        content = Content(image["hash"], tuple(image["shape"]), image["dtype"])
        return cls(plain["package"], Model(**plain["model"]), content, plain["rgb"], plain["path"])


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
        Bytes up to the end of the last whole line.
    warning : str
        A line for the user when there is something behind that; empty when all is well.
    """

    header: Header
    events: tuple[Event, ...]
    whole: int
    warning: str = ""


def encode(event: Event) -> dict[str, Any]:
    """An event as plain values."""
    if isinstance(event, Step):
        return {"do": "step", **event.to_json()}
    if isinstance(event, Did):
        return {"do": event.what, "value": event.value}
    if isinstance(event, Model):
        return {"do": "model", **asdict(event)}
    if isinstance(event, Look):
        return {"do": "look", **asdict(event)}
    if isinstance(event, LayerBase):
        patch = None if event.patch is None else event.patch.to_json()
        return {"do": "layer", "number": event.number, "kind": event.kind, "shape": event.shape,
                "dtype": event.dtype, "patch": patch, "marks": [asdict(mark) for mark in event.marks]}  # fmt: skip
    prompt = event.prompt
    return {
        "do": "prompt",
        "axes": event.plane.axes,
        "position": event.plane.position,
        "points": [[point.y, point.x, point.positive] for point in prompt.points],
        "box": None if prompt.box is None else [prompt.box.y0, prompt.box.x0, prompt.box.y1, prompt.box.x1],
        "text": prompt.text,
        "mask": None if prompt.mask is None else _pack_array(prompt.mask),
    }


def decode(plain: Mapping[str, Any]) -> Event:
    """The inverse of :func:`encode`; raises the errors of whatever is missing or wrong."""
    kind = plain["do"]
    if kind == "step":
        return Step.from_json(plain)
    if kind == "prompt":
        return _said(plain)
    if kind == "model":
        return Model(plain["name"], plain["hash"])
    if kind == "look":
        limits = None if plain["limits"] is None else (float(plain["limits"][0]), float(plain["limits"][1]))
        return Look(limits, plain["together"], tuple(plain["channels"]), plain["inverted"])
    if kind == "layer":
        patch = None if plain["patch"] is None else Patch.from_json(plain["patch"])
        marks = tuple(Mark.from_json(mark) for mark in plain["marks"])
        return LayerBase(plain["number"], plain["kind"], tuple(plain["shape"]), plain["dtype"], patch, marks)
    if kind in ACTS:
        return Did(kind, plain["value"])
    raise ValueError(f"it says {kind!r}, which this version does not know")


def _said(plain: Mapping[str, Any]) -> Said:
    points = tuple(Point(y, x, positive) for y, x, positive in plain["points"])
    box = None if plain["box"] is None else Box(*plain["box"])
    mask = None if plain["mask"] is None else _unpack_array(plain["mask"])
    first, second = plain["axes"]
    return Said(View((first, second), tuple(plain["position"])), Prompt(points, box, plain["text"], mask))


def _pack_array(array: np.ndarray) -> dict[str, Any]:
    """Bits where it is bool: a rough mask is as large as the plane."""
    values = np.packbits(array) if array.dtype == np.bool_ else np.ascontiguousarray(array)
    return {"dtype": array.dtype.str, "shape": array.shape, "data": pack(zlib.compress(values.tobytes(), FAST))}


def _unpack_array(plain: Mapping[str, Any]) -> np.ndarray:
    data, shape = zlib.decompress(unpack(plain["data"])), tuple(plain["shape"])
    if plain["dtype"] == np.dtype(bool).str:
        return np.unpackbits(np.frombuffer(data, np.uint8), count=int(np.prod(shape))).astype(bool).reshape(shape)
    return np.frombuffer(data, plain["dtype"]).reshape(shape)


def _line(plain: Mapping[str, Any]) -> bytes:
    body = json.dumps(plain, separators=(",", ":"), default=str).encode()[:-1]
    return body + _MARK + f'{zlib.crc32(body):08x}"}}\n'.encode()


def _parse(line: bytes) -> dict[str, Any]:
    """A line's values; ValueError when it is not as it was written."""
    body, found, crc = line.rpartition(_MARK)
    if not found or crc != f'{zlib.crc32(body):08x}"}}'.encode():
        raise ValueError("it is not as it was written")
    values: dict[str, Any] = json.loads(body + b"}")
    return values


class Journal:
    """Appends events to a file; each is on the disk when :meth:`write` returns.

    Made by :meth:`create` or :meth:`reopen`. While it is open no other process can write to the file.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file

    @classmethod
    def create(cls, path: Path, header: Header) -> Journal:
        """Begin a new file, in a folder that is made when it is not there.

        Raises
        ------
        OSError
            When it cannot be written, or is there already.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = cls(path, path.open("xb", buffering=0))
        _lock(journal._file, path)
        journal._append(header.to_json())
        _sync_folder(path.parent)
        return journal

    @classmethod
    def reopen(cls, path: Path, whole: int) -> Journal:
        """Go on with a file, behind its last whole line.

        Raises
        ------
        InputError
            When another process has it open.
        OSError
            When it cannot be written.
        """
        file = path.open("r+b", buffering=0)
        _lock(file, path)
        file.truncate(whole)
        file.seek(whole)
        return cls(path, file)

    def write(self, event: Event) -> None:
        """Append an event; raises OSError when the disk does not take it."""
        self._append(encode(event))

    def _append(self, plain: Mapping[str, Any]) -> None:
        self._file.write(_line(plain))
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


def _lock(file: BinaryIO, path: Path) -> None:
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


def read_journal(path: str | Path) -> JournalFile:
    """Read a journal.

    Raises
    ------
    InputError
        When it cannot be read, is of another version, or is damaged anywhere but behind its last whole line; it names
        the line.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the session {path}: {error.strerror}") from error
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].splitlines()
    if not lines:
        raise InputError(f"{path} is no session: it has not one whole line")
    header = _decoded(path, 1, lines[0], _header)
    events = tuple(_decoded(path, number, line, decode) for number, line in enumerate(lines[1:], start=2))
    torn = f"the last record of {path} was not written to its end and is left out" if whole < len(data) else ""
    return JournalFile(header, events, whole, torn)


def _header(plain: Mapping[str, Any]) -> Header:
    if plain["do"] != "begin":
        raise ValueError("it does not begin a session")
    if plain["format"] != FORMAT:
        raise ValueError(f"it is of format {plain['format']}, and this version reads format {FORMAT}")
    return Header.from_json(plain)


def _decoded(path: Path, number: int, line: bytes, decode: Callable[[Mapping[str, Any]], Any]) -> Any:
    # what foreign or damaged JSON was seen to raise on its way to our values; InputError from prompts included
    try:
        return decode(_parse(line))
    except (ValueError, LookupError, TypeError, AttributeError, InputError, zlib.error) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"line {number} of the session {path} is damaged: {reason}") from error
