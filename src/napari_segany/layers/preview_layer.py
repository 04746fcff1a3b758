"""The layer of the preview: the mask that is shown before it is kept, hints, and what the brush paints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from psygnal import Signal

from napari_segany.core.views import View
from napari_segany.layers import write
from napari_segany.layers.image_planes import ImagePlanes
from napari_segany.layers.removal import leave_paint_mode, remove_layer
from napari_segany.session.session import SegmentRequest, Session


class PreviewLayer:
    """Shows masks on an image in a layer that comes and goes.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layer is.
    session : Session
        Whose mask is shown.
    image : Image
        What the layer lies on.
    planes : ImagePlanes
        Of the image.

    Attributes
    ----------
    preview : write.Preview or None
        The layer and what it shows; None while it is not in the viewer.
    made : Signal
        Emitted with the layer when it was made.
    painted : Signal
        Emitted with a View and (rows, columns) bool when the brush painted: the rough mask that is to be refined.
    """

    made = Signal(Labels)
    painted = Signal(View, np.ndarray)

    def __init__(self, viewer: ViewerModel, session: Session, image: Image, planes: ImagePlanes) -> None:
        self._viewer, self._session, self._image, self._planes = viewer, session, image, planes
        self.preview: write.Preview | None = None

    @property
    def layer(self) -> Labels | None:
        """The layer; None while it is not in the viewer."""
        return None if self.preview is None else self.preview.layer

    def ensure(self) -> None:
        """Make the layer where it is missing."""
        if self.preview is None:
            self.preview = write.Preview(self._image)
            self._viewer.add_layer(self.preview.layer)
            self.preview.layer.events.paint.connect(self._brushed)
            self.made.emit(self.preview.layer)

    def show_mask(self) -> None:
        """Show the mask of the session, or nothing."""
        result = self._session.result
        if result is not None:
            self.ensure()
        if self.preview is None:
            return
        self.preview.colours.clear()
        if result is None or self._session.mask is None:
            self.preview.clear()
        else:
            self.preview.show(result.request.plane, self._session.mask.pixels, number=self._session.label)

    def expect(self, request: SegmentRequest) -> None:
        """Lie where the mask of a click will be, while it is being computed."""
        points = request.prompt.points
        if self.preview is not None and points:
            self.preview.expect(request.plane, self._planes.shape(request.plane), (points[-1].y, points[-1].x))

    def show_labels(
        self, view: View, labels: np.ndarray, names: Mapping[int, str], chosen: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Show labels (rows, columns) of a plane; where they have several names, by colours, which are returned.

        Colours of names may be chosen.
        """
        self.ensure()
        if self.preview is None:
            return {}
        self.preview.show(view, labels)
        return self.preview.colours.show(names, chosen)

    def show_hint(self, view: View, pixels: np.ndarray) -> None:
        """Show lightly what a click would give: (rows, columns) bool of a plane."""
        self.ensure()
        if self.preview is not None:
            self.preview.colours.clear()
            self.preview.show(view, pixels, number=self._session.label, hint=True)

    @property
    def painting(self) -> bool:
        """Whether the mouse paints into the layer: it is the active one, and in a mode of the brush."""
        active = self._viewer.layers.selection.active
        return self.preview is not None and self.preview.painting and active is self.preview.layer

    @property
    def erasing(self) -> bool:
        """Whether the brush rubs out."""
        return self.painting and self.preview is not None and str(self.preview.layer.mode) == "erase"

    def ready_to_paint(self, *, erase: bool = False) -> None:
        """Make it the layer that the brush paints into: what is painted there is a rough mask to refine."""
        self.ensure()
        view = self._planes.shown
        if self.preview is None or view is None:
            return
        kind = write.labels_in(self._session.label)
        if self.preview.view != view or self.preview.layer.data.dtype.itemsize < kind.itemsize:
            nothing = np.zeros(self._planes.shape(view), bool)
            self.preview.show(view, nothing, number=self._session.label)
        self.preview.layer.selected_label = self._session.label
        self._viewer.layers.selection.active = self.preview.layer
        self.preview.layer.mode = "erase" if erase else "paint"

    def stop_painting(self) -> None:
        """Put the brush away, so that nothing brings it back but the tool."""
        if self.preview is not None:
            leave_paint_mode(self.preview.layer)

    def _brushed(self, event: Any) -> None:
        view = self._planes.view()
        if self.preview is None or view is None or self.preview.view != view:
            self.show_mask()
            return
        self.painted.emit(view, self.preview.with_strokes(event.value))

    def forget(self, layer: Layer) -> bool:
        """Let go of a layer that was removed from the viewer; whether it was this one."""
        if self.preview is None or layer is not self.preview.layer:
            return False
        layer.events.paint.disconnect(self._brushed)
        self.preview = None
        return True

    def follow(self) -> None:
        """The image was moved, and the preview with it."""
        if self.preview is not None:
            self.preview.follow()
        self.show_mask()

    def close(self) -> None:
        """Take the layer away."""
        layer = self.layer
        if layer is not None:
            layer.events.paint.disconnect(self._brushed)
            remove_layer(self._viewer, layer)
