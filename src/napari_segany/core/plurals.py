"""Numbers with their nouns, as messages have them."""

from __future__ import annotations


def count_of(number: int, noun: str) -> str:
    """A number and its noun: "1 object", "2 objects"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
