"""What is known of an object next to its pixels: one value for tables, exports, batches and sessions."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

AUTOMATIC, PROPOSED, UNCERTAIN, ACCEPTED, REJECTED = STATES = (
    "automatic",
    "proposed",
    "uncertain",
    "accepted",
    "rejected",
)
"""States of an object: committed by itself as its score was high, proposed, to be checked, checked and right or wrong.

An object that the user made or corrected has none."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of an object next to its pixels; all but the label may be left out.

    Parameters
    ----------
    label : int
        Its number in the label image.
    name : str
        What the user calls it.
    class_name : str
        What kind of thing it is, for example the text that found it.
    score : float, optional
        The IoU that the model predicted, usually within 0..1; None where it is not known.
    stability : float, optional
        The stability score of its mask, 0..1.
    confidence : float, optional
        Expected IoU on its least certain slice, of an object that was found or propagated through a stack.
    source : str
        How it was made, in a few words, for example ``"2 clicks, box"``.
    status : str
        What else is to be noted, separated by commas, for example ``"edited"``.
    points : tuple of (y, x)
        Where it was clicked, in data pixels; the centre of the first pixel is (0, 0).
    pixels : int, optional
        How many pixels it had when this was noted.
    state : str
        One of ``STATES``; empty for an object that the user made or corrected.
    parent : int, optional
        The label of the object that divided into this one and others; 0 for none, None where divisions were not
        looked for.
    class_probability : float, optional
        How probable `class_name` is, 0..1, where the model named the object; None for a class that the user, a text or
        a detector gave.
    reviewed_by : str
        Name of the user who set `state` in a review; empty for a state without one.
    reviewed_at : str
        When that was: ISO 8601, UTC, to the second.
    """

    label: int
    name: str = ""
    class_name: str = ""
    score: float | None = None
    stability: float | None = None
    confidence: float | None = None
    source: str = ""
    status: str = ""
    points: tuple[tuple[float, float], ...] = ()
    pixels: int | None = None
    state: str = ""
    parent: int | None = None
    class_probability: float | None = None
    reviewed_by: str = ""
    reviewed_at: str = ""

    @property
    def class_levels(self) -> tuple[str, str]:
        """The parent of its class, empty for none, and the name of the class below it."""
        return class_levels(self.class_name)

    @property
    def given_class(self) -> str:
        """The class that the user, a text or a detector gave; empty for none, also where the model named the object."""
        return self.class_name if self.class_probability is None else ""

    def with_class(self, name: str, named: tuple[str, float] | None = None) -> ObjectInfo:
        """Return the same with a class that was given; with an empty one it is `named` by the model, if it is."""
        known, told = (name, None) if name or named is None else named
        return self._changed(class_name=known, class_probability=told)

    def _changed(self, **values: object) -> ObjectInfo:
        """The same with other values: for thousands of objects, ``dataclasses.replace`` takes several times as long."""
        known: list[Any] = list(_VALUES(self))
        for name, value in values.items():
            known[_FIELDS.index(name)] = value
        return ObjectInfo(*known)

    @property
    def review(self) -> tuple[str, str]:
        """Who set its state in a review, and when; both are empty without a review."""
        return self.reviewed_by, self.reviewed_at

    def with_state(self, state: str, review: tuple[str, str] = ("", "")) -> ObjectInfo:
        """Return the same in another state, with who set it and when."""
        return self._changed(state=state, reviewed_by=review[0], reviewed_at=review[1])

    @property
    def confirmed(self) -> bool:
        """Whether the user stands for it: made, corrected or accepted it."""
        return self.state in ("", ACCEPTED)


_FIELDS = tuple(one.name for one in fields(ObjectInfo))
_VALUES = attrgetter(*_FIELDS)


def class_levels(name: str) -> tuple[str, str]:
    """Return the parent of a class, empty for none, and the name below it: of ``"cell/dividing"`` both words."""
    parent, slash, below = (part.strip() for part in name.partition("/"))
    return (parent, below) if slash and parent and below else ("", name)


def class_path(parent: str, name: str) -> str:
    """Return the name of a class below a parent, which may be empty, as objects have it: ``"cell/dividing"``."""
    return f"{parent}/{name}" if parent and name else name


@dataclass(frozen=True, slots=True)
class ObjectClass:
    """A class that objects may have.

    Parameters
    ----------
    name : str
        What objects of it are called; below a parent class ``"parent/name"``.
    key : int
        The digit that gives it, 1 to 9; 0 for none.
    colour : str
        ``"#rrggbb"``.
    """

    name: str
    key: int
    colour: str

    @property
    def parent(self) -> str:
        """The class that it is a kind of; empty for none."""
        return class_levels(self.name)[0]

    @property
    def own_name(self) -> str:
        """Its name without that of its parent."""
        return class_levels(self.name)[1]
