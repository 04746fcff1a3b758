"""Which committed object lies under the cursor, or under the clicks."""

from __future__ import annotations

from collections.abc import Sequence

from napari_segany.core.views import View
from napari_segany.layers.commit import Committer
from napari_segany.layers.image_planes import ImagePlanes
from napari_segany.layers.output_layer import OutputLayer
from napari_segany.session.session import Session


class ObjectPicker:
    """Finds objects of the output layer by places.

    Parameters
    ----------
    session : Session
        Whose clicks.
    planes : ImagePlanes
        Which plane is shown.
    output : OutputLayer
        Where the objects are.
    keeping : Committer
        Knows the object that is being changed.
    """

    def __init__(self, session: Session, planes: ImagePlanes, output: OutputLayer, keeping: Committer) -> None:
        self._session, self._planes, self._output, self._keeping = session, planes, output, keeping

    def label_under(self, position: Sequence[float]) -> tuple[View | None, int]:
        """The plane that is shown and the label of the object at a place in the world, 0 for none."""
        place = self._planes.place(position)
        if place is None:
            return None, 0
        view, point = place
        return view, self._output.label_at(view, round(point.y), round(point.x))

    def clicked(self) -> int:
        """The label of the committed object that all positive clicks lie in; 0 for none, or while it is changed."""
        prompt, view, labels = self._session.prompt, self._planes.shown, self._output.labels
        clicks = [] if prompt is None else [point for point in prompt.points if point.positive]
        if view is None or not clicks or labels is None or self._keeping.opened is not None:
            return 0
        plane = view.read(labels.data)
        inside = {
            int(plane[round(point.y), round(point.x)])
            for point in clicks
            if 0 <= round(point.y) < plane.shape[0] and 0 <= round(point.x) < plane.shape[1]
        }
        return inside.pop() if len(inside) == 1 else 0
