"""From a request to its result: combines the model, the planes and the latest embeddings."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import Any, cast

from napari_segany.core.masks import Mask
from napari_segany.core.object_classes import NamesObjects
from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.engine.embeddings import EmbeddingCache
from napari_segany.engine.worker_jobs import Job, JobContext, Report, RunsJobs
from napari_segany.session.session import SegmentRequest, SegmentResult

MODEL = "tiny"
"""The model in the package."""
GRID = 1024
"""Parts of a pixel to which a single click is rounded before prediction."""


def load_default() -> Segmenter:
    """The segmenter in the package."""
    return load_named(MODEL)


def load_named(name: str, progress: Callable[[int, int | None], None] | None = None) -> Segmenter:
    """A segmenter by its name; see :func:`~napari_segany.models.loading.load_segmenter`.

    Importing torch takes seconds, so it waits until this is called.
    """
    from napari_segany.models.loading import load_segmenter

    return load_segmenter(name, progress=progress)


class PredictionService:
    """Predicts the masks of requests, with a segmenter that is loaded on first use.

    Parameters
    ----------
    load : callable
        Makes the segmenter; called once, in the thread that first needs it.
    cache : EmbeddingCache, optional
        Embeddings of the planes used last; of a model in another process their keys, and the features stay there.

    Attributes
    ----------
    naming : bool
        Whether masks that are shown get names, of a model that knows some.
    restarted : callable or None
        Called in the calling thread when the worker process had ended and was started again.
    """

    def __init__(self, load: Callable[[], Segmenter], cache: EmbeddingCache | None = None) -> None:
        self._load = load
        self._segmenter: Segmenter | None = None
        self.cache = cache or EmbeddingCache()
        self.restarted: Callable[[], None] | None = None
        self.naming = True
        self._last: tuple[ImageEmbedding, Prompt, tuple[Mask, ...]] | None = None

    @property
    def segmenter(self) -> Segmenter:
        """The segmenter; loading it may take seconds the first time."""
        if self._segmenter is None:
            self._segmenter = self._watched(self._load())
        return self._segmenter

    @property
    def name(self) -> str:
        """Name of the segmenter, or of the model in the package while there is none yet."""
        return MODEL if self._segmenter is None else self._segmenter.name

    def forget(self) -> None:
        """Drop all embeddings of earlier pictures."""
        self.cache.clear()
        self._last = None

    def use(self, load: Callable[[], Segmenter]) -> None:
        """Answer with another segmenter from now on; when it cannot be loaded, all stays as it was."""
        segmenter = self._watched(load())
        self.close()
        self._segmenter = segmenter

    def _watched(self, segmenter: Segmenter) -> Segmenter:
        """The segmenter; where it is in a separate process, `restarted` is called when that is started again."""
        if hasattr(segmenter, "restarted"):
            segmenter.restarted = lambda: self.restarted and self.restarted()
        return segmenter

    def close(self) -> None:
        """Let go of the segmenter; one in a separate process is ended."""
        end = getattr(self._segmenter, "close", None)
        if end is not None:
            end()
        self._segmenter = self._last = None

    def ready(self, stack: Stack, number: int) -> bool:
        """Whether the plane is encoded, so that masks are predicted at once."""
        return self._segmenter is not None and self.cache.get((stack, number, self._segmenter.name)) is not None

    def embed(self, stack: Stack, number: int) -> ImageEmbedding:
        """The embedding of a plane, computed when it is not kept."""
        key = (stack, number, self.segmenter.name)
        embedding = self.cache.get(key)
        if embedding is None:
            segmenter = self.segmenter
            if isinstance(segmenter, RunsJobs):
                embedding = segmenter.embed_plane(stack, number)
            else:
                embedding = segmenter.embed(stack.plane(number))
            self.cache.put(key, embedding)
        return embedding

    def stream(self, job: Job, stack: Stack, *given: Any, report: Report | None = None) -> Generator[Any, None, None]:
        """Run a job where the model is, and yield what it yields.

        Parameters
        ----------
        job : callable
            See :mod:`napari_segany.engine.worker_jobs`.
        stack : Stack
            The image.
        *given
            Further arguments of the job.
        report : callable, optional
            Called with the share that is done, by jobs that report it between their results; an exception that it
            raises stops the job.

        Notes
        -----
        The job is cancelled when the iteration stops; close the iterator for that (``contextlib.closing``), since no
        other request is processed before.
        """
        segmenter = self.segmenter
        if isinstance(segmenter, RunsJobs):
            return segmenter.stream(job, stack, *given, report=report)
        return job(JobContext(segmenter, stack, partial(self.embed, stack), report or _unreported), *given)

    def answer(self, stack: Stack, number: int, request: SegmentRequest, *, named: bool = False) -> SegmentResult:
        """Candidate masks for a request.

        Parameters
        ----------
        stack : Stack
            Planes parallel to the one that was prompted.
        number : int
            Of that plane in `stack`.
        request : SegmentRequest
            The request.
        named : bool
            Whether the masks get names, where `naming` is on; a preview under the cursor does without.
        """
        embedding, prompt = self.embed(stack, number), _on_grid(request.prompt)
        known = self._last is not None and self._last[0] is embedding and prompt.ambiguous
        if self._last is None or not known or not self._last[1].says_the_same(prompt):
            masks = tuple(self.segmenter.segment(embedding, [prompt])[0])
            # A click comes where the cursor was, and what it would give has just been worked out.
            self._last = embedding, prompt, masks
        if named and self.naming:
            self._last = embedding, prompt, self._named(embedding, self._last[2])
        return SegmentResult(request, self._last[2])

    def _named(self, embedding: ImageEmbedding, masks: tuple[Mask, ...]) -> tuple[Mask, ...]:
        """Masks with the names that the model gives them; as they are where it knows none, or they have some."""
        if self.segmenter.capabilities.known_classes is None or any(mask.class_name for mask in masks):
            return masks
        return tuple(cast("NamesObjects", self.segmenter).name_masks(embedding, masks))


def _unreported(share: float) -> None:
    """Drop the share that is done."""


def _on_grid(prompt: Prompt) -> Prompt:
    """A lone click without what a transform there and back adds to it.

    So a click has the same mask as the preview before it, to the last bit, and also without a preview.
    """
    if not prompt.ambiguous:
        return prompt
    point = prompt.points[0]
    return replace(prompt, points=(Point(round(point.y * GRID) / GRID, round(point.x * GRID) / GRID),))
