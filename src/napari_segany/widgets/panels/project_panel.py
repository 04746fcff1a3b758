"""The images of a project: which one is open, which are done, and the way to the others."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, QStringListModel, Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QPushButton,
    QSizePolicy,
    QToolButton,
)

from napari_segany.batch.project import ACCEPTED, DONE, FINISHED, REJECTED, UNCERTAIN, Project
from napari_segany.widgets.panels.menu_button import MenuButton
from napari_segany.widgets.panels.run_panel import RunPanel

LETTERS = 10
"""How much of the name of an image is shown at least."""
SIGNS = {UNCERTAIN: "? ", DONE: "✓ ", ACCEPTED: "✓✓ ", REJECTED: "✗ "}
"""Stand before the names of images of a state."""
SEGMENT_TIP = "Find all objects, those of a text, or those like the objects of this image, in many images at once"
LIST_TIP = "All images with their states and what was found in them, in any order; ticks for what is done with several"
MARKS = {"Uncertain": UNCERTAIN, "Accepted": ACCEPTED, "Rejected": REJECTED, "Done": DONE, "No state": ""}


class ProjectPanel(RunPanel):
    """A line of buttons: a folder to open, or the images of the one that is open.

    Attributes
    ----------
    folder_chosen : Signal
        Emitted with the path of a folder whose images are to be worked on.
    stepped : Signal
        Emitted with 1 for the next image that is not done, with -1 for the previous image.
    chosen : Signal
        Emitted with the name of an image that is to be opened.
    done_changed : Signal
        Emitted with True or False when the image that is open is done, or not.
    marked : Signal
        Emitted with the state that the image that is open is to have.
    batch_wanted : Signal
        Emitted without arguments when images are to be segmented.
    list_wanted : Signal
        Emitted without arguments when all images are to be listed.
    """

    folder_chosen = Signal(str)
    stepped = Signal(int)
    chosen = Signal(str)
    done_changed = Signal(bool)
    marked = Signal(str)
    batch_wanted = Signal()
    list_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("Segment all images")
        # the work is started from a menu
        self._start.setParent(self)
        self._start.hide()
        self._names: tuple[str, ...] = ()
        self._open = QPushButton("Open a folder of images…")
        self._open.setToolTip(
            "Work on all images of a folder, one after the other. No image is changed; "
            "the folder gets segany-project.json and segany-sessions."
        )
        self._open.clicked.connect(self._choose_folder)
        self._previous = self._arrow("◀", "The image before this one. Key: PageUp", -1)
        self._next = self._arrow("▶", "The next image that is not done. Key: PageDown", 1)
        self._images = QComboBox()
        self._texts, self._shown = QStringListModel(self), list[str]()
        self._images.setModel(self._texts)
        self._images.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._images.setMinimumContentsLength(LETTERS)
        self._images.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._images.activated.connect(self._choose)
        self._done = QCheckBox("Done")
        self._done.setToolTip("This image is finished. Key: Shift+PageDown, which also opens the next one")
        self._done.clicked.connect(self.done_changed)
        self._menu = MenuButton("⋯", "More for this folder")
        self._fill_menu()
        self.setAcceptDrops(True)
        self._lay_out()
        self.show_idle("")
        self.show_project(None, "")

    def _fill_menu(self) -> None:
        menu = self._menu.menu()
        menu.addAction("List of images…", self.list_wanted.emit).setToolTip(LIST_TIP)
        self._work = menu.addAction("Segment images…", self.batch_wanted.emit)
        self._work.setToolTip(SEGMENT_TIP)
        marks = menu.addMenu("Mark this image")
        for text, state in MARKS.items():
            marks.addAction(text, partial(self.marked.emit, state))
        menu.addAction("Open another folder…", self._choose_folder)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take a folder that is dropped on the line."""
        if _dropped_folder(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the folder that was dropped."""
        self.folder_chosen.emit(_dropped_folder(event))
        event.acceptProposedAction()

    def _arrow(self, text: str, tip: str, step: int) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setToolTip(tip)
        button.setProperty("step", step)
        button.clicked.connect(self._go)
        return button

    def _lay_out(self) -> None:
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._open, 0, 0, 1, 5)
        for column, part in enumerate((self._previous, self._images, self._next, self._done, self._menu)):
            layout.addWidget(part, 1, column)
        layout.setColumnStretch(1, 1)
        layout.addWidget(self._bar, 2, 0, 1, 4)
        layout.addWidget(self._stop, 2, 4)
        layout.addWidget(self._result, 3, 0, 1, 5)

    def show_project(self, project: Project | None, current: str) -> None:
        """Show the images of a project, the current one of which is open; None where no project is."""
        names, done = ((), frozenset()) if project is None else (project.names, project.done)
        state = "" if project is None else project.state_of(current)
        texts = [] if project is None else [SIGNS.get(project.state_of(name), "") + name for name in names]
        self._open.setVisible(not names)
        for part in (self._previous, self._images, self._next, self._done, self._menu):
            part.setVisible(bool(names))
        with QSignalBlocker(self._images):
            if tuple(names) != self._names:
                self._names = tuple(names)
                self._texts.setStringList(texts)
                self._shown = texts
            for position, (text, before) in enumerate(zip(texts, self._shown, strict=False)):
                if text != before:
                    self._texts.setData(self._texts.index(position), text)
            self._shown = texts
            self._images.setCurrentIndex(self._names.index(current) if current in self._names else -1)
        self._images.setToolTip(f"{len(done)} of {len(names)} images are finished")
        self._done.setText(state.capitalize() if state in FINISHED else "Done")
        self._done.setChecked(current in done)
        self._done.setEnabled(current in self._names)
        self._previous.setEnabled(current not in self._names[:1])
        self._next.setEnabled(any(name not in done for name in names if name != current))

    def show_progress(self, stage: str, done: int, total: int, seconds_left: float | None) -> None:
        """Show where the work is."""
        super().show_progress(stage, done, total, seconds_left)
        self._stop.show()
        self._offer_work()

    def show_idle(self, result: str) -> None:
        """Show the result; no work runs any more."""
        super().show_idle(result)
        self._stop.hide()
        self._offer_work()

    def set_ready(self, ready: bool) -> None:
        """Tell whether the work could start."""
        super().set_ready(ready)
        self._offer_work()

    def _offer_work(self) -> None:
        self._work.setEnabled(self._start.isEnabled())

    def _go(self) -> None:
        self.stepped.emit(self.sender().property("step"))

    def _choose(self, position: int) -> None:
        if 0 <= position < len(self._names):
            self.chosen.emit(self._names[position])

    def _choose_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of images")
        if chosen:
            self.folder_chosen.emit(chosen)


def _dropped_folder(event: QDropEvent) -> str:
    """The folder that is dragged; empty where it is anything else."""
    urls = event.mimeData().urls()
    path = urls[0].toLocalFile() if len(urls) == 1 else ""
    return path if path and Path(path).is_dir() else ""
