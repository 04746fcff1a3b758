"""The dock widget: makes panels and controllers, and owns the session and the worker."""

from __future__ import annotations

from collections.abc import Callable

from napari.components import ViewerModel
from napari.utils.notifications import show_error
from napari.viewer import Viewer
from psygnal import EmitLoopError
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_segany.core.errors import SeganyError
from napari_segany.core.segmenter import Segmenter
from napari_segany.engine.autosave import Autosave
from napari_segany.engine.prediction import MODEL, PredictionService
from napari_segany.engine.remote_segmenter import load_remote_default
from napari_segany.layers.binding import Binding
from napari_segany.layers.proxies import unwrapped
from napari_segany.models.registry import find
from napari_segany.session.session import Session
from napari_segany.widgets.actions import ACTIONS
from napari_segany.widgets.close_guard import CloseGuard
from napari_segany.widgets.controllers.autosave_signals import AutosaveSignals
from napari_segany.widgets.controllers.batch_controller import BatchController
from napari_segany.widgets.controllers.class_controller import ClassController
from napari_segany.widgets.controllers.clean_up_controller import CleanUpController
from napari_segany.widgets.controllers.commit_controller import CommitController
from napari_segany.widgets.controllers.edge_controller import EdgeController
from napari_segany.widgets.controllers.effort_controller import EffortController
from napari_segany.widgets.controllers.exemplar_controller import ExemplarController
from napari_segany.widgets.controllers.folder_controller import FolderController
from napari_segany.widgets.controllers.hover_preview import HoverPreview
from napari_segany.widgets.controllers.image_controller import WELCOME, ImageController
from napari_segany.widgets.controllers.key_controller import KeyController
from napari_segany.widgets.controllers.large_image_controller import LargeImageController
from napari_segany.widgets.controllers.layer_controller import LayerController
from napari_segany.widgets.controllers.learning_controller import LearningController
from napari_segany.widgets.controllers.pending_controller import PendingController, PendingPanels
from napari_segany.widgets.controllers.prediction_controller import PredictionController
from napari_segany.widgets.controllers.project_controller import ProjectController
from napari_segany.widgets.controllers.propagation_controller import PropagationController
from napari_segany.widgets.controllers.ranking_controller import RankingController
from napari_segany.widgets.controllers.refine_controller import RefineController
from napari_segany.widgets.controllers.region_controller import RegionController
from napari_segany.widgets.controllers.resume_controller import ResumeController
from napari_segany.widgets.controllers.review_controller import ReviewController
from napari_segany.widgets.controllers.search_controller import SearchController
from napari_segany.widgets.controllers.settings_controller import SettingsController
from napari_segany.widgets.controllers.suggestion_controller import SuggestionController
from napari_segany.widgets.controllers.track_layers import TrackLayers
from napari_segany.widgets.focus import focus_canvas, return_focus
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.measurements_dock import MeasurementsDock
from napari_segany.widgets.paint_pause import PaintPause
from napari_segany.widgets.panels.automatic_masks_panel import AutomaticMasksPanel
from napari_segany.widgets.panels.candidate_panel import CandidatePanel
from napari_segany.widgets.panels.classes_panel import ClassesPanel
from napari_segany.widgets.panels.clean_up_panel import CleanUpPanel
from napari_segany.widgets.panels.contrast_panel import ContrastPanel
from napari_segany.widgets.panels.export_panel import ExportPanel
from napari_segany.widgets.panels.first_steps import FirstSteps
from napari_segany.widgets.panels.help_button import HelpButton
from napari_segany.widgets.panels.learn_panel import LearnPanel
from napari_segany.widgets.panels.model_panel import ModelPanel
from napari_segany.widgets.panels.objects_panel import ObjectsPanel
from napari_segany.widgets.panels.project_panel import ProjectPanel
from napari_segany.widgets.panels.prompt_panel import PromptPanel
from napari_segany.widgets.panels.refine_panel import RefinePanel
from napari_segany.widgets.panels.resume_panel import ResumePanel
from napari_segany.widgets.panels.stack_panel import StackPanel
from napari_segany.widgets.panels.status_panel import StatusPanel
from napari_segany.widgets.panels.tabs import Tab, Tabs
from napari_segany.widgets.qt_versions import warning_of_versions
from napari_segany.widgets.settings import Settings
from napari_segany.widgets.wiring import connect_parts


