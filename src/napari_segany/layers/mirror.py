"""A label array as the history knows it, and what changed in it since."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from napari.components import Dims
from napari.layers import Labels

from napari_segany.core.views import View
from napari_segany.layers.compat import stroke_window
from napari_segany.layers.write import COUNTED_VOXELS
from napari_segany.session.events import LayerEvent
from napari_segany.session.history import Patch, Window


class Mirror:
    """A copy of a layer's labels; that of an empty layer takes no memory until it is painted.

    Parameters
    ----------
    layer : Labels
        Holds an array in memory.
    """

    def __init__(self, layer: Labels) -> None:
        self.layer, self._array = layer, layer.data
        self._known = layer.data.copy() if layer.data.any() else np.zeros_like(layer.data)
        self.window: Window | None = None

    @property
    def fits(self) -> bool:
        """Whether the layer still holds an array of that kind."""
        data = self.layer.data
        return isinstance(data, np.ndarray) and (data.shape, data.dtype) == (self._known.shape, self._known.dtype)

    @property
    def whole(self) -> Window:
        """All of the array."""
        return tuple(slice(0, length) for length in self._known.shape)

    def shown(self, dims: Dims) -> Window:
        """The plane that is shown; all of the array in 3D."""
        extra = dims.ndim - self.layer.ndim
        if dims.ndisplay == 3 or extra < 0:
            return self.whole
        here = np.rint(self.layer.world_to_data(np.asarray(dims.point)[extra:])).astype(int).tolist()
        return tuple(
            slice(0, length) if axis + extra in dims.displayed else slice(max(place, 0), max(place, 0) + 1)
            for axis, (place, length) in enumerate(zip(here, self._known.shape, strict=True))
        )

    def anywhere(self, dims: Dims) -> Window:
        """All of the array, unless it is so large that it is not all read for a free label either."""
        return self.whole if self._known.size <= COUNTED_VOXELS else self.shown(dims)

    def on(self, plane: View) -> Window:
        """A plane; all of the array where it has no such plane."""
        shape = self._known.shape
        if len(plane.position) != len(shape) or not plane.inside(shape):
            return self.whole
        places = enumerate(zip(plane.position, shape, strict=True))
        return tuple(slice(0, n) if axis in plane.axes else slice(at, at + 1) for axis, (at, n) in places)

    def look_at(self, window: Window) -> None:
        """Extend the window in which :meth:`change` compares."""
        pairs = zip(self.window or window, window, strict=True)
        self.window = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in pairs)

    def change(self) -> Patch | None:
        """Return what changed in the window; the history knows it from here on."""
        window, self.window = self.window, None
        if self.layer.data is not self._array:
            self._array, window = self.layer.data, self.whole
        patch = Patch.between(self._known, self._array, window) if window is not None and self.fits else None
        if patch is not None:
            patch.apply(self._known)
        return patch

    def apply(self, patch: Patch) -> None:
        """Write a patch into the layer."""
        patch.apply(self.layer.data)
        patch.apply(self._known)
        self.layer.refresh()

    def base(self, number: int) -> LayerEvent:
        """The layer as steps from here on find it."""
        patch = Patch.between(np.zeros_like(self._known), self._known)
        return LayerEvent(number, "labels", self._known.shape, self._known.dtype.str, patch)


def painted_window(atoms: Iterable[Any], whole: Window) -> Window:
    """Where napari painted, from what it keeps for its own undo."""
    start, stop = [side.stop for side in whole], [0] * len(whole)
    for atom in atoms:
        key: Iterable[slice] | None = stroke_window(atom)
        if key is None:
            key = [slice(int(np.min(places)), int(np.max(places)) + 1) for places in atom[0]]
        for axis, side in enumerate(key):
            first, last, _ = side.indices(whole[axis].stop)
            start[axis], stop[axis] = min(start[axis], first), max(stop[axis], last)
    return tuple(slice(a, b) for a, b in zip(start, stop, strict=True)) if all(stop) else whole
