"""The same work by the workers of a Dask cluster: each loads the model once and takes whole planes.

Only what is independent of other planes goes there: automatic masks, and encodings. What ties planes together, linking
and following, happens here, in the order of the planes. So the result is that of a single process, and a worker that
dies costs no more than what it was at: Dask gives that to another one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from napari_segany.batch.found_objects import LabelledPlane, find_on_plane
from napari_segany.batch.segment_folder import loaded_clip
from napari_segany.core.errors import InputError
from napari_segany.core.planes import Stack
from napari_segany.core.query import Query
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.io.images import FilePlanes, read_image, reading

if TYPE_CHECKING:
    from distributed import Client, Future

    from napari_segany.models.text.clip import Clip

PLUGIN = "napari-segany"
RETRIES = 3
"""How often a plane is tried again that failed on a worker which is alive, as when a disk does not answer."""
CONNECT_SECONDS = 20
AHEAD = 2
"""Planes for each thread of the cluster that are under way or wait to be fetched: so many results lie in memory."""


class DaskCluster:
    """A Dask cluster that runs already.

    The image must lie where all workers find it under the same path, and napari-segany must be installed there.

    Parameters
    ----------
    address : str
        Of its scheduler, as ``tcp://host:8786``.
    load : callable
        Makes the segmenter; called once by each worker.

    Raises
    ------
    InputError
        When Dask is not installed, or nothing answers at the address.
    """

    def __init__(self, address: str, load: Callable[[], Segmenter]) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise InputError("--dask needs Dask: pip install 'napari-segany[cluster]'") from None
        try:
            self._client: Client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"no Dask scheduler answers at {address}: {reason}") from None
        self._client.register_plugin(_plugin(load), name=PLUGIN)

    def close(self) -> None:
        """Leave the cluster, which goes on."""
        self._client.close()

    def __enter__(self) -> DaskCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find_on_planes(self, image: Path, count: int, query: Query, clip: str) -> Iterator[LabelledPlane]:
        """Find the objects of a query on each plane of an image, in their order."""
        work = partial(_find_on_plane, str(image.absolute()), query, clip)
        waiting: deque[Future] = deque()
        numbers = iter(range(count))
        try:
            for _ in range(count):
                while len(waiting) < self._room() and (number := next(numbers, None)) is not None:
                    waiting.append(self._submit(work, number))
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def encoder(self, image: Path, stack: Stack) -> Callable[[int], ImageEmbedding]:
        """What gives the embedding of a plane by its number, and has the next ones made meanwhile."""
        return _Ahead(partial(self._submit, partial(_encode, str(image.absolute()))), len(stack), self._room)

    def _submit(self, work: Callable[[int], Any], number: int) -> Future:
        return self._client.submit(work, number, retries=RETRIES, pure=False)

    def _room(self) -> int:
        threads = sum(self._client.nthreads().values())
        return max(AHEAD * threads, 1)


class _Ahead:
    """Computes embeddings ahead, in the direction in which they are requested."""

    def __init__(self, submit: Callable[[int], Future], count: int, room: Callable[[], int]) -> None:
        self._submit, self._count, self._room = submit, count, room
        self._under_way: dict[int, Future] = {}
        self._last: int | None = None

    def __call__(self, number: int) -> ImageEmbedding:
        step = 1 if self._last is None or number >= self._last else -1
        self._last = number
        wanted = [n for n in range(number, number + step * self._room(), step) if 0 <= n < self._count]
        self._under_way = {n: self._under_way[n] if n in self._under_way else self._submit(n) for n in wanted}
        embedding: ImageEmbedding = self._under_way[number].result()
        return embedding


def _plugin(load: Callable[[], Segmenter]) -> Any:
    """What each worker keeps between planes: the model, and the image that it read last."""
    from distributed import WorkerPlugin

    class Loaded(WorkerPlugin):  # type: ignore[misc,unused-ignore]
        """Made where it is used: Dask is not always installed."""

        def setup(self, worker: Any) -> None:
            self.desk = WorkerModel(load)

    return Loaded()


class WorkerModel:
    """A worker's model, loaded with the first plane, and the image that it read last.

    Parameters
    ----------
    load : callable
        Makes the segmenter.
    """

    def __init__(self, load: Callable[[], Segmenter]) -> None:
        self._load = load
        self._lock = Lock()
        self._segmenter: Segmenter | None = None
        self._read: FilePlanes | None = None
        self._clip: tuple[str, Clip | None] = "", None

    def find(self, image: str, query: Query, clip: str, number: int) -> LabelledPlane:
        """Find the objects of a query on a plane, with a CLIP of a name or none."""
        # Models share the cores: several threads of a worker would only slow each other down.
        with self._lock:
            if self._clip[0] != clip:
                self._clip = clip, loaded_clip(clip)
            return find_on_plane(self._model(), query, self._planes(image), number, self._clip[1])

    def encode(self, image: str, number: int) -> ImageEmbedding:
        """The embedding of a plane."""
        with self._lock:
            return self._model().embed(self._planes(image).plane(number))

    def _model(self) -> Segmenter:
        if self._segmenter is None:
            self._segmenter = self._load()
        return self._segmenter

    def _planes(self, image: str) -> FilePlanes:
        if self._read is None or self._read.path != Path(image):
            with reading(Path(image)):
                self._read = FilePlanes(Path(image), read_image(image).stack())
        return self._read


def loader(model: str, device: str) -> Callable[[], Segmenter]:
    """Return a function that loads a model by its name, and can be sent to workers."""
    return partial(_load, model, device)


def _load(model: str, device: str) -> Segmenter:
    from napari_segany.models.loading import load_segmenter

    return load_segmenter(model, device)


def _worker_model() -> WorkerModel:
    from distributed import get_worker

    plugin: Any = get_worker().plugins[PLUGIN]
    desk: WorkerModel = plugin.desk
    return desk


def _find_on_plane(image: str, query: Query, clip: str, number: int) -> LabelledPlane:
    return _worker_model().find(image, query, clip, number)


def _encode(image: str, number: int) -> ImageEmbedding:
    return _worker_model().encode(image, number)
