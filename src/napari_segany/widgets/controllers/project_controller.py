"""Goes from image to image of a project, and marks them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QFileSystemWatcher, QObject, QTimer, Signal

from napari_segany.batch.project import (
    DONE,
    FoundInImage,
    Project,
    begin_project,
    mark_images,
    note_samples,
    read_project,
    recognise_images,
)
from napari_segany.core.errors import InputError, SeganyError
from napari_segany.core.planes import Stack
from napari_segany.engine.autosave import Autosave, EarlierSession, earlier_sessions
from napari_segany.engine.session_files import project_folder
from napari_segany.io.images import ImageFile, read_image, reading
from napari_segany.io.labels import read_labels
from napari_segany.layers.binding import Binding
from napari_segany.layers.file_layers import image_layer, labels_layer
from napari_segany.session.fingerprint import sample_fingerprint
from napari_segany.widgets.controllers.layer_controller import LayerController
from napari_segany.widgets.controllers.resume_controller import ResumeController
from napari_segany.widgets.panels.image_table import ImageTable
from napari_segany.widgets.panels.project_panel import ProjectPanel

SETTLED_MS = 300
"""How long a folder rests after a change until it is read again."""


class ProjectController(QObject):
    """Connects the panel of a project, its files, and the image that is open.

    Parameters
    ----------
    viewer : ViewerModel
        Gets the layers of the images.
    panel : ProjectPanel
        Shows the images; owns this object.
    keeper : Autosave
        Has written what was done to an image before its layers are taken away.
    layers : LayerController
        Chooses the image that is segmented.
    resuming : ResumeController
        Brings back what was done to an image; its worker, on which no click waits, reads files.

    Attributes
    ----------
    table : ImageTable
        The window that lists all images.
    opened : Signal
        Emitted without arguments when another image of the project is shown.
    next_wanted : Signal
        Emitted with a callable that reads the planes of the image that is likely next, and its middle plane, so that
        it can be encoded.
    changed : Signal
        Emitted without arguments when another project is open, or its images or their states are others.
    message : Signal
        Emitted with a message.
    failed : Signal
        Emitted with the exception of what failed.
    """

    message = Signal(str)
    failed = Signal(object)
    opened = Signal()
    next_wanted = Signal(object)
    changed = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        panel: ProjectPanel,
        keeper: Autosave,
        layers: LayerController,
        resuming: ResumeController,
    ) -> None:
        super().__init__(panel)
        self._viewer, self._panel, self._keeper, self._layers = viewer, panel, keeper, layers
        self._resuming, self._jobs = resuming, resuming.lookups
        self._unreadable: set[str] = set()
        self._binding: Binding | None = None
        self._project: Project | None = None
        self._found: Mapping[str, FoundInImage] = {}
        self._encoded = ""
        self.table: ImageTable = ImageTable(panel)
        self._watcher = QFileSystemWatcher(self)
        self._settled = QTimer(self, singleShot=True, interval=SETTLED_MS)
        self._watcher.directoryChanged.connect(self._settled.start)
        self._settled.timeout.connect(self.read_again)
        self._leaving: list[Layer] = []
        self._removal = QTimer(self, interval=0)
        self._removal.timeout.connect(self._remove_one)
        self._connect_parts()

    def _connect_parts(self) -> None:
        panel, table = self._panel, self.table
        panel.folder_chosen.connect(self.open_folder)
        panel.stepped.connect(self.step)
        for chosen in (panel.chosen, table.opened):
            chosen.connect(self.open_image)
        panel.done_changed.connect(self.set_done)
        panel.marked.connect(self.mark)
        panel.list_wanted.connect(self.show_table)
        table.marked.connect(self._mark)
        table.shown.connect(self.read_found)

    @property
    def project(self) -> Project | None:
        """The project that is open."""
        return self._project

    @property
    def current(self) -> str:
        """File name of the image that is open, if it is one of the project; else empty."""
        path = self._path
        inside = self._project is not None and path is not None and path.parent == self._project.folder
        return path.name if inside and path is not None else ""

    @property
    def _path(self) -> Path | None:
        path = None if self._binding is None else self._binding.image.source.path
        return None if path is None or "://" in str(path) else Path(path).absolute()

    def bind(self, binding: Binding | None) -> None:
        """Show the project of the image that is open, if it belongs to one."""
        self._binding = binding
        path = self._path
        folder = None if path is None else project_folder(path)
        if folder is not None and (self._project is None or folder != self._project.folder):
            self._read(partial(_recognised, read_project, folder), self._take)
        elif self.current:
            self._note_sample(self.current)
        self._show()

    def open_folder(self, folder: str) -> None:
        """Work on the images of a folder from here on; the first one that is not finished is opened."""
        self._read(partial(_recognised, begin_project, Path(folder).absolute()), self._begin)

    def step(self, step: int) -> None:
        """Open the next image that is not done (1), or the previous image (-1)."""
        if self._project is None:
            self.message.emit("No folder of images is open.")
            return
        self._step_from(self.current, step)

    def neighbour(self, name: str, step: int) -> str | None:
        """The image behind another one (1) or before it (-1), in the order of the list of images while that is open."""
        if self._project is None:
            return None
        order = self.table.order if self.table.isVisible() else ()
        return self._project.neighbour(name, step, skip_done=step > 0, skipped=self._unreadable, order=order)

    def _step_from(self, name: str, step: int) -> None:
        if self._project is None:
            return
        found = self.neighbour(name, step)
        if found is not None and found != self.current:
            self._open(found, step)
            return
        left = len(self._project.names) - len(self._project.done)
        no_more = "No other image is left to do." if left else "All images are finished."
        self.message.emit(no_more if step > 0 else "This is the first image.")

    def encode_next(self) -> None:
        """Have the next image encoded while the user works on this one; once for each."""
        name = self.neighbour(self.current, 1) if self.current else None
        if self._project is not None and name is not None and name not in (self.current, self._encoded):
            self._encoded = name
            self.next_wanted.emit(partial(_middle_plane, self._project.folder / name))

    def finish(self) -> None:
        """Mark the image done, and open the next one that is not."""
        if self.current:
            self.set_done(True)
        self.step(1)

    def set_done(self, done: bool) -> None:
        """Mark the image that is open as done, or not."""
        self.mark(DONE if done else "")

    def mark(self, state: str) -> None:
        """Give the image that is open a state, one of ``IMAGE_STATES``, or none."""
        if self._project is None or not self.current:
            self.message.emit("The image that is open belongs to no folder of images.")
            return
        self._mark([self.current], state)

    def _mark(self, names: Sequence[str], state: str) -> None:
        project = self._project
        if project is None:
            return
        try:
            self._project = project = mark_images(project, names, state)
        except SeganyError as error:
            self.failed.emit(error)
        else:
            self.message.emit(f"{len(project.done)} of {len(project.names)} images are finished.")
        self._show()
        new = [project.folder / name for name in names if name in project.records and not project.records[name].sample]
        if new:
            self._jobs.run(partial(_samples_of, new), done=self._know, failed=lambda _: None, unseen=True)

    def _know(self, samples: Mapping[Path, str]) -> None:
        """Have the file know images by their content, too, so that they may get other names.

        It is written here and not in the worker, which could undo what was marked meanwhile.
        """
        project = self._project
        mine = {
            path.name: one for path, one in samples.items() if project is not None and path.parent == project.folder
        }
        if project is not None and mine:
            with contextlib.suppress(SeganyError):
                self._noted(note_samples(project, mine))

    def show_table(self) -> None:
        """Open the list of all images."""
        self.table.show()
        self.table.raise_()

    def read_found(self) -> None:
        """Read what batch runs found in the images, for the list."""
        if self._project is not None:
            self._jobs.run(self._project.found, done=self._take_found, failed=self._failed, instead_of="found")

    def _take_found(self, found: Mapping[str, FoundInImage]) -> None:
        self._found = found
        self._show()

    def read_again(self) -> None:
        """Take over what others did in the folder: images that came or went, and states."""
        if self._project is not None:
            read = partial(_recognised, read_project, self._project.folder)
            # a folder that has gone is reported when an image of it is wanted
            self._jobs.run(read, done=self._noted, failed=lambda _: None, instead_of="read again", unseen=True)

    def open_image(self, name: str) -> None:
        """Open an image of the project in place of the one that is open, whose session stays on the disk."""
        self._unreadable.discard(name)
        self._open(name, 0)

    def _open(self, name: str, step: int) -> None:
        if self._project is None or name == self.current:
            return
        path = self._project.folder / name
        self._jobs.run(
            partial(self._file, path),
            done=partial(self._exchange, path),
            failed=partial(self._pass_over, name, step),
            instead_of="project",
        )

    def _pass_over(self, name: str, step: int, error: Exception) -> None:
        """An image cannot be read: say so, and go on to the one behind it, if one was going through them."""
        self._unreadable.add(name)
        self._failed(error)
        self._show()
        if step:
            self._step_from(name, step)

    def _file(self, path: Path) -> tuple[ImageFile, EarlierSession]:
        """Runs in the worker: the image, and what was done to it, so that no click comes before that is back."""
        self._keeper.flush()
        file = read_image(path)
        with reading(path):
            return file, earlier_sessions(file.array, path=str(path))

    def _exchange(self, path: Path, found: tuple[ImageFile, EarlierSession]) -> None:
        """Show another image, and take the layers of the one before away."""
        file, earlier = found
        before, kept = self._own_layers()
        image = self._viewer.add_layer(image_layer(file, path))
        self._layers.box.image.value = image
        self._resuming.offer(earlier)
        for layer in before:
            layer.visible = False
        self._leaving.extend(before)
        self._removal.start()
        self._viewer.reset_view()
        self.opened.emit()
        if kept is not None:
            self.message.emit(f"“{kept.name}” stays, as it is in no session and no file.")
        elif self._project is not None:
            names, done = self._project.names, self._project.done
            self.message.emit(f"Image {names.index(path.name) + 1} of {len(names)}; {len(done)} finished.")

    def _remove_one(self) -> None:
        """Take a layer of an image away that is not open any more; the others follow: napari needs a while for each."""
        layer = self._leaving.pop(0) if self._leaving else None
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
        if not self._leaving:
            self._removal.stop()
            if layer is not None:
                self._viewer.reset_view()

    def _own_layers(self) -> tuple[list[Layer], Layer | None]:
        """The layers of the image that can be brought back from its session, and its labels if they cannot."""
        binding, path = self._binding, self._path
        if binding is None or path is None or project_folder(path) is None:
            return [], None
        labels = binding.labels
        kept = labels is not None and (self._keeper.stored if self._keeper.keeping else bool(labels.source.path))
        lost = labels is not None and not kept and bool(labels.data.any())
        layers = [binding.image, binding.points, binding.shapes, None if lost else labels]
        return [layer for layer in layers if layer is not None], labels if lost else None

    def open_labels(self) -> None:
        """Open what a batch run found in the image, where there is nothing else of it."""
        if self._project is None or not self.current or self._binding is None or self._binding.labels is not None:
            return
        path = self._project.labels_of(self.current)
        if path is not None:
            self._read(partial(read_labels, path), partial(self._add_labels, path, self._binding))

    def _add_labels(self, path: Path, binding: Binding, labels: np.ndarray) -> None:
        if binding is not self._binding or binding.labels is not None or self._keeper.keeping:
            return
        try:
            layer = labels_layer(labels, path, binding.image)
        except InputError as error:
            self.failed.emit(error)
            return
        # below the layers of prompts, in which clicks go on
        active = self._viewer.layers.selection.active
        self._viewer.layers.insert(self._viewer.layers.index(binding.image) + 1, layer)
        self._layers.box.labels.value = layer
        self._viewer.layers.selection.active = active

    def _begin(self, project: Project) -> None:
        self._take(project)
        name = project.neighbour("", 1, skip_done=True) or project.names[0]
        self._open(name, 1)

    def _take(self, project: Project) -> None:
        self._project = project
        self._unreadable.clear()
        self._found = {}
        if self._watcher.directories():
            self._watcher.removePaths(self._watcher.directories())
        self._watcher.addPaths(sorted({str(project.folder), str(project.place)}))
        if self.table.isVisible():
            self.read_found()
        if self.current:
            self._note_sample(self.current)
        self._show()

    def _note_sample(self, name: str) -> None:
        """Have the file know the image by its content, too."""
        project = self._project
        if project is None or name not in project.names or self._binding is None:
            return
        if name in project.records and project.records[name].sample:
            return
        note = partial(_sampled, project.folder / name, self._binding.image.data)
        self._jobs.run(note, done=self._know, failed=lambda _: None, instead_of="sample", unseen=True)

    def _noted(self, project: Project) -> None:
        before = self._project
        # (the folder is read again after each change of its file, be it one of this window)
        if before is not None and project.folder == before.folder and project != before:
            self._project = project
            self._show()

    def _show(self) -> None:
        project, current = self._project, self.current
        self._panel.show_project(project, current)
        self.table.show_project(project, current, self._found, frozenset(self._unreadable))
        self.changed.emit()

    def _read(self, work: Callable[[], object], done: Callable[..., object]) -> None:
        self._jobs.run(work, done=done, failed=self._failed, instead_of="project")

    def _failed(self, error: Exception) -> None:
        self.failed.emit(error if isinstance(error, SeganyError) else InputError(str(error)))


def _sampled(path: Path, array: object) -> dict[Path, str]:
    """Runs in the worker."""
    return {path: sample_fingerprint(array).sample}  # type: ignore[arg-type]


def _recognised(read: Callable[[Path], Project], folder: Path) -> Project:
    """Runs in the worker: a project in which images that got other names are known again."""
    return recognise_images(read(folder), _sample_of)


def _sample_of(path: Path) -> str:
    file = read_image(path)
    with reading(path):
        return sample_fingerprint(file.array).sample


def _samples_of(paths: Sequence[Path]) -> dict[Path, str]:
    """Runs in the worker: samples of images; those that cannot be read have none."""
    found = {}
    for path in paths:
        with contextlib.suppress(SeganyError):
            found[path] = _sample_of(path)
    return found


def _middle_plane(path: Path) -> tuple[Stack, int]:
    """Runs in the worker: the planes of an image, and the one that napari shows first."""
    file = read_image(path)
    with reading(path):
        stack = Stack(file.array, rgb=file.rgb)
    leading = file.array.shape[: -3 if file.rgb else -2]
    return stack, int(np.ravel_multi_index([(length - 1) // 2 for length in leading], leading)) if leading else 0
