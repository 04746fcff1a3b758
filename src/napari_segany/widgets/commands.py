"""The actions as commands of npe2, so that napari's command palette has them; the manifest names these functions."""

from __future__ import annotations

from collections.abc import Callable

from napari.viewer import Viewer

from napari_segany.layers.proxies import unwrapped
from napari_segany.widgets.main import SeganyWidget


def docked(viewer: Viewer) -> SeganyWidget:
    """The widget of a window; opened when it is not there."""
    viewer = unwrapped(viewer)
    for widget in viewer.window.dock_widgets.values():
        if isinstance(widget, SeganyWidget):
            return widget
    _, widget = viewer.window.add_plugin_dock_widget("napari-segany", "Segment Anything")
    return widget


def _command(name: str) -> Callable[[Viewer], None]:
    def run(viewer: Viewer) -> None:
        docked(viewer).act(name)

    # napari's injection gives the viewer by the annotation, which has to be a class, not its name
    run.__annotations__ = {"viewer": Viewer, "return": None}
    return run


keep = _command("keep")
discard = _command("discard")
toggle_sign = _command("toggle_sign")
next_candidate = _command("next_candidate")
find_everything = _command("find_everything")
toggle_hint = _command("toggle_hint")
reopen = _command("reopen")
delete_object = _command("delete_object")
next_object = _command("next_object")
previous_object = _command("previous_object")
work_here = _command("work_here")
follow = _command("follow")
show_uncertain = _command("show_uncertain")
show_keys = _command("show_keys")
