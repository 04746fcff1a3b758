"""What the next click or stroke means, and what becomes of the mask."""

from __future__ import annotations

from typing import Any

from napari.layers import Points, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_segany.layers.binding import Binding
from napari_segany.layers.read import NEGATIVE, POSITIVE, SIGN

TOOLS = {
    "Points": ("add", "Click on the object; Shift+click, or N first, beside it"),
    "Box": ("add_rectangle", "Drag a rectangle around the object"),
    "Brush": ("paint", "Paint roughly over the object, or rub out with N; the mask is refined from it"),
    "Scribble": ("add_path", "Draw a line along the object; Enter ends it"),
    "Outline": ("add_polygon_lasso", "Draw roughly around the object; the mask is refined from it"),
}


class PromptBox(QWidget):
    """Tools, the sign of clicks, and the keys for what comes after.

    Attributes
    ----------
    kept, discarded : Signal
        Emitted when the mask is to be kept, or the prompts thrown away.
    overwrite_changed : Signal
        Emitted with whether pixels of other labels may be taken.
    several_changed : Signal
        Emitted with whether each click and each shape is an object of its own.
    hover_changed : Signal
        Emitted with whether the mask under the cursor is to be shown before a click.
    """

    kept = Signal()
    discarded = Signal()
    overwrite_changed = Signal(bool)
    hover_changed = Signal(bool)
    several_changed = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._binding: Binding | None = None
        self._clicked: Points | None = None
        self._negative = False
        self._tools = QButtonGroup(self)
        self._sign = QPushButton()
        self._sign.setToolTip(
            "Whether the next click lies on the object or off it. Key: N. Shift+click does the other."
        )
        self._keep = QPushButton("Keep  (K)")
        self._keep.setToolTip("Paint the mask as a new label into the Labels layer")
        self._discard = QPushButton("Start anew  (Q)")
        self._discard.setToolTip("Forget the clicks and shapes on this slice; labels stay")
        self._overwrite = QCheckBox("Take pixels of other labels")
        self._overwrite.setToolTip("Off: a kept mask only fills what no other label has")
        self._several = QCheckBox("Each click or box is an object")
        self._several.setToolTip("Off: all clicks and shapes on a slice describe one object. On: K keeps all of them")
        self._hover = QCheckBox("Show what a click would give  (H)")
        self._hover.setToolTip("Draws the mask under the cursor lightly, before you click")
        self._hover.setChecked(True)
        self._lay_out()
        self._sign.clicked.connect(self.toggle_sign)
        self._keep.clicked.connect(self.kept)
        self._discard.clicked.connect(self.discarded)
        self._overwrite.toggled.connect(self.overwrite_changed)
        self._hover.toggled.connect(self.hover_changed)
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

    def choose(self, *, hover: bool, overwrite: bool) -> None:
        """Set the switches to what was chosen last time."""
        self._hover.setChecked(hover)
        self._overwrite.setChecked(overwrite)

    @property
    def several(self) -> bool:
        """Whether each click and each shape is an object of its own."""
        return self._several.isChecked()

    @property
    def overwrite(self) -> bool:
        """Whether pixels of other labels may be taken."""
        return self._overwrite.isChecked()

    def toggle_hover(self) -> None:
        """Switch the hint under the cursor on or off."""
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
        self._binding = binding
        self.setEnabled(binding is not None)
        if binding is not None:
            self.take("Points")

    def take(self, tool: str) -> None:
        """Choose one of ``TOOLS``: its layer becomes active and its mode is switched on."""
        if self._binding is None:
            return
        self._check(tool)
        if tool == "Brush":
            self._binding.ready_to_paint(erase=self._negative)
            return
        self._binding.ensure_layers()
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
        self._show_sign()

    def _check(self, tool: str) -> None:
        for button in self._tools.buttons():
            button.setChecked(button.text() == tool)

    def _let_go(self) -> None:
        """Leave the Points layer that was clicked into as it was found."""
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
        if self._binding is not None and self._binding.painting:
            self._binding.ready_to_paint(erase=negative)

    def set_keepable(self, keepable: bool) -> None:
        """Whether there is a mask to keep."""
        self._keep.setEnabled(keepable)

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
        """Runs at the press; the point itself comes into being at the release."""
        self._set_default(self._negative != ("Shift" in event.modifiers))
