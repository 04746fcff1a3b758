"""Choices of the user that are remembered: in napari's settings where it has a place for plugins, else in a file."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from napari_segany.core.review import NOT_REJECTED, SELECTIONS
from napari_segany.io.export import FORMATS
from napari_segany.layers.compat import plugin_setting, plugin_settings

PLUGIN = "napari-segany"
GROUP = "desk"
FILE = "SEGANY_SETTINGS"
"""Environment variable that names another file for settings; then napari's are left alone."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A remembered choice.

    Parameters
    ----------
    default : str, bool or int
        Its value where nothing was chosen.
    title, description : str
        What napari's preferences call it.
    choices : tuple of str
        All values that it can have; empty for any.
    """

    default: str | bool | int
    title: str
    description: str
    choices: tuple[str, ...] = ()


SETTINGS: Mapping[str, Setting] = {
    "model": Setting("tiny", "Model", "The model that is loaded when the widget opens, if it is on this computer."),
    "hint": Setting(True, "Preview under the cursor", "Show the mask under the cursor lightly, before you click."),
    "overwrite": Setting(False, "Overwrite other objects", "Whether a new object may paint over other labels."),
    "rank": Setting(
        True, "Prefer masks like earlier objects", "Of the masks of a click, show the one most like your other objects."
    ),
    "names": Setting(
        True,
        "Name objects",
        "Whether objects get the name that the model takes them for (nucleus, cell …), where it is sure enough.",
    ),
    "confident": Setting(
        False,
        "Keep confident objects when found",
        "Whether found objects of high score are kept at once, marked automatic in the table.",
    ),
    "crop_layers": Setting(
        0,
        "Crop layers",
        "For small objects: layers of magnified crops, 0 to 4, that Find all objects searches, too.",
    ),
    "clicks": Setting(
        False,
        "Find all objects by clicks",
        "Where the model's decoder draws all objects, as micro-sam's (AIS), take the mask of a click on each (APG).",
    ),
    "export": Setting("coco", "Format of exported objects", "The format that is offered first.", tuple(FORMATS)),
    "first_steps": Setting(True, "First steps", "Show the three steps of the first minute above the panel."),
    "columns": Setting(
        "",
        "Columns of tables",
        "Which measurements the table Objects and saved tables have, a line each; empty for the usual ones.",
    ),
    "export_objects": Setting(
        NOT_REJECTED, "Exported objects", "Which objects are exported; a review accepts or rejects them.", SELECTIONS
    ),
    "terms": Setting("", "Recent texts", "Texts that are offered again, a line each."),
}
"""The manifest is written from it by ``python scripts/write_tables.py``."""
DEFAULTS: Mapping[str, str | bool | int] = {name: setting.default for name, setting in SETTINGS.items()}


class Settings:
    """Reads and writes a value for each of ``DEFAULTS``; the default is used for values that cannot be read."""

    def __init__(self) -> None:
        self._napari = None if FILE in os.environ else plugin_settings(PLUGIN, GROUP)

    def get(self, name: str) -> Any:
        """The stored value, else the default."""
        kept = plugin_setting(self._napari, name) if self._napari is not None else self._read().get(name)
        return kept if type(kept) is type(DEFAULTS[name]) else DEFAULTS[name]

    def set(self, name: str, value: str | bool | int) -> None:
        """Store a value; errors of the disk or the manifest are ignored."""
        if value == self.get(name):
            return
        with contextlib.suppress(OSError, ValueError):
            if self._napari is not None:
                setattr(self._napari, name, value)
                return
            path = settings_file()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**self._read(), name: value}, indent=1), encoding="utf-8")

    @staticmethod
    def _read() -> dict[str, Any]:
        try:
            kept = json.loads(settings_file().read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}


def settings_file() -> Path:
    """Path of the settings when napari does not store them; not created here."""
    given = os.environ.get(FILE)
    return Path(given) if given else platformdirs.user_config_path(PLUGIN, appauthor=False) / "settings.json"
