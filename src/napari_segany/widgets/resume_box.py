"""Offers to go on with a session that was not ended."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from napari_segany.session.recovery import Recovered


class ResumeBox(QWidget):
    """A line about an earlier session and a button, shown only while there is one to offer.

    Attributes
    ----------
    resumed : Signal
        Emitted with the :class:`Recovered` that is to be gone on with.
    """

    resumed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._found: Recovered | None = None
        self._text = QLabel()
        self._text.setWordWrap(True)
        self.button = QPushButton("Resume")
        self.button.setToolTip("Put its labels and prompts into layers of their own, and go on")
        self.button.clicked.connect(self._resume)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._text, 1)
        row.addWidget(self.button)
        self.hide()

    def offer(self, found: Recovered) -> None:
        """Say what there is."""
        self._found = found
        objects = 0 if found.labels is None else len(np.unique(found.labels[found.labels != 0]))
        prompts = len(found.marks("points")) + len(found.marks("shapes"))
        self._text.setText(
            f"A session on this image was not ended; it has {objects} objects and {prompts} prompts. "
            f"{found.journal.warning}".strip()
        )
        self.show()

    def withdraw(self) -> None:
        """Offer nothing any more."""
        self._found = None
        self.hide()

    def _resume(self) -> None:
        found = self._found
        self.withdraw()
        if found is not None:
            self.resumed.emit(found)
