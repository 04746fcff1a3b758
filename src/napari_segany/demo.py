"""``napari-segany demo``: the sample nuclei, prompts being placed, masks appearing; in a window or without one.

Qt is imported for the window only: without one, the same layers and the same session do without it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from PIL import Image as Picture
from skimage.segmentation import mark_boundaries

from napari_segany.core.errors import InputError
from napari_segany.core.masks import box_of
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.simulate import centre_point
from napari_segany.engine.prediction import PredictionService, load_default
from napari_segany.io.labels import check_output, write_labels
from napari_segany.layers.binding import Binding
from napari_segany.sample_data import nuclei
from napari_segany.session.session import SegmentRequest, Session

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_segany.widgets.main import SeganyWidget

OBJECTS = 12
STEP_MS = 700


@dataclass(frozen=True, slots=True)
class DemoPrompt:
    """A prompt of the demo for one nucleus: a click at (y, x), or a box (y0, x0, y1, x1)."""

    label: int
    click: tuple[float, float] | None = None
    box: tuple[float, float, float, float] | None = None


def script(truth: np.ndarray) -> list[DemoPrompt]:
    """A dozen nuclei spread over the picture: every third gets a box, the others a click."""
    labels = np.unique(truth)[1:]
    chosen = labels[np.linspace(0, len(labels) - 1, min(OBJECTS, len(labels))).astype(int)]
    prompts = []
    for number, label in enumerate(chosen):
        mask = truth == label
        box, click = box_of(mask), centre_point(mask)
        if number % 3 == 2 and box is not None:
            prompts.append(DemoPrompt(int(label), box=(box.y0, box.x0, box.y1, box.x1)))
        else:
            prompts.append(DemoPrompt(int(label), click=(click.y, click.x)))
    return prompts


def place(binding: Binding, prompt: DemoPrompt) -> None:
    """Put a prompt into its layer, as a click or a drag would."""
    if prompt.click is not None and binding.points is not None:
        binding.points.add(prompt.click)
    if prompt.box is not None and binding.shapes is not None:
        y0, x0, y1, x1 = prompt.box
        binding.shapes.add_rectangles(np.array([[y0, x0], [y1, x1]]))


def mean_iou(found: np.ndarray, truth: np.ndarray, kept: dict[int, int]) -> float:
    """Mean IoU of the prompted nuclei; `kept` has the label of each, one without a label counts 0."""
    scores = []
    for real_label, label in kept.items():
        mask, real = (found == label) & (label > 0), truth == real_label
        scores.append((mask & real).sum() / (mask | real).sum())
    return float(np.mean(scores))


def has_display() -> bool:
    """Whether a window can be opened."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def run_demo(headless: bool = False, out: Path | None = None) -> str:
    """Run the demo.

    Parameters
    ----------
    headless : bool
        Run without a window; also when there is no display.
    out : Path, optional
        Folder for ``labels.tif`` and ``demo.png``; ``segany-demo`` in the working directory when there is no window.

    Returns
    -------
    str
        A message for the user.

    Raises
    ------
    InputError
        When the folder cannot be written, or already holds the files.
    """
    if headless or not has_display():
        return _headless(Path("segany-demo") if out is None else out)
    return _window(out)


def _headless(out: Path) -> str:
    targets = _targets(out)
    (image, image_options, _), (truth, _, _) = nuclei()
    viewer, session, answers = ViewerModel(), Session(), PredictionService(load_default)
    binding = Binding(viewer, session, viewer.add_layer(Image(image, **image_options)))

    def answer(request: SegmentRequest) -> None:
        session.accept(answers.answer(*binding.planes.stack(request.plane), request))

    session.requested.connect(answer)
    kept: dict[int, int] = {}
    for prompt in script(truth):
        place(binding, prompt)
        # the session counts on after each mask that is kept
        kept[prompt.label] = session.label - 1 if binding.keep() else 0
        binding.clear_prompts()
    labels = np.zeros(truth.shape, np.int32) if binding.labels is None else binding.labels.data
    score = mean_iou(labels, truth, kept)
    _write(targets, binding, labels)
    return f"{len(kept)} nuclei prompted, mean IoU with the truth {score:.3f}; wrote {targets[0]} and {targets[1]}"


def _targets(out: Path) -> tuple[Path, Path]:
    """The two files, once it is sure that they can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {out}: {error.strerror}") from error
    labels, picture = out / "labels.tif", out / "demo.png"
    if not os.access(out, os.W_OK):
        raise InputError(f"cannot write into {out}")
    return check_output(labels, overwrite=True), picture


def _write(targets: tuple[Path, Path], binding: Binding, labels: np.ndarray) -> None:
    view = binding.planes.view()
    if view is None:
        raise InputError("the picture cannot be written while it is shown in 3D")
    stack, number = binding.planes.stack(view)
    write_labels(targets[0], labels, axes="yx", overwrite=True)
    outlined = mark_boundaries(stack.plane(number), labels, color=(1, 0.8, 0), mode="thick")
    Picture.fromarray((255 * outlined).astype(np.uint8)).save(targets[1])


def _window(out: Path | None) -> str:
    """Open napari and play the script; the window then belongs to the user."""
    import napari

    targets = None if out is None else _targets(out)
    viewer, widget = open_window()
    _start(play(viewer, widget))
    napari.run()
    if targets is None or widget.binding is None or widget.binding.labels is None:
        return "goodbye"
    _write(targets, widget.binding, np.asarray(widget.binding.labels.data))
    return f"wrote {targets[0]} and {targets[1]}"


def open_window() -> tuple[Viewer, SeganyWidget]:
    """A window with the demo; the model is loaded while it opens."""
    from napari_segany.engine.remote_segmenter import load_remote_default, starting

    begun = [starting()]
    import napari

    def load() -> Segmenter:
        # should its process end, another is started
        return begun.pop()() if begun else load_remote_default()

    viewer = napari.Viewer(title="napari-segany demo")
    return viewer, open_demo(viewer, load=load)


def open_demo(viewer: Viewer, **options: Any) -> SeganyWidget:
    """Put the sample and a separate dock widget with options into a viewer."""
    from napari_segany.widgets.main import SeganyWidget

    (image, image_options, _), (truth, truth_options, _) = nuclei()
    viewer.add_labels(truth, **truth_options)
    viewer.add_image(image, **image_options)
    widget = SeganyWidget(viewer, **options)
    viewer.window.add_dock_widget(widget, name="Segment Anything", area="right")
    return widget


def play(viewer: ViewerModel, widget: SeganyWidget) -> Iterator[bool]:
    """One step after the other: a prompt, its mask, the next; yields whether to wait for the model."""
    for prompt in script(viewer.layers["Truth"].data):
        if widget.binding is None:
            return
        place(widget.binding, prompt)
        yield True
        while widget.session.waiting:
            yield True
        widget.keep()
        yield False
    viewer.status = "Your turn: click a nucleus, K keeps its mask."


def _start(player: Iterator[bool]) -> None:
    """Advance the player with the window's own clock."""
    from qtpy.QtCore import QTimer

    def advance() -> None:
        if next(player, None) is not None:
            QTimer.singleShot(STEP_MS, advance)

    QTimer.singleShot(0, advance)
