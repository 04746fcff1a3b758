"""Text prompts for models without them: automatic masks ranked by what a CLIP sees in their crops. No training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_segany.core.automatic_masks import Candidate
from napari_segany.core.planes import Plane
from napari_segany.core.query import Candidates, Query, Selection
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.text_query import Phrase

if TYPE_CHECKING:
    from napari_segany.models.text.clip import Clip

LIKELY = 0.5
"""Automatic masks whose crop is less likely to be what was named are left out."""
CONTRAST = ("background", "texture", "object", "nothing")
"""What else a crop may be, for a CLIP that was taught any word; one with a vocabulary takes that."""


def find(
    segmenter: Segmenter,
    query: Query,
    plane: Plane,
    clip: Clip | None = None,
    report: Callable[[float], None] | None = None,
) -> Selection:
    """Find the objects of a plane, with fixed filters.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    query : Query
        Objects to find, and filters.
    plane : ndarray or LazyPlane
        (y, x, 3) uint8.
    clip : Clip, optional
        Ranks automatic masks for the phrases of the query, in place of the model's own text prompts.
    report : callable, optional
        See :meth:`Query.candidates`.

    Raises
    ------
    ModelError
        There are phrases and no `clip`, and the model takes no text.
    """
    if clip is None or not query.phrases:
        return query.select(query.candidates(segmenter, plane, report=report, final=True))
    return query.select(ranked_candidates(segmenter, query, plane, clip, report))


def ranked_candidates(
    segmenter: Segmenter, query: Query, plane: Plane, clip: Clip, report: Callable[[float], None] | None = None
) -> Candidates:
    """Automatic masks that pass the filters of a query, named and scored by a CLIP; parameters as of :func:`find`."""
    unnamed = replace(query, phrases=())
    found = unnamed.candidates(segmenter, plane, report=report, final=True)
    named = ranked(found.plane, unnamed.passing(found), query.phrases, clip)
    return Candidates.of(found.plane, named, ranked=True)


def ranked(
    plane: Plane,
    candidates: Sequence[Candidate],
    phrases: Sequence[Phrase],
    clip: Clip,
    crops: np.ndarray | None = None,
) -> list[Candidate]:
    """Masks with the name that their crops are most like, and a score of that likeness times the predicted IoU.

    Parameters
    ----------
    plane : ndarray or LazyPlane
        (y, x, 3) uint8.
    candidates : sequence of Candidate
        Automatic masks.
    phrases : sequence of Phrase
        What may be wanted.
    clip : Clip
        Compares crops with names.
    crops : ndarray, optional
        (n, d) vectors of the candidates, where they are known already.
    """
    if not candidates or not phrases:
        return []
    if crops is None:
        crops = clip.crop_vectors(plane, [one.window for one in candidates], [one.mask for one in candidates])
    likely = likelihood(crops, phrases, clip)
    best = likely.argmax(1)
    return [
        replace(
            one, score=one.score * float(likely[k, best[k]]), prompt=replace(one.prompt, text=phrases[best[k]].label)
        )
        for k, one in enumerate(candidates)
        if likely[k, best[k]] >= LIKELY
    ]


def likelihood(crops: np.ndarray, phrases: Sequence[Phrase], clip: Clip) -> np.ndarray:
    """How likely each crop, (n, d) vectors, is each phrase, and none of the other words that the CLIP knows."""
    names = [phrase.name for phrase in phrases]
    avoided = [name for phrase in phrases for name in phrase.avoided]
    others = clip.vocabulary.names if clip.vocabulary is not None else CONTRAST
    # What a thing also is does not speak against it: a dog is an animal.
    kin = _kin(names, clip)
    known = [*dict.fromkeys((*names, *avoided, *(name for name in others if name not in kin)))]
    vectors = np.stack([clip.name_vector(name) for name in known])
    logits = clip.sharpness * crops @ vectors.T
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    found: np.ndarray = shares[:, [known.index(name) for name in names]]
    return found


def _kin(names: Sequence[str], clip: Clip) -> set[str]:
    terms = {} if clip.vocabulary is None else clip.vocabulary.terms
    parents = {parent for name in names if name in terms for parent in terms[name].parents}
    return parents | {name for name, term in terms.items() if set(term.parents) & set(names)}
