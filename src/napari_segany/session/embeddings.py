"""Embeddings of the planes that were looked at last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock

from napari_segany.core.segmenter import ImageEmbedding


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
            while len(self._entries) > 1 and sum(map(_size, self._entries.values())) > self.limit:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._entries.clear()


def _size(embedding: ImageEmbedding) -> int:
    return sum(array.nbytes for array in embedding.features.values())
