"""Fine-tuning on committed objects: their number, progress, the result, and the models that were made so."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_segany.training.fine_tune_settings import FEWEST, expected_minutes
from napari_segany.training.held_out_examples import HeldOutExample
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.panels.effort_panel import EffortPanel
from napari_segany.widgets.panels.folder_panel import FolderPanel
from napari_segany.widgets.panels.generations_panel import GenerationsPanel
from napari_segany.widgets.panels.held_out_view import HeldOutView
from napari_segany.widgets.panels.run_panel import RunPanel


class LearnPanel(RunPanel):
    """Starts fine-tuning, shows its result, and offers the models that were made so.

    Attributes
    ----------
    started : Signal
        Emitted with the name of the new model, and whether all objects of the labelled planes are labelled.
    shown : Signal
        Emitted without arguments when the panel comes into sight.
    models : GenerationsPanel
        The models that were made so.
    examples : HeldOutView
        Held-out objects of the selected model.
    folder : FolderPanel
        The same on all images of a folder, and the objects of those that were not annotated.
    effort : EffortPanel
        What annotation cost with each model.
    """

    started = Signal(str, bool)
    shown = Signal()

    def __init__(self) -> None:
        super().__init__("Learn")
        self._masks = QLabel()
        self._masks.setWordWrap(True)
        self._name = QLineEdit("my-model")
        self._name.setToolTip("The name under which the model is listed")
        self._complete = QCheckBox("All objects of these slices are labelled")
        self._complete.setToolTip("On: the rest is background. Off: the rest is not used")
        self.models = GenerationsPanel()
        self.examples = HeldOutView()
        self.folder = FolderPanel()
        self.effort = EffortPanel()
        self._lay_out()
        self._start.clicked.connect(lambda: self.started.emit(self._name.text().strip(), self._complete.isChecked()))
        self.show_idle("")
        self.count(0)

    def _lay_out(self) -> None:
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._masks)
        for row in ((QLabel("Name"), self._name), (self._start, self._stop)):
            line = QHBoxLayout()
            for part in row:
                line.addWidget(part)
            layout.addLayout(line)
        of_models = (self.models, self.examples, self.models.facts)
        for box in (self._complete, self._bar, self._result, *of_models, self.folder, self.effort):
            layout.addWidget(box)
        layout.addStretch()
        scrolled = QScrollArea()
        scrolled.setWidget(page)
        scrolled.setWidgetResizable(True)
        scrolled.setFrameShape(QFrame.Shape.NoFrame)
        scrolled.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled)

    def showEvent(self, event: QShowEvent) -> None:
        """Request the number of objects."""
        super().showEvent(event)
        self.shown.emit()

    def count(self, masks: int, unconfirmed: int = 0) -> None:
        """Show how many committed objects there are to learn from.

        Parameters
        ----------
        masks : int
            Objects that the user made, corrected or accepted.
        unconfirmed : int
            Others, such as automatic ones.
        """
        enough = masks > FEWEST
        if enough:
            minutes = expected_minutes(masks)
            text = f"{masks} objects; about {minutes:.0f} min. "
            text += "Some of them only measure whether the model got better."
        else:
            text = f"{masks} of the {FEWEST + 1} objects that are needed; keep some more, or correct some by hand."
        if unconfirmed:
            text += f" {count_of(unconfirmed, 'automatic object')} left out until accepted in the tab Objects."
        self._masks.setText(text)
        self.set_ready(enough)

    def show_tried(self, examples: Sequence[HeldOutExample]) -> None:
        """Show held-out objects of a model that was not kept."""
        self.examples.show_examples(examples, "with the model in use and with the one that was not kept")
