"""What lies in a prompt layer, as values, and back into the layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Points, Shapes

from napari_segany.session.history import Mark, Marks, MarksPatch

POINT = "point"


def read_marks(layer: Points | Shapes) -> Marks:
    """All clicks or shapes of a layer with their features, in the layer's order, pixels and axes."""
    return MarksReader(layer).read()


class MarksReader:
    """Reads the marks of a layer again and again; what did not change since the last time is not made again.

    Parameters
    ----------
    layer : Points or Shapes
        Where they are.
    """

    def __init__(self, layer: Points | Shapes) -> None:
        self._layer = layer
        self._names: list[str] = []
        self._keys: list[tuple[Any, ...]] = []
        self._marks: Marks = ()

    def read(self) -> Marks:
        """All clicks or shapes with their features, in the layer's order, pixels and axes."""
        layer = self._layer
        names, rows = [str(name) for name in layer.features], layer.features.to_numpy(object).tolist()
        points = isinstance(layer, Points)
        places = np.asarray(layer.data)[:, None] if points else layer.data
        kinds = [POINT] * len(places) if points else [str(kind) for kind in layer.shape_type]
        # napari leaves rows behind when all shapes are taken away at once
        keys = list(zip(kinds, _bytes(places, points=points), rows[: len(places)], strict=True))
        same = names == self._names
        first, last = _unchanged(self._keys, keys) if same else (0, 0)
        changed = range(first, len(keys) - last)
        made = tuple(_mark(kinds[i], places[i], names, rows[i]) for i in changed)
        self._marks = self._marks[:first] + made + self._marks[len(self._marks) - last :]
        self._names, self._keys = names, keys
        return self._marks


def _bytes(places: Any, *, points: bool) -> list[bytes]:
    """Key that identifies the places of marks, also of those without a place (NaN)."""
    if not points:
        return [np.asarray(corners).tobytes() for corners in places]
    whole, width = places.tobytes(), places.itemsize * places.shape[-1]
    return [whole[start : start + width] for start in range(0, len(whole), width)] if width else [b""] * len(places)


def _unchanged(before: list[Any], after: list[Any]) -> tuple[int, int]:
    """How many entries of two lists are the same at their beginning, and how many of the others at their end."""
    shorter = min(len(before), len(after))
    first = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    left = shorter - first
    return first, next((i for i in range(left) if before[-1 - i] != after[-1 - i]), left)


def _mark(kind: str, corners: Any, names: list[str], row: list[Any]) -> Mark:
    places = tuple(tuple(np.asarray(corner).tolist()) for corner in corners)
    return Mark(kind, places, tuple((name, _plain(value)) for name, value in zip(names, row, strict=True)))


def _plain(value: Any) -> Any:
    """A value that equals itself, which NaN does not."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if value is None or value != value else value


def write_marks(layer: Points | Shapes, marks: Marks, change: MarksPatch | None = None) -> None:
    """Have exactly these clicks or shapes in a layer; what the next one is drawn like stays as it is.

    Parameters
    ----------
    layer : Points or Shapes
        Where.
    marks : tuple of Mark
        All of them.
    change : MarksPatch, optional
        What leads to them from those that are in the layer; where it is known, shapes that stay are not drawn again.
    """
    defaults, table = layer.feature_defaults.copy(), layer.features.iloc[:0]
    if marks:
        rows = [dict(mark.features) for mark in marks]
        columns = {name: [row.get(name) for row in rows] for name in rows[0]}
        kinds = {name: kind for name, kind in table.dtypes.items() if name in columns}
        table = table[list(kinds)].reindex(range(len(rows))).assign(**columns)[list(columns)].astype(kinds)
    layer.selected_data = set()
    if isinstance(layer, Points):
        layer.data = np.array([mark.corners[0] for mark in marks], layer.data.dtype).reshape(-1, layer.ndim)
    else:
        _write_shapes(layer, marks, change)
    layer.features = table
    layer.feature_defaults = defaults
    layer.refresh()


def _write_shapes(layer: Shapes, marks: Marks, change: MarksPatch | None) -> None:
    if change is not None and not change.after and change.start + len(change.before) <= layer.nshapes:
        layer.selected_data = set(range(change.start, change.start + len(change.before)))
        layer.remove_selected()
    elif change is not None and not change.before and change.start == layer.nshapes:
        for mark in change.after:
            layer.add(np.array(mark.corners), shape_type=mark.kind)
    else:
        widths = list(layer.edge_width)[: len(marks)]
        layer.data = [(np.array(mark.corners), mark.kind) for mark in marks]
        layer.edge_width = widths + [layer.current_edge_width] * (len(marks) - len(widths))
    layer.selected_data = set()
