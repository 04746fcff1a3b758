"""The actions as commands of npe2, so that napari's command palette has them; the manifest names these functions.

There is a function for each entry of :data:`~napari_segany.widgets.actions.ACTIONS`, under the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from napari.viewer import Viewer

from napari_segany.layers.proxies import unwrapped
from napari_segany.widgets.actions import ACTIONS
from napari_segany.widgets.main import SeganyWidget


def docked(viewer: Viewer) -> SeganyWidget:
    """The widget of a window; opened when it is not there."""
    viewer = unwrapped(viewer)
    for widget in viewer.window.dock_widgets.values():
        if isinstance(widget, SeganyWidget):
            return widget
    _, widget = viewer.window.add_plugin_dock_widget("napari-segany", "Segment Anything")
    return widget


@cache
def _command(name: str) -> Callable[[Viewer], None]:
    def run(viewer: Viewer) -> None:
        docked(viewer).act(name)

    # napari's injection gives the viewer by the annotation, which has to be a class, not its name
    run.__annotations__ = {"viewer": Viewer, "return": None}
    run.__name__ = name
    return run


def __getattr__(name: str) -> Callable[[Viewer], None]:
    if name in ACTIONS:
        return _command(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *ACTIONS})
