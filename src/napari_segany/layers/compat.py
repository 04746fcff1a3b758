"""All that depends on the version of napari.

Every other module of ``layers`` and ``widgets`` uses this one, and never tests by itself what napari provides.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer
from napari.layers._source import layer_source

RESTING = "pan_zoom"
"""The mode in which the mouse moves the camera; that of layers that know no modes."""
_SPACE = ("units", "axis_labels")


def opened_from(path: Path) -> AbstractContextManager[Any]:
    """Within it layers are made whose source is a file; napari has no public way to say so."""
    return layer_source(path=str(path))


def camera_of(viewer: ViewerModel) -> Any:
    """The camera of a viewer, which napari 0.9 moved into a scene."""
    return getattr(viewer, "scene", viewer).camera


def directions_of(camera: Any) -> tuple[int, int]:
    """Whether y grows down and x right on the screen: 1, or -1 where the user turned it; older versions cannot."""
    orientation = [str(one).rpartition(".")[2].lower() for one in getattr(camera, "orientation2d", ("down", "right"))]
    return (1 if orientation[0] == "down" else -1), (1 if orientation[1] == "right" else -1)


def space_of(layer: Layer) -> dict[str, Any]:
    """Units and names of a layer's axes, as far as layers have them: the first came with napari 0.5."""
    return {name: getattr(layer, name) for name in _SPACE if hasattr(layer, name)}


def stroke_window(stroke: Any) -> tuple[slice, ...] | None:
    """The window that a stroke of a Labels layer was painted into; None where napari keeps indices and values instead.

    Brush, fill and polygon keep a window, ``data_setitem`` (and everything in older versions) keeps indices.
    """
    window: tuple[slice, ...] | None = getattr(stroke, "slice_key", None)
    return window


def action_of(event: Any) -> str:
    """The kind of change of a layer's data: "added", "removing" and so on; empty where napari does not provide it."""
    return str(getattr(event, "action", "")).rpartition(".")[2].lower()


def mode_of(layer: Layer | None) -> str:
    """What the mouse does in a layer."""
    return str(getattr(layer, "mode", RESTING))


def present_parts(thing: object, names: Iterable[str]) -> list[Any]:
    """Parts of one of napari's widgets that this version has."""
    return [getattr(thing, name) for name in names if hasattr(thing, name)]


def plugin_settings(plugin: str, group: str) -> Any:
    """A group of a plugin's settings; None before napari 0.9, and where napari does not know of the plugin."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return None
    try:
        return getattr(get_plugin_settings(plugin), group)
    except (KeyError, AttributeError):
        return None


def plugin_setting(settings: Any, name: str) -> Any:
    """A value of a plugin's settings; None where the manifest that napari knows has no such setting."""
    return getattr(settings, name, None)
