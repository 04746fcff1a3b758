"""Whole jobs that run where the model is, and stream what they yield: in the worker process, or here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from napari_segany.core.planes import Stack
from napari_segany.core.propagate import Known, Planes, Step, propagate
from napari_segany.core.segmenter import ImageEmbedding, Segmenter


@dataclass(frozen=True, slots=True, eq=False)
class JobContext:
    """What a job works with.

    Parameters
    ----------
    segmenter : Segmenter
        The model, in the same process as the job.
    planes : Planes
        The image; in the worker process its planes are requested as they are needed.
    embed : callable
        Plane number to its embedding, which is computed once while it is remembered.
    """

    segmenter: Segmenter
    planes: Planes
    embed: Callable[[int], ImageEmbedding]


Job = Callable[..., Generator[Any, None, None]]
"""A function of a module that gets a `JobContext` and what else it is given. Ceasing to iterate cancels it."""


@runtime_checkable
class RunsJobs(Protocol):
    """A segmenter whose model is in another process."""

    def embed_plane(self, stack: Stack, number: int) -> ImageEmbedding:
        """Encode a plane of a stack, which is read again if its embedding is lost."""

    def stream(self, job: Job, stack: Stack, *given: Any) -> Generator[Any, None, None]:
        """Run a job there, and yield what it yields."""


def propagate_objects(context: JobContext, known: Known, numbers: Sequence[int]) -> Generator[Step, None, None]:
    """Propagate objects through a stack; see :func:`~napari_segany.core.propagate.propagate`."""
    yield from propagate(context.segmenter, context.planes, known, numbers, embed=context.embed)
