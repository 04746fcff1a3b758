"""Messages between the window and the worker process: masks packed, image stacks by reference.

A stack stays in the process that has it, however large it is. The other process gets a `RemotePlanes`, which requests
plane by plane what it needs.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from napari_segany.core.errors import Cancelled, SeganyError
from napari_segany.core.masks import Mask
from napari_segany.core.planes import Region, Stack
from napari_segany.engine.mask_packing import pack_mask, unpack_mask
from napari_segany.engine.worker_jobs import PlaneSource

RECENT_PLANES = 3
"""Planes that a `RemotePlanes` remembers: propagation reads one, and encodes the same one next."""


Lendable = Stack | PlaneSource
"""What stays in its process."""
Reference = tuple[int, tuple[int, int] | None, int]


class Channel:
    """A connection to another process.

    Parameters
    ----------
    connection : Connection
        To a `Channel` on the other side.

    Attributes
    ----------
    lent : dict of int to Stack
        Stacks of this process that the other one may request planes of, by their references.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.lent: dict[int, Lendable] = {}

    def send(self, message: object) -> None:
        """Send a message; OSError when the other process has ended."""
        buffer = io.BytesIO()
        _Pickler(buffer, self.lent).dump(message)
        self._connection.send_bytes(buffer.getbuffer())

    def recv(self) -> Any:
        """Wait for a message; EOFError when the other process has ended."""
        return _Unpickler(io.BytesIO(self._connection.recv_bytes()), self._borrowed).load()

    def poll(self, seconds: float = 0.0) -> bool:
        """Whether there is a message, after waiting for one."""
        return self._connection.poll(seconds)

    def close(self) -> None:
        """Cut the connection."""
        self._connection.close()

    def lend_plane(self, reference: int, number: int, window: Region | None) -> None:
        """Answer a request for a plane or a part; what goes wrong while it is read is raised on the other side."""
        try:
            planes = self.lent[reference]
            if isinstance(planes, Stack) and window is not None:
                self.send(("plane", planes.part(number, window)))
            else:
                self.send(("plane", planes.plane(number)))
        except OSError as error:
            if isinstance(error, BrokenPipeError | ConnectionError):
                raise
            self.send(("error", SeganyError(f"the image cannot be read: {error}")))
        except SeganyError as error:
            self.send(("error", error))
        except Exception as error:  # noqa: BLE001 - reading the user's array may raise anything
            self.send(("error", SeganyError(f"the image cannot be read: {type(error).__name__} {error}".rstrip())))

    def _borrowed(self, reference: int, plane_shape: tuple[int, int] | None, length: int) -> RemotePlanes | Lendable:
        """What a reference stands for; one without a shape comes back to the process that lent it."""
        if plane_shape is None:
            return self.lent[reference]
        return RemotePlanes(self, reference, plane_shape, length)


class RemotePlanes:
    """Planes of a stack in another process; see :class:`~napari_segany.core.propagate.Planes`."""

    def __init__(self, channel: Channel, reference: int, plane_shape: tuple[int, int], length: int) -> None:
        self.plane_shape = plane_shape
        self._channel, self.reference, self._length = channel, reference, length
        self._recent: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self._length

    def plane(self, number: int) -> np.ndarray:
        """(y, x, 3) uint8, requested from the process that has the stack; not to be changed.

        Raises
        ------
        Cancelled
            The other process ceased to iterate.
        SeganyError
            The plane cannot be read there.
        """
        if number not in self._recent:
            self._recent[number] = self._requested(number)
            while len(self._recent) > RECENT_PLANES:
                del self._recent[next(iter(self._recent))]
        return self._recent[number]

    def part(self, number: int, window: Region) -> np.ndarray:
        """(y, x, 3) uint8 of a region of a plane of a `Stack`; nothing else of it is read. Raises as :meth:`plane`."""
        return self._requested(number, window)

    def _requested(self, number: int, window: Region | None = None) -> np.ndarray:
        self._channel.send(("plane", (self.reference, number, window)))
        kind, value = self._channel.recv()
        if kind == "stop":
            raise Cancelled("cancelled")
        if kind == "error":
            raise value
        values: np.ndarray = value
        return values


class _Pickler(pickle.Pickler):
    """Packs masks, and leaves stacks where they are."""

    def __init__(self, file: io.BytesIO, lent: dict[int, Lendable]) -> None:
        super().__init__(file, protocol=5)
        self._lent = lent
        self.dispatch_table = copyreg.dispatch_table | {Mask: _reduced}

    def persistent_id(self, thing: object) -> Reference | None:
        if isinstance(thing, RemotePlanes):
            return thing.reference, None, 0
        if not isinstance(thing, Lendable):
            return None
        reference = id(thing)
        # it stays alive as long as it is lent, and so its number is its own
        self._lent[reference] = thing
        return reference, thing.plane_shape, len(thing)


class _Unpickler(pickle.Unpickler):
    """Puts what stands for a stack in its place."""

    def __init__(self, file: io.BytesIO, borrowed: Callable[..., object]) -> None:
        super().__init__(file)
        self._borrowed = borrowed

    def persistent_load(self, reference: Reference) -> object:
        return self._borrowed(*reference)


def _reduced(mask: Mask) -> tuple[Callable[..., Mask], tuple[Any]]:
    return unpack_mask, (pack_mask(mask),)
