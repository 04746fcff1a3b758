"""What the user chose last time: kept among napari's settings where it has room for plugins, else in a file."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

PLUGIN = "napari-segany"
GROUP = "desk"
FILE = "SEGANY_SETTINGS"
"""Environment variable that names another file for settings; then napari's are left alone."""
DEFAULTS: Mapping[str, str | bool] = {"model": "tiny", "hint": True, "overwrite": False, "export": "coco", "terms": ""}
"""The same as in the manifest, which says what each of them is."""


class Settings:
    """Gives and keeps one value for each of ``DEFAULTS``; what cannot be read is as if nobody had chosen."""

    def __init__(self) -> None:
        self._napari = None if FILE in os.environ else _of_napari()

    def get(self, name: str) -> Any:
        """The value that was kept last, else the default."""
        kept = getattr(self._napari, name, None) if self._napari is not None else self._read().get(name)
        return kept if type(kept) is type(DEFAULTS[name]) else DEFAULTS[name]

    def set(self, name: str, value: str | bool) -> None:
        """Keep a value; a disk or a manifest that does not take it is no reason to stop anyone."""
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
    """Where settings are kept when napari does not; not created here."""
    given = os.environ.get(FILE)
    return Path(given) if given else platformdirs.user_config_path(PLUGIN, appauthor=False) / "settings.json"


def _of_napari() -> Any:
    """Our group of napari's plugin settings; None before napari 0.9, and where napari does not know of us."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return None
    try:
        return getattr(get_plugin_settings(PLUGIN), GROUP)
    except (KeyError, AttributeError):
        return None
