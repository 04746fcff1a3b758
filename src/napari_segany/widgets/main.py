"""The dock widget: composes the boxes, owns the session, its layers and the worker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from weakref import ref

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from napari.utils.notifications import show_error, show_warning
from napari.viewer import Viewer
from psygnal import EmitLoopError
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QLabel, QToolButton, QVBoxLayout, QWidget

from napari_segany.core.errors import SeganyError
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.planes import ChannelSettings, LazyArray
from napari_segany.core.segmenter import Segmenter
from napari_segany.engine.autosave import Autosave, EarlierSession, earlier_sessions
from napari_segany.engine.prediction import MODEL, PredictionService
from napari_segany.engine.remote_segmenter import load_remote_default
from napari_segany.layers.binding import Binding
from napari_segany.layers.feature_columns import known_text
from napari_segany.layers.output_layer import SLIVER
from napari_segany.layers.proxies import unwrapped
from napari_segany.layers.read import image_array
from napari_segany.layers.region import is_too_large
from napari_segany.layers.write import fits_shape
from napari_segany.models.registry import list_models
from napari_segany.session.plane_candidates import PlaneCandidates
from napari_segany.session.recovery import Recovered, recover
from napari_segany.session.session import Committed, SegmentRequest, Session
from napari_segany.widgets.actions import ACTIONS
from napari_segany.widgets.compat import warning_of_versions
from napari_segany.widgets.controllers.autosave_signals import AutosaveSignals
from napari_segany.widgets.controllers.hover_preview import HoverPreview
from napari_segany.widgets.controllers.large_image_controller import LargeImageController, OpenRegion
from napari_segany.widgets.controllers.pending_objects import PendingKind, PendingObjects, count_of
from napari_segany.widgets.controllers.prediction_controller import PredictionController
from napari_segany.widgets.controllers.propagation_controller import PropagationController
from napari_segany.widgets.controllers.search_controller import SearchController
from napari_segany.widgets.controllers.track_layers import TrackLayers
from napari_segany.widgets.focus import focus_canvas, return_focus
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.paint_pause import PaintPause
from napari_segany.widgets.panels.automatic_masks_panel import AutomaticMasksPanel
from napari_segany.widgets.panels.candidate_panel import CandidatePanel, shown_score
from napari_segany.widgets.panels.contrast_panel import ContrastPanel
from napari_segany.widgets.panels.export_panel import ExportPanel
from napari_segany.widgets.panels.key_sheet import KeySheet
from napari_segany.widgets.panels.layer_panel import LayerPanel
from napari_segany.widgets.panels.model_panel import ModelPanel
from napari_segany.widgets.panels.objects_panel import ObjectsPanel
from napari_segany.widgets.panels.prompt_panel import PromptPanel
from napari_segany.widgets.panels.resume_panel import ResumePanel
from napari_segany.widgets.panels.stack_panel import StackPanel
from napari_segany.widgets.panels.status_panel import StatusPanel
from napari_segany.widgets.panels.tabs import Tab, Tabs
from napari_segany.widgets.settings import Settings

WELCOME = "Open an image to begin: drop a file on the window, or choose File > Open Sample > Segment Anything."
LARGE = "This image is too large to paint all of it. Zoom in to where you want to work, and press the button above."
LABEL_FORMATS = ("tiff", "ome-zarr")
"""Formats of export that hold every pixel of the labels."""
READY = "Click an object. N switches between clicks on it and off it, K keeps the mask, Q clears the prompts."


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
        self.answers = PredictionService(load)
        self.keeper = Autosave(self.session, lambda: self.answers.name)
        self.binding: Binding | None = None
        self._kept: Committed | None = None
        self._latest = PendingKind.MASK
        self._queued = False
        self._done = ""
        self._found: PlaneCandidates | None = None
        self._opened: ref[Image] | None = None
        self._sheet: KeySheet | None = None
        self._problem = ""
        self.settings = Settings()
        # what was prompted is on the disk before its prediction is shown
        self.jobs = Jobs(self, before_delivery=self.keeper.flush)
        self.autosaving = AutosaveSignals(self.keeper, self)
        # all values of an image are read to know it again, which no click is to wait for
        self.lookups = Jobs(self)
        self.model_box = ModelPanel(MODEL)
        self.layer_box = LayerPanel(self._layers, self.model_box)
        self.prompt_box = PromptPanel()
        self.candidate_box = CandidatePanel()
        self.everything_box = AutomaticMasksPanel()
        self.objects_box = ObjectsPanel(self.viewer)
        self.export_box = ExportPanel(self.jobs)
        self.picture_box = ContrastPanel(self.jobs)
        self.stack_box = StackPanel()
        self.status_box = StatusPanel(WELCOME)
        self.resume_box = ResumePanel()
        self._versions = QLabel(warning_of_versions())
        self._versions.setWordWrap(True)
        self._versions.setVisible(bool(self._versions.text()))
        self._keys = QToolButton()
        self._keys.setText("?")
        self._keys.setToolTip("What the keys do. Key: /")
        self.finder = SearchController(self.everything_box, self.jobs, self.answers)
        self.follower = PropagationController(self.stack_box, self.jobs, self.answers, self.everything_box.query_maker)
        self.tracks = TrackLayers(self.viewer, self.jobs)
        self._pause = PaintPause(self)
        self.large = LargeImageController(self.viewer, self)
        self.answering = PredictionController(self.session, self.jobs, self.answers, self._pause)
        self.hover = HoverPreview(self.viewer, self.jobs, self.answers, self._begins)
        self._lay_out()
        self._connect()
        return_focus(self, self._to_picture)
        self._choose_first_image()
        self._restore()

    def _lay_out(self) -> None:
        one_by_one = (self.prompt_box, self.candidate_box)
        tabs = (
            Tab("One", "One object after the other, by clicks, boxes and strokes", one_by_one),
            Tab("All", "Everything that is on this slice", (self.everything_box,)),
            Tab("Stack", "The objects of this slice on the other slices", (self.stack_box,)),
            Tab("Picture", "What the model sees of the picture", (self.picture_box,)),
            Tab("Objects", "The objects that were kept", (self.objects_box,), grows=True),
            Tab("Export", "Objects to files", (self.export_box,)),
        )
        self.tabs = Tabs(tabs, corner=self._keys)
        layout = QVBoxLayout(self)
        layout.addWidget(self.resume_box)
        layout.addWidget(self._versions)
        layout.addWidget(self.layer_box)
        layout.addWidget(self.tabs)
        layout.addStretch()
        layout.addWidget(self.status_box)

    def _connect(self) -> None:
        self.layer_box.image.changed.connect(self._set_image)
        self.layer_box.labels.changed.connect(self._set_labels)
        self.layer_box.points.changed.connect(self._set_points)
        self.layer_box.shapes.changed.connect(self._set_shapes)
        self.layer_box.part_wanted.connect(self.work_here)
        self.viewer.layers.events.inserted.connect(self._refresh_choices)
        self.viewer.layers.events.removed.connect(self._refresh_choices)
        self.viewer.layers.events.renamed.connect(self._refresh_choices)
        self.viewer.layers.selection.events.active.connect(self._offer_layers)
        self.session.requested.connect(self._asked)
        self.session.preview_changed.connect(self._changed)
        self.finder.shown.connect(self._found_shown)
        self.session.committed.connect(self._remember)
        self.jobs.busy.connect(self.status_box.set_busy)
        self.status_box.cancelled.connect(self._cancel)
        self.model_box.chosen.connect(self.answering.load)
        self.answering.said.connect(self.status_box.say)
        self.answering.ready.connect(self._tell)
        self.answering.expected.connect(self.status_box.expect)
        self.answering.arrived.connect(self.status_box.set_progress)
        self.answering.loaded.connect(self._use)
        self.answering.refused.connect(self.model_box.revert)
        self.answering.failed.connect(self._failed)
        self.autosaving.problem.connect(show_warning)
        self.keeper.begun.connect(self.resume_box.withdraw)
        self.autosaving.caught_up.connect(self.status_box.say)
        self.resume_box.resumed.connect(self._resume)
        self.resume_box.dismissed.connect(self._dismiss)
        self.resume_box.chosen.connect(self._resume_file)
        self.objects_box.described.connect(self.session.tell)
        self.export_box.written.connect(self._exported)
        self.export_box.progress.connect(self.status_box.set_share)
        self.candidate_box.chosen.connect(self.session.choose)
        for worker in (self.finder, self.follower):
            worker.said.connect(self.status_box.say)
            worker.failed.connect(self._failed)
            worker.progress.connect(self.status_box.set_share)
        self.large.opened.connect(self._enter)
        self.large.failed.connect(self._failed)
        self.follower.found.connect(self._name_found)
        self.follower.remarked.connect(self.objects_box.remark)
        self.stack_box.tracked.connect(self.show_tracks)
        self.prompt_box.hover_changed.connect(self.hover.set_enabled)
        self.prompt_box.kept.connect(self.keep)
        self.everything_box.kept.connect(self.keep)
        self.prompt_box.discarded.connect(self.discard)
        self.prompt_box.overwrite_changed.connect(self._set_overwrite)
        self.prompt_box.several_changed.connect(self._set_several)
        self.picture_box.changed.connect(self._see)
        self.objects_box.looked.connect(self._to_picture)
        self._keys.clicked.connect(self.show_keys)
        for name, action in ACTIONS.items():
            self.viewer.bind_key(action.key, lambda _, name=name: self.act(name), overwrite=True)

    def act(self, name: str) -> None:
        """Do one of ``ACTIONS``; what cannot be done is one line.

        Parameters
        ----------
        name : str
            Of the method.
        """
        try:
            getattr(self, name)()
        except (SeganyError, EmitLoopError) as error:
            self._failed(error)

    def _to_picture(self, _: object = None) -> None:
        """Give the keyboard back to the picture."""
        focus_canvas(self)

    def _layers(self, kind: type[Layer]) -> list[Layer]:
        """Layers to choose from, without the preview, which is ours."""
        preview = self.binding.preview.layer if self.binding and self.binding.preview else None
        return [layer for layer in self.viewer.layers if type(layer) is kind and layer is not preview]

    def _refresh_choices(self, event: object = None) -> None:
        had = self.layer_box.image.value
        self.layer_box.refresh()
        self._show_layers()
        if had is None and self.binding is None:
            self._choose_first_image()
        elif self.binding is not None and getattr(event, "type", "") == "inserted":
            self._tell_of_image(getattr(event, "value", None))
        self._offer_layers()

    def _tell_of_image(self, layer: Layer | None) -> None:
        """Another image was opened: the one that is worked on stays in use."""
        if self.binding is not None and layer is not None and type(layer) is Image and layer is not self.binding.image:
            self._opened = ref(layer)
            self._say_done(
                f"“{layer.name}” was opened; “{self.binding.image.name}” is still the one that is segmented."
            )

    def _offer_layers(self, event: object = None) -> None:
        """Offer the image that somebody opened or looks at, and labels of the image that lie there unused."""
        binding = self.binding
        others = [one for one in self._layers(Image) if binding is not None and one is not binding.image]
        wanted = (self.viewer.layers.selection.active, self._opened() if self._opened is not None else None)
        self.layer_box.offer_image(next((one for one in wanted if one is not None and one in others), None))
        free = self._layers(Labels) if binding is not None and binding.labels is None else []
        fitting = [one for one in free if binding is not None and fits_shape(one, binding.image)]
        self.layer_box.offer_labels(fitting[-1] if fitting else None)

    def _choose_first_image(self) -> None:
        images = self._layers(Image)
        active = self.viewer.layers.selection.active
        if images:
            self.layer_box.image.value = active if active in images else images[-1]

    def _set_image(self, image: Image | None) -> None:
        image = unwrapped(image)
        if self.binding is not None:
            if self.binding.image is image:
                return
            self._release()
        self.layer_box.offer_part(large=self.large.concerns(image))
        if image is None:
            self.status_box.say(WELCOME)
            return
        if is_too_large(image):
            self.status_box.say(LARGE)
            return
        self.keeper.watch(partial(image_array, image), rgb=image.rgb, path=str(image.source.path or ""))
        self.binding = Binding(self.viewer, self.session, image)
        self.binding.problem.connect(self._warn)
        self.binding.moved.connect(self.picture_box.refresh)
        self.binding.moved.connect(self._moved)
        self.binding.travelled.connect(self._say_done)
        self.binding.recorder.repainted.connect(self._repainted)
        self.binding.output.overwrite = self.prompt_box.overwrite
        self.binding.several = self.prompt_box.several
        self._bind(self.binding)
        self._show_layers()
        self.answering.prepare()
        # napari makes a new image the active layer once we have heard of it; a click is to be a prompt all the same
        QTimer.singleShot(0, self._hand_over)
        find = partial(self._earlier, image_array(image))
        # that an image cannot be read is told when it is worked on
        self.lookups.run(find, done=self._offer, failed=lambda _: None, instead_of="find session")

    def _earlier(self, array: LazyArray) -> EarlierSession:
        """Runs in the thread for lookups: sessions of an image, the one that was just ended among them."""
        self.keeper.flush()
        return earlier_sessions(array, self._lookup_is_over)

    def _lookup_is_over(self) -> bool:
        """For a lookup to call while it runs; raises Cancelled where nobody waits for it."""
        self.lookups.check()
        return False

    def _bind(self, binding: Binding | None) -> None:
        """Let everything be about this image, or about none."""
        for part in (
            self.answering,
            self.hover,
            self.finder,
            self.follower,
            self.prompt_box,
            self.picture_box,
            self.large,
        ):
            part.bind(binding)

    def _see(self, look: ChannelSettings) -> None:
        """Have the model see the picture otherwise."""
        if self.binding is not None:
            self.hover.stop()
            try:
                self.binding.set_look(look)
            except SeganyError as error:
                self._failed(error)

    def _hand_over(self) -> None:
        if self.binding is not None and self.viewer.layers.selection.active is self.binding.image:
            self.prompt_box.take("Points")

    def _offer(self, earlier: EarlierSession) -> None:
        """Continue an earlier session whose labels are still in the viewer; else offer to, unless another one began."""
        if self.keeper.keeping or self.binding is None:
            return
        latest = earlier.latest
        labels = None if latest is None else self._layer_of(latest)
        if latest is not None and labels is not None:
            self._resume(latest, labels)
        else:
            self.resume_box.offer(earlier)

    def _layer_of(self, found: Recovered) -> Labels | None:
        """A layer that holds the labels of an earlier session."""
        if found.labels is None or not found.objects:
            return None
        for layer in reversed(self._layers(Labels)):
            data = layer.data
            if isinstance(data, np.ndarray) and data.dtype == found.labels.dtype and np.array_equal(data, found.labels):
                return layer
        return None

    def _resume(self, found: Recovered, labels: Labels | None = None) -> None:
        if self.binding is None:
            return
        try:
            self.keeper.resume(found)
            self.binding.resume(found, labels)
        except SeganyError as error:
            self._failed(error)
            return
        self._show_layers()
        self.objects_box.take_over(found.state.described)
        if found.journal.warning:
            show_warning(found.journal.warning)
        self.status_box.say(f"Continued: {count_of(found.objects, 'object')}.")

    def _resume_file(self, path: Path) -> None:
        self.jobs.run(partial(recover, path, partial=True), done=self._resume, failed=self._failed)

    def _dismiss(self, found: Recovered) -> None:
        try:
            self.keeper.dismiss(found)
        except SeganyError as error:
            self._failed(error)

    def _exported(self, what: str) -> None:
        """All labels are in a file: what is closed from here on is not offered again by itself."""
        if what in LABEL_FORMATS:
            self.keeper.saved()

    def _release(self) -> None:
        """Let go of the image and of everything that was computed from it."""
        self.keeper.close()
        self.resume_box.withdraw()
        self.jobs.cancel_all()
        self.lookups.cancel_all()
        self._bind(None)
        if self.binding is not None:
            binding, self.binding = self.binding, None
            binding.close()
        self.answers.forget()
        self._show_layers()

    def _set_labels(self, labels: Labels | None) -> None:
        labels = unwrapped(labels)
        if self.binding is None or labels is self.binding.labels:
            return
        try:
            self.binding.set_labels(labels)
        except SeganyError as error:
            show_warning(str(error))
            self.layer_box.labels.value = self.binding.labels
        self._bind_objects()
        self._offer_layers()

    def _set_points(self, points: Points | None) -> None:
        points = unwrapped(points)
        if self.binding is not None and points is not None and points is not self.binding.points:
            self.binding.prompts.adopt(points)
            self.prompt_box.take("Points")

    def _set_shapes(self, shapes: Shapes | None) -> None:
        shapes = unwrapped(shapes)
        if self.binding is not None and shapes is not None and shapes is not self.binding.shapes:
            self.binding.prompts.adopt(shapes)

    def _show_layers(self) -> None:
        """Let the choosers say which layers are in use, and the table and the files be about them."""
        self.layer_box.show_used(self.binding)
        self._offer_layers()
        self._bind_objects()

    def _bind_objects(self) -> None:
        labels = self.binding.labels if self.binding is not None else None
        image = self.binding.image if self.binding is not None else None
        self.objects_box.bind(labels, image, None if self.binding is None else self.binding.step)
        self.export_box.bind(labels, image, self.objects_box.objects)

    def _restore(self) -> None:
        """Choose what was chosen last time; a model only if it is on this computer."""
        self.prompt_box.choose(hover=self.settings.get("hint"), overwrite=self.settings.get("overwrite"))
        self.export_box.choose(self.settings.get("export"))
        self.prompt_box.hover_changed.connect(partial(self.settings.set, "hint"))
        self.prompt_box.overwrite_changed.connect(partial(self.settings.set, "overwrite"))
        self.export_box.chosen.connect(partial(self.settings.set, "export"))
        self.everything_box.remember(self.settings.get("terms").splitlines())
        self.everything_box.named.connect(self._remember_terms)
        spec = next((spec for spec in list_models() if spec.name == self.settings.get("model")), None)
        if spec is not None and spec.name != MODEL and spec.path.is_file():
            self.model_box.use(spec.name)
            self.answering.load(spec)

    def _remember_terms(self) -> None:
        self.settings.set("terms", "\n".join(self.everything_box.terms))

    def _set_overwrite(self, overwrite: bool) -> None:
        if self.binding is not None:
            self.binding.output.overwrite = overwrite

    def _set_several(self, several: bool) -> None:
        if self.binding is not None:
            self.finder.forget()
            self.binding.set_several(several)

    def reopen(self) -> None:
        """Change the object under the cursor."""
        if self.binding is not None:
            self.hover.stop()
            inside = self.offer.inside
            if self.binding.several:
                self.status_box.warn("objects are changed one by one: untick 'Each click or box is an object'")
            elif inside:
                self.binding.reopen_label(inside)
            elif not self.binding.reopen(self.viewer.cursor.position):
                self.status_box.warn("there is no object to change under the cursor")

    def delete_object(self) -> None:
        """Take the object under the cursor away."""
        _, label = self.binding.label_under(self.viewer.cursor.position) if self.binding is not None else (None, 0)
        if label:
            self.hover.stop()
            self.objects_box.delete([label])
            self._say_done(f"Object {label} deleted. Ctrl+Z brings it back.")
        else:
            self.status_box.warn("there is no object under the cursor")

    def next_object(self) -> None:
        """Look at the next object of the table."""
        self.objects_box.go(1)

    def previous_object(self) -> None:
        """Look at the object before it in the table."""
        self.objects_box.go(-1)

    def toggle_sign(self) -> None:
        """Switch between clicks on the object and clicks off it."""
        self.prompt_box.toggle_sign()

    def toggle_hint(self) -> None:
        """Switch the hint under the cursor on or off."""
        self.prompt_box.toggle_hover()

    def show_keys(self) -> None:
        """Show what the keys do, on a sheet beside the picture."""
        if self._sheet is None:
            self._sheet = KeySheet(self)
        self._sheet.setVisible(not self._sheet.isVisible())

    def _asked(self, request: SegmentRequest) -> None:
        """A question is under way: the hint is in its way, and it is what the keys are about."""
        self._queued = False
        self._done = ""
        self.hover.stop()
        if self._latest is not PendingKind.MASK:
            self._latest = PendingKind.MASK
            if self.binding is not None:
                self.binding.show_nothing()
        self._tell()

    def _changed(self) -> None:
        """There is another mask, or none any more."""
        if self.session.result is not None:
            self._latest = PendingKind.MASK
        elif self.finder.here and not self.session.waiting:
            self.finder.show()
        self._tell()
        if self._queued and not self.session.waiting:
            self._queued = False
            if self.session.mask is not None:
                self.keep()

    def _found_shown(self) -> None:
        """Other objects that were found are offered, or none any more."""
        if self.finder.found is not None:
            self._latest = PendingKind.FOUND
        if self.finder.found is not self._found:
            self._done = ""
        self._found = self.finder.found
        self._tell()

    def _moved(self) -> None:
        """Another plane is looked at; what was found there is offered again."""
        self._done = ""
        if self.finder.here and self.session.result is None and not self.session.waiting:
            self.finder.show()
        self._tell()

    def _repainted(self, labels: Labels, window: object) -> None:
        """Labels changed, whoever changed them: what is new among what was found may be other objects."""
        QTimer.singleShot(0, self._renew_offer)

    def _renew_offer(self) -> None:
        if not self._closed and self.offer.subject is PendingKind.FOUND:
            self.finder.refresh()
        elif not self._closed and self.offer.subject is PendingKind.MASK:
            self._tell()

    def _say_done(self, text: str) -> None:
        """Say what was just done, until something else is."""
        self._done = text
        self._tell()

    def _use(self, name: str) -> None:
        self.model_box.use(name)
        self.settings.set("model", name)

    @property
    def offer(self) -> PendingObjects:
        """What K would keep now."""
        if self.binding is None:
            return PendingObjects()
        waiting, result = self.session.waiting, self.session.result
        prompted = waiting or result is not None
        if self.finder.here and (self._latest is PendingKind.FOUND or not prompted):
            return PendingObjects(PendingKind.FOUND, self.finder.line, self.finder.count > 0)
        if waiting:
            return PendingObjects(
                PendingKind.WAITING, "Keeping the mask as soon as it is there …" if self._queued else "", True
            )
        return self._offer_of_mask() if result is not None else PendingObjects()

    def _offer_of_mask(self) -> PendingObjects:
        mask, result, binding = self.session.mask, self.session.result, self.binding
        size = 0 if mask is None else int(np.count_nonzero(mask.pixels))
        if mask is None or result is None or binding is None or not size:
            return PendingObjects(PendingKind.MASK, "Nothing was found there. Click elsewhere, or draw a box.")
        text = f"{count_of(size, 'pixel')}, predicted IoU {shown_score(mask.score)}."
        opened, inside = binding.keeping.opened, binding.object_clicked()
        if opened is not None and opened.view == result.request.plane:
            return PendingObjects(
                PendingKind.MASK, f"{text} K changes object {opened.label}, Q leaves it as it is.", True
            )
        if inside and not binding.output.overwrite:
            free = binding.output.free(result.request.plane, mask.pixels)
            keeps = f"K keeps the {count_of(free, 'free pixel')} as a new object." if free >= SLIVER * size else ""
            text = f"This is object {inside}. U changes it, Q clears the click. {keeps}".strip()
            return PendingObjects(PendingKind.MASK, text, bool(keeps), inside)
        return PendingObjects(PendingKind.MASK, f"{text} K keeps it.", True)

    def _tell(self) -> None:
        """Have the status line and the buttons say what the keys would do."""
        offer = self.offer
        found = offer.subject is PendingKind.FOUND
        self.prompt_box.set_keepable(offer.keepable)
        self.everything_box.set_keepable(found and offer.keepable and not self.finder.asked)
        self.candidate_box.show_choice(None if found else self.session)
        text = " ".join(filter(None, (self._done, offer.text)))
        if text:
            self.status_box.say(text)
        elif offer.subject is PendingKind.NOTHING and self.binding is not None:
            self.status_box.rest(READY)

    def _warn(self, problem: str) -> None:
        """Say what is wrong with what is prompted; empty when nothing is any more."""
        if problem:
            self.status_box.warn(problem)
        else:
            self.status_box.take_back(self._problem)
        self._problem = problem

    def _failed(self, error: Exception) -> None:
        error = behind(error)
        if not isinstance(error, SeganyError):
            # a defect of ours: napari shows its line, and its traceback to whoever wants it
            raise error from None
        self.status_box.warn(str(error))
        show_error(str(error))

    def _cancel(self) -> None:
        self.jobs.cancel_all()
        self.export_box.stop()
        self.follower.stop()
        self.model_box.revert()
        self._queued = False
        self.session.discard()
        self.status_box.say("Cancelled. Click again to go on.")

    def _begins(self) -> bool:
        """Whether a click now would begin an object."""
        idle = self.session.result is None and not self.session.waiting
        return idle and self.prompt_box.clicking and self.offer.subject is PendingKind.NOTHING

    def next_candidate(self) -> None:
        """Show the next of the masks that may be meant."""
        if self.session.result is not None and self.session.result.masks:
            self.session.choose((self.session.choice + 1) % len(self.session.result.masks))

    def find_everything(self) -> None:
        """Look for everything on the plane that is shown."""
        self.tabs.show_box(self.everything_box)
        self.finder.find()

    def work_here(self) -> None:
        """Work on the part of a large image that is shown; its labels are kept beside the image."""
        image = self.layer_box.image.value
        if not self.large.concerns(image):
            self.status_box.warn("this image is small enough to be worked on as it is")
            return
        self.status_box.say("Reading the labels of this region …")
        self.large.open(image)

    def _enter(self, region: OpenRegion) -> None:
        """Work on a region from here on."""
        self.layer_box.refresh()
        self.layer_box.image.value = region.image
        self.layer_box.offer_part(large=True, kept=str(region.file.path))
        self._show_layers()
        self.prompt_box.take("Points")
        self.status_box.say(f"All labels are kept in {region.file.path}. Shift+W moves on to what is shown.")

    def follow(self) -> None:
        """Follow the objects of this slice to the other slices."""
        self.tabs.show_box(self.stack_box)
        self.hover.stop()
        self.follower.follow()
        # a layer may have been made for what is to be found
        self._show_layers()

    def _name_found(self, label: int, name: str) -> None:
        """An object was found on the slices, which nobody had kept before."""
        self.objects_box.note(ObjectInfo(label, name, name, source="text" if name else "everything"))

    def show_tracks(self) -> None:
        """Show the way of each object through the slices or through time."""
        labels = self.binding.labels if self.binding is not None else None
        self.tracks.show(labels, self.status_box.say, self._failed)

    def show_uncertain(self) -> None:
        """Look at the next uncertain slice of what was followed."""
        self.follower.show_uncertain()

    def keep(self) -> None:
        """Keep what is offered: the mask as a new label, or everything that was found."""
        offer = self.offer
        if offer.subject is PendingKind.FOUND:
            self._keep_found()
        elif offer.subject is PendingKind.WAITING:
            self._queued = True
            self._tell()
        elif self.binding is not None:
            self._keep_mask(self.binding)

    def _keep_found(self) -> None:
        kept = self.finder.keep()
        self._show_layers()
        for label, candidate in kept.items():
            name = candidate.name
            how = "text" if candidate.prompt.text else "everything"
            self.objects_box.note(ObjectInfo(label, name, name, candidate.score, source=how))
        if kept:
            self._say_done(f"{count_of(len(kept), 'object')} kept. Ctrl+Z undoes it.")

    def _keep_mask(self, binding: Binding) -> None:
        opened, self._kept = binding.keeping.opened, None
        if not binding.keep():
            return
        self.prompt_box.expect_positive()
        self._show_layers()
        if (kept := self._committed()) is not None:
            self.objects_box.note(ObjectInfo(kept.label, score=kept.mask.score, source=known_text(kept.prompt)))
            self._say_done(f"Object {kept.label} kept. Ctrl+Z undoes it.")
        elif opened is not None:
            self._say_done(f"Object {opened.label} changed. Ctrl+Z undoes it.")

    def _committed(self) -> Committed | None:
        """The object that was committed last, told by the session's signal."""
        return self._kept

    def _remember(self, kept: Committed) -> None:
        self._kept = kept

    def discard(self) -> None:
        """Forget the clicks and shapes on this plane, or what was found there."""
        self._queued = False
        self._done = ""
        if self.offer.subject is PendingKind.FOUND and not self.finder.asked:
            self.finder.forget()
        elif self.binding is not None:
            self.binding.clear_prompts()
            self.session.discard()
            self.binding.close_reopened()
            self.prompt_box.expect_positive()
        self._tell()

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
        self._pause.end()
        self._release()
        self.large.close()
        self.keeper.disconnect()
        self.hover.close()
        self.jobs.run(self.answers.close, done=lambda _: None, failed=self._failed)
        self.jobs.end()
        self.lookups.close()
        for action in ACTIONS.values():
            self.viewer.bind_key(action.key, None)
        for event in ("inserted", "removed", "renamed"):
            getattr(self.viewer.layers.events, event).disconnect(self._refresh_choices)
        self.viewer.layers.selection.events.active.disconnect(self._offer_layers)


def behind(error: Exception) -> Exception:
    """The error itself, where a signal reports with all its emissions that a callback failed."""
    while isinstance(error, EmitLoopError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error
