"""Connects an image and its prompt, preview and output layers with a session, and disconnects them."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes
from psygnal import Signal

from napari_segany.core.errors import SeganyError
from napari_segany.core.planes import ChannelSettings
from napari_segany.core.views import View
from napari_segany.layers.commit import Committer
from napari_segany.layers.image_planes import ImagePlanes
from napari_segany.layers.layer_order import LayerOrder
from napari_segany.layers.object_picker import ObjectPicker
from napari_segany.layers.output_layer import OutputLayer
from napari_segany.layers.preview_layer import PreviewLayer
from napari_segany.layers.prompt_layers import PromptLayers
from napari_segany.layers.prompt_reader import PromptReader
from napari_segany.layers.proxies import unwrapped
from napari_segany.layers.recorder import Recorder
from napari_segany.layers.undo import UndoStack
from napari_segany.layers.viewer_events import ViewerEvents
from napari_segany.layers.write import Preview
from napari_segany.session.history import Step
from napari_segany.session.session import Session


class Binding:
    """The layers of one annotation.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are.
    session : Session
        Gets the prompts, gives the masks.
    image : Image
        What is segmented.
    labels : Labels, optional
        Where masks are kept; made when the first mask is kept, if not given.

    Attributes
    ----------
    problem : Signal
        Emitted with a line of text when something cannot be done, and with an empty one when all is well again.
    moved : Signal
        Emitted without arguments when another plane is shown, or the image changed.
    planes : ImagePlanes
        Planes of the image, and which is shown.
    prompts : PromptLayers
        Where clicks and shapes are read from.
    reader : PromptReader
        Reads them.
    mask_preview : PreviewLayer
        Where masks are shown before they are kept.
    output : OutputLayer
        Where masks are kept.
    keeping : Committer
        Keeps them.
    picker : ObjectPicker
        Finds kept objects by places.
    undo_stack : UndoStack
        Undoes and redoes.
    """

    problem = Signal(str)
    moved = Signal()

    def __init__(self, viewer: ViewerModel, session: Session, image: Image, labels: Labels | None = None) -> None:
        viewer, image, labels = unwrapped(viewer), unwrapped(image), unwrapped(labels)
        self.viewer, self.session, self.image = viewer, session, image
        self.planes = ImagePlanes(viewer, image, self.problem.emit)
        self.recorder = Recorder(viewer, session)
        self.undo_stack = UndoStack(viewer, session, self.recorder, self.problem.emit, self.refresh)
        self.prompts = PromptLayers(viewer, image)
        self.output = OutputLayer(viewer, image)
        self.keeping = Committer(session, self.output, self.undo_stack.step, self.clear_prompts)
        self.picker = ObjectPicker(session, self.planes, self.output, self.keeping)
        self.reader = PromptReader(session, self.planes, self.prompts, self.keeping)
        self.mask_preview = PreviewLayer(viewer, session, image, self.planes)
        self._order = LayerOrder(viewer, self.prompts, self.mask_preview)
        self._connect_parts()
        self.set_labels(labels)
        self._events = ViewerEvents(self, self._order)
        self.ensure_layers()

    def _connect_parts(self) -> None:
        self.planes.changed.connect(self._read_otherwise)
        self.prompts.changed.connect(self._prompted)
        self.prompts.adopted.connect(self._adopted)
        self.output.made.connect(self._labels_made)
        self.mask_preview.made.connect(self.undo_stack.bind_keys)
        self.mask_preview.painted.connect(self._painted)
        self.session.preview_changed.connect(self.mask_preview.show_mask)
        self.session.committed.connect(self.keeping.paint)

    @property
    def points(self) -> Points | None:
        """The layer that clicks are read from."""
        return self.prompts.points

    @property
    def shapes(self) -> Shapes | None:
        """The layer that boxes, scribbles and outlines are read from."""
        return self.prompts.shapes

    @property
    def labels(self) -> Labels | None:
        """The layer that masks are kept in; None before there is one."""
        return self.output.labels

    @property
    def preview(self) -> Preview | None:
        """What shows masks before they are kept; None while its layer is not in the viewer."""
        return self.mask_preview.preview

    def ensure_layers(self) -> None:
        """Make the prompt and preview layers that are missing."""
        self.mask_preview.ensure()
        self.prompts.ensure()

    def set_labels(self, labels: Labels | None) -> None:
        """Keep masks in another layer from now on; None has a new one made.

        Raises
        ------
        InputError
            When the layer does not fit the image; then nothing changes.
        """
        labels = unwrapped(labels)
        self.output.choose(labels)
        if labels is not None:
            self.undo_stack.watch(labels)
            self._order.lift_prompts()
        self.session.begin_at(self.output.next_label)

    def refresh(self) -> None:
        """Read the prompts of the plane that is shown and hand them to the session."""
        if not self.recorder.held:
            self.reader.read()

    def clear_prompts(self) -> None:
        """Take the clicks and shapes of this plane away."""
        view = self.planes.view()
        if view is not None:
            with self.undo_stack.step(Step("start anew")):
                self.prompts.clear(view)

    def keep(self, state: str = "", review: tuple[str, str] = ("", "")) -> bool:
        """Commit the mask that is shown as a new label; False, with the reason in `problem`, when it cannot.

        Parameters
        ----------
        state : str
            State of the object that is being changed, which it loses in the same step.
        review : (str, str)
            Who set that state, and when.
        """
        try:
            self.keeping.keep(self.picker.clicked(), state, review)
        except SeganyError as error:
            self.problem.emit(str(error))
            return False
        self.refresh()
        return True

    def undo(self) -> bool:
        """Undo the last step; False, with a message in `problem`, when there is none."""
        return self.undo_stack.undo()

    def redo(self) -> bool:
        """Redo the last undone step; False, with a message in `problem`, when there is none."""
        return self.undo_stack.redo()

    def close(self) -> None:
        """Disconnect everything; take the preview and empty prompt layers away and leave the rest to the user."""
        self._order.rest()
        self._events.close()
        self.session.preview_changed.disconnect(self.mask_preview.show_mask)
        self.session.committed.disconnect(self.keeping.paint)
        self.recorder.close()
        self.session.forget()
        self.prompts.close()
        self.mask_preview.close()

    def _adopted(self, layer: Points | Shapes) -> None:
        self.undo_stack.watch(layer)
        self.refresh()

    def _labels_made(self, labels: Labels) -> None:
        self.undo_stack.bind_keys(labels)
        if not self.recorder.held:
            # what is restored has the number that it had before
            self.recorder.watch(labels)
        self._order.raise_prompts()

    def _prompted(self) -> None:
        """Something changed in the prompt layers; in 3D nothing is a prompt."""
        if self.viewer.dims.ndisplay != 2 and not self.recorder.held:
            self.undo_stack.refuse_prompts()
            self.planes.view()
        elif self.undo_stack.note_prompts():
            self.refresh()

    def _painted(self, view: View, pixels: np.ndarray) -> None:
        """The brush painted into the preview: what it shows now is the rough mask."""
        with self.undo_stack.step(Step("brush")):
            self.prompts.draw(pixels, view)

    def _read_otherwise(self, settings: ChannelSettings) -> None:
        """The model gets the image otherwise: what is prompted now is predicted again."""
        self.session.record(settings)
        self.moved.emit()
        self.session.repeat()
