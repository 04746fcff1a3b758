"""The planes of an image: which is shown, what a place in the world is on it, and how the model gets them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from psygnal import Signal

from napari_segany.core.errors import SeganyError
from napari_segany.core.planes import ChannelSettings, Stack
from napari_segany.core.prompts import Point
from napari_segany.core.views import View
from napari_segany.layers import read
from napari_segany.layers.compat import camera_of


class ImagePlanes:
    """Planes of the image of a Binding.

    Parameters
    ----------
    viewer : ViewerModel
        Its sliders choose the plane.
    image : Image
        The image.
    report : callable
        Called with a message when there is no plane to segment, and with an empty string when there is.

    Attributes
    ----------
    settings : ChannelSettings
        Intensity range and channels of the model's input.
    changed : Signal
        Emitted with new settings.
    """

    changed = Signal(ChannelSettings)

    def __init__(self, viewer: ViewerModel, image: Image, report: Callable[[str], None]) -> None:
        self._viewer, self._image, self._report = viewer, image, report
        self.settings = ChannelSettings()
        self._stacks: dict[tuple[int, int], Stack] = {}

    def view(self) -> View | None:
        """Return the plane that is shown; None, and the reason is reported, where there is none."""
        try:
            view = read.current_view(self._image, self._viewer.dims)
        except SeganyError as error:
            self._report(str(error))
            return None
        self._report("")
        return view

    @property
    def shown(self) -> View | None:
        """The plane that is shown, or None; nothing is reported."""
        try:
            return read.current_view(self._image, self._viewer.dims)
        except SeganyError:
            return None

    def shape(self, view: View) -> tuple[int, int]:
        """Rows and columns of a plane."""
        return view.plane_shape(read.image_shape(self._image))

    def place(self, position: Sequence[float]) -> tuple[View, Point] | None:
        """The plane that is shown and the pixel of a place in the world; None when that is not on the image."""
        view = self.shown
        if view is None:
            return None
        at = np.asarray(self._image.world_to_data(np.asarray(position, float)[-self._image.ndim :]))
        y, x = (float(at[axis]) for axis in view.axes)
        height, width = self.shape(view)
        inside = -0.5 < y < height - 0.5 and -0.5 < x < width - 0.5
        return (view, Point(y, x)) if inside else None

    def stack(self, view: View) -> tuple[Stack, int]:
        """The planes parallel to a view, and its number among them."""
        if view.axes not in self._stacks:
            self._stacks[view.axes] = read.stack_of(self._image, view, self.settings)
        return self._stacks[view.axes], view.number(read.image_shape(self._image), self.settings.together)

    def change_settings(self, settings: ChannelSettings) -> None:
        """Have the model get the image otherwise from here on.

        Raises
        ------
        InputError
            When the settings do not suit the image; then nothing changes.
        """
        view = self.shown
        if view is not None:
            read.stack_of(self._image, view, settings)
        if settings != self.settings:
            self.settings = settings
            self.forget()
            self.changed.emit(settings)

    def forget(self) -> None:
        """The image has other values, or is read otherwise: stacks of before are void."""
        self._stacks.clear()

    def bring_into_sight(self, view: View, window: tuple[slice, slice], *, centred: bool = False) -> None:
        """Centre the window of an object of the plane that is shown, unless it can be seen whole and need not be so."""
        low, high = np.array([side.start for side in window]), np.array([side.stop - 1 for side in window])
        shown = np.asarray(self._image.corner_pixels)[:, list(view.axes)]
        if not centred and not self._image.multiscale and (shown[0] <= low).all() and (high <= shown[1]).all():
            return
        place = np.asarray(view.position, float)
        place[list(view.axes)] = (low + high) / 2
        world = np.asarray(self._image.data_to_world(place), float)
        dims, camera = self._viewer.dims, camera_of(self._viewer)
        extra = dims.ndim - self._image.ndim
        centre = np.array(camera.center, float)
        centre[-2:] = [world[axis - extra] if axis >= extra else 0.0 for axis in dims.displayed[-2:]]
        camera.center = tuple(centre.tolist())

    def go_to(self, view: View) -> None:
        """Show a plane."""
        place = np.asarray(self._image.data_to_world(view.position), float)
        extra = self._viewer.dims.ndim - self._image.ndim
        axes = [axis + extra for axis in view.leading]
        self._viewer.dims.set_point(axes, [float(place[axis]) for axis in view.leading])
