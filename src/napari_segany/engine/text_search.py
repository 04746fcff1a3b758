"""All objects that a text names: found, told apart, named and painted. No training is needed for the second way.

``seeds``: places where the text is relevant are clicked on, together with the text, by a model that has text prompts.
``crops``: automatic masks of any model are ranked by what any CLIP thinks of their crops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_segany.core.attributes import measure_objects
from napari_segany.core.automatic_masks import (
    Candidate,
    Filters,
    default_filters,
    filter_candidates,
    generate_candidates,
    paint_candidates,
)
from napari_segany.core.errors import InputError, ModelError
from napari_segany.core.segmenter import ImageEmbedding, Segmenter
from napari_segany.core.text_query import Phrase

if TYPE_CHECKING:
    from napari_segany.models.text.clip import Clip

METHODS = ("seeds", "crops")
LIKELY = 0.5
"""Automatic masks whose crop is less likely to be what was named are left out."""
LEAST = 0.5
"""Score from which on objects are shown that a text finds; chosen on images of train/."""
CONTRAST = ("background", "texture", "object", "nothing")
"""What else a crop may be, for a CLIP that was taught any word; one with a vocabulary takes that."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedCandidates:
    """What was found of a text on a plane.

    Parameters
    ----------
    labels : ndarray
        (y, x) int32, from 1.
    objects : tuple of Candidate
        In the order of their labels.
    names : tuple of str
        Of each.
    """

    labels: np.ndarray
    objects: tuple[Candidate, ...]
    names: tuple[str, ...]


def find_named_objects(
    segmenter: Segmenter,
    plane: np.ndarray,
    text: str,
    *,
    method: str = "seeds",
    embedding: ImageEmbedding | None = None,
    clip: Clip | None = None,
) -> Iterator[tuple[float, list[Candidate]]]:
    """Candidates for what a text names; ``candidate.prompt.text`` is the name of each.

    Parameters
    ----------
    segmenter : Segmenter
        Who is asked.
    plane : ndarray
        (y, x, 3) uint8.
    text : str
        Names, parted by ``;``.
    method : {"seeds", "crops"}
        See the module.
    embedding : ImageEmbedding, optional
        Of the plane, when there is one.
    clip : Clip, optional
        Whose opinion of crops counts; needed for "crops".

    Yields
    ------
    done : float
        Share of the work that is done.
    candidates : list of Candidate
        What the last batch brought.

    Raises
    ------
    InputError
        The text cannot be read, the method is unknown, or there is no `clip` where one is needed.
    ModelError
        The model takes no text, or open_clip cannot be imported.
    """
    if method == "seeds":
        yield from generate_candidates(segmenter, plane, embedding=embedding, text=text)
        return
    if method != "crops" or clip is None:
        raise InputError(
            f"no way {method!r} to find what a text names; there are {', '.join(METHODS)}, the latter with a CLIP"
        )
    phrases = clip.phrases(text)
    found: list[Candidate] = []
    for done, batch in generate_candidates(segmenter, plane, embedding=embedding):
        found += batch
        yield 0.9 * done, []
    yield (
        1.0,
        rank_by_crops(
            plane, filter_candidates(found, default_filters(segmenter), (plane.shape[0], plane.shape[1])), phrases, clip
        ),
    )


def text_filters(segmenter: Segmenter) -> Filters:
    """The filters that suit what a text finds: those of the model, but for the score, which also judges the name."""
    own = default_filters(segmenter)
    return replace(own, score=min(own.score, LEAST))


def phrases_of(segmenter: Segmenter, text: str, clip: Clip | None = None) -> list[Phrase]:
    """What a text asks for, read by a CLIP or by a segmenter with text prompts of its own.

    Raises
    ------
    InputError
        The text cannot be read, asks for nothing, or holds a word that is not known.
    ModelError
        The model takes no text, or open_clip cannot be imported.
    """
    texts = clip or getattr(segmenter, "texts", None)
    if texts is None:
        raise ModelError(
            f"the model {segmenter.name!r} has no text prompts of its own; name a CLIP that ranks its masks (--clip)"
        )
    phrases: list[Phrase] = texts.phrases(text)
    if not phrases:
        raise InputError("an empty text; name what to look for")
    return phrases


def rank_by_crops(
    plane: np.ndarray,
    candidates: Sequence[Candidate],
    phrases: Sequence[Phrase],
    clip: Clip,
    crops: np.ndarray | None = None,
) -> list[Candidate]:
    """Masks with the name that their crops are most like, and a score of that likeness times the predicted IoU.

    Parameters
    ----------
    plane : ndarray
        (y, x, 3) uint8.
    candidates : sequence of Candidate
        Automatic masks.
    phrases : sequence of Phrase
        What may be wanted.
    clip : Clip
        Who judges.
    crops : ndarray, optional
        (n, d) vectors of the candidates, where they are known already.
    """
    if not candidates or not phrases:
        return []
    if crops is None:
        crops = clip.crop_vectors(plane, [one.window for one in candidates], [one.mask for one in candidates])
    likely = name_probabilities(crops, phrases, clip)
    best = likely.argmax(1)
    return [
        replace(
            one, score=one.score * float(likely[k, best[k]]), prompt=replace(one.prompt, text=phrases[best[k]].label)
        )
        for k, one in enumerate(candidates)
        if likely[k, best[k]] >= LIKELY
    ]


def name_probabilities(crops: np.ndarray, phrases: Sequence[Phrase], clip: Clip) -> np.ndarray:
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


def select_named(
    plane: np.ndarray,
    candidates: Sequence[Candidate],
    phrases: Sequence[Phrase],
    filters: Filters,
    overlap: float = 0.5,
) -> NamedCandidates:
    """Of the candidates those that pass the filters and have the attributes, painted, each with its name.

    Attributes select among the objects of the same name on the plane (:mod:`napari_segany.core.attributes`). Changing
    the filters asks no model.

    Parameters
    ----------
    plane : ndarray
        (y, x, 3) uint8.
    candidates : sequence of Candidate
        From :func:`find_named_objects`.
    phrases : sequence of Phrase
        What the text asks for.
    filters : Filters
        What to keep.
    overlap : float
        See :func:`~napari_segany.core.automatic_masks.paint_candidates`.
    """
    shape = (plane.shape[0], plane.shape[1])
    good: list[Candidate] = []
    for phrase in dict.fromkeys(phrases):
        own = filter_candidates([one for one in candidates if one.prompt.text == phrase.label], filters, shape)
        if phrase.attributes or phrase.lacking:
            found = measure_objects(plane, [one.window for one in own], [one.mask for one in own])
            own = [own[k] for k in np.flatnonzero(found.satisfying(phrase.attributes, phrase.lacking))]
        good += own
    labels, objects = paint_candidates(sorted(good, key=lambda one: -one.score), shape, overlap)
    return NamedCandidates(labels, tuple(objects), tuple(one.prompt.text for one in objects))
