"""Opens the widget Measurements, from the panel and from napari's menus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.components import ViewerModel
from napari.viewer import Viewer
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QDockWidget

from napari_segany.layers.proxies import unwrapped

if TYPE_CHECKING:
    from napari_segany.widgets.measurements_widget import MeasurementsWidget

TITLE = "Measurements"


def measurements(viewer: Viewer) -> MeasurementsWidget:
    """The widget of a window; opened when it is not there.

    It is no widget of the manifest: with one alone there, napari's menu of plugins opens the panel at once.
    """
    from napari_segany.widgets.measurements_widget import MeasurementsWidget

    viewer = unwrapped(viewer)
    found = next((one for one in viewer.window.dock_widgets.values() if isinstance(one, MeasurementsWidget)), None)
    if found is None:
        found = MeasurementsWidget(viewer)
        viewer.window.add_dock_widget(found, name=TITLE, area="bottom")
    dock = found.parent()
    if isinstance(dock, QDockWidget):
        dock.show()
        dock.raise_()
    return found


def open_measurements(viewer: Viewer) -> None:
    """Open the widget, for napari's menus and palette."""
    measurements(viewer)


# napari's injection gives the viewer by the annotation, which has to be a class, not its name
open_measurements.__annotations__ = {"viewer": Viewer, "return": None}


class MeasurementsDock(QObject):
    """Opens the widget, or shows it where it is open.

    Parameters
    ----------
    viewer : ViewerModel
        With a window.
    parent : QObject
        Owns this object.
    """

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer

    def open(self) -> None:
        """Open the widget; a window is needed."""
        if isinstance(self._viewer, Viewer):
            measurements(self._viewer)
