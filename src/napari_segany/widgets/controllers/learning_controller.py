"""Fine-tunes on the committed objects in a separate process, while the current model stays usable."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
from qtpy.QtCore import QObject, Signal

from napari_segany.core.errors import InputError, SeganyError
from napari_segany.core.planes import Stack
from napari_segany.io.labels import write_labels
from napari_segany.layers.binding import Binding
from napari_segany.models.registry import ModelSpec, find, new_own_model
from napari_segany.training.generations import Generation, examples_of, generations, write_note
from napari_segany.training.held_out_examples import HeldOutExample
from napari_segany.widgets.command_process import CommandProcess
from napari_segany.widgets.jobs import Job, Jobs
from napari_segany.widgets.panels.learn_panel import LearnPanel
from napari_segany.widgets.panels.objects_panel import ObjectsPanel


class LearningController(QObject):
    """Between the panel, the committed objects, and the process that trains.

    Parameters
    ----------
    panel : LearnPanel
        Starts the work and shows it; owns this object.
    objects : ObjectsPanel
        Knows how many objects there are.
    jobs : Jobs
        The worker, which writes the labelled planes to files.
    current : ModelSpec
        The model in use.

    Attributes
    ----------
    chosen : Signal
        Emitted with the :class:`ModelSpec` that is to be used.
    failed : Signal
        Emitted with the exception of work that failed.
    """

    chosen = Signal(object)
    failed = Signal(object)

    def __init__(self, panel: LearnPanel, objects: ObjectsPanel, jobs: Jobs, current: ModelSpec) -> None:
        super().__init__(panel)
        self._panel, self._objects, self._jobs, self._current = panel, objects, jobs, current
        self._binding: Binding | None = None
        self._process = CommandProcess("learning", self)
        self._writing: Job | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._made, self._before = current, current
        self._tried: tuple[HeldOutExample, ...] = ()
        self._listed: list[Generation] = []
        self._pictured: Generation | None = None
        self._process.progressed.connect(panel.show_progress)
        self._process.showed.connect(self._try)
        self._process.ended.connect(self._end)
        self._process.failed.connect(self._refuse)
        panel.started.connect(self.start)
        panel.stopped.connect(self.stop)
        panel.models.used.connect(self._use)
        panel.models.reverted.connect(self._revert)
        panel.models.noted.connect(self._note)
        panel.models.selected.connect(self._show_examples)

    def bind(self, binding: Binding | None) -> None:
        """Learn from the objects of another image."""
        self._binding = binding
        if not self._process.running:
            # what was being read is not read to its end
            self.stop()

    def count(self) -> None:
        """Count the committed objects."""
        if self._objects.objects is not None:
            self._objects.update_now()
        objects = self._objects.objects
        unconfirmed = [] if objects is None else objects.unconfirmed
        self._panel.count(0 if objects is None else len(objects.present) - len(unconfirmed), len(unconfirmed))

    def use_model(self, name: str) -> None:
        """Set the name of the model in use, as in the registry."""
        if name != self._current.name:
            self._before, self._current = self._current, find(name)
        self._show_used()

    def list_models(self, select: str = "") -> None:
        """List the models of the user's own again, and select one of them."""
        self._listed = generations()
        self._panel.models.show_generations(self._listed, select)
        self._show_used()

    def _show_used(self) -> None:
        self._panel.models.show_used(self._current.name, self._parent())

    def _parent(self) -> str:
        """What the model in use began with; that before it where it does not tell, empty for a published one."""
        if not self._current.own:
            return ""
        reports = {one.name: one.report for one in self._listed}
        report = reports.get(self._current.name)
        if report is not None:
            return report.parent
        return "tiny" if self._before == self._current else self._before.name

    def _show_examples(self, one: Generation | None) -> None:
        if one != self._pictured:
            self._pictured = one
            self._panel.examples.show_examples(() if one is None else examples_of(one))

    def _note(self, name: str, note: str) -> None:
        try:
            write_note(find(name), note)
        except SeganyError as error:
            self.failed.emit(error)
        self.list_models()

    def start(self, name: str, complete: bool) -> None:
        """Write the labelled planes to a folder, and train on them."""
        try:
            made = self._new_model(name)
            stack, labels = self._labelled()
        except SeganyError as error:
            self.failed.emit(error)
            return
        objects = self._objects.objects
        # who says that all is labelled stands for what was found, too
        left_out = () if complete or objects is None else tuple(objects.unconfirmed)
        self._folder = tempfile.TemporaryDirectory(prefix="segany-learn-", ignore_cleanup_errors=True)
        root = Path(self._folder.name)
        self._made, self._tried = made, ()
        command = ["train", "on", str(root / "images"), "--labels", str(root / "labels")]
        command += ["-o", str(made.path), "--name", name]
        command += ["--complete"] if complete else []
        self._panel.show_progress("reading", 0, 1, None)
        self._writing = self._jobs.run(
            partial(write_labelled, stack, labels, root, left_out),
            done=lambda _: self._run(command),
            failed=self._refuse,
        )

    def _labelled(self) -> tuple[Stack, np.ndarray]:
        """The planes of the image, and a copy of the labels of the same shape."""
        binding = self._binding
        view = None if binding is None else binding.planes.view()
        if binding is None or view is None or binding.labels is None:
            raise InputError("there is no object to learn from; keep some first")
        stack, _ = binding.planes.stack(view)
        labels = binding.labels.data
        if not isinstance(labels, np.ndarray) or labels.shape != stack.shape + stack.plane_shape:
            raise InputError("the model learns from labels in memory, displayed along the image's last two axes")
        return stack, labels.copy()

    def _refuse(self, error: Exception) -> None:
        self._forget_folder()
        self._panel.show_idle("")
        self.failed.emit(error)

    def _run(self, command: list[str]) -> None:
        self._writing = None
        if self._folder is not None:
            self._panel.show_progress("starting", 0, 1, None)
            self._process.start(command)

    @staticmethod
    def _new_model(name: str) -> ModelSpec:
        made = new_own_model(name)
        if made.path.exists():
            raise InputError(f"there is a model {name!r} already; choose another name")
        return made

    def _try(self, examples: tuple[HeldOutExample, ...]) -> None:
        self._tried = examples

    def _end(self, lines: list[str]) -> None:
        self._forget_folder()
        told = [line for line in lines if not line.startswith(("wrote ", "nothing was written"))]
        self._panel.show_idle("\n".join(told))
        if any(line.startswith("wrote ") for line in lines):
            self.list_models(select=self._made.name)
        else:
            self._pictured = None
            self._panel.show_tried(self._tried)

    def stop(self) -> None:
        """End the work; nothing is written then."""
        self._process.stop()
        if self._writing is not None:
            self._jobs.cancel(self._writing)
            self._writing = None
        if self._folder is not None:
            self._panel.show_idle("Cancelled; the model is as it was.")
        self._forget_folder()

    def _forget_folder(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _use(self, name: str) -> None:
        try:
            self.chosen.emit(find(name))
        except SeganyError as error:
            self.failed.emit(error)
            self.list_models()

    def _revert(self) -> None:
        self._use(self._parent())


def write_labelled(stack: Stack, labels: np.ndarray, folder: Path, left_out: Sequence[int] = ()) -> None:
    """Write the planes that have objects, and their labels, as two files; runs in the worker.

    Parameters
    ----------
    stack : Stack
        The planes.
    labels : ndarray
        (..., y, x) integers, of the stack's shape.
    folder : Path
        Where ``images/`` and ``labels/`` are made.
    left_out : sequence of int
        Labels that are not written, such as those of objects that the user has not confirmed.

    Raises
    ------
    InputError
        No plane has an object.
    """
    for part in ("images", "labels"):
        (folder / part).mkdir()
    if left_out:
        labels = np.where(np.isin(labels, left_out), 0, labels)
    numbers = [number for number in range(len(stack)) if labels[stack.index(number)].any()]
    if not numbers:
        raise InputError("there is no object to learn from; keep some first")
    planes = np.stack([stack.plane(number) for number in numbers])
    own = np.stack([labels[stack.index(number)] for number in numbers])
    # one file, so that it is known that these are planes of one stack
    axes = "zyx" if len(numbers) > 1 else "yx"
    image, truth = (planes, own) if len(numbers) > 1 else (planes[0], own[0])
    metadata = {"axes": f"{axes.upper()}S"}
    tifffile.imwrite(folder / "images" / "image.tif", image, photometric="rgb", metadata=metadata)
    write_labels(folder / "labels" / "image_labels.tif", truth, axes=axes)
