"""The dock widget: composes the boxes, owns the session, its layers and the worker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from napari.utils.notifications import show_error, show_warning
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QTimer, Signal
from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from napari_segany.core.errors import SeganyError
from napari_segany.core.planes import LazyArray
from napari_segany.core.segmenter import Segmenter
from napari_segany.layers.binding import Binding
from napari_segany.layers.columns import said
from napari_segany.layers.read import image_array
from napari_segany.models.registry import ModelSpec
from napari_segany.run.answers import MODEL, Answers
from napari_segany.run.keeping import Keeper, unfinished
from napari_segany.run.remote import load_remote, load_remote_default
from napari_segany.session.content import content_of
from napari_segany.session.recovery import Recovered
from napari_segany.session.session import Committed, SegmentRequest, SegmentResult, Session
from napari_segany.widgets.candidate_box import CandidateBox
from napari_segany.widgets.everything_box import EverythingBox
from napari_segany.widgets.export_box import ExportBox
from napari_segany.widgets.finder import Finder
from napari_segany.widgets.hover import Hover
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.layer_box import LayerBox
from napari_segany.widgets.model_box import ModelBox
from napari_segany.widgets.objects_box import ObjectsBox
from napari_segany.widgets.paint_pause import PaintPause
from napari_segany.widgets.prompt_box import PromptBox
from napari_segany.widgets.resume_box import ResumeBox
from napari_segany.widgets.status_box import StatusBox

WELCOME = "Open an image to begin: drop a file on the window, or choose File > Open Sample > Segment Anything."
READY = "Click an object. N switches between clicks on it and off it, K keeps the mask, Q starts anew."


class SeganyWidget(QWidget):
    """Segments the image that is chosen in it, by clicks, boxes and scribbles.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Given by napari.
    load : callable, optional
        Makes the segmenter when it is first needed, in the worker thread.
    """

    _arrived = Signal(float, float)

    def __init__(self, napari_viewer: Viewer, load: Callable[[], Segmenter] = load_remote_default) -> None:
        super().__init__()
        self._closed = False
        self.viewer: ViewerModel = napari_viewer
        self.session = Session()
        self.answers = Answers(load)
        self.keeper = Keeper(self.session, lambda: self.answers.name)
        self.binding: Binding | None = None
        self._kept: Committed | None = None
        self.jobs = Jobs(self)
        self.model_box = ModelBox(MODEL)
        self.layer_box = LayerBox(self._layers, self.model_box)
        self.prompt_box = PromptBox()
        self.candidate_box = CandidateBox()
        self.everything_box = EverythingBox()
        self.objects_box = ObjectsBox(self.viewer)
        self.export_box = ExportBox(self.jobs)
        self.status_box = StatusBox(WELCOME)
        self.resume_box = ResumeBox()
        self.finder = Finder(self.everything_box, self.jobs, self.answers)
        self._pause = PaintPause(self)
        self.hover = Hover(self.viewer, self.jobs, self.answers, self._begins)
        self._lay_out()
        self._connect()
        self._choose_first_image()

    def _lay_out(self) -> None:
        self.tabs = QTabWidget()
        for name, boxes in {
            "One object": (self.prompt_box, self.candidate_box),
            "Everything": (self.everything_box,),
            "Objects": (self.objects_box,),
            "Export": (self.export_box,),
        }.items():
            page = QWidget()
            inner = QVBoxLayout(page)
            for box in boxes:
                inner.addWidget(box)
            if self.objects_box not in boxes:
                # the table takes what room there is; everything else stays together at the top
                inner.addStretch()
            self.tabs.addTab(page, name)
        layout = QVBoxLayout(self)
        layout.addWidget(self.layer_box)
        layout.addWidget(self.tabs)
        layout.addStretch()
        layout.addWidget(self.status_box)
        layout.addWidget(self.resume_box)

    def _connect(self) -> None:
        self.layer_box.image.changed.connect(self._set_image)
        self.layer_box.labels.changed.connect(self._set_labels)
        self.layer_box.points.changed.connect(self._set_points)
        self.layer_box.shapes.changed.connect(self._set_shapes)
        self.viewer.layers.events.inserted.connect(self._refresh_choices)
        self.viewer.layers.events.removed.connect(self._refresh_choices)
        self.viewer.layers.events.renamed.connect(self._refresh_choices)
        self.session.requested.connect(self._ask)
        self.session.preview_changed.connect(self._tell)
        self.session.committed.connect(self._remember)
        self.jobs.busy.connect(self.status_box.set_busy)
        self.status_box.cancelled.connect(self._cancel)
        self.model_box.chosen.connect(self._load)
        self.keeper.problem.connect(show_warning)
        self.keeper.begun.connect(self.resume_box.withdraw)
        self.resume_box.resumed.connect(self._resume)
        self._arrived.connect(self.status_box.set_progress)
        self.candidate_box.chosen.connect(self.session.choose)
        self.finder.said.connect(self.status_box.say)
        self.finder.failed.connect(self._failed)
        self.finder.progress.connect(self.status_box.set_share)
        self.prompt_box.hover_changed.connect(self.hover.set_enabled)
        self.prompt_box.kept.connect(self.keep)
        self.everything_box.kept.connect(self.keep)
        self.prompt_box.discarded.connect(self.discard)
        self.prompt_box.overwrite_changed.connect(self._set_overwrite)
        self.prompt_box.several_changed.connect(self._set_several)
        for key, action in self._keys().items():
            self.viewer.bind_key(key, lambda _, action=action: action(), overwrite=True)

    def _keys(self) -> dict[str, Callable[[], None]]:
        """None of them is one of napari's own, whichever layer is active."""
        return {
            "K": self.keep,
            "Q": self.discard,
            "N": self.prompt_box.toggle_sign,
            "J": self._next_candidate,
            "G": self.find_everything,
            "H": self.prompt_box.toggle_hover,
            "U": self._reopen,
        }

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

    def _choose_first_image(self) -> None:
        images = self._layers(Image)
        active = self.viewer.layers.selection.active
        if images:
            self.layer_box.image.value = active if active in images else images[-1]

    def _set_image(self, image: Image | None) -> None:
        if self.binding is not None:
            if self.binding.image is image:
                return
            self._release()
        if image is None:
            self.status_box.say(WELCOME)
            return
        self.keeper.watch(partial(image_array, image), rgb=image.rgb, path=str(image.source.path or ""))
        self.binding = Binding(self.viewer, self.session, image)
        self.binding.problem.connect(self.status_box.warn)
        self.binding.moved.connect(self._prepare)
        self.binding.output.overwrite = self.prompt_box.overwrite
        self.binding.several = self.prompt_box.several
        self.prompt_box.bind(self.binding)
        self.finder.bind(self.binding)
        self.hover.bind(self.binding)
        self._show_layers()
        self._prepare()
        # napari makes a new image the active layer once we have heard of it; a click is to be a prompt all the same
        QTimer.singleShot(0, self._hand_over)
        find = partial(_unfinished, image_array(image))
        self.jobs.run(find, done=self._offer, failed=self._failed, instead_of="find session")

    def _hand_over(self) -> None:
        if self.binding is not None and self.viewer.layers.selection.active is self.binding.image:
            self.prompt_box.take("Points")

    def _offer(self, found: Recovered | None) -> None:
        """Offer to go on with an earlier session, unless another one has begun."""
        if found is not None and self.keeper.path is None:
            self.resume_box.offer(found)

    def _resume(self, found: Recovered) -> None:
        if self.binding is None:
            return
        try:
            self.keeper.resume(found)
        except SeganyError as error:
            self._failed(error)
            return
        self.binding.resume(found)
        self._show_layers()

    def _release(self) -> None:
        """Let go of the image and of everything that was computed from it."""
        self.keeper.close()
        self.resume_box.withdraw()
        self.jobs.cancel_all()
        self.hover.bind(None)
        self.finder.bind(None)
        self.prompt_box.bind(None)
        if self.binding is not None:
            binding, self.binding = self.binding, None
            binding.close()
        self.answers.forget()
        self._show_layers()

    def _set_labels(self, labels: Labels | None) -> None:
        if self.binding is None or labels is self.binding.labels:
            return
        try:
            self.binding.set_labels(labels)
        except SeganyError as error:
            show_warning(str(error))
            self.layer_box.labels.value = self.binding.labels
        self._bind_objects()

    def _set_points(self, points: Points | None) -> None:
        if self.binding is not None and points is not None and points is not self.binding.points:
            self.binding.prompts.adopt(points)
            self.prompt_box.take("Points")

    def _set_shapes(self, shapes: Shapes | None) -> None:
        if self.binding is not None and shapes is not None and shapes is not self.binding.shapes:
            self.binding.prompts.adopt(shapes)

    def _show_layers(self) -> None:
        """Let the choosers say which layers are in use, and the table and the files be about them."""
        self.layer_box.show_used(self.binding)
        self._bind_objects()

    def _bind_objects(self) -> None:
        labels = self.binding.labels if self.binding is not None else None
        image = self.binding.image if self.binding is not None else None
        self.objects_box.bind(labels, image)
        self.export_box.bind(labels, image, self.objects_box.objects)

    def _set_overwrite(self, overwrite: bool) -> None:
        if self.binding is not None:
            self.binding.output.overwrite = overwrite

    def _set_several(self, several: bool) -> None:
        if self.binding is not None:
            self.finder.forget()
            self.binding.set_several(several)

    def _reopen(self) -> None:
        """Change the object under the cursor."""
        if self.binding is not None:
            self.hover.stop()
            self.binding.reopen(self.viewer.cursor.position)

    def _prepare(self) -> None:
        """Encode the plane that is looked at before anyone clicks."""
        view = self.binding.view() if self.binding is not None else None
        if self.binding is None or view is None:
            return
        try:
            stack, number = self.binding.stack(view)
        except SeganyError as error:
            self._failed(error)
            return
        self.status_box.say("Getting ready …")
        self.jobs.run(
            partial(self.answers.embed, stack, number),
            done=lambda _: self._tell(),
            failed=self._failed,
            instead_of="prepare",
        )

    def _load(self, spec: ModelSpec) -> None:
        """Have another model answer; a question that is open or answered is asked again."""

        def done(_: object) -> None:
            self.model_box.use(spec.name)
            self._prepare()
            self.session.repeat()

        def failed(error: Exception) -> None:
            self.model_box.revert()
            self.session.repeat()
            self._failed(error)

        self.jobs.cancel_all()
        self.status_box.say(f"Loading {spec.name} …")
        load = partial(load_remote, spec.name, self._report)
        self.jobs.run(partial(self.answers.use, load), done=done, failed=failed)

    def _report(self, done: int, total: int | None) -> None:
        """Pass on how far a download is; runs in the worker, and stops there what was cancelled."""
        self.jobs.check()
        self._arrived.emit(done, total or 0)

    def _ask(self, request: SegmentRequest) -> None:
        if self.binding is None:
            return
        try:
            stack, number = self.binding.stack(request.plane)
        except SeganyError as error:
            self._failed(error)
            return
        self.hover.stop()
        if self.answers.ready(stack, number):
            self._pause.begin()
        work = partial(self.answers.answer, stack, number, request)
        self.jobs.run(work, done=self._accept, failed=self._failed, instead_of="answer")

    def _accept(self, result: SegmentResult) -> None:
        self.session.accept(result)
        self._pause.end()

    def _tell(self) -> None:
        result = self.session.result
        self.prompt_box.set_keepable(result is not None)
        self.candidate_box.show_choice(self.session)
        mask = self.session.mask
        if mask is None:
            self.status_box.say(READY)
        else:
            self.status_box.say(f"{int(mask.pixels.sum())} pixels, predicted IoU {mask.score:.2f}. K keeps it.")

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, SeganyError):
            # a defect of ours: napari shows it with its traceback
            raise error
        self.status_box.warn(str(error))
        show_error(str(error))

    def _cancel(self) -> None:
        self.jobs.cancel_all()
        self.model_box.revert()
        self.session.discard()
        self.status_box.say("Cancelled. Click again to go on.")

    def _begins(self) -> bool:
        """Whether a click now would begin an object."""
        idle = self.session.result is None and not self.session.waiting
        return idle and self.prompt_box.clicking and not self.finder.showing

    def _next_candidate(self) -> None:
        if self.session.result is not None and self.session.result.masks:
            self.session.choose((self.session.choice + 1) % len(self.session.result.masks))

    def show_tab(self, box: QWidget) -> None:
        """Bring the tab to the front that holds a box."""
        for number in range(self.tabs.count()):
            page = self.tabs.widget(number)
            if page is not None and page.isAncestorOf(box):
                self.tabs.setCurrentIndex(number)

    def find_everything(self) -> None:
        """Look for everything on the plane that is shown."""
        self.show_tab(self.everything_box)
        self.finder.find()

    def keep(self) -> None:
        """Keep the mask that is shown as a new label, or everything that is shown."""
        if self.finder.showing:
            kept = self.finder.keep()
            self._show_layers()
            for label, candidate in kept.items():
                self.objects_box.note(label, score=candidate.score, how="everything")
        elif self.binding is not None and self.binding.keep():
            self.prompt_box.expect_positive()
            self._show_layers()
            if self._kept is not None:
                self.objects_box.note(self._kept.label, score=self._kept.mask.score, how=said(self._kept.prompt))

    def _remember(self, kept: Committed) -> None:
        self._kept = kept

    def discard(self) -> None:
        """Forget the clicks and shapes on this plane, or what was found there."""
        if self.finder.showing and not self.finder.asked:
            self.finder.forget()
        elif self.binding is not None:
            self.binding.clear_prompts()
            self.session.discard()
            self.binding.close_reopened()
            self.prompt_box.expect_positive()

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
        self.keeper.disconnect()
        self.hover.close()
        self.jobs.run(self.answers.close, done=lambda _: None, failed=self._failed)
        self.jobs.end()
        for key in self._keys():
            self.viewer.bind_key(key, None)
        for event in ("inserted", "removed", "renamed"):
            getattr(self.viewer.layers.events, event).disconnect(self._refresh_choices)


def _unfinished(array: LazyArray) -> Recovered | None:
    """An earlier session of an image; runs in the worker."""
    return unfinished(content_of(array))
