"""Held-out objects with the masks of one click, before and after fine-tuning, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_segany.training.held_out_examples import HeldOutExample

SIDE = 62
"""Pixels of a picture: two pairs stand next to each other in a panel of 300 pixels."""
PAIRS = 2
TRUTH, MASK = (255, 255, 255), (255, 140, 0)
"""Colours of the outline of the true mask, and of the model's mask; told apart also by those who see no red."""
COVER = 0.45
"""How much of the picture the model's mask covers."""


class HeldOutView(QWidget):
    """A grid of pairs, two in a row: with the model before, and with the new one; the IoU stands below each."""

    def __init__(self) -> None:
        super().__init__()
        self._title = QLabel()
        self._title.setWordWrap(True)
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(3)
        self._grid.setVerticalSpacing(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._title)
        layout.addLayout(self._grid)
        self.hide()

    def show_examples(self, examples: Sequence[HeldOutExample], what: str = "before and after") -> None:
        """Show pairs, from the worst gain to the best; the view is hidden where there are none.

        Parameters
        ----------
        examples : sequence of HeldOutExample
            From the worst gain to the best.
        what : str
            What the two pictures of a pair are.
        """
        while (item := self._grid.takeAt(0)) is not None:
            if (part := item.widget()) is not None:
                part.hide()
                part.deleteLater()
        for place, example in enumerate(examples):
            row, column = 2 * (place // PAIRS), 3 * (place % PAIRS)
            for after in (False, True):
                self._add(example, row, column + after, after=after)
        if len(examples) > 1:
            # a gap between the pairs
            self._grid.setColumnMinimumWidth(2, 8)
        self._grid.setColumnStretch(3 * PAIRS, 1)
        self._title.setText(
            f"Objects that were held out, one click, {what}; the worst gain first. White line: your mask, orange: "
            "the model's."
        )
        self.setVisible(bool(examples))

    def _add(self, example: HeldOutExample, row: int, column: int, *, after: bool) -> None:
        picture = QLabel()
        picture.setPixmap(_pixmap(drawn(example, after=after)))
        score, when = (example.after, "after") if after else (example.before, "before")
        text = QLabel(f"{score:.2f}")
        for part in (picture, text):
            part.setToolTip(f"IoU {score:.2f} {when}")
            part.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._grid.addWidget(picture, row, column)
        self._grid.addWidget(text, row + 1, column)


def drawn(example: HeldOutExample, *, after: bool) -> np.ndarray:
    """A crop (y, x, 3) uint8 with the outline of the true mask, and a model's mask.

    Parameters
    ----------
    example : HeldOutExample
        The object.
    after : bool
        Whether the mask is that of the new model.
    """
    picture, (truth, *masks) = example.image.astype(float), example.outlines
    mask = masks[after]
    picture[mask] = (1 - COVER) * picture[mask] + COVER * np.array(MASK)
    for shape, colour in ((mask, MASK), (truth, TRUTH)):
        picture[_edge(shape)] = colour
    return np.round(picture).astype(np.uint8)


def _edge(mask: np.ndarray) -> np.ndarray:
    """(y, x) bool, the pixels of a mask next to one that is none."""
    wide = np.pad(mask, 1, constant_values=True)
    inside = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return mask & ~inside


def _pixmap(picture: np.ndarray) -> QPixmap:
    height, width, _ = picture.shape
    data = np.ascontiguousarray(picture).tobytes()
    image = QImage(data, width, height, 3 * width, QImage.Format.Format_RGB888)
    smooth = Qt.TransformationMode.SmoothTransformation
    return QPixmap.fromImage(image.scaled(SIDE, SIDE, Qt.AspectRatioMode.KeepAspectRatio, smooth))
