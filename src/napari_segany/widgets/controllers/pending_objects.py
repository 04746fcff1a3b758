"""What the key K would keep now: the one state that drives the status line, the buttons and the keys."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class PendingKind(Enum):
    """What is previewed, and what K, Q and the buttons are about."""

    NOTHING = auto()
    WAITING = auto()
    MASK = auto()
    FOUND = auto()


@dataclass(frozen=True, slots=True)
class PendingObjects:
    """What can be kept.

    Parameters
    ----------
    subject : Subject
        What it is.
    text : str
        What the status line says of it; empty for what there always is to be said.
    keepable : bool
        Whether K would paint anything.
    inside : int
        The label of the committed object that the clicks lie in; 0 for none.
    """

    subject: PendingKind = PendingKind.NOTHING
    text: str = ""
    keepable: bool = False
    inside: int = 0


def count_of(number: int, noun: str) -> str:
    """A number and its noun: "1 object", "2 objects"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
