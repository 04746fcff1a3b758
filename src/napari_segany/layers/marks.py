"""What lies in a prompt layer, as values, and back into the layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Points, Shapes

from napari_segany.session.history import Mark, Marks

POINT = "point"


def read_marks(layer: Points | Shapes) -> Marks:
    """All clicks or shapes of a layer with their features, in the layer's order, pixels and axes."""
    names, rows = [str(name) for name in layer.features], layer.features.to_numpy(object).tolist()
    points = isinstance(layer, Points)
    places = [[place] for place in layer.data] if points else layer.data
    kinds = [POINT] * len(places) if points else [str(kind) for kind in layer.shape_type]
    # napari leaves rows behind when all shapes are taken away at once
    return tuple(
        Mark(
            kind,
            tuple(tuple(np.asarray(corner).tolist()) for corner in corners),
            tuple((name, _plain(value)) for name, value in zip(names, row, strict=True)),
        )
        for kind, corners, row in zip(kinds, places, rows[: len(places)], strict=True)
    )


def _plain(value: Any) -> Any:
    """A value that equals itself, which NaN does not."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if value is None or value != value else value


def write_marks(layer: Points | Shapes, marks: Marks) -> None:
    """Have exactly these clicks or shapes in a layer; what the next one is drawn like stays as it is."""
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
        widths = list(layer.edge_width)[: len(marks)]
        layer.data = [(np.array(mark.corners), mark.kind) for mark in marks]
        layer.edge_width = widths + [layer.current_edge_width] * (len(marks) - len(widths))
    layer.features = table
    layer.feature_defaults = defaults
    layer.refresh()
