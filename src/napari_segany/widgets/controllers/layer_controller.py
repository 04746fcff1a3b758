"""Which layers are used: what can be chosen, what is offered, and what table and export are about."""

from __future__ import annotations

from typing import Any
from weakref import ref

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Signal

from napari_segany.core.errors import SeganyError
from napari_segany.layers.binding import Binding
from napari_segany.layers.channel_composite import KEY, composite, split_channels
from napari_segany.layers.edge_layer import is_edges
from napari_segany.layers.proxies import unwrapped
from napari_segany.layers.write import fits_shape
from napari_segany.widgets.panels.export_panel import ExportPanel
from napari_segany.widgets.panels.layer_panel import LayerPanel
from napari_segany.widgets.panels.model_panel import ModelPanel
from napari_segany.widgets.panels.objects_panel import ObjectsPanel
from napari_segany.widgets.panels.prompt_panel import PromptPanel


class LayerController(QObject):
    """Connects the choosers of layers, the layers of the viewer, and a Binding.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer of the layers.
    models : ModelPanel
        Is shown above the choosers.
    prompts : PromptPanel
        Starts clicking in layers that are chosen.
    objects : ObjectsPanel
        Lists the objects of the labels in use. Owns this object.
    exports : ExportPanel
        Writes them.

    Attributes
    ----------
    box : LayerPanel
        The choosers.
    message : Signal
        Emitted with a message about an image that was opened.
    """

    message = Signal(str)

    def __init__(
        self, viewer: ViewerModel, models: ModelPanel, prompts: PromptPanel, objects: ObjectsPanel, exports: ExportPanel
    ) -> None:
        super().__init__(objects)
        self._viewer, self.prompts, self._objects, self._exports = viewer, prompts, objects, exports
        self._binding: Binding | None = None
        self._opened: ref[Image] | None = None
        self.box = LayerPanel(self.layers, models)
        self.box.labels.changed.connect(self._set_labels)
        self.box.taken.connect(self._start_clicking)
        self.box.points.changed.connect(self._set_points)
        self.box.shapes.changed.connect(self._set_shapes)
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.connect(self._refresh)
        viewer.layers.selection.events.active.connect(self._offer)

    def bind(self, binding: Binding | None) -> None:
        """Show the layers of another image."""
        self._binding = binding

    def close(self) -> None:
        """Let go of the viewer."""
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.disconnect(self._refresh)
        self._viewer.layers.selection.events.active.disconnect(self._offer)

    def layers(self, kind: type[Layer]) -> list[Layer]:
        """Layers to choose from, without the preview, which is ours."""
        preview = self._binding.mask_preview.layer if self._binding is not None else None
        return [layer for layer in self._viewer.layers if type(layer) is kind and layer is not preview]

    def choose_first_image(self) -> None:
        """Choose the active image, else the one on top."""
        images = [layer for layer in self.layers(Image) if not is_edges(layer)]
        active = self._viewer.layers.selection.active
        if images:
            self.box.image.value = active if active in images else images[-1]

    def show(self) -> None:
        """Show the layers in use in the choosers, and use them in the table and for export."""
        self.box.show_used(self._binding)
        self._offer()
        self._bind_objects()

    def _bind_objects(self) -> None:
        binding = self._binding
        labels = binding.labels if binding is not None else None
        image = binding.image if binding is not None else None
        self._objects.bind(labels, image, None if binding is None else binding.undo_stack.step)
        self._exports.bind(labels, image, self._objects.objects)

    def _refresh(self, event: Any = None) -> None:
        had = self.box.image.value
        self.box.refresh()
        self.show()
        if had is None and self._binding is None:
            self.choose_first_image()
        elif self._binding is not None and event is not None and event.type == "inserted":
            self._tell_of_image(self._binding, event.value)
        self._offer()

    def _tell_of_image(self, binding: Binding, layer: Layer | None) -> None:
        """Another image was opened: the one that is worked on stays in use."""
        if layer is None or KEY in layer.metadata:
            # channels as one image, which is chosen next
            return
        if type(layer) is Image and layer is not binding.image and not is_edges(layer):
            self._opened = ref(layer)
            self.message.emit(f"“{layer.name}” was opened; “{binding.image.name}” is still the one that is segmented.")

    def _offer(self, event: object = None) -> None:
        """Offer the image that was opened or is active, and labels of the image that are not in use."""
        binding = self._binding
        images = [one for one in self.layers(Image) if not is_edges(one)]
        others = [one for one in images if binding is not None and one is not binding.image]
        wanted = (self._viewer.layers.selection.active, self._opened() if self._opened is not None else None)
        self.box.offer_image(next((one for one in wanted if one is not None and one in others), None))
        free = self.layers(Labels) if binding is not None and binding.labels is None else []
        fitting = [one for one in free if binding is not None and fits_shape(one, binding.image)]
        image = None if binding is None else binding.image
        self.box.offer_channels([one.name for one in split_channels(image, self._viewer.layers)])
        self.box.offer_labels(fitting[-1] if fitting else None)

    def use_channels(self) -> None:
        """Segment the channels of the image as one image, in a new layer."""
        channels = split_channels(self.box.image.value, self._viewer.layers)
        if channels:
            layer = self._viewer.add_layer(composite(channels))
            for channel in channels:
                channel.visible = False
            self.box.image.value = layer

    def _start_clicking(self) -> None:
        """The next click is to be a prompt; what was just opened is the active layer, and would get it."""
        self.prompts.take("Points")

    def _set_labels(self, labels: Labels | None) -> None:
        labels = unwrapped(labels)
        if self._binding is None or labels is self._binding.labels:
            return
        try:
            self._binding.set_labels(labels)
        except SeganyError as error:
            show_warning(str(error))
            self.box.labels.value = self._binding.labels
        self._bind_objects()
        self._offer()

    def _set_points(self, points: Points | None) -> None:
        points = unwrapped(points)
        if self._binding is not None and points is not None and points is not self._binding.points:
            self._binding.prompts.adopt(points)
            self.prompts.take("Points")

    def _set_shapes(self, shapes: Shapes | None) -> None:
        shapes = unwrapped(shapes)
        if self._binding is not None and shapes is not None and shapes is not self._binding.shapes:
            self._binding.prompts.adopt(shapes)
