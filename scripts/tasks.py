"""Ten tasks as users have them, done with mouse and keys in a real window; counts, seconds and pictures.

python scripts/tasks.py --out docs/images            # all, each in a window of its own, and a table
python scripts/tasks.py --task first_object --out …  # one
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

SIZE = (1280, 720)
COLOURS = 128
TASKS: dict[str, Callable[[Desk], None]] = {}


def task(act: Callable[[Desk], None]) -> Callable[[Desk], None]:
    """Count a function among the tasks; its docstring is what the user wants."""
    TASKS[act.__name__] = act
    return act


@dataclass
class Desk:
    """A window with the panel, a hand, a folder, and where pictures go."""

    viewer: Any
    hand: Any
    folder: Path
    out: Path
    began: float = 0.0
    outcome: str = ""

    @property
    def widget(self) -> Any:
        """The panel."""
        from napari_segany.widgets.commands import docked

        return docked(self.viewer)

    def begin(self) -> None:
        """What was done until here was there before the task."""
        self.hand.clicks = self.hand.keys = self.hand.texts = 0
        self.began = time.monotonic()

    def show(self, *layers: tuple[np.ndarray, dict[str, Any], str]) -> None:
        """Open layers, and wait until the picture is encoded."""
        add = {"image": self.viewer.add_image, "labels": self.viewer.add_labels}
        self.hand.ask(lambda: [add[kind](data, **options) for data, options, kind in layers])
        self.hand.wait(lambda: len(self.widget.answers.cache))
        self.begin()

    def mask(self) -> None:
        """Wait for the mask of the last prompt."""
        session = self.widget.session
        self.hand.wait(lambda: session.result is not None and not session.waiting)

    def object(self, y: float, x: float) -> None:
        """Click on an object and keep it."""
        self.hand.click(y, x)
        self.mask()
        self.hand.press("k")

    def found(self) -> int:
        """Wait for what was searched for, and return how many objects were found."""
        self.hand.wait(lambda: self.widget.finder.found is not None)
        return int(self.hand.ask(lambda: len(self.widget.finder.found.candidates)))

    def labels(self) -> Any:
        """The Labels layer in use."""
        return self.hand.ask(lambda: self.widget.binding.labels)

    def count(self) -> int:
        """How many objects there are."""
        labels = self.labels()
        return 0 if labels is None else len(np.unique(np.asarray(labels.data))) - 1

    def picture(self, name: str) -> None:
        """Take a picture of the window with all that is open above it."""
        time.sleep(0.8)
        path = self.out / f"task-{name}.png"
        place = self.hand.ask(lambda: self.hand.window.screen().grabWindow(0))
        self.hand.ask(lambda: place.copy(0, 0, *SIZE).save(str(path)))
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def centres(truth: np.ndarray, margin: int = 40) -> dict[int, tuple[float, float]]:
    """A place deep inside each object that does not lie near the edge, by label."""
    from napari_segany.core.simulate import centre_point

    found = {int(label): centre_point(truth == label) for label in np.unique(truth)[1:]}
    height, width = truth.shape
    inside = {label: (one.y, one.x) for label, one in found.items()}
    return {
        label: (y, x)
        for label, (y, x) in inside.items()
        if margin < y < height - margin and margin < x < width - margin
    }


def plate(folder: Path, count: int = 4) -> list[np.ndarray]:
    """Images of nuclei in a folder, and their truths."""
    import tifffile

    from napari_segany.sample_data import nuclei

    (image, *_), (truth, *_) = nuclei()
    half = image.shape[0] // 2
    parts = [(slice(y, y + half), slice(x, x + half)) for y in (0, half) for x in (0, half)][:count]
    for number, part in enumerate(parts, start=1):
        tifffile.imwrite(folder / f"well A{number}.tif", image[part])
    return [truth[part] for part in parts]


@task
def first_object(desk: Desk) -> None:
    """I have just installed it: segment one cell."""
    desk.hand.wait(lambda: desk.widget.first_steps.isVisible())
    desk.picture("first-object-1")
    from napari_segany.sample_data import cell

    desk.show(*cell())
    desk.hand.click(375, 428)
    desk.mask()
    desk.picture("first-object-2")
    desk.hand.press("k")
    desk.hand.wait(lambda: desk.widget.binding.labels is not None)
    desk.picture("first-object-3")
    desk.outcome = f"{desk.count()} object"


@task
def count_plate(desk: Desk) -> None:
    """Count the nuclei of this plate."""
    truths = plate(desk.folder)
    desk.begin()
    hand, project = desk.hand, desk.widget.project
    hand.push("Open a folder of images…")
    time.sleep(0.5)
    hand.type(str(desk.folder))
    hand.wait(lambda: project.current == "well A1.tif")
    hand.menu(desk.widget.project_box._menu, "Segment images…")
    hand.button("Start")
    desk.picture("count-plate-1")
    hand.push("Start")
    hand.wait(lambda: desk.widget.batch.running)
    hand.wait(lambda: not desk.widget.batch.running, 300)
    hand.menu(desk.widget.project_box._menu, "List of images…")
    hand.wait(lambda: len(project._found) == len(truths))
    desk.picture("count-plate-2")
    found = sum(one.objects for one in project._found.values())
    desk.outcome = f"{found} nuclei in {len(truths)} images; the truth has {sum(len(np.unique(t)) - 1 for t in truths)}"


@task
def correct_labels(desk: Desk) -> None:
    """Correct last week's Cellpose labels: two that became one, one that was missed, one that is none."""
    from napari_segany.sample_data import nuclei

    (image, options, _), (truth, *_) = nuclei()
    first, second = touching(truth)
    places = centres(truth)
    missed = next(label for label in places if label not in (first, second))
    wrong = np.where(truth == second, first, truth)
    wrong[truth == missed] = 0
    speck = max(np.unique(truth)) + 1
    empty = np.argwhere(truth == 0)
    y, x = empty[len(empty) // 2]
    window = wrong[y - 4 : y + 5, x - 4 : x + 5]
    window[window == 0] = speck
    desk.show((image, options, "image"), (wrong, {"name": "cellpose masks"}, "labels"))
    hand = desk.hand
    hand.push("Continue in")
    desk.picture("correct-labels-1")
    desk.object(*places[missed])
    hand.move(float(y), float(x))
    hand.press("w")
    hand.push("Scribble")
    hand.drag(*cut_between(truth, first, second))
    hand.press("Return")
    hand.press("shift+c")
    hand.wait(lambda: "cut" in desk.widget.status_box.text.lower(), 30)
    desk.picture("correct-labels-2")
    after = np.asarray(desk.labels().data)
    right = sum(iou(truth == label, after) > 0.8 for label in np.unique(truth)[1:])
    desk.outcome = f"{right} of {len(np.unique(truth)) - 1} nuclei right"


def touching(truth: np.ndarray) -> tuple[int, int]:
    """Two objects with a long common border that a stroke can follow."""
    pairs: dict[tuple[int, int], int] = {}
    for a, b in ((truth[1:], truth[:-1]), (truth[:, 1:], truth[:, :-1])):
        edge = (a != b) & (a > 0) & (b > 0)
        for one, other in zip(a[edge].tolist(), b[edge].tolist(), strict=True):
            key = (min(one, other), max(one, other))
            pairs[key] = pairs.get(key, 0) + 1
    inner = centres(truth)
    ordered = sorted((pair for pair in pairs if set(pair) <= set(inner)), key=lambda pair: -pairs[pair])
    return next(pair for pair in ordered if straight(truth, *pair))


def straight(truth: np.ndarray, first: int, second: int) -> bool:
    """Whether a stroke along the border of two objects parts them."""
    from napari_segany.core.clean_up import cut_along, drawn

    both = (truth == first) | (truth == second)
    pieces = cut_along(both, drawn(np.array(cut_between(truth, first, second)), (truth.shape[0], truth.shape[1])))
    return len(pieces) == 2 and all(iou(truth == label, pieces[0] + 2 * pieces[1]) > 0.9 for label in (first, second))


def cut_between(truth: np.ndarray, first: int, second: int) -> list[tuple[float, float]]:
    """A stroke along the border of two objects, a little longer than it."""
    border = [
        (y, x)
        for y, x in np.argwhere(truth == first)
        if (truth[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] == second).any()
    ]
    places = np.array(border, float)
    middle = places.mean(0)
    direction = np.linalg.svd(places - middle)[2][0]
    along = (places - middle) @ direction
    bins = np.array_split(places[np.argsort(along)], max(len(places) // 5, 2))
    path = [part.mean(0) for part in bins]
    path = [path[0] - 14 * direction, *path, path[-1] + 14 * direction]
    return [(float(y), float(x)) for y, x in path]


def iou(mask: np.ndarray, labels: np.ndarray) -> float:
    """Of a mask and the object that covers it most."""
    inside = labels[mask]
    if not inside.any():
        return 0.0
    best = labels == np.bincount(inside[inside > 0]).argmax()
    return float((best & mask).sum() / (best | mask).sum())


@task
def trace_stack(desk: Desk) -> None:
    """Trace four objects through a stack."""
    from napari_segany.sample_data import nuclei_stack

    (image, options, _), (truth, *_) = nuclei_stack()
    desk.hand.ask(lambda: desk.viewer.add_image(image, **options))
    middle = len(truth) // 2
    desk.hand.ask(lambda: desk.viewer.dims.set_point(0, middle * float(options["scale"][0])))
    time.sleep(1)
    desk.hand.wait(lambda: len(desk.widget.answers.cache))
    desk.begin()
    plane, places = truth[middle], centres(truth[middle], 25)
    largest = sorted(places, key=lambda label: -(plane == label).sum())[:4]
    for label in largest:
        desk.object(*places[label])
    desk.hand.press("shift+g")
    desk.hand.wait(lambda: "Tracked" in desk.widget.stack_box.text, 300)
    desk.picture("trace-stack")
    made = np.asarray(desk.labels().data)
    desk.outcome = "IoU in 3D " + ", ".join(f"{iou(truth == label, made):.2f}" for label in largest)


@task
def name_nuclei(desk: Desk) -> None:
    """Find all nuclei by their name, and write a table."""
    from napari_segany.sample_data import nuclei

    desk.show(nuclei()[0])
    hand = desk.hand
    hand.tab(desk.widget.tabs, "All")
    hand.click_on(desk.widget.everything_box._words)
    hand.type("nuclei")
    count = desk.found()
    desk.picture("name-nuclei")
    hand.press("k")
    hand.tab(desk.widget.tabs, "Export")
    hand.choose(desk.widget.export_box.formats, "csv")
    hand.push("Export", desk.widget.export_box)
    time.sleep(0.5)
    hand.type(str(desk.folder / "nuclei.csv"))
    hand.wait(lambda: (desk.folder / "nuclei.csv").exists())
    rows = (desk.folder / "nuclei.csv").read_text().count("\n") - 1
    desk.outcome = f"{count} nuclei found, {rows} rows in the table"


@task
def continue_session(desk: Desk) -> None:
    """Go on with what I did last week."""
    from napari_segany.sample_data import nuclei

    layer = nuclei()[0]
    desk.show(layer)
    for place in list(centres(nuclei()[1][0]).values())[:5]:
        desk.object(*place)
    desk.hand.wait(lambda: desk.widget.keeper.stored)
    # when the first steps go, the buttons below them move
    desk.hand.wait(desk.widget.first_steps.isHidden)
    desk.hand.ask(desk.viewer.layers.clear)
    desk.hand.wait(lambda: desk.widget.binding is None)
    desk.show(layer)
    desk.hand.wait(lambda: desk.widget.resume_box.isVisible(), 30)
    desk.picture("continue-session")
    desk.hand.push("Continue")
    desk.hand.wait(lambda: desk.widget.binding.labels is not None)
    desk.outcome = f"{desk.count()} objects are back"


@task
def find_similar(desk: Desk) -> None:
    """Find all that look like these three."""
    from napari_segany.sample_data import coins

    desk.show(*coins())
    for y, x in ((47, 42), (130, 55), (200, 52)):
        desk.object(y, x)
    desk.hand.press("shift+f")
    desk.found()
    desk.picture("find-similar")
    desk.hand.press("k")
    desk.hand.wait(lambda: desk.widget.finder.found is None)
    desk.outcome = f"{desk.count()} coins of 24"


@task
def sort_classes(desk: Desk) -> None:
    """Sort the nuclei into two classes, four of each by hand and the others by the program."""
    from napari_segany.sample_data import nuclei

    (image, options, _), (truth, *_) = nuclei()
    desk.show((image, options, "image"))
    hand = desk.hand
    hand.press("g")
    desk.found()
    hand.press("k")
    hand.wait(lambda: desk.widget.finder.found is None)
    hand.tab(desk.widget.tabs, "Objects")
    hand.push("Class keys")
    places = centres(truth)
    size = {label: int((truth == label).sum()) for label in places}
    ordered = sorted(size, key=lambda label: size[label])
    for key, labels in (("1", ordered[:4]), ("2", ordered[-4:])):
        for label in labels:
            hand.move(*places[label])
            hand.press(key)
    hand.push("Suggest classes")
    hand.wait(lambda: desk.widget.objects_box.objects.suggested)
    desk.picture("sort-classes")
    hand.push("Accept all")
    hand.wait(lambda: not desk.widget.objects_box.objects.suggested)
    classes = list(hand.ask(lambda: dict(desk.widget.objects_box.objects.classes)).values())
    desk.outcome = ", ".join(f"{classes.count(name)} of {name!r}" for name in sorted(set(classes)))


@task
def pick_by_measure(desk: Desk) -> None:
    """Measure all nuclei, and pick the large ones in a plot."""
    from napari_segany.sample_data import nuclei

    (image, options, _), (truth, *_) = nuclei()
    desk.show((image, options, "image"), (truth, {"name": "nuclei"}, "labels"))
    hand = desk.hand
    hand.push("Continue in")
    hand.tab(desk.widget.tabs, "Objects")
    hand.push("Plot…")
    plot = the_plot()
    hand.wait(lambda: the_plot() is not None and the_plot()._axes is not None)
    plot = hand.ask(the_plot)
    time.sleep(1)
    area = hand.ask(lambda: plot._axes.bbox.bounds)
    hand.drag_on(plot.canvas, (area[0] + area[2] * 0.6, 40), (area[0] + area[2] * 0.98, 60))
    hand.wait(lambda: desk.widget.objects_box.chosen)
    desk.picture("pick-by-measure")
    chosen = hand.ask(lambda: desk.widget.objects_box.chosen)
    least = min(int((truth == label).sum()) for label in chosen)
    desk.outcome = f"{len(chosen)} nuclei from {least} pixels on, chosen in the plot, the table and the picture"


def the_plot() -> Any:
    """The plot of the widget of measurements, if it is open."""
    from qtpy.QtWidgets import QApplication

    from napari_segany.widgets.panels.measurement_plot import MeasurementPlot

    return next((one for one in QApplication.allWidgets() if isinstance(one, MeasurementPlot)), None)


@task
def give_uncertain(desk: Desk) -> None:
    """Check what was found, the least certain first; give the colleague what stays uncertain."""
    plate(desk.folder)
    desk.begin()
    hand, project = desk.hand, desk.widget.project
    hand.push("Open a folder of images…")
    time.sleep(0.5)
    hand.type(str(desk.folder))
    hand.wait(lambda: project.current == "well A1.tif")
    hand.wait(lambda: len(desk.widget.answers.cache))
    hand.press("g")
    desk.found()
    # the objects whose scores are high are marked automatic, the others proposed
    hand.press("shift+k")
    hand.wait(lambda: desk.widget.binding.labels is not None)
    hand.tab(desk.widget.tabs, "Objects")
    hand.choose(desk.widget.objects_box.review_box._filters, "To check")
    hand.press("period")
    hand.press("shift+u", 2)
    hand.press("shift+y", 2)
    desk.picture("give-uncertain")
    hand.menu(desk.widget.project_box._menu, "Mark this image", "Uncertain")
    hand.wait(lambda: project.project.state_of("well A1.tif") == "uncertain")
    # the colleague
    hand.ask(desk.viewer.layers.clear)
    hand.ask(lambda: project.open_folder(str(desk.folder)))
    hand.wait(lambda: desk.widget.binding is not None and desk.widget.binding.labels is not None)
    hand.choose(desk.widget.objects_box.review_box._filters, "Uncertain")
    time.sleep(1)
    states = list(hand.ask(lambda: [one.state for one in desk.widget.objects_box.objects.known.values()]))
    desk.outcome = (
        f"{states.count('uncertain')} uncertain and {states.count('accepted')} accepted, for the colleague too"
    )


def run(name: str, out: Path) -> None:
    """Do one task in a window; prints its counts as a line of JSON."""
    with TemporaryDirectory() as home:
        for variable in ("SEGANY_SESSIONS", "SEGANY_SETTINGS", "SEGANY_MODELS", "SEGANY_EMBEDDINGS"):
            os.environ[variable] = str(Path(home) / variable.lower())
        import napari

        from napari_segany.widgets.commands import docked
        from scripts.hand import Hand

        viewer = napari.Viewer()
        viewer.window.resize(*SIZE)
        viewer.window._qt_window.move(0, 0)
        docked(viewer)
        folder = Path(home) / "plate"
        folder.mkdir()
        desk = Desk(viewer, Hand(viewer), folder, out)
        failed: list[BaseException] = []

        def work() -> None:
            try:
                desk.begin()
                TASKS[name](desk)
                seconds = time.monotonic() - desk.began
                hand = desk.hand
                counts = {"clicks": hand.clicks, "keys": hand.keys, "texts": hand.texts}
                print(json.dumps({"task": name, **counts, "seconds": round(seconds, 1), "outcome": desk.outcome}))
            except BaseException as error:  # noqa: BLE001 - reported by the process
                failed.append(error)
                desk.picture(f"failed-{name}")
            finally:
                desk.hand.ask(lambda: desk.widget.close_session())
                desk.hand.ask(viewer.close)

        thread = threading.Thread(target=work)
        thread.start()
        napari.run()
        thread.join()
        if failed:
            raise failed[0]


def table(rows: list[dict[str, Any]]) -> str:
    """The tasks as a table of Markdown."""
    lines = ["| task | clicks | keys | texts | seconds | outcome |", "|---|---|---|---|---|---|"]
    for row in rows:
        wanted = (TASKS[row["task"]].__doc__ or "").strip().rstrip(".")
        lines.append(
            f"| {wanted} | {row['clicks']} | {row['keys']} | {row['texts']} | {row['seconds']} | {row['outcome']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Do one task, or all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--task", choices=sorted(TASKS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.task:
        run(given.task, given.out)
        return
    rows = []
    for name in TASKS:
        command = [sys.executable, __file__, "--task", name, "--out", str(given.out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            raise SystemExit(f"{name} did not work")
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    print(table(rows))


if __name__ == "__main__":
    main()
