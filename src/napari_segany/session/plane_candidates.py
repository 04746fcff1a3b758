"""What was found on a plane without a label yet, and which of it is offered."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_segany.core.automatic_masks import paint_candidates
from napari_segany.core.filters import Filters
from napari_segany.core.query import Candidates, Query, Selection
from napari_segany.core.views import View


@dataclass(frozen=True, slots=True, eq=False)
class PlaneCandidates:
    """All candidates of a plane; filtering them needs no model.

    Parameters
    ----------
    plane : View
        The plane.
    candidates : Candidates
        Of a query, or masks of prompts.
    query : Query, optional
        What was searched for. None for masks of prompts, of which nothing is filtered.
    """

    plane: View
    candidates: Candidates
    query: Query | None = None

    @property
    def prompted(self) -> bool:
        """Whether each object has a prompt of the user."""
        return self.query is None

    def select(self, filters: Filters, overlap: float, taken: np.ndarray | None) -> Selection:
        """Return the objects that pass; `taken` as of :meth:`~napari_segany.core.query.Query.select`."""
        if self.query is None:
            return Selection(*paint_candidates(list(self.candidates), self.candidates.shape, 1.0))
        return replace(self.query, filters=filters, overlap=overlap).select(self.candidates, taken)
