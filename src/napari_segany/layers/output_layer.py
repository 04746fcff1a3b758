"""The Labels layer that masks are kept in; nothing that is in it is lost."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from psygnal import Signal

from napari_segany.core.errors import InputError
from napari_segany.core.views import View
from napari_segany.layers import write
from napari_segany.layers.proxies import unwrapped

SLIVER = 0.25
"""Share of a clicked mask that must be free for it to be a separate object within another one."""
Pixels = tuple[np.ndarray, ...]
"""Index of single pixels in the whole array, an integer array for each axis."""


class OutputLayer:
    """Chooses or creates the layer, and checks what may be written where; it writes nothing.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer of the layer.
    image : Image
        The image that is segmented.

    Attributes
    ----------
    labels : Labels or None
        The layer; None before there is one.
    overwrite : bool
        Whether pixels of other labels may be overwritten; off by default.
    made : Signal
        Emitted with a layer that was created.
    """

    made = Signal(Labels)

    def __init__(self, viewer: ViewerModel, image: Image) -> None:
        self._viewer, self._image = unwrapped(viewer), unwrapped(image)
        self.labels: Labels | None = None
        self.overwrite = False
        self._own: Labels | None = None

    def choose(self, labels: Labels | None) -> None:
        """Keep masks in another layer from now on; None has a new one made.

        Raises
        ------
        InputError
            When the layer does not fit the image; then nothing changes.
        """
        labels = unwrapped(labels)
        if labels is not None:
            write.check_labels(labels, self._image)
        self.labels = labels

    def make(self, array: np.ndarray | None = None) -> Labels:
        """Make the layer, with the labels that are given or empty."""
        self.labels = self._own = self._viewer.add_layer(write.new_labels(self._image, array))
        self.made.emit(self.labels)
        return self.labels

    def ensure(self) -> Labels:
        """The layer, made when there is none.

        Raises
        ------
        InputError
            When it cannot be made, or cannot be painted into any more.
        """
        labels = self.make() if self.labels is None else self.labels
        write.check_labels(labels, self._image)
        return labels

    def forget(self, layer: Layer) -> bool:
        """Let go of a layer that was removed from the viewer; whether it was in use."""
        self._own = None if layer is self._own else self._own
        used = layer is self.labels
        self.labels = None if used else self.labels
        return used

    def follow(self) -> None:
        """The image was moved: a layer that was made for it goes with it."""
        if self._own is not None:
            for name, value in write.placement(self._image).items():
                setattr(self._own, name, value)

    @property
    def next_label(self) -> int:
        """The first label that no pixel has; the last one of its type where none is left, which K reports."""
        if self.labels is None:
            return 1
        try:
            return write.free_label(self.labels, None, 1)
        except InputError:
            return self.last_label

    @property
    def last_label(self) -> int:
        """The highest label that the type of the layer can hold."""
        return int(np.iinfo(np.int32 if self.labels is None else self.labels.data.dtype).max)

    def label_at(self, view: View, row: int, column: int) -> int:
        """The label of a pixel of a plane; 0 for none."""
        return 0 if self.labels is None else int(view.read(self.labels.data)[row, column])

    def room_for(self, count: int, wanted: int) -> int:
        """The first of so many labels that new objects would get; where there are none, the one that is wanted."""
        try:
            return wanted if self.labels is None else write.free_label(self.labels, None, wanted, count=max(count, 1))
        except InputError:
            return wanted

    def check_room(self, view: View, pixels: np.ndarray, inside: int = 0) -> None:
        """Make sure that an object can be painted.

        Parameters
        ----------
        view : View
            The plane.
        pixels : ndarray
            (rows, columns) bool.
        inside : int
            The label of the object that was clicked into; 0 for none.

        Raises
        ------
        InputError
            When it has no pixel, or none that it may take, or would be what is left over around another object.
        """
        if not pixels.any():
            raise InputError("the mask is empty; click elsewhere, or draw a box")
        free = self.room(view, pixels)[0].size
        if not free:
            raise InputError("nothing was kept: other labels cover the whole mask")
        if inside and free < SLIVER * np.count_nonzero(pixels):
            raise InputError(
                f"nothing was kept: this is object {inside}, and only {free} pixels around it are free. "
                f"U changes object {inside}; Q clears the click"
            )

    def free(self, view: View, pixels: np.ndarray) -> int:
        """How many pixels of a mask, (rows, columns) bool of a plane, have no label yet."""
        if self.labels is None:
            return int(np.count_nonzero(pixels))
        return int(np.count_nonzero(pixels & (view.read(self.labels.data) == 0)))

    def room(self, view: View, pixels: np.ndarray) -> Pixels:
        """Where an object, (rows, columns) bool of a plane, may be painted."""
        labels = self.ensure()
        return view.indices(*write.free_pixels(labels, view, pixels, overwrite=self.overwrite))

    def replacement(self, view: View, label: int, pixels: np.ndarray) -> tuple[Pixels, np.ndarray]:
        """What to write so that an object has these pixels, (rows, columns) bool, on a plane, and no others."""
        labels = self.ensure()
        rows, columns, values = write.replacement(labels, view, label, pixels, overwrite=self.overwrite)
        return view.indices(rows, columns), values

    def taken(self, view: View) -> np.ndarray | None:
        """(rows, columns) bool, pixels of a plane that have a label; None while there is no layer."""
        return None if self.labels is None else view.read(self.labels.data) != 0

    def fresh(self, view: View, found: np.ndarray, *, pointed: bool) -> np.ndarray:
        """What of the objects that were found on a plane could be painted, see :func:`write.new_objects`.

        Parameters
        ----------
        view : View
            The plane.
        found : ndarray
            (rows, columns) integer labels from 1.
        pointed : bool
            Whether each of them has a prompt of the user.
        """
        existing = np.zeros(found.shape, np.uint8) if self.labels is None else view.read(self.labels.data)
        return write.new_objects(existing, found, overwrite=self.overwrite, replace=pointed)

    def additions(
        self, view: View, found: np.ndarray, wanted: int, *, pointed: bool = False
    ) -> tuple[Pixels, np.ndarray, np.ndarray]:
        """Return what to write so that all objects found on a plane have separate labels.

        Parameters
        ----------
        view : View
            The plane.
        found : ndarray
            (rows, columns) integer labels from 1.
        wanted : int
            The first label, if it and all that follow are free.
        pointed : bool
            Whether each of them has a prompt of the user.

        Returns
        -------
        pixels, values, numbers : tuple of ndarray, ndarray, ndarray
            Pixels, their labels, and the objects' numbers in `found`.

        Raises
        ------
        InputError
            When nothing can be painted.
        """
        labels = self.ensure()
        fresh = self.fresh(view, found, pointed=pointed)
        count = int(fresh.max(initial=0))
        if not count:
            raise InputError("nothing was kept: other labels cover all that was found")
        first = write.free_label(labels, view, wanted, count=count)
        rows, columns = np.nonzero(fresh)
        values = write.numbered(fresh[rows, columns], first).astype(labels.data.dtype)
        return view.indices(rows, columns), values, found[rows, columns]
