"""The layers that prompts are read from: those that are made for it, or the user's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer, Points, Shapes
from psygnal import Signal

from napari_segany.core.prompts import ExampleBox, Prompt
from napari_segany.core.views import View
from napari_segany.layers import read, write
from napari_segany.layers.compat import action_of
from napari_segany.layers.proxies import unwrapped
from napari_segany.layers.read import NEGATIVE, POSITIVE, SIGN, lying_on
from napari_segany.layers.removal import remove_layer

_BEFORE = ("adding", "removing", "changing")
DOT = (9, 15)
"""Width of a click in pixels of the screen, at least and at most: visible in a large plane, small in a close-up."""
COLOURS = {POSITIVE: "limegreen", NEGATIVE: "red"}


def prompt_points(image: Image) -> Points:
    """An empty Points layer for clicks on an image, each with its sign."""
    return Points(
        np.zeros((0, image.ndim)),
        ndim=image.ndim,
        name="clicks",
        features={SIGN: np.zeros(0, object)},
        feature_defaults={SIGN: POSITIVE},
        face_color=SIGN,
        face_color_cycle=COLOURS,
        border_color="white",
        symbol="disc",
        size=8,
        canvas_size_limits=DOT,
        **lying_on(image),
    )


def prompt_shapes(image: Image) -> Shapes:
    """An empty Shapes layer for boxes, scribbles and rough masks on an image."""
    return Shapes(
        ndim=image.ndim,
        name="boxes and scribbles",
        features={SIGN: np.zeros(0, object)},
        feature_defaults={SIGN: POSITIVE},
        edge_color="gold",
        face_color="transparent",
        edge_width=2,
        **lying_on(image),
    )


class PromptLayers:
    """A Points layer for clicks and a Shapes layer for all other prompts that are drawn on an image.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer of the layers.
    image : Image
        The image that is prompted.

    Attributes
    ----------
    points, shapes : Points, Shapes or None
        The layers in use.
    changed : Signal
        Emitted without arguments when something in them changed.
    adopted : Signal
        Emitted with a layer that comes into use.
    """

    changed = Signal()
    adopted = Signal(object)

    def __init__(self, viewer: ViewerModel, image: Image) -> None:
        self._viewer, self._image = unwrapped(viewer), unwrapped(image)
        self.points: Points | None = None
        self.shapes: Shapes | None = None
        self._own: list[Points | Shapes] = []

    @property
    def layers(self) -> list[Points | Shapes]:
        """Those that are there, the lower one first."""
        return [layer for layer in (self.shapes, self.points) if layer is not None]

    def ensure(self) -> None:
        """Make those that are not there."""
        for kind, make in (("shapes", prompt_shapes), ("points", prompt_points)):
            if getattr(self, kind) is None:
                layer = self._viewer.add_layer(make(self._image))
                self._own.append(layer)
                self.adopt(layer)

    def adopt(self, layer: Points | Shapes) -> None:
        """Read prompts from a layer from now on, instead of the one of its kind before."""
        layer = unwrapped(layer)
        kind = "points" if isinstance(layer, Points) else "shapes"
        self._let_go(getattr(self, kind))
        if SIGN not in layer.features:
            layer.features = {**layer.features, SIGN: np.full(len(layer.data), POSITIVE, object)}
        for event in (layer.events.data, layer.events.features):
            event.connect(self._changed)
        setattr(self, kind, layer)
        self.adopted.emit(layer)

    def _let_go(self, layer: Points | Shapes | None) -> None:
        if layer is not None:
            for event in (layer.events.data, layer.events.features):
                event.disconnect(self._changed)

    def _changed(self, event: Any) -> None:
        # napari emits everything twice, before and after; before, the layer still has the old points
        if action_of(event) not in _BEFORE:
            self.changed.emit()

    def forget(self, layer: Layer) -> bool:
        """Let go of a layer that was removed from the viewer; whether it was in use."""
        self._own = [own for own in self._own if own is not layer]
        if layer is not self.points and layer is not self.shapes:
            return False
        self._let_go(layer)
        self.points = None if layer is self.points else self.points
        self.shapes = None if layer is self.shapes else self.shapes
        return True

    def follow(self) -> None:
        """The image was moved: the layers that were made for it go with it, and clicks stay on their pixels."""
        for layer in self._own:
            for name, value in lying_on(self._image).items():
                setattr(layer, name, value)

    def read(self, view: View) -> Prompt:
        """Return the prompt for one object on a plane."""
        return read.read_prompt(self.points, self.shapes, self._image, view, self._viewer.dims)

    def read_all(self, view: View) -> list[Prompt]:
        """Return the prompts on a plane when each click and each shape is a separate object."""
        return read.read_prompts(self.points, self.shapes, self._image, view, self._viewer.dims)

    def read_example_boxes(self, view: View) -> tuple[ExampleBox, ...]:
        """Return the rectangles on a plane as examples of what to find."""
        return read.read_example_boxes(self.shapes, self._image, view, self._viewer.dims)

    def write(self, prompt: Prompt, view: View) -> None:
        """Put the clicks and the box of a prompt on a plane."""
        write.write_prompt(prompt, view, self._image, self.points, self.shapes)

    def draw(self, pixels: np.ndarray, view: View) -> None:
        """Have the rough mask of a plane be these pixels, (rows, columns) bool, as outlines in the Shapes layer."""
        self.ensure()
        if self.shapes is None:
            return
        here = read.shapes_here(self.shapes, self._image, view, self._viewer.dims)
        _remove(self.shapes, [i for i in here if self.shapes.shape_type[i] in ("polygon", "ellipse")])
        write.write_outlines(pixels, view, self._image, self.shapes)

    def clear(self, view: View) -> None:
        """Take the clicks and shapes of a plane away."""
        if self.points is not None:
            _remove(self.points, read.points_here(self.points, self._image, view, self._viewer.dims))
        if self.shapes is not None:
            _remove(self.shapes, read.shapes_here(self.shapes, self._image, view, self._viewer.dims))

    def close(self) -> None:
        """Listen no more, and take the layers away that were made here and in which nothing is."""
        for layer in self.layers:
            self._let_go(layer)
        for layer in self._own:
            if not len(layer.data):
                remove_layer(self._viewer, layer)


def _remove(layer: Points | Shapes, indices: Iterable[int]) -> None:
    chosen = {int(index) for index in indices}
    if chosen:
        layer.selected_data = chosen
        layer.remove_selected()
