"""Layers come and go while one is in use: it stays in use, and clicks stay above labels."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Labels, Layer

from napari_segany.layers.preview_layer import PreviewLayer
from napari_segany.layers.prompt_layers import PromptLayers
from napari_segany.layers.removal import leave_paint_mode


class LayerOrder:
    """Keeps the order of layers, and the active one active.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are.
    prompts : PromptLayers
        Stay above labels.
    preview : PreviewLayer
        Stays above labels.
    """

    def __init__(self, viewer: ViewerModel, prompts: PromptLayers, preview: PreviewLayer) -> None:
        self._viewer, self._prompts, self._preview = viewer, prompts, preview
        self._used: tuple[Layer | None, bool] = (None, False)

    def rest(self, event: Any = None) -> None:
        """A layer is about to come or to go: nothing is to be painted into then."""
        self._used = self._viewer.layers.selection.active, self._preview.painting
        for layer in (self._used[0], self._preview.layer):
            if isinstance(layer, Labels):
                leave_paint_mode(layer)

    def lift_prompts(self) -> None:
        """Have clicks, shapes and the preview above all other layers: what is drawn is to be seen."""
        layers = self._viewer.layers
        for layer in (self._preview.layer, *self._prompts.layers):
            if layer is not None and layer in layers:
                layers.move(layers.index(layer), len(layers))

    def raise_prompts(self) -> None:
        """Have clicks and preview above a layer that just came, and the layer that was in use active again."""
        active, painting = self._used
        points, shapes = self._prompts.points, self._prompts.shapes
        if active not in (points, shapes):
            active = points or shapes
        self.lift_prompts()
        self._viewer.layers.selection.active = active
        if painting:
            self._preview.ready_to_paint()
