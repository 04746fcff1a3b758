"""How long a user waits for the start: the import, the dock widget, and the first mask of the demo.

python benchmarks/startup.py [--times 3]

Each is measured in processes of its own, next to what it is measured against: numpy alone, a bare napari window, and
napari alone with a picture open. Without a display, put `xvfb-run -a -s "-screen 0 1600x1000x24"` in front.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

PARTS = {
    "import numpy": "import numpy",
    "import napari_segany": "import numpy, napari_segany",
}


def wait() -> None:
    """Sleep until something happens, as a window does, and handle it."""
    from qtpy.QtCore import QEventLoop
    from qtpy.QtWidgets import QApplication

    QApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)


def drawn(viewer, since: float) -> float:
    """Seconds from a moment until the window has been drawn and has nothing more to do at once."""
    done: list[float] = []
    canvas = viewer.window._qt_viewer.canvas
    canvas._scene_canvas.events.draw.connect(lambda event: done.append(time.perf_counter()), position="last")
    canvas.native.update()
    while not done:
        wait()
    return done[-1] - since


def window(what: str) -> dict[str, float]:
    """Open a window in this process; with the dock widget, or with the demo until its first mask."""
    since = time.perf_counter()
    import napari

    if what == "napari with a picture":
        from napari_segany.sample_data import nuclei

        viewer = napari.Viewer()
        image, options, _ = nuclei()[0]
        viewer.add_image(image, **options)
        return {what: drawn(viewer, since)}
    if what == "demo":
        from napari_segany.demo import _start, open_window, play

        viewer, widget = open_window()
        _start(play(viewer, widget))
        while widget.session.result is None:
            wait()
        first = drawn(viewer, since)
        widget.close_session()
        return {"demo, first mask": first}
    viewer = napari.Viewer()
    bare = drawn(viewer, since)
    begun = time.perf_counter()
    from napari_segany.widgets.main import SeganyWidget

    widget = SeganyWidget(viewer)
    viewer.window.add_dock_widget(widget)
    opened = drawn(viewer, begun)
    torch_was_needed = "torch" in sys.modules
    widget.close_session()
    return {"bare napari": bare, "dock widget": opened, "torch was needed": float(torch_was_needed)}


def imports(times: int) -> dict[str, float]:
    """Median seconds of a fresh interpreter with each of the imports."""
    found = {}
    for name, code in PARTS.items():
        seconds = []
        for _ in range(times):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            seconds.append(time.perf_counter() - begun)
        found[name] = statistics.median(seconds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--window", help="for one process: what to open")
    arguments = parser.parse_args()
    if arguments.window:
        print(json.dumps(window(arguments.window)), flush=True)
        return
    rows: dict[str, list[float]] = {name: [value] for name, value in imports(2 * arguments.times).items()}
    for _ in range(arguments.times):
        for what in ("napari with a picture", "demo", "dock widget"):
            command = [sys.executable, __file__, "--window", what]
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            for name, value in json.loads(answer.splitlines()[-1]).items():
                rows.setdefault(name, []).append(value)
    for name, values in rows.items():
        print(json.dumps({"what": name, "seconds": round(statistics.median(values), 3)}))


if __name__ == "__main__":
    main()
