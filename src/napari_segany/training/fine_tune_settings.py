"""What is known of fine-tuning before torch is imported: how many masks it needs, and how long it takes."""

from __future__ import annotations

FEWEST = 3
"""Masks to learn from, at least; one more is held out."""
LEAST_HELD_OUT = 4
"""Masks that are held out, at least, where that is no more than half: fewer do not show whether a model is better."""
SECONDS_A_STEP = 1.5
"""On two cores of a laptop."""


def steps_for(masks: int) -> int:
    """Steps of training for a number of masks: 40 for 10, 100 for 50, 300 at most."""
    return min(round(25 + 1.5 * masks), 300)


def expected_minutes(masks: int) -> float:
    """Minutes on a laptop, measuring included."""
    return max((steps_for(masks) * SECONDS_A_STEP + 20) / 60, 1.0)
