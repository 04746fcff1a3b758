"""Opens the image that is segmented, has everything be about it, and lets go of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal

from napari_segany.core.errors import SeganyError
from napari_segany.core.planes import ChannelSettings
from napari_segany.engine.autosave import Autosave
from napari_segany.layers.binding import Binding
from napari_segany.layers.proxies import unwrapped
from napari_segany.layers.read import image_array
from napari_segany.layers.region import is_too_large
from napari_segany.session.session import Session
from napari_segany.widgets.controllers.large_image_controller import LargeImageController
from napari_segany.widgets.controllers.layer_controller import LayerController

WELCOME = "Open an image to begin: drop a file on the window, or choose File > Open Sample > Segment Anything."
LARGE = "This image is too large to paint all of it. Zoom in to where you want to work, and press the button above."


class PartOfWidget(Protocol):
    """Whatever is about one image at a time."""

    def bind(self, binding: Binding | None) -> None:
        """Be about this image from here on, or about none."""


class ImageController(QObject):
    """Opens and closes the Binding of an image.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer of the image.
    session : Session
        Gets its prompts.
    keeper : Autosave
        Writes the session's file.
    large : LargeImageController
        Knows which images are opened in parts.
    layers : LayerController
        Knows which layers are in use. Owns this object.

    Attributes
    ----------
    binding : Binding or None
        Of the image that is open.
    parts : sequence of PartOfWidget
        Parts of the widget that follow the image, in the order in which they are notified.
    message : Signal
        Emitted with a message where no image is open.
    opened : Signal
        Emitted without arguments when an image can be segmented.
    leaving, left : Signal
        Emitted without arguments before and after an image is closed.
    failed : Signal
        Emitted with the exception of what failed.
    """

    message = Signal(str)
    opened = Signal()
    leaving = Signal()
    left = Signal()
    failed = Signal(object)

    def __init__(
        self,
        viewer: ViewerModel,
        session: Session,
        keeper: Autosave,
        large: LargeImageController,
        layers: LayerController,
    ) -> None:
        super().__init__(layers)
        self._viewer, self._session, self._keeper = viewer, session, keeper
        self._large, self._layers = large, layers
        self.binding: Binding | None = None
        self.parts: Sequence[PartOfWidget] = ()

    def open(self, image: Image | None) -> None:
        """Segment another image from here on; None: none."""
        image = unwrapped(image)
        if self.binding is not None:
            if self.binding.image is image:
                return
            self.release()
        self._layers.box.offer_part(large=self._large.concerns(image))
        if image is None:
            self.message.emit(WELCOME)
        elif is_too_large(image):
            self.message.emit(LARGE)
        else:
            self._bind(image)

    def _bind(self, image: Image) -> None:
        self._keeper.watch(partial(image_array, image), rgb=image.rgb, path=str(image.source.path or ""))
        self.binding = Binding(self._viewer, self._session, image)
        self.binding.output.overwrite = self._layers.prompts.overwrite
        self.binding.reader.several = self._layers.prompts.several
        for part in self.parts:
            part.bind(self.binding)
        self._layers.show()
        # napari makes a new image the active layer once we have heard of it; a click is to be a prompt all the same
        QTimer.singleShot(0, self._hand_over)
        self.opened.emit()

    def _hand_over(self) -> None:
        if self.binding is not None and self._viewer.layers.selection.active is self.binding.image:
            self._layers.prompts.take("Points")

    def release(self) -> None:
        """Let go of the image and of everything that was computed from it."""
        self._keeper.close()
        self.leaving.emit()
        for part in self.parts:
            part.bind(None)
        if self.binding is not None:
            binding, self.binding = self.binding, None
            binding.close()
        self.left.emit()
        self._layers.show()

    def change_settings(self, settings: ChannelSettings) -> None:
        """Have the model get the image with another intensity range, or other channels."""
        if self.binding is not None:
            try:
                self.binding.planes.change_settings(settings)
            except SeganyError as error:
                self.failed.emit(error)

    def set_overwrite(self, overwrite: bool) -> None:
        """Let kept masks take pixels of other labels, or not."""
        if self.binding is not None:
            self.binding.output.overwrite = overwrite

    def set_several(self, several: bool) -> None:
        """Let each click and each shape be an object, or all of them one."""
        if self.binding is not None:
            self.binding.reader.several = several
            self.binding.refresh()
