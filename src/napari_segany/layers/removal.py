"""Takes layers out of a viewer without leaving what napari draws for their modes behind."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Layer

from napari_segany.layers.compat import RESTING, mode_of


def leave_paint_mode(layer: Layer) -> None:
    """End painting or drawing in a layer.

    Where a layer comes or goes while the circle of the brush is shown, napari leaves a part of that circle in the
    scene for good. With software OpenGL it is drawn with buffers of layers that are gone, and the driver crashes.
    """
    if mode_of(layer) != RESTING:
        layer.mode = RESTING


def remove_layer(viewer: ViewerModel, layer: Layer) -> None:
    """Take a layer out of a viewer, if it is there, out of paint mode."""
    if layer in viewer.layers:
        leave_paint_mode(layer)
        viewer.layers.remove(layer)
