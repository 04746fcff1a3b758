"""The button for help: the keys, the documentation, and how to cite."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QMenu, QToolButton

PACKAGE = "napari-segany"


def documentation_url() -> str:
    """The address of the documentation, as the package's metadata has it; of the repository where it has none."""
    entries = metadata.metadata(PACKAGE).get_all("Project-URL") or []
    known = {name: address for name, _, address in (entry.partition(", ") for entry in entries)}
    return known.get("Documentation", known.get("Repository", ""))


class HelpButton(QToolButton):
    """A question mark with a menu.

    Parameters
    ----------
    show_keys : callable
        A method that shows what the keys do.
    """

    def __init__(self, show_keys: Callable[[], None]) -> None:
        super().__init__()
        self.setText("?")
        self.setToolTip("Help: what the keys do, and the documentation")
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.addAction("Keys  (/)").triggered.connect(show_keys)
        menu.addAction("Documentation").triggered.connect(self._open_documentation)
        self.setMenu(menu)

    def _open_documentation(self) -> None:
        QDesktopServices.openUrl(QUrl(documentation_url()))
