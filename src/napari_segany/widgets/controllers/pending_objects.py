"""What the key K would keep now: the one state that drives the status line, the buttons and the keys."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from napari_segany.core.plurals import count_of as count_of


class PendingKind(Enum):
    """What is previewed, and what K, Q and the buttons are about."""

    NOTHING = auto()
    WAITING = auto()
    MASK = auto()
    FOUND = auto()


@dataclass(frozen=True, slots=True)
class PendingObjects:
    """Objects that can be committed.

    Parameters
    ----------
    subject : PendingKind
        Their kind.
    text : str
        Text of the status line; empty for the default text.
    keepable : bool
        Whether K would paint anything.
    inside : int
        The label of the committed object that the clicks lie in; 0 for none.
    """

    subject: PendingKind = PendingKind.NOTHING
    text: str = ""
    keepable: bool = False
    inside: int = 0
