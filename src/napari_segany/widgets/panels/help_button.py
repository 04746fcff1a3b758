"""The button for help: the keys, the documentation, and how to cite."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices

from napari_segany.widgets.panels.menu_button import MenuButton

PACKAGE = "napari-segany"


def documentation_url() -> str:
    """The address of the documentation, as the package's metadata has it; of the repository where it has none."""
    entries = metadata.metadata(PACKAGE).get_all("Project-URL") or []
    known = {name: address for name, _, address in (entry.partition(", ") for entry in entries)}
    return known.get("Documentation", known.get("Repository", ""))


class HelpButton(MenuButton):
    """A question mark with a menu.

    Parameters
    ----------
    show_keys : callable
        A method that shows what the keys do.
    """

    def __init__(self, show_keys: Callable[[], None]) -> None:
        super().__init__("?", "Help: what the keys do, and the documentation")
        self.menu().addAction("Keys  (/)").triggered.connect(show_keys)
        self.menu().addAction("Documentation").triggered.connect(self._open_documentation)

    def _open_documentation(self) -> None:
        QDesktopServices.openUrl(QUrl(documentation_url()))
