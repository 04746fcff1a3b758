"""Works on the part of a large image that is shown."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from napari_segany.widgets.controllers.large_image_controller import LargeImageController, OpenRegion
from napari_segany.widgets.controllers.layer_controller import LayerController


class RegionController(QObject):
    """Connects the button that opens a part of a large image, and the layers of that part.

    Parameters
    ----------
    large : LargeImageController
        Makes the layers. Owns this object.
    layers : LayerController
        Chooses them.

    Attributes
    ----------
    message, warned : Signal
        Emitted with a message about the current work, or about what cannot be done.
    """

    message = Signal(str)
    warned = Signal(str)

    def __init__(self, large: LargeImageController, layers: LayerController) -> None:
        super().__init__(large)
        self._large, self._layers = large, layers
        layers.box.part_wanted.connect(self.work_here)
        large.opened.connect(self._enter)

    def work_here(self) -> None:
        """Open the part of the chosen image that is shown; its labels are kept next to the image."""
        image = self._layers.box.image.value
        if not self._large.concerns(image):
            self.warned.emit("this image is small enough to be worked on as it is")
            return
        self.message.emit("Reading the labels of this region …")
        self._large.open(image)

    def _enter(self, region: OpenRegion) -> None:
        self._layers.box.refresh()
        self._layers.box.image.value = region.image
        self._layers.box.offer_part(large=True, kept=str(region.file.path))
        self._layers.show()
        self._layers.prompts.take("Points")
        self.message.emit(f"All labels are stored in {region.file.path}. Shift+W moves on to the visible part.")
