"""A copy of a Labels layer in which objects were drawn again, and which of them show their new masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_segany.core.errors import InputError
from napari_segany.core.label_refinement import RefinedObject, repainted
from napari_segany.core.views import View
from napari_segany.layers.read import image_shape
from napari_segany.layers.write import placement

CONTOUR = 2
"""Pixels of the outlines that the new layer shows, over the old labels."""
Place = tuple[View, int]
"""A plane and a label."""


class RefinedLabels:
    """The layer of refined objects; the one that they come from is never changed.

    Pixels of the new layer that the user changed stay as they are when a choice changes.

    Parameters
    ----------
    source : Labels
        The layer of any origin.
    image : Image
        The image that its objects are on.

    Attributes
    ----------
    layer : Labels
        The new layer, at first with the labels of the old one.
    source : Labels
        As given.

    Raises
    ------
    InputError
        The layer has no array of the image's shape, no object, or there is no memory for another one.
    """

    def __init__(self, source: Labels, image: Image) -> None:
        self.source = source
        self._before = _copied(source, image)
        self._array = self._before.copy()
        self.layer = Labels(self._array, name=f"{source.name} refined", **placement(source))
        self.layer.contour = CONTOUR
        self._objects: dict[View, Sequence[RefinedObject]] = {}
        self._accepted: dict[View, set[int]] = {}

    def show(self, viewer: ViewerModel) -> None:
        """Put the layer above the old one; the active layer stays active."""
        layers = viewer.layers
        active = layers.selection.active
        layers.insert(layers.index(self.source) + 1, self.layer)
        layers.selection.active = active

    def labels(self, view: View) -> np.ndarray:
        """The old labels of a plane, (rows, columns)."""
        return view.read(self._before)

    def add(self, view: View, objects: Sequence[RefinedObject]) -> None:
        """Show the new masks of the objects of a plane, but for those that are taken for other objects."""
        if not objects:
            return
        self._objects[view], self._accepted[view] = objects, set()
        self.use([(view, one.label) for one in objects if one.found], new=True)

    @property
    def ranked(self) -> list[tuple[View, RefinedObject]]:
        """All objects, those that change most first."""
        every = [(view, one) for view, objects in self._objects.items() for one in objects]
        return sorted(every, key=lambda pair: (pair[1].iou, pair[0].position, pair[1].label))

    def shows_new(self, view: View, label: int) -> bool:
        """Whether an object shows its new mask."""
        return label in self._accepted[view]

    def use(self, places: Iterable[Place], *, new: bool) -> None:
        """Show the new masks of objects, or the old ones again, as one step of napari's undo.

        Raises
        ------
        InputError
            The array of the layer was replaced.
        """
        if self.layer.data is not self._array:
            raise InputError(f"the values of {self.layer.name!r} were replaced: its objects are no longer known")
        wanted: dict[View, set[int]] = {}
        for view, label in places:
            wanted.setdefault(view, set()).add(label)
        changes = [self._changed(view, labels, new) for view, labels in wanted.items()]
        indices = tuple(np.concatenate(parts) for parts in zip(*(where for where, _ in changes), strict=True))
        if indices and indices[0].size:
            self.layer.data_setitem(indices, np.concatenate([values for _, values in changes]))

    def _changed(self, view: View, labels: set[int], new: bool) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Places and values of the pixels of a plane that change; the choice is noted."""
        before, objects = self.labels(view), self._objects[view]
        shown = repainted(before, objects, self._accepted[view])
        self._accepted[view] = self._accepted[view] | labels if new else self._accepted[view] - labels
        wanted = repainted(before, objects, self._accepted[view])
        rows, columns = np.nonzero((wanted != shown) & (view.read(self._array) == shown))
        return view.indices(rows, columns), wanted[rows, columns]


def check_refinable(source: Labels, image: Image) -> None:
    """Make sure that the objects of a layer can be drawn again on an image.

    Raises
    ------
    InputError
        The layer is multiscale, or has another shape.
    """
    if source.multiscale:
        raise InputError(f"{source.name!r} is multiscale and cannot be refined; choose another layer")
    if tuple(source.data.shape) != image_shape(image):
        raise InputError(
            f"{source.name!r} has shape {tuple(source.data.shape)}, but {image.name!r} needs {image_shape(image)}"
        )


def _copied(source: Labels, image: Image) -> np.ndarray:
    check_refinable(source, image)
    try:
        values = np.array(source.data)
        values = values.astype(np.uint8) if values.dtype == np.bool_ else values
    except MemoryError:
        raise InputError(f"there is no memory for a copy of {source.name!r}; crop it first") from None
    if not values.any():
        raise InputError(f"{source.name!r} holds no object to refine")
    return values
