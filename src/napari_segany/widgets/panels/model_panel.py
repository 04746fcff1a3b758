"""Choice of the model: installed ones first, then downloads with size and licence, then those that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtGui import QStandardItemModel, QWheelEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QMessageBox,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from napari_segany.core.errors import ModelError
from napari_segany.models.availability import why_not
from napari_segany.models.registry import ModelSpec, find, list_models, own_models_folder, weights_at

OWN = "Use my own weights…"
FILES = "Weights (*.safetensors *.pt *.pth config.json)"
"""What the dialog shows; ``config.json`` stands for its folder."""
WIDEST = 680
"""Pixels of the open list; what is longer is in the tooltip."""
LETTERS = 12
"""How much of a model's name is shown at least."""
_NAME, _DETAILS, _WHY = (Qt.ItemDataRole.UserRole + number for number in range(3))


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
    failed : Signal
        Emitted with the exception of weights that cannot be used.
    """

    chosen = Signal(object)
    failed = Signal(object)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.used = name
        self._placed: dict[str, ModelSpec] = {}
        self.setItemDelegate(_Details(self))
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(LETTERS)
        self.setMaxVisibleItems(40)
        self.view().setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setToolTip("The model to segment with. One that is not on this computer is downloaded, if you agree.")
        self.use(name)
        self.activated.connect(self._choose)

    def use(self, name: str) -> None:
        """Show the model that is in use; one that was trained since is added to the list."""
        spec = find(name)
        if spec.place:
            self._placed[name] = spec
        if self.findData(name, _NAME) < 0:
            self._fill()
        self.used = name
        self.setCurrentIndex(self.findData(name, _NAME))

    def revert(self) -> None:
        """Show the model that is in use again: the chosen one is not to be had."""
        self.use(self.used)

    def showPopup(self) -> None:
        """List the models as they are now: files, packages and free memory change."""
        self._fill()
        view = self.view()
        # napari's style gives the list the width of the closed box
        view.setMinimumWidth(min(view.sizeHintForColumn(0) + view.verticalScrollBar().sizeHint().width(), WIDEST))
        super().showPopup()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the wheel to the page: turning it must not load another model."""
        event.ignore()

    def _fill(self) -> None:
        self.clear()
        part = 0
        for group, spec, why in sorted(self._groups(), key=lambda entry: entry[0]):
            if group != part:
                self.insertSeparator(self.count())
                part = group
            self._add(spec, why)
        self.insertSeparator(self.count())
        self.addItem(OWN)
        self.setItemData(self.count() - 1, "A file of weights, or the config.json of a folder", _DETAILS)
        self.setCurrentIndex(self.findData(self.used, _NAME))

    def _groups(self) -> Iterator[tuple[int, ModelSpec, str]]:
        """Each model with its part of the list, and why it cannot be used."""
        for spec in (*list_models(), *self._placed.values()):
            why = "" if spec.name == self.used else why_not(spec)
            yield (2 if why else 0 if spec.installed else 1), spec, why

    def _add(self, spec: ModelSpec, why: str) -> None:
        self.addItem(spec.title)
        row = self.count() - 1
        what = spec.size if spec.installed else f"download, {spec.size}"
        details = why or f"{what}; {spec.licence_in_words}; {spec.domain}"
        for role, value in ((_NAME, spec.name), (_DETAILS, details), (_WHY, why)):
            self.setItemData(row, value, role)
        self.setItemData(row, _described(spec, why), Qt.ItemDataRole.ToolTipRole)
        items = self.model()
        if why and isinstance(items, QStandardItemModel):
            items.item(row).setEnabled(False)

    def _choose(self) -> None:
        if self.currentText() == OWN:
            self.revert()
            self._browse()
            return
        name, why = self.currentData(_NAME), self.currentData(_WHY)
        if name == self.used or why:
            self.revert()
            return
        spec = self._placed.get(name) or find(name)
        if spec.installed or self._agreed(spec):
            self.chosen.emit(spec)
        else:
            self.revert()

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, OWN, str(own_models_folder()), FILES)
        if not path:
            return
        try:
            spec = weights_at(path)
            why = why_not(spec)
            if why:
                raise ModelError(f"{spec.title} {why}")
        except ModelError as error:
            self.failed.emit(error)
            return
        self.chosen.emit(spec)

    def _agreed(self, spec: ModelSpec) -> bool:
        text = f"{_described(spec)}\n\nDownload it from {spec.url}?\nIt is kept as {spec.path}."
        return bool(QMessageBox.question(self, f"Download {spec.name}", text) == QMessageBox.StandardButton.Yes)


class _Details(QStyledItemDelegate):
    """Writes size and licence of a model after its name, in the open list only."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | Any) -> None:
        """Add what is known of a model to its name."""
        super().initStyleOption(option, index)
        details = index.data(_DETAILS)
        if details:
            option.text = f"{option.text}    {details}"


def _described(spec: ModelSpec, why: str = "") -> str:
    facts = f"{spec.name}, for {spec.domain}\nSize: {spec.size}\nLicence: {spec.licence_in_words}"
    return f"{facts}\nPlease cite: {spec.citation}" + (f"\n\nIt cannot be used now: it {why}." if why else "")
