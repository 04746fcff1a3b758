"""Which candidates pass as automatic masks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filters:
    """Which candidates pass; every number can be changed without running the model again. Defaults are the paper's.

    Parameters
    ----------
    score, stability : float
        Predicted IoU must be above, stability at least.
    smallest, largest : int
        Pixels of a mask, both included.
    box_overlap : float
        Of masks whose boxes have a higher IoU only the most confident stays; across crops, that of the smaller crop.
    whole : bool
        Drop masks that touch the border of the plane.
    tidy : int
        Holes and islands of fewer pixels are removed, see
        :func:`~napari_segany.core.automatic_masks.clean_mask`; 0 leaves masks as they are.
    """

    score: float = 0.88
    stability: float = 0.95
    smallest: int = 1
    largest: int = 2**62
    box_overlap: float = 0.7
    whole: bool = False
    tidy: int = 0
