"""What is measured of the objects of a Labels layer: its axes and units, and the channels of the images over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer

from napari_segany.core.objects import ObjectInfo
from napari_segany.io.channels import COLOURS
from napari_segany.io.export import axes_for_export, table_of_objects
from napari_segany.layers.channel_composite import is_composite
from napari_segany.layers.edge_layer import is_edges
from napari_segany.layers.feature_columns import physical
from napari_segany.layers.lineage import known_parents

TIMES = ("t", "time")
CHANNELS = ("c", "channel")
"""Names of axes of images that hold channels; labels do not have them."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTable:
    """Columns of objects, a row for each object and time.

    Parameters
    ----------
    columns : dict of str to list
        As of :func:`~napari_segany.io.export.table_of_objects`.
    numbers : dict of str to ndarray
        (n,) float64, those columns that hold numbers; NaN where a value is not known.
    """

    columns: dict[str, list[Any]]
    numbers: dict[str, np.ndarray]

    @property
    def labels(self) -> np.ndarray:
        """(n,) int64, the object of each row."""
        return self.numbers["label"].astype(np.int64)

    @property
    def time(self) -> np.ndarray | None:
        """(n,) the index of time of each row; None where objects have one row each."""
        return self.numbers.get("t", self.numbers.get("axis-0"))


@dataclass(frozen=True, slots=True, eq=False)
class LayerMeasurement:
    """The values that :func:`~napari_segany.io.export.table_of_objects` takes, of a layer as it is now.

    Parameters
    ----------
    data : array
        The labels; read when they are measured.
    options : dict
        Its other parameters.
    """

    data: Any
    options: dict[str, Any]

    def run(self, report: Callable[[float, float], None]) -> ObjectTable:
        """Measure; runs in a worker, and ends with the exception that `report` raises."""
        columns = table_of_objects(np.asarray(self.data), report=report, **self.options)
        numbers = {name: found for name, values in columns.items() if (found := _as_numbers(values)) is not None}
        return ObjectTable(columns, numbers)


def measurement_of(
    labels: Labels, layers: Iterable[Layer], image: Image | None, known: Mapping[int, ObjectInfo]
) -> Any:
    """What is to be measured of a layer.

    Parameters
    ----------
    labels : Labels
        The layer.
    layers : iterable of Layer
        Of the viewer; images of the labels' shape are channels.
    image : Image, optional
        The image that was segmented: it may name axes that the labels do not.
    known : mapping of int to ObjectInfo
        What is known of the objects.

    Returns
    -------
    LayerMeasurement
    """
    scale, unit, _ = physical(labels)
    mothers = known_parents(labels)
    about = [replace(one, parent=mothers.get(label, one.parent)) for label, one in known.items() if label > 0]
    options = {
        "objects": tuple(about),
        "axes": axes_of(labels, image),
        "scale": scale,
        "unit": unit,
        "intensity": layer_channels(labels, layers),
    }
    return LayerMeasurement(labels.data[0] if labels.multiscale else labels.data, options)


def axes_of(labels: Labels, image: Image | None = None) -> str | None:
    """Letters of the axes of labels as they or their image call them, "q" for one that neither names.

    The first axis is time where divisions are known. None where there are other axes than (t)(z)yx.
    """
    given = [_letters(layer, labels.ndim) for layer in (labels, image) if layer is not None]
    known = [letters for letters in given if letters is not None]
    best = min(known, key=lambda letters: letters.count("q"), default=None)
    if best is not None and best.startswith("q") and known_parents(labels):
        best = {3: "tyx", 4: "tzyx"}[len(best)]
    return best


def _letters(layer: Layer, ndim: int) -> str | None:
    names = [str(name).lower() for name in layer.axis_labels]
    if len(names) != ndim:
        return None
    letters = ["t" if name in TIMES else name if name in "tzyx" else "q" for name in names]
    # y and x are the last ones whatever they are called
    return axes_for_export("".join([*letters[:-2], "yx"]))


def layer_channels(labels: Labels, layers: Iterable[Layer]) -> dict[str, Any]:
    """Images of the labels' shape by their names, that of a single one empty; channels and colours are separate.

    Composites of channels are left out: their values are scaled for display, and the channels are layers themselves.
    """
    shape = (labels.data[0] if labels.multiscale else labels.data).shape
    images = [layer for layer in layers if type(layer) is Image and not is_edges(layer) and not is_composite(layer)]
    parts = [(image.name, found) for image in images if (found := _channels(image, shape))]
    channels: dict[str, Any] = {}
    for name, found in parts:
        for channel, values in found.items():
            full = channel if len(parts) == 1 else f"{name} {channel}".strip()
            channels[full if full not in channels else f"{full} {len(channels)}"] = values
    return channels


def _channels(image: Image, shape: tuple[int, ...]) -> dict[str, Any]:
    """The channels of one image; empty where they do not have the shape or are no numbers."""
    data = image.data[0] if image.multiscale else image.data
    if np.dtype(data.dtype).kind not in "buif":
        return {}
    if image.rgb:
        colours = {name: data[..., number] for number, name in enumerate(COLOURS)}
        return colours if data.shape[:-1] == shape else {}
    if data.shape == shape:
        return {"": data}
    axes = [axis for axis, name in enumerate(image.axis_labels) if str(name).lower() in CHANNELS]
    if len(axes) != 1 or tuple(np.delete(data.shape, axes[0])) != shape:
        return {}
    before = (slice(None),) * axes[0]
    return {f"c{number}": data[(*before, number)] for number in range(data.shape[axes[0]])}


def _as_numbers(values: list[Any]) -> np.ndarray | None:
    """A column as numbers; None where it holds words."""
    if any(isinstance(value, str) for value in values):
        return None
    return np.array([np.nan if value is None else value for value in values], float)
