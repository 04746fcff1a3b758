"""The protocol between everything that wants masks and everything that makes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from napari_segany.core.arguments import check_type
from napari_segany.core.confidence import Gates
from napari_segany.core.errors import InputError
from napari_segany.core.filters import Filters
from napari_segany.core.known_classes import KnownClasses
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Prompt
from napari_segany.core.ranking import RankingConfig


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ImageEmbedding:
    """Features of a plane from a segmenter, so that prompts are predicted quickly.

    Parameters
    ----------
    features : mapping of str to ndarray
        Named arrays; opaque to everyone but the segmenter that made them.
    shape : tuple of int
        (y, x) of the plane in pixels.
    model : str
        Name of the segmenter that made it.
    """

    features: Mapping[str, np.ndarray]
    shape: tuple[int, int]
    model: str

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the features take, in whichever process they are."""
        return sum(array.nbytes for array in self.features.values())


def check_plane(plane: object) -> None:
    """Refuse anything but a plane that :meth:`Segmenter.embed` takes.

    Raises
    ------
    InputError
        It is not (y, x, 3) uint8, or has no pixels.
    """
    check_type(plane, np.ndarray, "plane")
    if isinstance(plane, np.ndarray) and (
        plane.dtype != np.uint8 or plane.ndim != 3 or plane.shape[2] != 3 or not plane.size
    ):
        raise InputError(f"a plane is (y, x, 3) uint8, got {plane.dtype} of shape {plane.shape}")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a segmenter does next to answering points, boxes and masks, and the settings that suit its masks.

    Parameters
    ----------
    proposals : bool
        Whether it proposes objects itself, see :class:`~napari_segany.core.automatic_masks.ProposesObjects`.
    texts : bool
        Whether it takes texts, see :class:`~napari_segany.core.automatic_masks.ProposesNamedObjects`.
    draws : bool
        Whether it finds and draws objects without prompts, see
        :class:`~napari_segany.core.automatic_masks.DrawsObjects`.
    describes : bool
        Whether it makes vectors of objects by which they are compared, see
        :class:`~napari_segany.core.exemplars.DescribesObjects`.
    examples : bool
        Whether it finds objects like those in example boxes, see
        :class:`~napari_segany.core.automatic_masks.FindsByExamples`.
    memory : bool
        Whether it follows objects through a stack by a memory of its own, see
        :class:`~napari_segany.core.object_memory.RemembersObjects`.
    known_classes : KnownClasses, optional
        The names that it knows of masks without examples, see
        :class:`~napari_segany.core.object_classes.NamesObjects`.
    filters : Filters
        Which of its automatic masks pass.
    proposal_filters : Filters, optional
        The same of masks at its proposals, where it also draws objects; None where they are the same.
    text_score : float
        Predicted IoU from which on objects are shown that a text finds, where that is below ``filters.score``.
    gates : Gates
        When an object is lost as it is propagated, with the calibration of the confidence if one was fitted.
    ranking : RankingConfig
        How committed objects rank its masks of a click.
    device : str
        Where it computes.
    precision : str
        What it computes in.
    """

    proposals: bool = False
    texts: bool = False
    filters: Filters = field(default_factory=Filters)
    text_score: float = 0.5
    gates: Gates = field(default_factory=Gates)
    ranking: RankingConfig = field(default_factory=RankingConfig)
    device: str = "cpu"
    precision: str = "float32"
    draws: bool = False
    describes: bool = False
    memory: bool = False
    examples: bool = False
    proposal_filters: Filters | None = None
    known_classes: KnownClasses | None = None


class Segmenter(Protocol):
    """Turns a plane into an embedding, and prompts on that embedding into masks.

    Attributes
    ----------
    name : str
        Of the model.
    capabilities : Capabilities
        What else it does.
    """

    name: str

    @property
    def capabilities(self) -> Capabilities:
        """What it does next to answering points, boxes and masks."""

    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        """Encode a plane.

        Parameters
        ----------
        plane : ndarray
            (y, x, 3) uint8, taken as it is; :class:`~napari_segany.core.planes.Stack` makes such planes.
        """

    def segment(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        *,
        candidates: int | None = None,
        at_least: float = -math.inf,
    ) -> list[list[Mask]]:
        """Answer each prompt with its candidate masks, the most confident first.

        Parameters
        ----------
        embedding : ImageEmbedding
            From :meth:`embed` of the same segmenter.
        prompts : sequence of Prompt
            One per object.
        candidates : {None, 1, 3}
            None: three for a lone positive point, else one; 1 or 3 forces it.
        at_least : float
            Masks whose predicted IoU is lower are not drawn, and left out; a list may be empty then.

        Returns
        -------
        list of list of Mask
            One list per prompt, in the order of `prompts`.
        """
