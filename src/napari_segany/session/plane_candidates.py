"""What was found on a plane without a prompt, and which of it passes the filters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_segany.core.automatic_masks import Candidate, Filters, filter_candidates, paint_candidates
from napari_segany.core.views import View


@dataclass(frozen=True, slots=True, eq=False)
class PlaneCandidates:
    """All candidates of a plane; filtering them needs no model.

    Parameters
    ----------
    plane : View
        Where.
    shape : tuple of int
        (y, x) of the plane.
    candidates : tuple of Candidate
        From :func:`~napari_segany.core.automatic_masks.generate_candidates`, or answers to prompts.
    asked : bool
        Whether somebody pointed at each of them; then nothing is filtered.
    """

    plane: View
    shape: tuple[int, int]
    candidates: tuple[Candidate, ...]
    asked: bool = False

    def objects(self, filters: Filters, overlap: float) -> tuple[np.ndarray, list[Candidate]]:
        """Labels (y, x) int32 from 1 of what passes, and the candidates in their order; see :func:`paint_candidates`."""
        if self.asked:
            return paint_candidates(self.candidates, self.shape, 1.0)
        return paint_candidates(filter_candidates(self.candidates, filters, self.shape), self.shape, overlap)
