"""The way of each object from slice to slice, or through time, as a Tracks layer; divisions are its graph."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Tracks

from napari_segany.core.errors import InputError
from napari_segany.core.track_graph import TrackGraph
from napari_segany.io.formats.tracks import graph_of
from napari_segany.layers.lineage import known_parents, may_divide
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.jobs import Jobs


class TrackLayers:
    """Shows the tracks of Labels layers; those of a layer are shown once, and renewed.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are.
    jobs : Jobs
        Runs the measuring.
    """

    def __init__(self, viewer: ViewerModel, jobs: Jobs) -> None:
        self._viewer, self._jobs = viewer, jobs
        self._made: WeakKeyDictionary[Labels, Tracks] = WeakKeyDictionary()

    def show(self, labels: Labels | None, shown: Callable[[str], None], failed: Callable[[Exception], None]) -> None:
        """Measure the tracks of a layer's objects and show them.

        Parameters
        ----------
        labels : Labels, optional
            Objects of this layer; they move along the first axis.
        shown : callable
            Called with a message about the tracks.
        failed : callable
            Called with the exception when there is nothing to show.
        """
        if labels is None:
            failed(InputError("tracks are of objects on several slices or times: there are none"))
            return
        # the layer may be painted into meanwhile; what is not in memory is read frame by frame
        data = labels.data.copy() if isinstance(labels.data, np.ndarray) else labels.data

        # where the first axis is called otherwise, as z, nothing divides
        moving = may_divide(labels)
        parents = known_parents(labels) if moving else {}

        def done(graph: TrackGraph) -> None:
            table, mothers = graph.tracks()
            if not len(table):
                failed(InputError(f"{labels.name!r} has no objects: there is nothing to track"))
                return
            self._renew(labels, table, mothers)
            divisions = len({tuple(each) for each in mothers.values()})
            counted = f", {count_of(divisions, 'division')}" if divisions else ""
            shown(f"{count_of(len(np.unique(table[:, 0])), 'track')}{counted}.")

        self._jobs.run(
            lambda: graph_of(data, parents, by_overlap=moving), done=done, failed=failed, instead_of="tracks"
        )

    def _renew(self, labels: Labels, table: np.ndarray, mothers: dict[int, list[int]]) -> None:
        before = self._made.get(labels)
        if before is not None and before in self._viewer.layers:
            # the graph names tracks that must be in the data, before and after
            before.graph = {}
            before.data = table
            before.graph = mothers
            return
        active = self._viewer.layers.selection.active
        placed = {"scale": labels.scale, "translate": labels.translate, "units": labels.units}
        tracks = Tracks(table, graph=mothers, name=f"{labels.name} tracks", tail_length=30, head_length=0, **placed)
        self._made[labels] = self._viewer.add_layer(tracks)
        # clicks go on being prompts
        self._viewer.layers.selection.active = active
