"""Choice of the model: all known ones by name, with the size and licence of a download before it begins."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QMessageBox, QWidget

from napari_segany.models.registry import ModelSpec, find, list_models


class ModelPanel(QComboBox):
    """Chooses a model; asks the user before one is downloaded.

    Parameters
    ----------
    name : str
        Name of the model that is in use.

    Attributes
    ----------
    chosen : Signal
        Emitted with the :class:`ModelSpec` that the user wants, once a download is agreed to.
    """

    chosen = Signal(object)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        for spec in list_models():
            self._add(spec)
        self.setToolTip("The model to segment with. One that is not on this computer is downloaded, if you agree.")
        self.use(name)
        self.activated.connect(self._choose)

    def use(self, name: str) -> None:
        """Show the model that is in use; one that was trained since is added to the list."""
        if self.findText(name) < 0:
            self._add(find(name))
        self.used = name
        self.setCurrentText(name)

    def _add(self, spec: ModelSpec) -> None:
        self.addItem(spec.name)
        self.setItemData(self.count() - 1, _described(spec), Qt.ItemDataRole.ToolTipRole)

    def revert(self) -> None:
        """Show the model that is in use again: the chosen one is not to be had."""
        self.use(self.used)

    def _choose(self) -> None:
        spec = find(self.currentText())
        if spec.name == self.used:
            return
        if spec.installed or self._agreed(spec):
            self.chosen.emit(spec)
        else:
            self.revert()

    def _agreed(self, spec: ModelSpec) -> bool:
        text = f"{_described(spec)}\n\nDownload it from {spec.url}?\nIt is kept as {spec.path}."
        return bool(QMessageBox.question(self, f"Download {spec.name}", text) == QMessageBox.StandardButton.Yes)


def _described(spec: ModelSpec) -> str:
    return f"{spec.name}, for {spec.domain}\nSize: {spec.size}\nLicence: {spec.licence}\nPlease cite: {spec.citation}"
