"""Layers in use: the image, its labels, and the layers of clicks and shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from weakref import WeakMethod

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels, Layer, Points, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QPushButton, QWidget

from napari_segany.layers.binding import Binding
from napari_segany.widgets.panels.menu_button import MenuButton

KINDS: dict[str, tuple[type[Layer], str]] = {
    "Image": (Image, "The image that is segmented. It is never changed."),
    "Labels": (Labels, "The layer of your objects. If empty, a new layer is created with the first object."),
    "Clicks": (Points, "The layer of clicks: the one made for them, or one of yours."),
    "Shapes": (Shapes, "The layer of boxes and scribbles: the one made for them, or one of yours."),
}
LETTERS = 12
"""How much of a layer's name is shown at least."""

LONGEST = 28
"""How much of it is shown on a button at most."""

Layers = Callable[[type[Layer]], list[Layer]]


class LayerPanel(QWidget):
    """A chooser for each kind of layer.

    Parameters
    ----------
    layers : callable
        A method that gives the layers of a kind that can be chosen.
    model : QWidget
        What is shown above them.

    Attributes
    ----------
    image, labels, points, shapes : magicgui.widgets.ComboBox
        The choosers; their value is the layer, or None.
    part_wanted : Signal
        Emitted when the part of a large image that is shown is to be worked on.
    channels_wanted : Signal
        Emitted when the channels of the image are to be segmented as one image.
    taken : Signal
        Emitted when a layer that was offered was chosen.
    sessions_wanted : Signal
        Emitted when the earlier sessions of the image are to be listed.
    """

    part_wanted = Signal()
    channels_wanted = Signal()
    taken = Signal()
    sessions_wanted = Signal()

    def __init__(self, layers: Layers, model: QWidget) -> None:
        super().__init__()
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Model", model)
        choosers = []
        for name, (kind, tip) in KINDS.items():
            chooser = ComboBox(choices=partial(_offered, WeakMethod(layers), kind), nullable=True)
            chooser.native.setToolTip(tip)
            # the longest name must not decide how much of the window is left for the picture
            chooser.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            chooser.native.setMinimumContentsLength(LETTERS)
            form.addRow(name, self._with_more(chooser.native) if name == "Labels" else chooser.native)
            choosers.append(chooser)
        self.image, self.labels, self.points, self.shapes = choosers
        self._form = form
        self._show_prompt_layers(False)
        self._part = QPushButton("Work on the visible part  (Shift+W)")
        self._part.clicked.connect(self.part_wanted)
        self._part.hide()
        form.addRow(self._part)
        self._channels = QPushButton()
        self._channels.clicked.connect(self.channels_wanted)
        self._channels.hide()
        form.addRow(self._channels)
        self._offers: dict[ComboBox, QPushButton] = {}
        self._offered: dict[ComboBox, Layer] = {}
        for chooser in (self.image, self.labels):
            button = QPushButton()
            button.hide()
            button.clicked.connect(partial(self._take, chooser))
            self._offers[chooser] = button
            form.addRow(button)

    def _with_more(self, chooser: QWidget) -> QWidget:
        """A chooser, and a button with what is seldom used."""
        more = MenuButton("…", "More: layers of clicks and shapes, earlier sessions")
        shown = more.menu().addAction("Choose layers of clicks and shapes")
        shown.setCheckable(True)
        shown.toggled.connect(self._show_prompt_layers)
        more.menu().addAction("Earlier sessions of this image…").triggered.connect(self._want_sessions)
        line = QWidget()
        row = QHBoxLayout(line)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(chooser, 1)
        row.addWidget(more)
        return line

    def _want_sessions(self) -> None:
        self.sessions_wanted.emit()

    def _show_prompt_layers(self, shown: bool) -> None:
        for chooser in (self.points.native, self.shapes.native):
            for part in (chooser, self._form.labelForField(chooser)):
                part.setVisible(shown)

    def refresh(self) -> None:
        """Offer the layers that are there now; the chosen ones stay chosen, under other names, too."""
        for chooser in (self.image, self.labels, self.points, self.shapes):
            before = chooser.value
            # the chooser knows its entries by their names: a layer with another name is a new entry to it
            with chooser.changed.blocked():
                chooser.reset_choices()
                if before in chooser.choices:
                    chooser.value = before
            if chooser.value is not before:
                chooser.changed.emit(chooser.value)

    def offer_image(self, image: Image | None) -> None:
        """Offer to segment another image; None offers none."""
        self._offer(self.image, image, "Segment", "Work on this image instead; the labels of the other one stay")

    def offer_labels(self, labels: Labels | None) -> None:
        """Offer to continue in labels that fit the image; None offers none."""
        self._offer(self.labels, labels, "Continue in", "Add objects to this layer, next to its objects")

    def _offer(self, chooser: ComboBox, layer: Layer | None, what: str, tip: str) -> None:
        button = self._offers[chooser]
        self._offered.pop(chooser, None)
        button.setVisible(layer is not None)
        if layer is not None:
            self._offered[chooser] = layer
            name = layer.name if len(layer.name) <= LONGEST else f"{layer.name[:LONGEST]}…"
            button.setText(f"{what} “{name}”")
            button.setToolTip(tip)

    def _take(self, chooser: ComboBox, _: bool = False) -> None:
        layer = self._offered.pop(chooser, None)
        if layer is not None and layer in chooser.choices:
            chooser.value = layer
            self.taken.emit()

    def offer_part(self, *, large: bool, kept: str = "") -> None:
        """Offer to work on a part of the image, where it is a large one, and show where all its labels are stored."""
        self._part.setVisible(large)
        where = kept or "one file"
        self._part.setToolTip(f"This image is too large to paint all of it; its labels are stored in {where}")

    def offer_channels(self, names: Sequence[str]) -> None:
        """Offer to segment channels as one image; no names offer nothing."""
        self._channels.setVisible(bool(names))
        self._channels.setText(f"Use {len(names)} channels as one image")
        self._channels.setToolTip(f"{', '.join(names)}: together, in their colours, as a new layer; nothing is changed")

    def show_used(self, binding: Binding | None) -> None:
        """Show which layers are in use."""
        if binding is None:
            return
        used = {self.labels: binding.labels, self.points: binding.points, self.shapes: binding.shapes}
        for chooser, layer in used.items():
            # a layer that is just being removed is no choice any more
            chooser.value = layer if layer in chooser.choices else None


def _offered(layers: WeakMethod[Layers], kind: type[Layer], chooser: object) -> list[tuple[str, Layer]]:
    # The chooser outlives its window, and would keep all that belongs to it.
    offer = layers()
    entries: dict[str, Layer] = {}
    for layer in [] if offer is None else offer(kind):
        # while a layer is being renamed, two may have one name, and the chooser knows its entries by their names
        name = layer.name
        while name in entries:
            name += " "
        entries[name] = layer
    return list(entries.items())
