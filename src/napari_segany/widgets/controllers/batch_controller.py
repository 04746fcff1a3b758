"""Segments the images of a project in a separate process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import xxhash
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QDialog

from napari_segany.batch.project import FINISHED, LABELS, Project
from napari_segany.core.errors import InputError, SeganyError
from napari_segany.io.labels import replacing, write_labels
from napari_segany.layers.binding import Binding
from napari_segany.widgets.command_process import CommandProcess
from napari_segany.widgets.controllers.project_controller import ProjectController
from napari_segany.widgets.panels.batch_dialog import LIKE, TEXT, BatchDialog, BatchRequest
from napari_segany.widgets.panels.objects_panel import ObjectsPanel
from napari_segany.widgets.panels.project_panel import ProjectPanel

NAMES, EXAMPLES = "images.txt", "examples"
"""In the folder of results: which images the last run was for; and the folder of label images of examples."""


class BatchController(QObject):
    """Connects the panel of a project with a process that segments its images.

    Parameters
    ----------
    project : ProjectController
        The images.
    panel : ProjectPanel
        Shows the progress; owns this object.
    objects : ObjectsPanel
        Knows for which objects the user stands: only these are examples.
    model : callable
        Returns the name of the current model.

    Attributes
    ----------
    failed : Signal
        Emitted with the exception of what failed.
    """

    failed = Signal(object)

    def __init__(
        self, project: ProjectController, panel: ProjectPanel, objects: ObjectsPanel, model: Callable[[], str]
    ) -> None:
        super().__init__(panel)
        self._project, self._panel, self._objects, self._model = project, panel, objects, model
        self._binding: Binding | None = None
        self._process = CommandProcess("segmenting the folder", self)
        self._process.progressed.connect(panel.show_progress)
        self._process.ended.connect(self._end)
        self._process.failed.connect(self._refuse)
        for wanted in (panel.batch_wanted, project.table.batch_wanted):
            wanted.connect(self.ask)
        panel.stopped.connect(self.stop)
        project.changed.connect(self._allow)

    @property
    def running(self) -> bool:
        """Whether images are being segmented."""
        return self._process.running

    def bind(self, binding: Binding | None) -> None:
        """Take examples from another image."""
        self._binding = binding

    def ask(self) -> None:
        """Ask what to find in which images, and begin."""
        project = self._project.project
        if project is None or self.running:
            return
        dialog = BatchDialog(self._panel, self._groups(project), self._model(), len(self._examples()))
        if dialog.exec() == QDialog.DialogCode.Accepted:
            self.begin(dialog.request)
        dialog.deleteLater()

    def _groups(self, project: Project) -> dict[str, tuple[str, ...]]:
        """Images by what they have in common."""
        return {
            "all images": project.names,
            "images that are not finished": tuple(
                one for one in project.names if project.state_of(one) not in FINISHED
            ),
            "ticked images": self._project.table.ticked,
        }

    def _examples(self) -> list[int]:
        """Labels of the objects of the open image that the user stands for."""
        objects = self._objects.objects
        if objects is None or self._binding is None or not self._project.current:
            return []
        return [label for label in objects.present if self._objects.confirmed(label)]

    def begin(self, request: BatchRequest) -> None:
        """Segment images in a separate process; those that have results of the same kind keep them."""
        project = self._project.project
        if project is None or self.running or not request.names:
            return
        try:
            command = self._command(project, request)
        except (SeganyError, OSError) as error:
            self.failed.emit(error if isinstance(error, SeganyError) else InputError(str(error)))
            return
        # what the last run told is of another one
        self._panel.show_idle("")
        self._panel.show_progress("images", 0, len(request.names), None)
        self._process.start(command)
        self._allow()

    def _command(self, project: Project, request: BatchRequest) -> list[str]:
        """The words of the command line."""
        model, what = self._model(), ["--everything"]
        out = project.run_folder(request.text, model)
        if request.kind == TEXT:
            what = ["--text", request.text]
        elif request.kind == LIKE:
            image = project.folder / self._project.current
            examples = self._write_examples(project)
            out = project.run_folder(f"like {image.stem} {examples.stem[-6:]}", model)
            what = ["--exemplars", str(examples), "--exemplars-image", str(image)]
        if request.names != project.names:
            out.mkdir(parents=True, exist_ok=True)
            names = out / NAMES
            with replacing(names) as temporary:
                temporary.write_text("".join(f"{name}\n" for name in request.names), encoding="utf-8")
            what += ["--only", str(names)]
        return ["segment", str(project.folder), "-o", str(out), "--model", model, *what]

    def _write_examples(self, project: Project) -> Path:
        """Write the labels of the examples; equal ones have one file, so that a run that was stopped goes on."""
        labels = self._binding.labels if self._binding is not None else None
        examples = self._examples()
        if labels is None or not examples:
            raise InputError("keep some objects of this image first: they are the examples")
        pixels = np.where(np.isin(labels.data, examples), labels.data, 0).astype(np.int32)
        name = Path(self._project.current).stem
        path = project.place / LABELS / EXAMPLES / f"{name}-{xxhash.xxh3_64_hexdigest(pixels.tobytes())[:6]}.tif"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_labels(path, pixels)
        return path

    def stop(self) -> None:
        """End the run; images that have results keep them, and the next run goes on with the others."""
        if self._process.running:
            self._process.stop()
            self._panel.show_idle("Cancelled. The images that were segmented keep their labels.")
            self._allow()

    def _end(self, lines: list[str]) -> None:
        problems = [line for line in lines if line.startswith("cannot ")]
        # (the last line of the command begins with the folder of the results)
        counts = [f"Segmented: {line.rpartition(': ')[2]}" for line in lines[-1:]]
        self._panel.show_idle("\n".join([*counts, *problems]))
        self._allow()
        self._project.read_found()
        self._project.open_labels()

    def _refuse(self, error: Exception) -> None:
        self._panel.show_idle("")
        self._allow()
        self.failed.emit(error)

    def _allow(self) -> None:
        self._panel.set_ready(self._project.project is not None and not self.running)
