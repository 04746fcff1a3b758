"""`tiny` with queries: they find and name objects, and draw them, or have its own decoder draw them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from napari_segany.core.automatic_masks import BATCH, FoundObject
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.filters import Filters
from napari_segany.core.masks import Mask
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.segmenter import Capabilities, ImageEmbedding
from napari_segany.core.simulate import inner_distance
from napari_segany.models.geometry import Frame
from napari_segany.models.inference_config import read_metadata
from napari_segany.models.mask2former.query_windows import QueryMask, query_masks
from napari_segany.models.mask2former.tiny_queries import TinyQueries, TinyQueriesConfig, pyramid_channels
from napari_segany.models.tiny.text_unions import PLANE
from napari_segany.models.tiny.zoom import ZoomSegmenter
from napari_segany.models.weights import load_state

FINDERS = ("seeds", "queries", "queries+sam")
"""The proposals of `tiny`; queries that draw their masks; queries whose masks the decoder of `tiny` draws."""
FILTERS = Filters(score=0.75, stability=0.0)
"""Of what queries find; chosen, as the weight below, on the first five images of dev/dsb2018 and dev/rbc_flow."""
AGREEMENT = 0.3
"""Weight of the IoU with the query's own mask against the predicted IoU, in the choice among the masks of a click."""
DRAWN_FROM = 0.5
"""Score of a query from which on the decoder draws its object: with a lower one the mean of both scores stays below the
threshold unless the predicted IoU is above 1.1."""
SETTINGS = "tiny_queries"
"""Name of the sizes in the metadata of a file of weights."""


class QuerySegmenter(ZoomSegmenter):
    """Segmenter that handles prompts as `tiny` does, and finds objects with queries.

    Parameters
    ----------
    base : ZoomSegmenter
        `tiny`; its weights are shared.
    queries : TinyQueries
        Trained on it.
    finder : str
        One of ``FINDERS``: how objects are found without prompts.
    """

    def __init__(self, base: ZoomSegmenter, queries: TinyQueries, finder: str = "queries+sam") -> None:
        self.__dict__.update(base.__dict__)
        self.queries = queries.to(self.device, torch.float32).eval().requires_grad_(False)
        self.finder = finder

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities in addition to points, boxes and masks."""
        known = super().capabilities
        return known if self.finder == "seeds" else replace(known, draws=True, filters=FILTERS)

    def finding_by(self, finder: str) -> QuerySegmenter:
        """The same with another of ``FINDERS``; InputError for anything else."""
        if finder not in FINDERS:
            raise InputError(f"no way to find objects is called {finder!r}; there are {', '.join(FINDERS)}")
        other = copy.copy(self)
        other.finder = finder
        return other

    @torch.inference_mode()
    def found_objects(self, embedding: ImageEmbedding) -> Iterator[FoundObject]:
        """Objects with their masks and classes; see :class:`~napari_segany.core.automatic_masks.DrawsObjects`."""
        frame = Frame(embedding.shape, self.model.image_size)
        scale = 1.0 if min(frame.scale) < self.zoom.coarse else max(frame.scale)
        found = query_masks(self.model, self.queries, embedding.features[PLANE], scale)
        if self.finder == "queries+sam":
            found = [one for one in found if one.score >= DRAWN_FROM]
        for start in range(0, len(found), BATCH):
            batch = found[start : start + BATCH]
            masks = (
                self._redrawn(embedding, batch)
                if self.finder == "queries+sam"
                else [_mask(one, embedding.shape) for one in batch]
            )
            for one, mask in zip(batch, masks, strict=True):
                if mask is not None:
                    yield FoundObject(mask, _innermost(one), self.queries.config.names[one.class_index])

    def _redrawn(self, embedding: ImageEmbedding, found: Sequence[QueryMask]) -> list[Mask | None]:
        """Masks that the decoder predicts from a click in each object; the query selects one of the three."""
        predictions = self.segment(embedding, [Prompt((_innermost(one),)) for one in found])
        return [meant_mask(masks, one) for one, masks in zip(found, predictions, strict=True)]


def meant_mask(masks: Sequence[Mask], one: QueryMask) -> Mask | None:
    """Of what a click may mean, the mask that a query means; its score is the geometric mean of both scores."""
    if not masks:
        return None
    best = max(masks, key=lambda mask: mask.score + AGREEMENT * mask_overlap(mask.pixels, one))
    return replace(best, score=float(np.sqrt(best.score * one.score)))


def mask_overlap(pixels: np.ndarray, one: QueryMask) -> float:
    """IoU of a mask of the plane with what a query drew."""
    shared = int(np.count_nonzero(pixels[one.window] & one.mask))
    return shared / (int(np.count_nonzero(pixels)) + int(np.count_nonzero(one.mask)) - shared)


def _mask(one: QueryMask, shape: tuple[int, int]) -> Mask:
    """What a query drew, as a mask of the plane."""
    pixels = np.zeros(shape, bool)
    pixels[one.window] = one.mask
    return Mask(pixels, one.score, np.where(one.mask, 1.0, -1.0).astype(np.float32), one.stability)


def _innermost(one: QueryMask) -> Point:
    """The pixel farthest from the outline of a mask."""
    distance = inner_distance(one.mask)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return Point(float(y + one.window[0].start), float(x + one.window[1].start))


def holds_queries(path: Path) -> bool:
    """Whether a file was written by ``train mask2former``."""
    return _settings(path) is not None


def load_queries(path: Path, base: ZoomSegmenter) -> QuerySegmenter:
    """Read the queries of a file, and put them on the model that they were trained on.

    Raises
    ------
    ModelError
        The file holds no queries, or its weights do not fit.
    """
    try:
        given = json.loads(_settings(path) or "")
        config = TinyQueriesConfig(**{**given, "names": tuple(given["names"])})
        queries = TinyQueries(pyramid_channels(base.model), config)
        queries.load_state_dict({name: value.float() for name, value in load_state(path).items()})
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        problem = str(error).partition("\n")[0]
        raise ModelError(f"{path} holds no queries that fit {base.name!r}: {problem}") from error
    return QuerySegmenter(base, queries)


def _settings(path: Path) -> str | None:
    return read_metadata(path).get(SETTINGS)
