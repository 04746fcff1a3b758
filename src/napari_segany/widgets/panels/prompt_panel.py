"""Prompt tools, the sign of clicks, and the buttons to commit or discard the mask."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer, Points, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_segany.layers.binding import Binding
from napari_segany.layers.compat import mode_of
from napari_segany.layers.read import NEGATIVE, POSITIVE, SIGN
from napari_segany.layers.removal import leave_paint_mode
from napari_segany.widgets.tooltip_pictures import clicked, disc, drawing, with_pictures

TOOLS = {
    "Points": ("add", "Click on the object; right click, Shift+click, or N first, off it"),
    "Box": ("add_rectangle", "Drag a rectangle around the object"),
    "Brush": ("paint", "Paint roughly over the object, or erase with N; the mask is refined from it"),
    "Scribble": ("add_path", "Draw a line along the object; Enter ends it"),
    "Outline": ("add_polygon_lasso", "Draw roughly around the object; the mask is refined from it"),
}

RIGHT = 2
"""The right button of the mouse in napari's events; dragged, it zooms."""


class PromptPanel(QWidget):
    """Prompt tools, the sign of clicks, and buttons with keys.

    Attributes
    ----------
    kept, discarded : Signal
        Emitted when the mask is to be committed, or the prompts cleared.
    overwrite_changed : Signal
        Emitted with whether pixels of other labels may be overwritten.
    several_changed : Signal
        Emitted with whether each click and each shape is a separate object.
    rank_changed : Signal
        Emitted with whether committed objects rank the masks of a click.
    names_changed : Signal
        Emitted with whether the model names objects.
    hover_changed : Signal
        Emitted with whether the mask under the cursor is shown before a click.
    """

    kept = Signal()
    discarded = Signal()
    overwrite_changed = Signal(bool)
    hover_changed = Signal(bool)
    rank_changed = Signal(bool)
    names_changed = Signal(bool)
    several_changed = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._binding: Binding | None = None
        self._clicked: Points | None = None
        self._negative = False
        self._rested = ""
        self._watched: list[tuple[Any, Any]] = []
        self._tools = QButtonGroup(self)
        # no button is pressed while another layer is active
        self._tools.setExclusive(False)
        self._sign = QPushButton()
        self._sign.setToolTip(
            "Whether the next click lies on the object or off it. Key: N. Shift+click does the other; "
            "a right click is always off it."
        )
        self._keep = QPushButton("Keep  (K)")
        self._keep.setToolTip("Paint the mask as a new label into the Labels layer")
        self._discard = QPushButton("Clear prompts  (Q)")
        self._discard.setToolTip("Remove the clicks and shapes on this slice; labels stay")
        self._overwrite = QCheckBox("Overwrite other objects")
        self._overwrite.setToolTip(_overwrite_tip())
        self._several = QCheckBox("Each click or box is an object")
        self._several.setToolTip(_several_tip())
        self._hover = QCheckBox("Preview under the cursor  (H)")
        self._hover.setToolTip("Shows the mask under the cursor lightly, before you click")
        self._hover.setChecked(True)
        self._rank = QCheckBox("Prefer masks like earlier objects")
        self._rank.setToolTip(
            "Of the masks of a click, shows the one that is most like the other objects of this image"
        )
        self._rank.setChecked(True)
        self._names = QCheckBox("Name objects")
        self._names.setToolTip(
            "Objects get the name that the model takes them for, with its probability, where it is sure enough.\n"
            "A class that you give is never replaced; off: new objects get no name, those that have one keep it"
        )
        self._names.setChecked(True)
        self._lay_out()
        self._sign.clicked.connect(self.toggle_sign)
        self._keep.clicked.connect(self.kept)
        self._discard.clicked.connect(self.discarded)
        self._overwrite.toggled.connect(self.overwrite_changed)
        self._hover.toggled.connect(self.hover_changed)
        self._rank.toggled.connect(self.rank_changed)
        self._names.toggled.connect(self.names_changed)
        self._several.toggled.connect(self.several_changed)
        self._show_sign()
        self.set_keepable(False)
        self.setEnabled(False)

    def _lay_out(self) -> None:
        tools = QGridLayout()
        for place, (name, (_, tip)) in enumerate(TOOLS.items()):
            button = QPushButton(name)
            button.setCheckable(True)
            button.setToolTip(tip)
            self._tools.addButton(button)
            tools.addWidget(button, place // 3, place % 3)
            button.clicked.connect(lambda _=False, name=name: self.take(name))
        ends = QHBoxLayout()
        ends.addWidget(self._keep)
        ends.addWidget(self._discard)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("Prompt with"))
        layout.addLayout(tools)
        layout.addWidget(self._sign)
        layout.addLayout(ends)
        layout.addWidget(self._several)
        layout.addWidget(self._overwrite)
        layout.addWidget(self._hover)
        layout.addWidget(self._rank)
        layout.addWidget(self._names)

    def choose(self, *, hover: bool, rank: bool, overwrite: bool, names: bool = True) -> None:
        """Set the switches to what was chosen last time."""
        self._hover.setChecked(hover)
        self._rank.setChecked(rank)
        self._overwrite.setChecked(overwrite)
        self._names.setChecked(names)

    @property
    def several(self) -> bool:
        """Whether each click and each shape is a separate object."""
        return self._several.isChecked()

    @property
    def overwrite(self) -> bool:
        """Whether pixels of other labels may be overwritten."""
        return self._overwrite.isChecked()

    def toggle_hover(self) -> None:
        """Switch the preview under the cursor on or off."""
        self._hover.toggle()

    @property
    def clicking(self) -> bool:
        """Whether a click would be a prompt now."""
        if self._binding is None or self._binding.points is None:
            return False
        layer = self._binding.points
        return layer.mode == "add" and layer is self._binding.viewer.layers.selection.active

    def bind(self, binding: Binding | None) -> None:
        """Use the prompt layers of a binding; None when there is none."""
        self._let_go()
        self._stop_watching()
        self._binding = binding
        self.setEnabled(binding is not None)
        if binding is not None:
            viewer = binding.viewer
            self._watch(viewer.layers.selection.events.active, self._follow)
            self._watch(viewer.dims.events.ndisplay, self._show_flat_or_not)
            binding.prompts.adopted.connect(self._watch_mode)
            self._watched.append((binding.prompts.adopted, self._watch_mode))
            for layer in binding.prompts.layers:
                self._watch_mode(layer)
            self.take("Points")

    def _watch(self, event: Any, callback: Any) -> None:
        event.connect(callback)
        self._watched.append((event, callback))

    def _watch_mode(self, layer: Layer) -> None:
        """Let the buttons follow the user's choice among napari's own tools."""
        if not any(event is layer.events.mode for event, _ in self._watched):
            self._watch(layer.events.mode, self._follow)

    def _stop_watching(self) -> None:
        for event, callback in self._watched:
            event.disconnect(callback)
        self._watched.clear()

    @property
    def tool(self) -> str:
        """The current tool, by the active layer and its mode; empty where it is none of ``TOOLS``."""
        binding = self._binding
        if binding is None:
            return ""
        if binding.mask_preview.painting:
            return "Brush"
        active = binding.viewer.layers.selection.active
        mode = mode_of(active)
        if active is None or active not in (binding.points, binding.shapes):
            return ""
        points = active is binding.points
        return next((name for name, (own, _) in TOOLS.items() if own == mode and (name == "Points") is points), "")

    def _follow(self, event: Any = None) -> None:
        """Another layer is active, or in another mode: show it in the buttons, and end a hidden brush."""
        if self._binding is None:
            return
        tool = self.tool
        if tool == "Brush":
            self._negative = self._binding.mask_preview.erasing
            self._show_sign()
        else:
            self._binding.mask_preview.stop_painting()
        self._check(tool)

    def _show_flat_or_not(self, event: Any = None) -> None:
        """There are no clicks in 3D: the tools are switched off there, and on again in 2D."""
        if self._binding is None:
            return
        if self._binding.viewer.dims.ndisplay == 2:
            if self._rested:
                self.take(self._rested)
            self._rested = ""
            return
        self._rested = self.tool or self._rested
        self._binding.mask_preview.stop_painting()
        for layer in self._binding.prompts.layers:
            leave_paint_mode(layer)
        self._check("")

    def take(self, tool: str) -> None:
        """Choose one of ``TOOLS``: its layer becomes active and its mode is switched on."""
        if self._binding is None:
            return
        if self._binding.viewer.dims.ndisplay != 2:
            self._rested = tool
            return
        self._binding.ensure_layers()
        if self._binding.preview is not None:
            self._watch_mode(self._binding.preview.layer)
        if tool == "Brush":
            self._binding.mask_preview.ready_to_paint(erase=self._negative)
            self._check(tool)
            return
        self._binding.mask_preview.stop_painting()
        layer: Points | Shapes | None = self._binding.points if tool == "Points" else self._binding.shapes
        if layer is None:
            return
        if isinstance(layer, Points) and layer is not self._clicked:
            self._let_go()
            self._clicked = layer
            layer.mouse_drag_callbacks.append(self._decide_sign)
        layer.visible = True
        self._binding.viewer.layers.selection.active = layer
        layer.mode = TOOLS[tool][0]
        self._check(tool)
        self._show_sign()

    def _check(self, tool: str) -> None:
        for button in self._tools.buttons():
            button.setChecked(button.text() == tool)

    def _let_go(self) -> None:
        """Restore the state of a Points layer that was used for clicks."""
        if self._clicked is not None:
            self._clicked.mouse_drag_callbacks.remove(self._decide_sign)
            self._clicked = None

    def toggle_sign(self) -> None:
        """Switch between clicks on the object and clicks off it."""
        self._set_sign(negative=not self._negative)

    def expect_positive(self) -> None:
        """The next click begins another object, so it lies on it."""
        self._set_sign(negative=False)

    def _set_sign(self, *, negative: bool) -> None:
        """The same for clicks, for what is drawn, and for the brush."""
        self._negative = negative
        self._show_sign()
        if self._binding is not None and self._binding.mask_preview.painting:
            self._binding.mask_preview.ready_to_paint(erase=negative)

    def set_keepable(self, keepable: bool) -> None:
        """Whether K would commit something."""
        self._keep.setEnabled(keepable)

    def resume(self) -> None:
        """Continue with the tool that was in use, after layers were added or removed."""
        if self.tool:
            self.take(self.tool)

    def _show_sign(self) -> None:
        self._sign.setText("Clicks: NOT the object  (N)" if self._negative else "Clicks: the object  (N)")
        self._sign.setStyleSheet(f"border: 1px solid {'#d62728' if self._negative else '#2ca02c'};")
        self._set_default(self._negative)

    def _set_default(self, negative: bool) -> None:
        if self._binding is None:
            return
        for layer in (self._binding.points, self._binding.shapes):
            if layer is not None:
                layer.feature_defaults = {SIGN: NEGATIVE if negative else POSITIVE}

    def _decide_sign(self, layer: Points, event: Any) -> None:
        """Runs at the press; the point itself comes into being at the release, whichever button it was."""
        self._set_default(event.button == RIGHT or self._negative != ("Shift" in event.modifiers))


def _overwrite_tip() -> str:
    known, new = disc(20, 14, 12), disc(20, 26, 12)
    text = "Whether a new object takes pixels that have a label already"
    return with_pictures(text, [drawing(new & ~known, known), drawing(known, new)], ["off", "on"])


def _several_tip() -> str:
    left, right = disc(20, 11, 9), disc(20, 29, 9)
    places = (20, 11), (20, 29)
    shown = [clicked(one, *places) for one in (drawing(left | right), drawing(left, right))]
    text = "Off: all clicks and shapes on a slice describe one object. On: each is an object, and K keeps all of them"
    return with_pictures(text, shown, ["off", "on"])
