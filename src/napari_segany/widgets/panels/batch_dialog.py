"""What a batch run over a project is to find, and in which images."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QLineEdit,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

ALL, TEXT, LIKE = KINDS = ("all objects", "objects of a text", "objects like those of this image")


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What to find in which images.

    Parameters
    ----------
    kind : str
        ``ALL``, ``TEXT`` or ``LIKE``.
    text : str
        Of ``TEXT``, names separated by ``;``.
    names : tuple of str
        File names of the images.
    """

    kind: str
    text: str
    names: tuple[str, ...]


class BatchDialog(QDialog):
    """Asks what to find, and where.

    Parameters
    ----------
    parent : QWidget
        Owns the dialog.
    groups : dict of str to tuple of str
        Names of images by what is written next to them; the last group that has some is chosen.
    model : str
        Name of the model that is used.
    objects : int
        How many objects of the open image could be examples.
    """

    def __init__(self, parent: QWidget, groups: dict[str, tuple[str, ...]], model: str, objects: int) -> None:
        super().__init__(parent)
        self.setWindowTitle("Segment images")
        self._groups = groups
        self._kinds, self._images = QButtonGroup(self), QButtonGroup(self)
        self._text = QLineEdit()
        self._text.setPlaceholderText("Names, as nucleus; large cell")
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel(f"Find, with the model {model},"))
        for number, kind in enumerate(KINDS):
            button = QRadioButton(kind)
            self._kinds.addButton(button, number)
            layout.addWidget(button)
            if kind == TEXT:
                layout.addWidget(self._text)
        like = self._kinds.button(2)
        like.setEnabled(bool(objects))
        like.setToolTip(
            f"The {objects} objects of the open image are the examples" if objects else "Keep some objects first"
        )
        self._kinds.button(0).setChecked(True)
        layout.addWidget(QLabel("in"))
        for title, names in groups.items():
            button = QRadioButton(f"{title} ({len(names)})")
            button.setProperty("group", title)
            button.setEnabled(bool(names))
            button.setChecked(bool(names))
            self._images.addButton(button)
            layout.addWidget(button)
        note = QLabel(
            "Images that have results of the same kind keep them. Results lie in the folder segany-labels, and are "
            "opened with their images, marked automatic."
        )
        note.setWordWrap(True)
        layout.addWidget(note)
        self._buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel, Qt.Orientation.Horizontal
        )
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setText("Start")
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        layout.addWidget(self._buttons)
        self._text.textEdited.connect(self._choose_text)
        self._kinds.buttonToggled.connect(self._allow)
        self._images.buttonToggled.connect(self._allow)
        self._allow()

    @property
    def request(self) -> BatchRequest:
        """What was chosen."""
        kind, group = KINDS[self._kinds.checkedId()], self._images.checkedButton()
        names = () if group is None else self._groups[group.property("group")]
        return BatchRequest(kind, self._text.text().strip() if kind == TEXT else "", names)

    def choose(self, kind: str, text: str = "") -> None:
        """Choose what to find."""
        self._kinds.button(KINDS.index(kind)).setChecked(True)
        self._text.setText(text)
        self._allow()

    def _choose_text(self) -> None:
        self._kinds.button(1).setChecked(True)
        self._allow()

    def _allow(self) -> None:
        request = self.request
        ready = bool(request.names) and (request.kind != TEXT or bool(request.text))
        self._buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(ready)
