"""Which measurements tables have."""

from __future__ import annotations

from collections.abc import Collection

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_segany.io.formats.measurements import GROUPS

USUAL = ("length", "width", "roundness", "intensity_mean")
"""Groups of columns that the table of objects has where nothing was chosen."""


class ColumnsChooser(QDialog):
    """A list of groups of columns with a box each.

    Parameters
    ----------
    chosen : collection of str
        Groups that are ticked at first.
    parent : QWidget
        Owns the dialog.
    """

    def __init__(self, chosen: Collection[str], parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Columns")
        self.list = QListWidget()
        for name, title in GROUPS.items():
            item = QListWidgetItem(title)
            item.setData(Qt.ItemDataRole.UserRole, name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if name in chosen else Qt.CheckState.Unchecked)
            self.list.addItem(item)
        about = QLabel("Measurements in the table Objects and in saved and exported tables")
        about.setWordWrap(True)
        roles = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(roles.Ok | roles.Cancel | roles.Reset)
        buttons.button(roles.Reset).setText("Usual ones")
        buttons.button(roles.Reset).setToolTip("Export all; the table Objects has a few")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        buttons.button(roles.Reset).clicked.connect(self._clear)
        layout = QVBoxLayout(self)
        for part in (about, self.list, buttons):
            layout.addWidget(part)
        self.resize(300, 420)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Groups that are ticked."""
        items = [self.list.item(row) for row in range(self.list.count())]
        return tuple(
            item.data(Qt.ItemDataRole.UserRole) for item in items if item.checkState() == Qt.CheckState.Checked
        )

    def _clear(self) -> None:
        """Tick none, which stands for the usual ones, and close."""
        for row in range(self.list.count()):
            self.list.item(row).setCheckState(Qt.CheckState.Unchecked)
        self.accept()
