"""Opens the widget Measurements from the panel."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.viewer import Viewer
from qtpy.QtCore import QObject

PLUGIN, TITLE = "napari-segany", "Measurements"


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
        """Open the widget as napari's menu does; a window is needed."""
        if isinstance(self._viewer, Viewer):
            dock, _ = self._viewer.window.add_plugin_dock_widget(PLUGIN, TITLE)
            dock.show()
            dock.raise_()
