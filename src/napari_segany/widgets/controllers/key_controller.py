"""Binds the keys of the table of actions, and shows the sheet of keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast
from weakref import WeakMethod

from napari.components import ViewerModel
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_segany.widgets.actions import ACTIONS
from napari_segany.widgets.panels.key_sheet import KeySheet


class KeyController(QObject):
    """The keys of a viewer.

    Parameters
    ----------
    viewer : ViewerModel
        Gets the keys.
    act : callable
        A method that does the action of a name.
    parent : QWidget
        Owns the sheet and this object.
    """

    def __init__(self, viewer: ViewerModel, act: Callable[[str], None], parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._sheet: KeySheet | None = None
        # the widget owns this object, and is not to be owned by it
        method = WeakMethod(act)
        for name, action in ACTIONS.items():
            viewer.bind_key(action.key, _bound(method, name), overwrite=True)

    def close(self) -> None:
        """Take the keys away."""
        for action in ACTIONS.values():
            self._viewer.bind_key(action.key, None)

    def toggle_sheet(self) -> None:
        """Show the sheet of keys, or hide it."""
        if self._sheet is None:
            self._sheet = KeySheet(cast(QWidget, self.parent()))
        self._sheet.setVisible(not self._sheet.isVisible())


def _bound(method: WeakMethod[Callable[[str], None]], name: str) -> Callable[[object], None]:
    # napari takes functions only
    def run(_: object) -> None:
        act = method()
        if act is not None:
            act(name)

    return run
