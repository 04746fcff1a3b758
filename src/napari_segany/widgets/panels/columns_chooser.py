"""Which measurements tables have."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from napari_segany.io.formats.measurements import ALWAYS, GROUPS

USUAL = ("size", "length", "width", "roundness", "slices", "intensity_mean", "score", "how", "parent")
"""Groups of columns that the table of objects and saved tables have where nothing was chosen."""
ABOUT = (
    "Measurements in the table Objects and in saved and exported tables. "
    "Label, name, class and state are always in a table."
)


def columns_of(setting: str) -> tuple[str, ...]:
    """Groups of columns in use, from the setting "columns": a line each, the usual ones where it is empty."""
    return tuple(setting.splitlines()) or USUAL


class ColumnsChooser(QDialog):
    """A list of groups of columns with a box each; groups that are always in a table are not listed.

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
            if name in ALWAYS:
                continue
            item = QListWidgetItem(title)
            item.setData(Qt.ItemDataRole.UserRole, name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            self.list.addItem(item)
        self._tick(chosen)
        about = QLabel(ABOUT)
        about.setWordWrap(True)
        roles = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(roles.Ok | roles.Cancel | roles.Reset)
        self.usual = self.buttons.button(roles.Reset)
        self.usual.setText("Usual columns")
        self.usual.setToolTip("Tick the columns that tables have at first")
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.usual.clicked.connect(self._tick_usual)
        layout = QVBoxLayout(self)
        for part in (about, self.list, self.buttons):
            layout.addWidget(part)
        self.resize(320, 460)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Groups that are ticked; with those that are always in a table alone, these, as no choice means the usual."""
        ticked = [item for item in self._items() if item.checkState() == Qt.CheckState.Checked]
        return tuple(item.data(Qt.ItemDataRole.UserRole) for item in ticked) or ALWAYS

    def _items(self) -> Iterator[QListWidgetItem]:
        return (self.list.item(row) for row in range(self.list.count()))

    def _tick(self, names: Collection[str]) -> None:
        for item in self._items():
            ticked = item.data(Qt.ItemDataRole.UserRole) in names
            item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)

    def _tick_usual(self) -> None:
        self._tick(USUAL)