class SeganyWidget(QWidget):
    """Segments the image that is chosen in it, by clicks, boxes and scribbles.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Given by napari.
    load : callable, optional
        Makes the segmenter when it is first needed, in the worker thread.
    """

    def __init__(self, napari_viewer: Viewer, load: Callable[[], Segmenter] = load_remote_default) -> None:
        super().__init__()
        self._closed = False
        self.viewer: ViewerModel = unwrapped(napari_viewer)
        self.session = Session()
        self.answers = answers = PredictionService(load)
        # the writer of the file must not own the widget
        self.keeper = Autosave(self.session, lambda: answers.name)
        self.settings = Settings()
        # what was prompted is on the disk before its prediction is shown
        self.jobs = Jobs(self, before_delivery=self.keeper.flush)
        self._make_panels()
        self._make_controllers()
        self._lay_out()
        connect_parts(self)
        return_focus(self, self.focus_canvas)
        self.layers.choose_first_image()
        self.choices.restore()

    def _make_panels(self) -> None:
        self.model_box = ModelPanel(MODEL)
        self.prompt_box: PromptPanel = PromptPanel()
        self.candidate_box = CandidatePanel()
        self.everything_box = AutomaticMasksPanel()
        self.objects_box: ObjectsPanel = ObjectsPanel(self.viewer)
        self.classes_box = ClassesPanel()
        self.export_box = ExportPanel(self.jobs)
        self.picture_box = ContrastPanel(self.jobs)
        self.stack_box = StackPanel()
        self.refine_box = RefinePanel()
        self.clean_up_box = CleanUpPanel()
        self.learn_box = LearnPanel()
        self.status_box = StatusPanel(WELCOME)
        self.resume_box = ResumePanel()
        self.project_box = ProjectPanel()
        self.first_steps = FirstSteps()

    def _make_controllers(self) -> None:
        answers = self.answers
        self._pause = PaintPause(self)
        self.autosaving = AutosaveSignals(self.keeper, self)
        self.layers = LayerController(self.viewer, self.model_box, self.prompt_box, self.objects_box, self.export_box)
        self.layer_box = self.layers.box
        self.finder: SearchController = SearchController(self.everything_box, self.jobs, self.answers)
        self.exemplars: ExemplarController = ExemplarController(
            self.session, self.finder, self.everything_box, self.jobs, self.answers, self.objects_box.confirmed
        )
        self.edges: EdgeController = EdgeController(self.viewer, self.everything_box, self.jobs, self.answers)
        self.follower: PropagationController = PropagationController(
            self.stack_box, self.jobs, self.answers, self.exemplars.query_maker
        )
        self.refining: RefineController = RefineController(self.viewer, self.refine_box, self.jobs, self.answers)
        self.cleaning: CleanUpController = CleanUpController(self.clean_up_box, self.objects_box, self.jobs)
        self.tracks = TrackLayers(self.viewer, self.jobs)
        self.measurements = MeasurementsDock(self.viewer, self)
        self.large = LargeImageController(self.viewer, self)
        self.answering = PredictionController(self.session, self.jobs, self.answers, self._pause)
        self.learning = LearningController(self.learn_box, self.objects_box, self.jobs, find(MODEL))
        self.reviewing = ReviewController(self.objects_box)
        self.classes = ClassController(self.viewer, self.classes_box, self.objects_box)
        self.suggesting = SuggestionController(
            self.classes_box, self.objects_box, self.classes.classify, self.jobs, self.answers
        )
        self.ranking = RankingController(self.session, self.answers, self.objects_box.confirmed, self)
        panels = PendingPanels(self.prompt_box, self.everything_box, self.candidate_box, self.status_box)
        self.pending = PendingController(self.session, self.finder, panels, self)
        self.hover = HoverPreview(self.viewer, self.jobs, self.answers, self.pending.begins)
        self.committing: CommitController = CommitController(
            self.session, self.pending, self.finder, self.prompt_box, self.objects_box
        )
        self.resuming = ResumeController(self.keeper, self.jobs, self.resume_box, self.objects_box, self.layers)
        self.effort = EffortController(self.learn_box.effort, self.resuming.lookups)
        self.project: ProjectController = ProjectController(
            self.viewer,
            self.project_box,
            self.keeper,
            self.layers,
            self.resuming,
        )
        self.batch: BatchController = BatchController(
            self.project, self.project_box, self.objects_box, lambda: answers.name
        )
        self.folder = FolderController(self.learn_box.folder, self.keeper.flush, self.resuming.lookups)
        self.images = ImageController(self.viewer, self.session, self.keeper, self.large, self.layers)
        self.regions: RegionController = RegionController(self.large, self.layers)
        self.images.parts = (
            *(self.layers, self.pending, self.committing, self.resuming),
            *(self.answering, self.ranking, self.learning, self.hover, self.finder, self.exemplars, self.follower),
            *(self.edges, self.refining, self.cleaning, self.folder, self.batch, self.project),
            *(self.classes, self.suggesting, self.prompt_box, self.picture_box, self.large),
        )
        self.choices = SettingsController(
            self.settings, self.prompt_box, self.export_box, self.everything_box, self.model_box, self.answering
        )
        self.choices.remember_first_steps(self.first_steps)
        self.keys: KeyController = KeyController(self.viewer, self.act, self)
        self._guard = CloseGuard(self, self.jobs, self.autosaving)
        self._guard.window_changed.connect(self.hover.watch)

    def _lay_out(self) -> None:
        tabs = (
            Tab(
                "One", "One object after the other, by clicks, boxes and strokes", (self.prompt_box, self.candidate_box)
            ),
            Tab("All", "All objects of this slice", (self.everything_box,)),
            Tab("Stack", "The objects of this slice on the other slices", (self.stack_box,)),
            Tab(
                "Refine",
                "Labels of Cellpose, StarDist or by hand, drawn again or cleaned up",
                (self.clean_up_box, self.refine_box),
                grows=True,
            ),
            Tab("Picture", "The picture as the model gets it", (self.picture_box,)),
            Tab("Learn", "Train a model on your objects", (self.learn_box,), grows=True),
            Tab("Objects", "Table of your objects", (self.objects_box, self.classes_box), grows=True),
            Tab("Export", "Write objects to files", (self.export_box,)),
        )
        self.tabs: Tabs = Tabs(tabs, corner=HelpButton(self.keys.toggle_sheet))
        versions = QLabel(warning_of_versions())
        versions.setWordWrap(True)
        versions.setVisible(bool(versions.text()))
        layout = QVBoxLayout(self)
        for part in (self.first_steps, self.project_box, self.resume_box, versions, self.layer_box):
            layout.addWidget(part)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.status_box)

    @property
    def binding(self) -> Binding | None:
        """The layers of the image that is open; None while there is none."""
        return self.images.binding

    def act(self, name: str) -> None:
        """Do one of ``ACTIONS``; what cannot be done is one line.

        Parameters
        ----------
        name : str
            Of the action.
        """
        try:
            ACTIONS[name].run(self)
        except (SeganyError, EmitLoopError) as error:
            self.show_failure(error)

    def keep(self) -> None:
        """Keep what is offered: the mask as a new label, or everything that was found."""
        self.committing.keep()

    def discard(self) -> None:
        """Forget the clicks and shapes on this plane, or what was found there."""
        self.committing.discard()

    def find_everything(self) -> None:
        """Search for all objects on the current plane."""
        self.tabs.show_box(self.everything_box)
        self.finder.find()

    def find_like(self) -> None:
        """Search the current plane for objects like the committed ones."""
        self.tabs.show_box(self.everything_box)
        self.exemplars.find()

    def reject_found(self) -> None:
        """Reject the found object under the cursor."""
        self.exemplars.reject(tuple(self.viewer.cursor.position))

    def follow(self) -> None:
        """Track the objects of this slice through the other slices."""
        self.tabs.show_box(self.stack_box)
        self.hover.stop()
        self.follower.follow()
        # a layer may have been made for what is to be found
        self.layers.show()

    def refine(self) -> None:
        """Draw the objects of a Labels layer again."""
        self.tabs.show_box(self.refine_box)
        self.hover.stop()
        self.refining.refine()

    def show_tracks(self) -> None:
        """Show the way of each object through the slices or through time."""
        labels = self.binding.labels if self.binding is not None else None
        self.tracks.show(labels, self.status_box.say, self.show_failure)

    def focus_canvas(self, _: object = None) -> None:
        """Give the keyboard back to the canvas."""
        focus_canvas(self)

    def show_failure(self, error: Exception) -> None:
        """Show the line of an error of ours; raise any other."""
        error = behind(error)
        if not isinstance(error, SeganyError):
            # a defect of ours: napari shows it with its traceback
            raise error from None
        self.status_box.warn(str(error))
        show_error(str(error))

    def cancel(self) -> None:
        """Stop the work that runs, and drop what it was for."""
        self.jobs.cancel_all()
        self.export_box.stop()
        self.follower.stop()
        self.refining.stop()
        self.model_box.revert()
        self.pending.unqueue()
        self.session.discard()
        self.status_box.say("Cancelled. Click again to continue.")

    def event(self, event: QEvent) -> bool:
        """End the session when napari takes the widget out of its dock, which it does when the dock is closed."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.close_session()
        return super().event(event)

    def close_session(self) -> None:
        """Take our layers and keys away and end the worker; labels stay. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._guard.end()
        self._pause.end()
        self.images.release()
        self.large.close()
        self.keeper.disconnect()
        self.hover.close()
        self.learning.stop()
        self.folder.stop()
        self.batch.stop()
        self.refining.close()
        self.classes.close()
        self.jobs.run(self.answers.close, done=lambda _: None, failed=self.show_failure)
        self.jobs.end()
        self.resuming.lookups.close()
        self.keys.close()
        self.layers.close()


def behind(error: Exception) -> Exception:
    """The error itself, where a signal reports with all its emissions that a callback failed."""
    while isinstance(error, EmitLoopError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error
