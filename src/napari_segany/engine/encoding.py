"""Embeddings that are read from and written to the cache; masks are always decoded from the cached values."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs

from napari_segany.core.errors import InputError
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.engine.embeddings import EmbeddingCache, EmbeddingStore, key_of, rounded
from napari_segany.engine.session_files import UNKNOWN, model_of
from napari_segany.io.images import read_image, reading

FOLDER, GIGABYTES = "SEGANY_EMBEDDINGS", "SEGANY_EMBEDDINGS_GB"
"""Environment variables: another folder for embeddings, and how many gigabytes of them are kept; 0 for none."""
_LOG = logging.getLogger(__name__)


def embeddings_folder() -> Path:
    """The folder that embeddings are kept in; not created here."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else platformdirs.user_cache_path("napari-segany", appauthor=False) / "embeddings"


def default_store() -> EmbeddingStore | None:
    """The folder of this user with its quota; None when nothing is to be kept.

    Raises
    ------
    InputError
        When the quota is no number.
    """
    given = os.environ.get(GIGABYTES, "").strip()
    if not given:
        return EmbeddingStore(embeddings_folder())
    try:
        quota = float(given)
    except ValueError:
        quota = math.nan
    if not 0 <= quota < math.inf:
        raise InputError(f"{GIGABYTES} is a number of gigabytes, got {given!r}")
    return EmbeddingStore(embeddings_folder(), int(quota * 2**30)) if quota else None


def model_key(segmenter: Segmenter) -> str:
    """Key of everything besides the plane that an embedding depends on; empty when the weights are not known.

    The number of threads is part of it, as it changes the order of sums: so a replayed journal gives the same masks,
    whichever process filled the folder.
    """
    from torch import get_num_threads

    digest = model_of(segmenter.name).hash
    # the name of a checkpoint that is no model of the registry ends in a hash of it
    if digest == UNKNOWN and not re.fullmatch(r".+-[0-9a-f]{8}", segmenter.name):
        return ""
    how = (segmenter.capabilities.device, f"torch.{segmenter.capabilities.precision}", get_num_threads())
    return " ".join([segmenter.name, digest, *map(str, how)])


class PlaneEncoder:
    """Encodes planes with a segmenter, once while they are remembered or lie on the disk.

    The embeddings are rounded as the files have them, stored or not.

    Parameters
    ----------
    segmenter : Segmenter
        What encodes a plane that is not known.
    store : EmbeddingStore, optional
        Embeddings on the disk.
    maker : str
        See :func:`model_key`; when it is empty nothing is read from the disk or written to it.

    Attributes
    ----------
    memory : EmbeddingCache
        Embeddings of this process, by the content of their planes.
    """

    def __init__(self, segmenter: Segmenter, store: EmbeddingStore | None, maker: str) -> None:
        self._segmenter, self._maker = segmenter, maker
        self._store = store if maker else None
        self.memory = EmbeddingCache()

    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        """Encode a plane; see :meth:`~napari_segany.core.segmenter.Segmenter.embed`."""
        return self.embed_keyed(plane)[1]

    def embed_keyed(self, plane: np.ndarray) -> tuple[str, ImageEmbedding]:
        """Encode a plane; returns the key of its content, too, by which `memory` has the embedding."""
        key = key_of(plane, self._maker)
        embedding = self.memory.get(key)
        if embedding is None:
            embedding = self._looked_up(key, plane)
            self.memory.put(key, embedding)
        return key, embedding

    def _looked_up(self, key: str, plane: np.ndarray) -> ImageEmbedding:
        if self._store is None:
            return rounded(self._segmenter.embed(plane))
        embedding = self._store.get(key)
        if embedding is None:
            embedding = rounded(self._segmenter.embed(plane))
            self._store.put(key, embedding)
        while self._store.problems:
            _LOG.warning("%s", self._store.problems.pop(0))
        return embedding


def plane_encoder(segmenter: Segmenter) -> PlaneEncoder:
    """One that uses the usual folder."""
    return PlaneEncoder(segmenter, default_store(), model_key(segmenter))


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What became of an image: its planes, and the bytes that their embeddings take in memory."""

    planes: int
    bytes: int


def embed_file(
    image: Path, load: Callable[[], Segmenter], progress: Callable[[int], None] | None = None
) -> EmbedReport:
    """Encode all planes of an image into the cache.

    Parameters
    ----------
    image : Path
        Anything that :func:`~napari_segany.io.images.read_image` reads.
    load : callable
        Makes a segmenter that keeps its embeddings, in a separate process as the widget does: how many threads
        compute is a part of what they are known by.
    progress : callable, optional
        Called with the number of planes that are done.

    Raises
    ------
    InputError
        When the image cannot be read.
    ModelError
        From `load`.
    """
    with reading(image):
        stack = read_image(image).stack()
    segmenter, size = load(), 0
    try:
        for number in range(len(stack)):
            with reading(image):
                plane = stack.plane(number)
            size += segmenter.embed(plane).nbytes
            if progress is not None:
                progress(number + 1)
    finally:
        end = getattr(segmenter, "close", None)
        if end is not None:
            end()
    return EmbedReport(len(stack), size)
