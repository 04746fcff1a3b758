"""The models that were fine-tuned from the user's masks: what each learned, and which is used."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_segany.training.generations import Generation

COLUMNS = ("Model", "Masks", "One click")
ROWS = 4
"""How many models are visible without scrolling."""


class GenerationsPanel(QWidget):
    """Lists models, shows what is known of the selected one, and offers it.

    Attributes
    ----------
    facts : QLabel
        What is known of the selected model; to be put into a layout.
    selected : Signal
        Emitted with the :class:`~napari_segany.training.generations.Generation` that was selected, or None.
    used : Signal
        Emitted with the name of the model that is to be used.
    reverted : Signal
        Emitted without arguments when the parent of the model in use is to be used.
    noted : Signal
        Emitted with the name of a model and its new note.
    """

    selected = Signal(object)
    used = Signal(str)
    reverted = Signal()
    noted = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self._generations: list[Generation] = []
        self._used = ""
        self._table = QTableWidget(0, len(COLUMNS))
        self._table.setHorizontalHeaderLabels(COLUMNS)
        self._table.verticalHeader().hide()
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self._table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self._table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self._table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.facts = QLabel()
        self.facts.setWordWrap(True)
        self._note = QLineEdit()
        self._note.setPlaceholderText("A note about this model")
        self._note.setToolTip("Kept with the model when you press Enter or leave the line")
        self._use = QPushButton("Use")
        self._use.setToolTip("Segment with the selected model; it is also in the list Model above")
        self._revert = QPushButton("Revert")
        self._lay_out()
        self._table.itemSelectionChanged.connect(self._select)
        self._use.clicked.connect(lambda: self.used.emit(self.name))
        self._revert.clicked.connect(self.reverted)
        self._note.editingFinished.connect(self._keep_note)
        self.show_used("", "")
        self.show_generations([])

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        buttons = QHBoxLayout()
        buttons.addWidget(self._use)
        buttons.addWidget(self._revert)
        layout.addWidget(QLabel("<b>Your models</b>"))
        layout.addWidget(self._table)
        layout.addLayout(buttons)
        layout.addWidget(self._note)

    @property
    def chosen(self) -> Generation | None:
        """The selected model."""
        row = self._table.currentRow()
        return self._generations[row] if 0 <= row < len(self._generations) and self._table.selectedItems() else None

    @property
    def name(self) -> str:
        """Name of the selected model; empty for none."""
        return "" if self.chosen is None else self.chosen.name

    def show_generations(self, generations: Sequence[Generation], select: str = "") -> None:
        """List models, and select one; by default the one that was selected, else the first."""
        names = [one.name for one in generations]
        wanted = select or self.name
        self._table.blockSignals(True)
        self._generations = list(generations)
        self._table.setRowCount(len(generations))
        for row, one in enumerate(generations):
            masks = "" if one.report is None else str(one.report.masks)
            for column, text in enumerate((one.name, masks, one.scores)):
                item = QTableWidgetItem(text)
                item.setToolTip(one.description)
                self._table.setItem(row, column, item)
        if generations:
            self._table.selectRow(names.index(wanted) if wanted in names else 0)
        self._table.blockSignals(False)
        self._fit()
        self._mark()
        self._select()
        self.setVisible(bool(generations))

    def show_used(self, name: str, parent: str) -> None:
        """Mark the model in use.

        Parameters
        ----------
        name : str
            Its name in the registry.
        parent : str
            What *Revert* would use; empty where there is nothing to revert to.
        """
        self._used = name
        self._revert.setEnabled(bool(parent))
        self._revert.setText(f"Revert to {parent}" if parent else "Revert")
        self._revert.setToolTip("Segment with the model again that the one in use began with; all models stay listed")
        self._mark()

    def _fit(self) -> None:
        """As high as its rows, up to some."""
        rows = min(max(len(self._generations), 1), ROWS)
        height = self._table.horizontalHeader().sizeHint().height() + 2 * self._table.frameWidth()
        self._table.setFixedHeight(height + rows * self._table.verticalHeader().defaultSectionSize())

    def _mark(self) -> None:
        for row, one in enumerate(self._generations):
            for column in range(len(COLUMNS)):
                item = self._table.item(row, column)
                if item is None:
                    continue
                font = item.font()
                font.setBold(one.name == self._used)
                item.setFont(font)
        self._use.setEnabled(bool(self.name) and self.name != self._used)
        self._use.setText("In use" if self.name and self.name == self._used else "Use")

    def _select(self) -> None:
        one = self.chosen
        self.facts.setText("" if one is None else one.description)
        self.facts.setVisible(one is not None)
        noted = one is not None and one.report is not None
        self._note.setText(one.report.note if one is not None and one.report is not None else "")
        self._note.setVisible(noted)
        self._mark()
        self.selected.emit(one)

    def _keep_note(self) -> None:
        one, note = self.chosen, self._note.text().strip()
        if one is not None and one.report is not None and note != one.report.note:
            self.noted.emit(one.name, note)
