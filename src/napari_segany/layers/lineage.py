"""Mothers of the objects of a Labels layer, as far as a search through time found them; kept in its metadata."""

from __future__ import annotations

from collections.abc import Mapping

from napari.layers import Labels

PARENTS = "parents"
"""In the layer's metadata: the label of the mother of each object that was found, 0 for none."""

SPACE = ("z", "depth")
"""Names of a first axis along which nothing divides."""


def may_divide(labels: Labels) -> bool:
    """Whether the first axis of a layer may be time: it is not called otherwise."""
    return str(labels.axis_labels[0]).lower() not in SPACE


def known_parents(labels: Labels) -> dict[int, int]:
    """Mothers by the labels of their daughters, 0 for objects that are known to have none."""
    found = labels.metadata.get(PARENTS)
    # (another program may have put something else there)
    return {int(one): int(mother) for one, mother in found.items()} if isinstance(found, dict) else {}


def note_parents(labels: Labels, parents: Mapping[int, int]) -> None:
    """Record mothers; those of other objects stay."""
    labels.metadata[PARENTS] = known_parents(labels) | dict(parents)
