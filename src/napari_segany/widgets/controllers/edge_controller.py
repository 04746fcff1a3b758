"""Computes the edges of the shown slice, and shows them in a layer."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from napari_segany.core.errors import SeganyError
from napari_segany.core.planes import Stack
from napari_segany.core.views import View
from napari_segany.engine.prediction import PredictionService
from napari_segany.engine.worker_jobs import find_edges
from napari_segany.layers.binding import Binding
from napari_segany.layers.edge_layer import EdgeLayers
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.panels.automatic_masks_panel import AutomaticMasksPanel


class EdgeController(QObject):
    """Connects the button for edges with the worker and the layers.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are.
    box : AutomaticMasksPanel
        Owns this object.
    jobs : Jobs
        The worker.
    answers : PredictionService
        The model.

    Attributes
    ----------
    message : Signal
        Emitted with a line about what is done.
    progress : Signal
        Emitted with the share that is done and 1, from the worker.
    failed : Signal
        Emitted with the exception of what failed.
    """

    message = Signal(str)
    progress = Signal(float, float)
    failed = Signal(object)

    def __init__(self, viewer: ViewerModel, box: AutomaticMasksPanel, jobs: Jobs, answers: PredictionService) -> None:
        super().__init__(box)
        self._jobs, self._answers = jobs, answers
        self._layers = EdgeLayers(viewer)
        self._binding: Binding | None = None

    def bind(self, binding: Binding | None) -> None:
        """Compute edges of another image."""
        self._binding = binding

    def find(self) -> None:
        """Compute the edges of the shown slice, and show them in the layer ``edges`` of the image."""
        binding = self._binding
        view = binding.planes.view() if binding is not None else None
        if binding is None or view is None:
            return
        stack, number = binding.planes.stack(view)
        self.message.emit("Computing the edges of this slice …")
        self._jobs.run(
            lambda: self._edges(stack, number),
            done=lambda edges: self._show(binding, view, edges),
            failed=self.failed.emit,
            instead_of="edges",
        )

    def _edges(self, stack: Stack, number: int) -> np.ndarray:
        """Runs in the worker."""
        (edges,) = self._answers.stream(find_edges, stack, number, report=self._report)
        found: np.ndarray = edges
        return found

    def _report(self, done: float) -> None:
        self._jobs.check()
        self.progress.emit(done, 1.0)

    def _show(self, binding: Binding, view: View, edges: np.ndarray) -> None:
        if binding is not self._binding:
            return
        try:
            layer = self._layers.show(binding, view, edges)
        except SeganyError as error:
            self.failed.emit(error)
            return
        some = "" if edges.any() else " None were found."
        self.message.emit(f"The edges of this slice are in the layer {layer.name!r}.{some}")
