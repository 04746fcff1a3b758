"""Which objects a review shows, in which order, and what an export leaves out."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta

import pytest

from napari_segany.core.objects import ACCEPTED, AUTOMATIC, PROPOSED, REJECTED, STATES, UNCERTAIN, ObjectInfo
from napari_segany.core.review import (
    ALL,
    FILTERS,
    TO_CHECK,
    certainty,
    least_certain_first,
    left_out,
    progress,
    review_now,
)


def test_the_lower_of_confidence_and_score_counts_and_unknown_ones_are_last() -> None:
    objects = [
        ObjectInfo(1),
        ObjectInfo(2, score=0.9, confidence=0.3),
        ObjectInfo(3, score=0.2),
        ObjectInfo(4, score=float("nan"), confidence=0.25),
        ObjectInfo(5, score=0.3),
    ]
    assert least_certain_first(reversed(objects)) == [3, 4, 2, 5, 1]
    assert certainty(objects[1]) == 0.3


def test_every_state_is_in_a_filter() -> None:
    assert FILTERS[ALL] == {"", *STATES}
    assert FILTERS[TO_CHECK] == {AUTOMATIC, PROPOSED, UNCERTAIN}


def test_objects_of_the_user_count_in_a_review_of_all_only() -> None:
    states = ["", AUTOMATIC, ACCEPTED, REJECTED, UNCERTAIN]
    assert progress(states) == (2, 4)
    assert progress(states, ALL) == (2, 5)


@pytest.mark.parametrize(
    ("selection", "gone"),
    [("all", []), ("not rejected", [REJECTED]), ("accepted", [AUTOMATIC, PROPOSED, UNCERTAIN, REJECTED])],
)
def test_left_out(selection: str, gone: list[str]) -> None:
    objects = [ObjectInfo(number, state=state) for number, state in enumerate(("", *STATES), start=1)]
    assert [objects[label - 1].state for label in left_out(objects, selection)] == gone


def test_who_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "ana")
    name, when = review_now()
    assert name == "ana"
    assert when.endswith("+00:00")
    assert abs(datetime.fromisoformat(when) - datetime.now(UTC)) < timedelta(seconds=5)

    def unknown() -> str:
        raise OSError("no such user")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert review_now()[0] == "unknown"
