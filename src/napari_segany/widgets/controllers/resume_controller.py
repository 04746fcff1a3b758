"""Searches for earlier sessions of an image, and continues one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from napari.layers import Labels
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Signal

from napari_segany.core.errors import SeganyError
from napari_segany.core.planes import LazyArray
from napari_segany.engine.autosave import Autosave, EarlierSession, earlier_sessions
from napari_segany.engine.session_files import project_folder
from napari_segany.io.export import FORMATS
from napari_segany.layers.binding import Binding
from napari_segany.layers.read import image_array
from napari_segany.layers.reopening import resume_session
from napari_segany.session.recovery import Recovered, recover
from napari_segany.widgets.controllers.layer_controller import LayerController
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.panels.objects_panel import ObjectsPanel
from napari_segany.widgets.panels.resume_panel import ResumePanel

BUSY = "Another window works on this image: what you do here is kept in a separate session."


class ResumeController(QObject):
    """Connects the files of sessions, the panel that offers them, and the layers.

    Parameters
    ----------
    keeper : Autosave
        Writes the file of the current session.
    jobs : Jobs
        The worker.
    box : ResumePanel
        Offers earlier sessions. Owns this object.
    objects : ObjectsPanel
        Gets the facts about objects of an earlier session.
    layers : LayerController
        Notified when layers were created.

    Attributes
    ----------
    lookups : Jobs
        Worker that reads all values of an image to recognise it, so that no click waits for it.
    message : Signal
        Emitted with a message about the continued session.
    failed : Signal
        Emitted with the exception of what failed.
    fresh : Signal
        Emitted without arguments when the image has no earlier session.
    """

    message = Signal(str)
    failed = Signal(object)
    fresh = Signal()

    def __init__(
        self, keeper: Autosave, jobs: Jobs, box: ResumePanel, objects: ObjectsPanel, layers: LayerController
    ) -> None:
        super().__init__(box)
        self._keeper, self._jobs, self._box = keeper, jobs, box
        self._objects, self._layers = objects, layers
        self._binding: Binding | None = None
        self._resumed = False
        self.lookups = Jobs(self)
        keeper.begun.connect(box.withdraw)
        box.resumed.connect(self._resume)
        box.dismissed.connect(self._dismiss)
        box.chosen.connect(self._resume_file)

    def bind(self, binding: Binding | None) -> None:
        """Be about another image; what was offered for the one before is offered no more."""
        self._binding = binding
        self._resumed = False
        if binding is None:
            self._box.withdraw()
            self.lookups.cancel_all()

    def look_up(self) -> None:
        """Search for earlier sessions of the image."""
        if self._binding is not None:
            find = partial(self._earlier, image_array(self._binding.image), self._path)
            # an image that cannot be read is reported when it is used
            self.lookups.run(find, done=self.offer, failed=lambda _: None, instead_of="find session")

    def list_earlier(self) -> None:
        """List all earlier sessions of the image, also while one is going on, which stays in its file."""
        binding = self._binding
        if binding is not None:
            find = partial(earlier_sessions, image_array(binding.image), self._is_over, self._path)
            self.lookups.run(find, done=self._list, failed=self.failed.emit, instead_of="list sessions")

    def _list(self, earlier: EarlierSession) -> None:
        self._box.offer(replace(earlier, offered=None))
        if not earlier.sessions:
            self.message.emit("There is no earlier session of this image.")

    @property
    def _path(self) -> str:
        return "" if self._binding is None else str(self._binding.image.source.path or "")

    def _earlier(self, array: LazyArray, path: str) -> EarlierSession:
        """Runs in the thread for lookups: sessions of an image, the one that was just ended among them."""
        self._keeper.flush()
        if self._keeper.keeping and self._resumed:
            # it was brought back with the image, as in projects: reading all values once more is for nothing
            return EarlierSession()
        return earlier_sessions(array, self._is_over, path)

    def _is_over(self) -> bool:
        """For a lookup to call while it runs; raises Cancelled where its result is not wanted any more."""
        self.lookups.check()
        return False

    def offer(self, earlier: EarlierSession) -> None:
        """Continue an earlier session whose labels are still in the viewer, or that is of a project; else offer to.

        Where the user was faster, and a new session began before the earlier ones were found, these are in the menu.
        """
        if self._binding is None:
            return
        if self._keeper.keeping:
            if not self._resumed and any(one.objects for one in earlier.sessions):
                self._box.offer(replace(earlier, offered=None))
            return
        if earlier.busy:
            self.message.emit(BUSY)
        latest = earlier.latest
        labels = None if latest is None else self._layer_of(latest)
        if latest is not None and (labels is not None or self._goes_on(latest)):
            self._resume(latest, labels)
            if any(one.objects > latest.objects for one in earlier.sessions):
                # there is more in one of them, as after a stray click in another window
                self._box.offer(replace(earlier, offered=None))
            return
        self._box.offer(earlier)
        if latest is None:
            self.fresh.emit()

    def _goes_on(self, latest: Recovered) -> bool:
        """Whether a session is continued without a question: in projects, unless the user chose to start a new one."""
        return project_folder(self._path) is not None and not latest.state.dismissed

    def _layer_of(self, found: Recovered) -> Labels | None:
        """A layer that holds the labels of an earlier session."""
        if found.labels is None or not found.objects:
            return None
        for layer in reversed(self._layers.layers(Labels)):
            data = layer.data
            if isinstance(data, np.ndarray) and data.dtype == found.labels.dtype and np.array_equal(data, found.labels):
                return layer
        return None

    def _resume(self, found: Recovered, labels: Labels | None = None) -> None:
        if self._binding is None:
            return
        try:
            self._keeper.resume(found)
            resume_session(self._binding, found, labels)
        except SeganyError as error:
            self.failed.emit(error)
            return
        self._resumed = True
        self._layers.show()
        self._objects.take_over(found.state.described)
        if found.journal.warning:
            show_warning(found.journal.warning)
        self.message.emit(f"Continued: {count_of(found.objects, 'object')}.")

    def _resume_file(self, path: Path) -> None:
        self._jobs.run(partial(recover, path, partial=True), done=self._resume, failed=self.failed.emit)

    def _dismiss(self, found: Recovered) -> None:
        try:
            self._keeper.dismiss(found)
        except SeganyError as error:
            self.failed.emit(error)

    def exported(self, name: str) -> None:
        """Objects are in a file; where it holds all labels, a session that is closed later is not offered again."""
        if FORMATS[name].holds_all_labels:
            self._keeper.saved()
