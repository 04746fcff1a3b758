"""Review of objects: which are to be checked, in which order, by whom and when, and which an export leaves out."""

from __future__ import annotations

import getpass
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from operator import attrgetter

import numpy as np

from napari_segany.core.objects import ACCEPTED, AUTOMATIC, PROPOSED, REJECTED, UNCERTAIN, ObjectInfo

TO_CHECK, ALL = "to check", "all"
FILTERS: Mapping[str, frozenset[str]] = {
    ALL: frozenset({"", AUTOMATIC, PROPOSED, UNCERTAIN, ACCEPTED, REJECTED}),
    TO_CHECK: frozenset({AUTOMATIC, PROPOSED, UNCERTAIN}),
    UNCERTAIN: frozenset({UNCERTAIN}),
    REJECTED: frozenset({REJECTED}),
    ACCEPTED: frozenset({ACCEPTED}),
}
"""The states of the objects that each filter of a review shows."""

EVERYTHING, NOT_REJECTED, ONLY_ACCEPTED = SELECTIONS = ("all", "not rejected", "accepted")
"""Which objects are exported: all, all but rejected ones, or those that the user made, corrected or accepted."""


def review_now() -> tuple[str, str]:
    """Return the name of the user and the time, ISO 8601 in UTC to the second: what a review notes of its decisions."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        name = "unknown"
    return name, datetime.now(UTC).isoformat(timespec="seconds")


def certainty(about: ObjectInfo) -> float:
    """Return the lower of the confidence and the score of an object; NaN where neither is known.

    The confidence of an object in a stack is the expected IoU on its least certain slice, the score the IoU that the
    model predicted; the lower one says where an error is most likely.
    """
    known = [value for value in (about.confidence, about.score) if value is not None and not math.isnan(value)]
    return min(known, default=math.nan)


def least_certain_first(objects: Iterable[ObjectInfo]) -> list[int]:
    """Return the labels in the order of their certainty, the lowest first; those of unknown certainty are the last.

    Nothing says of the latter that they are wrong: they were drawn by hand or made by another program. Equal ones are
    in the order of their labels.
    """
    # (labels may be larger than any integer of numpy)
    known = sorted(objects, key=attrgetter("label"))
    score, confidence = (np.array([getattr(about, name) for about in known], float) for name in ("score", "confidence"))
    # of two the one that is known, and NaN is sorted to the end
    order = np.argsort(np.fmin(score, confidence), kind="stable")
    return [known[row].label for row in order.tolist()]


def progress(states: Iterable[str], which: str = TO_CHECK) -> tuple[int, int]:
    """Return how many objects of a review are checked, accepted or rejected, and how many there are.

    Objects that the user made or corrected, which have no state, count in a review of all objects only.
    """
    counted = [state for state in states if state or which == ALL]
    return sum(state in (ACCEPTED, REJECTED) for state in counted), len(counted)


def left_out(objects: Iterable[ObjectInfo], selection: str = EVERYTHING) -> list[int]:
    """Return the labels of the objects that an export of a selection, one of ``SELECTIONS``, leaves out."""
    if selection == ONLY_ACCEPTED:
        return [about.label for about in objects if not about.confirmed]
    return [about.label for about in objects if selection == NOT_REJECTED and about.state == REJECTED]
