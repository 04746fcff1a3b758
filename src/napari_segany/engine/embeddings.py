"""Caches of plane embeddings: the latest in memory, all in files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from napari_segany.core.segmenter import ImageEmbedding

FORMAT = 1
"""Of files; those of another number are as if they were not there, as their number is part of their names."""
QUOTA = 4 * 2**30
"""Bytes of files by default."""
STALE_SECONDS = 3600.0
"""A temporary file that is older is what a process left that was killed."""
_SUFFIX, _PART = ".zip", ".part"


class EmbeddingCache:
    """Keeps the embeddings used last, within a limit of bytes; safe between threads.

    Parameters
    ----------
    limit : int
        Bytes that may be kept; one embedding is always kept, however large.
    """

    def __init__(self, limit: int = 512 * 2**20) -> None:
        self.limit = limit
        self._entries: OrderedDict[Hashable, ImageEmbedding] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> ImageEmbedding | None:
        """The embedding kept under a key, or None."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def put(self, key: Hashable, embedding: ImageEmbedding) -> None:
        """Keep an embedding, and drop those not used for longest while there are too many."""
        with self._lock:
            self._entries[key] = embedding
            self._entries.move_to_end(key)
            while len(self._entries) > 1 and sum(each.nbytes for each in self._entries.values()) > self.limit:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._entries.clear()


def rounded(embedding: ImageEmbedding) -> ImageEmbedding:
    """The embedding as it is kept: floating-point features as float16, but for those that are too large for it."""
    features = {}
    for name, array in embedding.features.items():
        if array.dtype.kind == "f" and array.dtype.itemsize > 2:
            with np.errstate(over="ignore"):
                half = array.astype(np.float16)
            array = half if np.isfinite(half).all() or not np.isfinite(array).all() else array
        features[name] = array
    return ImageEmbedding(features, embedding.shape, embedding.model)


def key_of(plane: np.ndarray, maker: str) -> str:
    """What the embedding of a plane is kept under.

    Parameters
    ----------
    plane : ndarray
        (y, x, 3) uint8 as the model gets it: its values hold the image's content and all that was done to it before.
    maker : str
        Who encodes it, and how: model, weights, device, precision.
    """
    found = hashlib.sha256(f"{FORMAT} {maker} {plane.shape} {plane.dtype}".encode())
    found.update(np.ascontiguousarray(plane).data)
    return found.hexdigest()


class EmbeddingStore:
    """Embeddings in files of a folder, for all processes that use it.

    Each is a zarr group in a zip file, which appears in one step under the name of its key, and contains checksums. A
    file that cannot be read, or whose checksum is wrong, is removed and not used; the least recently used files are
    removed when there are too many bytes.

    Parameters
    ----------
    folder : Path
        Created when the first embedding is stored.
    quota : int
        Bytes of all files together; one embedding is stored, however large.

    Attributes
    ----------
    problems : list of str
        Problems with entries and the folder, a line each; cleared by the caller that shows them.
    """

    def __init__(self, folder: Path, quota: int = QUOTA) -> None:
        self.folder, self.quota = folder, quota
        self.problems: list[str] = []

    def get(self, key: str) -> ImageEmbedding | None:
        """The embedding kept under a key; None when there is none, or it is damaged."""
        path = self._path(key)
        try:
            embedding = _read(path, key)
            os.utime(path)
        except FileNotFoundError:
            # never kept, or another process has just dropped it
            return None
        except _READ_ERRORS as error:
            if not path.is_file():
                # removed by another process while it was opened, for which zarr raises an error
                return None
            self.problems.append(f"the kept embedding {path.name} is damaged and is computed again ({_line(error)})")
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return embedding

    def __contains__(self, key: str) -> bool:
        return self._path(key).is_file()

    def put(self, key: str, embedding: ImageEmbedding) -> None:
        """Keep an embedding; what goes wrong is no more than a problem."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(suffix=_PART, prefix=key[:16], dir=self.folder)
            os.close(number)
            part = Path(name)
            try:
                _write(part, key, embedding)
                part.replace(self._path(key))
            finally:
                part.unlink(missing_ok=True)
            self._make_room(key)
        except OSError as error:
            self.problems.append(f"embeddings cannot be kept in {self.folder}: {_line(error)}")

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _make_room(self, newest: str) -> None:
        """Drop the files that were used longest ago, while there are too many bytes, and what was left half written."""
        files = sorted(self._files(), key=lambda each: each[0])
        total, now = sum(size for _, size, _ in files), max((when for when, _, _ in files), default=0.0)
        for when, size, path in files:
            left = path.suffix == _PART and now - when > STALE_SECONDS
            if left or (total > self.quota and path.suffix == _SUFFIX and path != self._path(newest)):
                with contextlib.suppress(OSError):
                    path.unlink()
                total -= size

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for path in self.folder.iterdir():
            if path.suffix in (_SUFFIX, _PART):
                with contextlib.suppress(OSError):
                    state = path.stat()
                    yield state.st_mtime, state.st_size, path


_READ_ERRORS = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, RuntimeError)
"""Exceptions that zipfile and zarr raise for truncated and damaged files."""


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _write(path: Path, key: str, embedding: ImageEmbedding) -> None:
    import zarr  # takes an eighth of a second, and the dock widget must not wait for it
    from zarr.storage import ZipStore

    with ZipStore(path, mode="w") as store:
        attributes: dict[str, Any] = {"key": key, "shape": list(embedding.shape), "model": embedding.model}
        attributes["sums"] = {name: _sum(array) for name, array in embedding.features.items()}
        group = zarr.create_group(store, attributes=attributes)
        for name, array in embedding.features.items():
            group.create_array(name, data=np.ascontiguousarray(array), chunks=array.shape, compressors=None)


def _read(path: Path, key: str) -> ImageEmbedding:
    import zarr
    from zarr.storage import ZipStore

    # zarr would make a file that is not there
    if not path.is_file():
        raise FileNotFoundError(path)
    with ZipStore(path, mode="r") as store:
        group = zarr.open_group(store, mode="r")
        metadata: dict[str, Any] = dict(group.attrs.asdict())
        if metadata["key"] != key:
            raise ValueError("it is that of another plane")
        features = {}
        for name, digest in metadata["sums"].items():
            array = group[name]
            if not isinstance(array, zarr.Array):
                raise TypeError(f"{name} is no array")
            features[name] = np.asarray(array[...])
            if _sum(features[name]) != digest:
                raise ValueError(f"the values of {name} are not those that were written")
        height, width = metadata["shape"]
        return ImageEmbedding(features, (int(height), int(width)), str(metadata["model"]))


def _sum(array: np.ndarray) -> str:
    found = hashlib.sha256(f"{array.shape} {array.dtype.str}".encode())
    found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
