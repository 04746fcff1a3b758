"""Choice among the masks of a click, which may mean a part, an object, or a group."""

from __future__ import annotations

import math

import numpy as np
from qtpy.QtCore import QEvent, Signal
from qtpy.QtWidgets import QButtonGroup, QGridLayout, QLabel, QPushButton, QWidget

from napari_segany.core.masks import Mask
from napari_segany.session.session import Session


class CandidateButton(QPushButton):
    """A button for a mask; its pixels are counted when its tooltip is shown, which takes a while in large planes."""

    def __init__(self) -> None:
        super().__init__()
        self.setCheckable(True)
        self._mask: Mask | None = None

    def stand_for(self, mask: Mask | None) -> None:
        """Stand for a mask; for none, it is hidden."""
        self._mask = mask
        self.setVisible(mask is not None)
        if mask is not None:
            self.setText(shown_score(mask.score))

    def event(self, event: QEvent) -> bool:
        """See Qt: the text of the tooltip is computed when it is shown."""
        if event.type() == QEvent.Type.ToolTip and self._mask is not None:
            self.setToolTip(candidate_tooltip(self._mask))
        return bool(super().event(event))


def shown_score(score: float) -> str:
    """A predicted IoU from 0 to 1; the model's value may be slightly outside."""
    return "–" if math.isnan(score) else f"{min(max(score, 0.0), 1.0):.2f}"


def candidate_tooltip(mask: Mask) -> str:
    """What there is to know of a candidate."""
    stable = "" if math.isnan(mask.stability) else f", stability {mask.stability:.2f}"
    return f"{np.count_nonzero(mask.pixels)} pixels, predicted IoU {shown_score(mask.score)}{stable}"


class CandidatePanel(QWidget):
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
        layout.addWidget(QLabel("Candidate masks  (J: the next)"), 0, 0, 1, 3)
        self._group = QButtonGroup(self)
        self._buttons = [CandidateButton() for _ in range(3)]
        for number, button in enumerate(self._buttons):
            self._group.addButton(button, number)
            layout.addWidget(button, 1, number)
        self._group.idClicked.connect(self.chosen)
        self.hide()

    def show_choice(self, session: Session | None) -> None:
        """Offer the masks of the current result; None where there is none."""
        masks = session.result.masks if session is not None and session.result is not None else ()
        self.setVisible(len(masks) > 1)
        for number, button in enumerate(self._buttons):
            button.stand_for(masks[number] if number < len(masks) else None)
            button.setChecked(session is not None and number == session.choice)
