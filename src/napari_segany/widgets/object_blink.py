"""An object blinks, so that it is found in the picture."""

from __future__ import annotations

import math
from weakref import ref

from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer

BLINK_MS = 350
"""How long an object is shown alone."""
LARGEST = 2**22
"""Pixels of a plane up to which it blinks: colouring larger ones again takes longer than the eye waits."""


class ObjectBlink(QObject):
    """Shows the selected object of a layer alone for a moment; the pixels stay as they are.

    Parameters
    ----------
    parent : QObject
        Owns this object.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._layer: ref[Labels] | None = None
        self._timer = QTimer(self, singleShot=True, interval=BLINK_MS)
        self._timer.timeout.connect(self.end)

    def begin(self, labels: Labels) -> None:
        """Have the selected object of a layer blink; nothing happens in large planes, or where it is shown alone."""
        self.end()
        shown = math.prod(labels.data.shape[-2:])
        if not labels.show_selected_label and shown <= LARGEST:
            self._layer = ref(labels)
            labels.show_selected_label = True
            self._timer.start()

    def end(self) -> None:
        """Show all objects again."""
        self._timer.stop()
        layer, self._layer = None if self._layer is None else self._layer(), None
        if layer is not None:
            layer.show_selected_label = False
