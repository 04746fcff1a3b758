"""What stands in the rows of a table of objects, so that only rows that differ are written again."""

from __future__ import annotations

from dataclasses import dataclass

from napari_segany.core.objects import ObjectInfo
from napari_segany.layers.label_counts import LabelCounts, changed_rows


@dataclass(frozen=True, slots=True, eq=False)
class TableRows:
    """Facts and counts from which the rows were written.

    Parameters
    ----------
    known : dict of int to ObjectInfo
        By label.
    total : LabelCounts
        What was counted.
    """

    known: dict[int, ObjectInfo]
    total: LabelCounts

    def changed(self, now: TableRows) -> list[int]:
        """Labels, sorted, of objects whose rows are to be written for other facts and counts."""
        before, known = self.known, now.known
        others = {label for label, about in known.items() if before.get(label) is not about}
        # an object of which nothing is known is described by a new value each time
        others = {label for label in others if before.get(label) != known[label]}
        if self.total is not now.total:
            others.update(now.total.labels[changed_rows(self.total, now.total)].tolist())
        return sorted(others & known.keys())
