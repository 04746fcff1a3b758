"""Outlines of the chosen objects and crosses over rejected ones, drawn above the picture; no layer holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QPainter, QPainterPath, QPaintEvent, QPen, QTransform
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QWidget

from napari_segany.layers.compat import camera_of, directions_of
from napari_segany.layers.object_edges import ShownPlane, crosses, object_lines
from napari_segany.layers.object_features import ObjectFeatures

MOST = 50
"""Chosen objects up to which all have an outline."""
STYLES = (("#000000", 3.0), ("#ffffff", 1.4))
"""Colours and widths of an outline in pixels of the screen: a bright line on a dark one is seen on any picture."""
REJECTED_STYLES = (("#000000", 2.6), ("#ff5050", 1.2))


class ObjectOutline(QWidget):
    """Lies above the canvas and lets the mouse through.

    Parameters
    ----------
    viewer : ViewerModel
        Whose camera and slice count.
    canvas : QOpenGLWidget
        Where it is drawn; owns this object.
    """

    def __init__(self, viewer: ViewerModel, canvas: QOpenGLWidget) -> None:
        super().__init__(canvas)
        self._viewer, self._canvas = viewer, canvas
        self._objects: ObjectFeatures | None = None
        self._chosen: tuple[int, ...] = ()
        self._rejected: tuple[int, ...] = ()
        self._marked: tuple[tuple[int, ...], tuple[int, ...], int] = ((), (), -1)
        self._outline, self._crosses = QPainterPath(), QPainterPath()
        self._connections: list[tuple[object, Callable[..., None]]] = []
        for flag in (Qt.WidgetAttribute.WA_TransparentForMouseEvents, Qt.WidgetAttribute.WA_NoSystemBackground):
            self.setAttribute(flag)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setGeometry(canvas.rect())
        canvas.installEventFilter(self)
        self.hide()

    @property
    def empty(self) -> bool:
        """Whether nothing is drawn."""
        return self._outline.isEmpty() and self._crosses.isEmpty()

    def bind(self, objects: ObjectFeatures | None) -> None:
        """Draw objects of another layer; None: of none."""
        for event, callback in self._connections:
            event.disconnect(callback)  # type: ignore[attr-defined]
        self._connections.clear()
        self._objects, self._chosen, self._rejected = objects, (), ()
        self._marked = ((), (), -1)
        if objects is not None:
            layer, dims, camera = objects.labels, self._viewer.dims, camera_of(self._viewer)
            moves = [getattr(layer.events, name) for name in ("scale", "translate", "rotate", "shear", "affine")]
            sliders = [dims.events.point, dims.events.order, dims.events.ndisplay, layer.events.visible]
            self._connections = [(event, self._trace) for event in (*moves, *sliders)]
            self._connections += [(event, self._move) for event in (camera.events.center, camera.events.zoom)]
            for event, callback in self._connections:
                event.connect(callback)  # type: ignore[attr-defined]
        self._trace()

    def mark(self, chosen: Iterable[int], rejected: Iterable[int]) -> None:
        """Draw the outlines of some objects, and crosses over others."""
        marked = tuple(chosen)[:MOST], tuple(rejected), -1 if self._objects is None else self._objects.measured
        if marked != self._marked:
            self._marked = marked
            self._chosen, self._rejected, _ = marked
            self._trace()

    def _trace(self, event: object = None) -> None:
        """Find the lines on the plane that is shown."""
        self._outline, self._crosses = QPainterPath(), QPainterPath()
        plane = None
        if self._objects is not None and self._objects.labels.visible and (self._chosen or self._rejected):
            plane = ShownPlane.of(self._viewer, self._objects.labels)
        if plane is not None and self._objects is not None:
            self._outline = _path(_outlines(self._objects, plane, self._chosen))
            starts, stops = self._objects.corners(self._rejected)
            self._crosses = _path(crosses(plane, starts, stops))
        self.setVisible(not self.empty)
        self.update()

    def _move(self, event: object = None) -> None:
        if not self.empty:
            self.update()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the size of the canvas."""
        if event.type() == QEvent.Type.Resize:
            self.setGeometry(self._canvas.rect())
        return False

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the lines, of the same width at each zoom."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setTransform(self._to_screen())
        for path, styles in ((self._crosses, REJECTED_STYLES), (self._outline, STYLES)):
            for colour, width in styles:
                pen = QPen(colour)
                pen.setWidthF(width)
                pen.setCosmetic(True)
                painter.setPen(pen)
                painter.drawPath(path)
        painter.end()

    def _to_screen(self) -> QTransform:
        """From the world, x and y, to this widget."""
        camera = camera_of(self._viewer)
        (down, right), zoom = directions_of(camera), float(camera.zoom)
        y, x = (float(value) for value in camera.center[-2:])
        moved = QTransform().translate(self.width() / 2, self.height() / 2)
        return moved.scale(zoom * right, zoom * down).translate(-x, -y)


def _outlines(objects: ObjectFeatures, plane: ShownPlane, labels: Iterable[int]) -> np.ndarray:
    windows = objects.known_windows(labels)
    layer: Labels = objects.labels
    return np.concatenate(
        [np.zeros((0, 2, 2)), *(object_lines(layer, plane, label, window) for label, window in windows.items())]
    )


def _path(lines: np.ndarray) -> QPainterPath:
    path = QPainterPath()
    for (y0, x0), (y1, x1) in lines.tolist():
        path.moveTo(QPointF(x0, y0))
        path.lineTo(QPointF(x1, y1))
    return path


def canvas_of(widget: QWidget) -> QOpenGLWidget | None:
    """The canvas of the window that a widget is docked in, also while its dock floats; None without one."""
    place: QWidget | None = widget
    while place is not None:
        found = place.window().findChild(QOpenGLWidget)
        if found is not None:
            return found
        place = place.window().parentWidget()
    return None
