"""Pictures of every state of the widget for docs/panel.md, from the real window under a real or a virtual screen.

python scripts/panel_pictures.py --out docs/images
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import napari
import numpy as np
from PIL import Image
from qtpy.QtCore import QEventLoop, QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from scipy.ndimage import maximum_filter, minimum_filter
from tifffile import imwrite

from napari_segany.core.prompts import Point
from napari_segany.core.simulate import centre_point
from napari_segany.sample_data import nuclei, nuclei_stack
from napari_segany.widgets.main import SeganyWidget

SIZE = (1280, 720)
COLOURS = 128


class Tour:
    """A window, a hand, and a camera."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.viewer = napari.Viewer()
        self.viewer.window.resize(*SIZE)
        self.widget = SeganyWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.widget, name="Segment Anything")
        self.canvas = self.viewer.window._qt_viewer.canvas.native

    def wait(self, ready: Callable[[], object], seconds: float = 60) -> None:
        """Let the window live until something is so."""
        end = time.monotonic() + seconds
        while not ready() and time.monotonic() < end:
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
            # or the worker, which yields to the window, waits for it on a busy machine
            time.sleep(0.01)

    def rest(self, seconds: float = 0.3) -> None:
        """Let the window live for a while."""
        self.wait(lambda: False, seconds)

    def place(self, y: float, x: float) -> QPoint:
        """Where a place of the picture is in the canvas."""
        camera = getattr(self.viewer, "scene", self.viewer).camera
        away = (np.array([y, x]) - np.array(camera.center[-2:])) * camera.zoom
        middle = self.canvas.rect().center()
        return QPoint(round(middle.x() + away[1]), round(middle.y() + away[0]))

    def move(self, y: float, x: float) -> None:
        """Move the mouse there."""
        for nearer in (1, 0):
            QTest.mouseMove(self.canvas, self.place(y - nearer, x - nearer))
            self.rest(0.1)

    def click(self, y: float, x: float, held: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        """Click, and wait for the mask."""
        self.move(y, x)
        QTest.mouseClick(self.canvas, Qt.MouseButton.LeftButton, held, self.place(y, x))
        session = self.widget.session
        self.wait(lambda: session.result is not None and not session.waiting)

    def picture(self, name: str) -> None:
        """Take a picture of the window."""
        self.rest()
        path = self.out / f"panel-{name}.png"
        self.viewer.window._qt_window.grab().save(str(path))
        # the window has few colours: a palette makes the file a third as large
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def walk(tour: Tour) -> None:
    """All of it."""
    truth = begin(tour)
    one_and_all(tour, truth)
    rest(tour)
    stack(tour)
    refine(tour)
    project(tour)


def begin(tour: Tour) -> np.ndarray:
    """The empty window, and with an image; gives the truth of it."""
    widget = tour.widget
    tour.picture("empty")
    (image, options, _), (truth, *_) = nuclei()
    tour.viewer.add_image(image, **options)
    tour.wait(lambda: len(widget.answers.cache))
    tour.picture("ready")
    return truth


def one_and_all(tour: Tour, truth: np.ndarray) -> None:
    """Hint, candidates, a mask that is kept, a stroke, everything."""
    widget = tour.widget
    places = [centre_point(truth == label) for label in np.unique(truth)[1:]]
    inner = [p for p in places if 60 < p.y < truth.shape[0] - 60 and 60 < p.x < truth.shape[1] - 60]
    first, second = inner[0], inner[1]
    tour.move(first.y, first.x)
    tour.rest(1)
    tour.picture("hint")
    tour.click(first.y, first.x)
    tour.picture("candidates")
    widget.session.choose(1)
    tour.picture("second-candidate")
    widget.session.choose(0)
    widget.keep()
    tour.click(second.y, second.x)
    widget.keep()
    tour.picture("kept")
    stroke(tour, inner[2])
    tour.picture("brush")
    widget.discard()
    widget.prompt_box.take("Points")
    widget.find_everything()
    tour.wait(lambda: widget.finder.found is not None)
    tour.picture("everything")
    widget.discard()
    widget.everything_box.named.emit("nuclei")
    tour.wait(lambda: widget.finder.found is not None)
    tour.picture("text")
    widget.keep()


def stroke(tour: Tour, place: Point) -> None:
    """Paint roughly over an object."""
    tour.widget.prompt_box.take("Brush")
    tour.move(place.y - 4, place.x)
    QTest.mousePress(tour.canvas, Qt.MouseButton.LeftButton, pos=tour.place(place.y - 4, place.x))
    for down in (-2, 0, 2, 4):
        QTest.mouseMove(tour.canvas, tour.place(place.y + down, place.x))
        tour.rest(0.05)
    QTest.mouseRelease(tour.canvas, Qt.MouseButton.LeftButton, pos=tour.place(place.y + 4, place.x))
    session = tour.widget.session
    tour.wait(lambda: session.result is not None and not session.waiting)


def rest(tour: Tour) -> None:
    """What the model sees, the list of objects, files, keys, and the light theme."""
    widget = tour.widget
    for name, box in {
        "picture": widget.picture_box,
        "objects": widget.objects_box,
        "export": widget.export_box,
    }.items():
        widget.tabs.show_box(box)
        tour.rest(1)
        tour.picture(name)
    tour.viewer.theme = "light"
    widget.tabs.show_box(widget.everything_box)
    tour.rest(1)
    tour.picture("light")
    tour.viewer.theme = "dark"


def refine(tour: Tour) -> None:
    """Labels of another program, drawn again."""
    widget = tour.widget
    tour.viewer.layers.clear()
    (image, options, _), (truth, *_) = nuclei()
    tour.viewer.add_image(image, **options)
    rough = np.where(minimum_filter(truth, 9) == maximum_filter(truth, 9), truth, 0)
    tour.viewer.add_labels(rough, name="cellpose masks")
    widget.act("refine_labels")
    tour.wait(lambda: "drawn again" in widget.refine_box.text, 300)
    tour.rest(1)
    tour.picture("refine")


def project(tour: Tour) -> None:
    """A folder of images, one of which is done."""
    widget = tour.widget
    tour.viewer.layers.clear()
    with TemporaryDirectory() as folder:
        (image, *_), _ = nuclei()
        for number, part in enumerate((image[:300], image[-300:], image[:, :300], image[:, -300:]), start=1):
            imwrite(Path(folder) / f"well A{number}.tif", part)
        for name in ("well A1.tif", "well A2.tif"):
            widget.project.open_folder(folder)
            tour.wait(lambda name=name: widget.project.current == name)
            tour.wait(lambda: len(widget.answers.cache))
            widget.find_everything()
            tour.wait(lambda: widget.finder.found is not None)
            widget.keep()
            if name == "well A1.tif":
                widget.act("finish_image")
        tour.picture("project")
        widget.close_session()


def stack(tour: Tour) -> None:
    """Objects of one slice on the others."""
    widget = tour.widget
    tour.viewer.layers.clear()
    (image, options, _), (truth, *_) = nuclei_stack()
    tour.viewer.add_image(image, **options)
    middle = len(truth) // 2
    tour.viewer.dims.set_point(0, middle * float(tour.viewer.layers[0].scale[0]))
    tour.rest(1)
    tour.wait(lambda: len(widget.answers.cache))
    widget.find_everything()
    tour.wait(lambda: widget.finder.found is not None)
    widget.keep()
    widget.follow()
    tour.wait(lambda: "Tracked" in widget.stack_box.text, 300)
    tour.rest(1)
    widget.act("show_uncertain")
    tour.picture("stack")


def main() -> None:
    """Walk, and close the window."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    tour = Tour(parser.parse_args().out)
    walk(tour)
    tour.widget.close_session()
    tour.viewer.close()


if __name__ == "__main__":
    main()
