"""What happens to an image and its viewer, and what follows for a binding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Layer

from napari_segany.core.views import View
from napari_segany.layers.connections import Connections
from napari_segany.layers.layer_order import LayerOrder
from napari_segany.session.events import ActionEvent

if TYPE_CHECKING:
    from napari_segany.layers.binding import Binding

_MOVES = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


class ViewerEvents:
    """Listens to a viewer and an image for a Binding.

    Parameters
    ----------
    binding : Binding
        Its layers, prompts and session follow.
    order : LayerOrder
        Called before a layer is added or removed.
    """

    def __init__(self, binding: Binding, order: LayerOrder) -> None:
        self._binding = binding
        self._view: View | None = None
        self._connections = Connections()
        add, dims, layers = self._connections.add, binding.viewer.dims.events, binding.viewer.layers.events
        for event in (dims.current_step, dims.order, dims.ndisplay):
            add(event, self._moved)
        for event in (layers.inserting, layers.removing):
            add(event, order.rest)
        add(layers.removed, self._forget)
        add(binding.image.events.data, self._renew)
        for move in _MOVES:
            add(getattr(binding.image.events, move), self._follow)

    def close(self) -> None:
        """Disconnect everything."""
        self._connections.close()

    def _moved(self, event: Any = None) -> None:
        """Another plane may be shown."""
        binding = self._binding
        if binding.image not in binding.viewer.layers:  # as it is removed, which moves the sliders; nothing is shown
            return
        binding.undo_stack.withdraw_refused()
        view = binding.planes.view()
        if view != self._view:
            self._view = view
            if binding.mask_preview.painting:
                binding.mask_preview.ready_to_paint(erase=binding.mask_preview.erasing)
            binding.refresh()
            binding.moved.emit()

    def _renew(self, event: Any = None) -> None:
        """The image has new values: results of the old ones are discarded."""
        binding = self._binding
        binding.planes.forget()
        binding.reader.forget()
        self._view = None
        binding.session.forget(binding.session.history)
        binding.session.record(ActionEvent("new image"))
        self._moved()

    def _follow(self, event: Any = None) -> None:
        """The image was moved: so are the layers that were made for it, and the clicks stay on their pixels."""
        self._binding.prompts.follow()
        self._binding.output.follow()
        self._binding.mask_preview.follow()

    def _forget(self, event: Any) -> None:
        """A layer was removed from the viewer; prompts that were on it are withdrawn."""
        layer: Layer = event.value
        binding = self._binding
        if binding.mask_preview.forget(layer):
            return
        if binding.output.forget(layer):
            binding.session.begin_at(1)
        elif binding.prompts.forget(layer):
            binding.refresh()
