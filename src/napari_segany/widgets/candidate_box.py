"""Which of the masks is meant, when one click may mean a part, the object, or the whole."""

from __future__ import annotations

import math

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QGridLayout, QLabel, QPushButton, QWidget

from napari_segany.session.session import Session


class CandidateBox(QWidget):
    """A button for each candidate mask; hidden while there is no choice.

    Attributes
    ----------
    chosen : Signal
        Emitted with the number of the mask, from 0.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("Which of these?  (J: the next)"), 0, 0, 1, 3)
        self._group = QButtonGroup(self)
        for number in range(3):
            button = QPushButton()
            button.setCheckable(True)
            self._group.addButton(button, number)
            layout.addWidget(button, 1, number)
        self._group.idClicked.connect(self.chosen)
        self.hide()

    def show_choice(self, session: Session) -> None:
        """Offer the masks of the answer that is shown."""
        masks = session.result.masks if session.result is not None else ()
        self.setVisible(len(masks) > 1)
        for number, button in enumerate(self._group.buttons()):
            button.setVisible(number < len(masks))
            if number < len(masks):
                mask = masks[number]
                stable = "" if math.isnan(mask.stability) else f", stability {mask.stability:.2f}"
                button.setText(f"{mask.score:.2f}")
                button.setToolTip(f"{np.count_nonzero(mask.pixels)} pixels, predicted IoU {mask.score:.2f}{stable}")
                button.setChecked(number == session.choice)
