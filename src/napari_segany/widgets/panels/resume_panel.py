"""Offers to continue earlier sessions of an image."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QWidget

from napari_segany.engine.autosave import EarlierSession, SavedSession
from napari_segany.session.recovery import Recovered
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.panels.menu_button import MenuButton


class ResumePanel(QWidget):
    """A line about the last session of the image, with buttons, shown only while there is one to offer.

    Attributes
    ----------
    resumed : Signal
        Emitted with the :class:`Recovered` that is to be continued.
    dismissed : Signal
        Emitted with the :class:`Recovered` that is not.
    chosen : Signal
        Emitted with the path of an older session that is to be continued.
    """

    resumed = Signal(object)
    dismissed = Signal(object)
    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._found: Recovered | None = None
        self._text = QLabel()
        self._text.setWordWrap(True)
        self.button = QPushButton("Continue")
        self.button.setToolTip("Put its labels, names and prompts into layers, and continue with its undo history")
        self.button.clicked.connect(self._resume)
        self.new = QPushButton("Start new")
        self.new.setToolTip("Begin a new session. The earlier one stays in the menu Older.")
        self.new.clicked.connect(self._dismiss)
        self.older = MenuButton("Older", "The last sessions of this image")
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._text, 0, 0, 1, 3)
        for place, button in enumerate((self.button, self.new, self.older)):
            layout.addWidget(button, 1, place)
        self.hide()

    @property
    def text(self) -> str:
        """What is offered."""
        return self._text.text()

    def offer(self, earlier: EarlierSession) -> None:
        """Show what there is, if there is anything."""
        self._found = earlier.offered
        for button in (self.button, self.new):
            button.setVisible(self._found is not None)
        menu = self.older.menu()
        menu.clear()
        for session in earlier.sessions:
            menu.addAction(summary(session), partial(self._choose, session.path))
        self.older.setVisible(bool(earlier.sessions))
        offered = next((one for one in earlier.sessions if self._found and one.path == self._found.path), None)
        self._text.setText(
            f"Unfinished session: {summary(offered)}" if offered else "There are earlier sessions of this image."
        )
        self.setVisible(bool(self._found or earlier.sessions))

    def withdraw(self) -> None:
        """Offer nothing any more."""
        self._found = None
        self.hide()

    def _resume(self) -> None:
        found = self._found
        self.withdraw()
        if found is not None:
            self.resumed.emit(found)

    def _dismiss(self) -> None:
        found = self._found
        self.withdraw()
        if found is not None:
            self.dismissed.emit(found)

    def _choose(self, path: Path, _checked: bool = False) -> None:
        self.withdraw()
        self.chosen.emit(path)


def summary(session: SavedSession, now: datetime | None = None) -> str:
    """A session in a few words: "20 objects, yesterday 17:40"."""
    counts = [count_of(session.objects, "object")]
    if session.prompts:
        counts.append(count_of(session.prompts, "open prompt"))
    words = ", ".join([*counts, _day(session.when, now or datetime.now(session.when.tzinfo))])
    words += "" if session.saved else ", not saved"
    return f"{words}. {session.problem}" if session.problem else words


def _day(when: datetime, now: datetime) -> str:
    if when.date() == now.date():
        return f"today {when:%H:%M}"
    if when.date() == (now - timedelta(days=1)).date():
        return f"yesterday {when:%H:%M}"
    return f"{when:%Y-%m-%d %H:%M}"
