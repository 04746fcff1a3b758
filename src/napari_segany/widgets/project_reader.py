"""Opens a project in the panel when napari opens its file: File > Open, a drop on the window, ``napari FILE``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from napari import current_viewer
from qtpy.QtCore import QTimer

from napari_segany.engine.session_files import PROJECT
from napari_segany.widgets.commands import docked

NO_LAYERS: list[tuple[None]] = [(None,)]
"""What a reader returns that has opened something else than layers."""


def project_reader(path: str | Sequence[str]) -> Callable[..., list[Any]] | None:
    """The reader of a project's file for npe2; None for other files, and for several at once."""
    if not isinstance(path, str):
        return None
    return _open if Path(path).name == PROJECT else None


def _open(path: str) -> list[Any]:
    viewer = current_viewer()
    if viewer is not None:
        # the panel is opened once napari is done with reading
        QTimer.singleShot(0, partial(_open_in, viewer, str(Path(path).parent)))
    return NO_LAYERS


def _open_in(viewer: Any, folder: str) -> None:
    docked(viewer).project.open_folder(folder)
