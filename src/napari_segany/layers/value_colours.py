"""A Labels layer in colours of values, or with some of its objects brought out; its pixels and own colours stay."""

from __future__ import annotations

import importlib.util

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

from napari_segany.core.errors import InputError

UNKNOWN = (0.5, 0.5, 0.5, 0.6)
"""Colour of objects without a value."""
FAINT = 0.25
"""Opacity of objects that are not brought out."""
MOST = 2**16 - 2
"""Highest label that napari takes as a number of a colour; other labels are looked up one by one."""

FAST = ("numba", "PartSegCore_compiled_backend")
"""Packages without which napari cannot look high labels up."""


class ValueColours:
    """Colours the objects of a layer, and gives it its own colours back.

    Parameters
    ----------
    labels : Labels
        The layer.
    """

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self._own = labels.colormap
        self._ours: CyclicLabelColormap | DirectLabelColormap | None = None

    @property
    def shown(self) -> bool:
        """Whether the layer has our colours; it has not, when another colormap was chosen since."""
        return self._ours is not None and self.labels.colormap is self._ours

    def show(self, labels: np.ndarray, colours: np.ndarray | None, chosen: np.ndarray | None = None) -> None:
        """Colour objects.

        Parameters
        ----------
        labels : ndarray
            (n,) int64, different labels above 0.
        colours : ndarray, optional
            (n, 4) float, 0..1, the colour of each; by default that of the layer.
        chosen : ndarray, optional
            (n,) bool, which are brought out; the others become faint, unless none is.

        Raises
        ------
        InputError
            When a label is too high for napari.
        """
        if not self.shown:
            self._own = self.labels.colormap
        if colours is None:
            colours = self._own.map(labels) if len(labels) else np.zeros((0, 4))
        colours = np.array(colours, np.float32)
        if chosen is not None and chosen.any():
            colours[~chosen, 3] *= FAINT
        self._ours = _colormap(labels, colours)
        self.labels.colormap = self._ours

    def clear(self) -> None:
        """Give the layer its own colours back."""
        if self.shown:
            self.labels.colormap = self._own
        self._ours = None


def _colormap(labels: np.ndarray, colours: np.ndarray) -> CyclicLabelColormap | DirectLabelColormap:
    top = int(labels.max(initial=1))
    if top <= MOST and labels.min(initial=1) > 0:
        # made at once; a table of 20,000 labels takes a second. napari repeats the colours of 1 to the last one
        table = np.tile(np.array(UNKNOWN, np.float32), (top + 1, 1))
        table[0] = 0
        table[labels] = colours
        return CyclicLabelColormap(colors=table, background_value=0)
    if top > MOST and not any(map(importlib.util.find_spec, FAST)):
        raise InputError(f"label {top} is too high to be coloured by values: install numba, or number the labels again")
    known: dict[int | None, np.ndarray] = dict(zip(labels.tolist(), colours, strict=True))
    return DirectLabelColormap(color_dict={**known, None: np.array(UNKNOWN), 0: np.zeros(4)})
