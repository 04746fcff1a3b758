"""All objects of a plane, found once and filtered by sliders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial

from qtpy.QtCore import QStringListModel, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QCompleter,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledDoubleSlider, QLabeledRangeSlider

from napari_segany.core.automatic_masks import Grid, Proposals, grid_of
from napari_segany.core.filters import Filters
from napari_segany.core.query import Query, query_for
from napari_segany.core.segmenter import Segmenter
from napari_segany.widgets.controllers.pending_objects import count_of

REMEMBERED = 20
"""How many texts are offered again."""
CONFIDENT = 0.8
"""Score from which on masks are confident, until the slider is moved; chosen for `tiny` on images of dsb2018, usiigaci
and rbc_flow: a higher one keeps few masks, a lower one many that are wrong."""
MOST_CROP_LAYERS = 4
"""16 x 16 crops of a slice."""
LARGEST = 6.0
"""Sizes are chosen by their power of ten: a nucleus and an embryo are not on one straight scale."""


class AutomaticMasksPanel(QWidget):
    """A button that finds all objects, and sliders that filter them.

    Attributes
    ----------
    wanted, kept, dropped : Signal
        Emitted when all objects are to be found, committed, or discarded.
    filtered : Signal
        Emitted without arguments when a slider was moved.
    named : Signal
        Emitted with a text that names what is to be found.
    like_wanted : Signal
        Emitted without arguments when objects like the committed ones are to be found.
    acted : Signal
        Emitted with the name of an action: the confident ones are to be kept, or the next one is to be shown alone.
    at_once_changed : Signal
        Emitted with whether confident objects are kept when a search ends.
    crop_layers_changed : Signal
        Emitted with the number of layers of crops that are searched, too.
    clicks_changed : Signal
        Emitted with whether a click is made on each object that the model proposes, also where it draws them itself.
    """

    wanted = Signal()
    kept = Signal()
    dropped = Signal()
    filtered = Signal()
    named = Signal(str)
    like_wanted = Signal()
    acted = Signal(str)
    at_once_changed = Signal(bool)
    crop_layers_changed = Signal(int)
    clicks_changed = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._base = Filters()
        self._suited: bool | None = None
        self._find = QPushButton("Find all objects  (G)")
        self._find.setToolTip("Find all objects on this slice; nothing is painted before you keep them")
        self._like = QPushButton("Find objects like mine  (Shift+F)")
        self._like.setToolTip(
            "Search this slice for objects like those that you committed; Shift+X rejects the one under the cursor"
        )
        self._edges = QPushButton("Edges  (Shift+E)")
        self._edges.setToolTip("Edges of this slice, from the outlines of many masks: an image layer of values 0 to 1")
        self._crop_layers = QSpinBox()
        self._crop_layers.setRange(0, MOST_CROP_LAYERS)
        self._crop_layers.setToolTip(
            "For small objects: Find all objects searches 2 x 2 magnified crops too, with 2 also 4 x 4 and so on. It "
            "then clicks on a grid instead of what the model proposes, and takes much longer."
        )
        self._words = QLineEdit()
        self._words.setPlaceholderText("Or name it: nuclei; bright cells")
        self._words.setToolTip(
            "What to find, then Enter; separate several names by a semicolon, 'not' excludes objects"
        )
        self._words.setClearButtonEnabled(True)
        self._terms = QStringListModel(self)
        completer = QCompleter(self._terms, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self._words.setCompleter(completer)
        self._score = self._slider("Exclude masks with a low score of the model")
        self._stability = self._slider("Exclude masks with an uncertain outline")
        self._overlap = self._slider("Exclude masks that overlap better ones by this share")
        self._size = QLabeledRangeSlider(Qt.Orientation.Horizontal)
        self._size.setToolTip("Exclude smaller or larger objects: 1 is 10 pixels, 2 is 100, 3 is 1000 …")
        self._size.setRange(0, int(10 * LARGEST))
        self._size.setValue((0, int(10 * LARGEST)))
        self._size.setEdgeLabelMode(QLabeledRangeSlider.EdgeLabelMode.NoLabel)
        self._size.setHandleLabelPosition(QLabeledRangeSlider.LabelPosition.NoLabel)
        self._whole = QCheckBox("Exclude objects cut by the border")
        self._clicks = QCheckBox("By clicks")
        self._clicks.setToolTip(
            "Where the model's decoder draws all objects, as micro-sam's (AIS): click on each instead, and take the "
            "mask of the click (APG)"
        )
        self.offer_clicks(False)
        self._confident = self._slider("Masks with at least this score are confident")
        self._confident.setValue(CONFIDENT)
        self._at_once = QCheckBox("Keep confident objects when found")
        self._at_once.setToolTip("They are marked automatic in the table; the others are offered, and can be undone")
        self._keep_confident = QPushButton("Keep confident  (Shift+K)")
        self._keep_confident.setToolTip("Keep those above the slider, marked automatic; the others stay offered")
        self._step = QPushButton("One by one  (Shift+J)")
        self._step.setToolTip("Show the next of the found objects alone, the least certain first; K keeps it")
        self._text = QLabel("")
        # (a long line would widen the panel, and move the picture)
        self._text.setWordWrap(True)
        self._legend = QLabel("")
        self._legend.hide()
        self._keep = QPushButton("Keep all  (K)")
        self._drop = QPushButton("Discard  (Q)")
        self._lay_out()
        self._find.clicked.connect(self.wanted)
        self._like.clicked.connect(self.like_wanted)
        self._words.returnPressed.connect(self._name)
        self._keep.clicked.connect(self.kept)
        self._drop.clicked.connect(self.dropped)
        for slider in (self._score, self._stability, self._overlap, self._size):
            slider.valueChanged.connect(self.filtered)
        self._whole.toggled.connect(self.filtered)
        self._confident.valueChanged.connect(self.filtered)
        self._at_once.toggled.connect(self.at_once_changed)
        self._crop_layers.valueChanged.connect(self.crop_layers_changed)
        self._clicks.toggled.connect(self.clicks_changed)
        self._edges.clicked.connect(lambda: self.acted.emit("find_edges"))
        self._keep_confident.clicked.connect(lambda: self.acted.emit("keep_confident"))
        self._step.clicked.connect(lambda: self.acted.emit("next_uncertain"))
        self.show_count(None, 0)

    @staticmethod
    def _slider(tip: str) -> QLabeledDoubleSlider:
        slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        slider.setRange(0, 1)
        slider.setDecimals(2)
        slider.setToolTip(tip)
        return slider

    def _lay_out(self) -> None:
        self._filters = QWidget()
        form = QFormLayout(self._filters)
        form.setContentsMargins(0, 0, 0, 0)
        # (all rows and a status line of four must fit into 720 pixels)
        form.setVerticalSpacing(2)
        form.addRow("Predicted IoU", self._score)
        form.addRow("Stability", self._stability)
        form.addRow("Overlap", self._overlap)
        form.addRow("Size", self._size)
        form.addRow(self._whole)
        form.addRow("Confident from", self._confident)
        ends = QHBoxLayout()
        ends.addWidget(self._keep)
        ends.addWidget(self._drop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(_row(self._find, QLabel("Crop layers"), self._crop_layers))
        layout.addLayout(_row(self._like, self._edges))
        layout.addWidget(self._words)
        layout.addWidget(self._filters)
        layout.addLayout(_row(self._at_once, self._clicks))
        layout.addWidget(self._text)
        layout.addWidget(self._legend)
        layout.addLayout(ends)
        more = QHBoxLayout()
        more.addWidget(self._keep_confident)
        more.addWidget(self._step)
        layout.addLayout(more)

    def suit(self, filters: Filters, overlap: float = 0.5, *, named: bool = False) -> None:
        """Set the sliders to what suits a model for all objects, or for those that a text names; emits no signal."""
        self._base, self._suited = filters, named
        self.blockSignals(True)
        self._score.setValue(filters.score)
        self._stability.setValue(filters.stability)
        self._overlap.setValue(overlap)
        self.blockSignals(False)

    @property
    def terms(self) -> list[str]:
        """Recent texts, the latest first."""
        return list(self._terms.stringList())

    def remember(self, terms: list[str]) -> None:
        """Offer these texts while the user types."""
        self._terms.setStringList(terms)

    def _name(self) -> None:
        text = self._words.text().strip()
        if text:
            self.remember([text, *(term for term in self.terms if term != text)][:REMEMBERED])
            self.named.emit(text)

    @property
    def filters(self) -> Filters:
        """The filters that the sliders are set to."""
        low, high = self._size.value()
        top = 10 * LARGEST
        return replace(
            self._base,
            score=self._score.value(),
            stability=self._stability.value(),
            smallest=int(10 ** (low / 10)),
            largest=int(10 ** (high / 10)) if high < top else self._base.largest,
            whole=self._whole.isChecked(),
        )

    def query_maker(self, text: str = "") -> Callable[[Segmenter], Query]:
        """Return a function that makes the query for other slices, with the filters of the sliders once they are used.

        Predicted IoU and stability are those of the model where the sliders were set for a query of the other kind,
        for all objects and not for a text, or the other way round.
        """
        grid = None if text.strip() else self.grid
        if self._suited is None:
            return partial(query_for, text=text, grid=grid)
        changes = asdict(self.filters)
        if self._suited != bool(text.strip()):
            changes = {name: changes[name] for name in ("smallest", "largest", "whole")}
        return partial(query_for, text=text, grid=grid, changes=changes, overlap=self.overlap)

    @property
    def confident(self) -> float:
        """The score from which on masks are confident."""
        return float(self._confident.value())

    @property
    def at_once(self) -> bool:
        """Whether confident objects are kept when a search ends."""
        return self._at_once.isChecked()

    @property
    def grid(self) -> Grid | Proposals | None:
        """Where all objects are searched for; None where the model draws or proposes them."""
        return grid_of(crop_layers=self._crop_layers.value(), clicks=self._clicks.isChecked())

    def offer_clicks(self, offered: bool) -> None:
        """Show the choice of clicks, for a model whose decoder draws all objects by itself."""
        self._clicks.setVisible(offered)

    def choose(self, *, at_once: bool, crop_layers: int = 0, clicks: bool = False) -> None:
        """Choose whether confident objects are kept when a search ends, and where all objects are searched for."""
        self._at_once.setChecked(at_once)
        self._clicks.setChecked(clicks)
        self._crop_layers.setValue(crop_layers)

    def show_single(self, single: bool) -> None:
        """Show whether K keeps one object or all."""
        self._keep.setText("Keep this  (K)" if single else "Keep all  (K)")
        self._drop.setText("Show all  (Q)" if single else "Discard  (Q)")

    @property
    def overlap(self) -> float:
        """Share of a mask that may lie on better ones."""
        return float(self._overlap.value())

    def show_legend(self, colours: Mapping[str, str], counts: Mapping[str, int]) -> None:
        """Show a legend of names and their colours, with counts; empty where there are no colours."""
        rows = [f'<span style="color:{colour}">■</span> {counts[name]} {name}' for name, colour in colours.items()]
        self._legend.setText("<br>".join(rows))
        self._legend.setVisible(bool(rows))

    def set_keepable(self, keepable: bool) -> None:
        """Whether K would commit the found objects."""
        self._keep.setEnabled(keepable)

    def show_count(self, shown: int | None, found: int, labelled: int = 0) -> None:
        """Show how many objects are new, of how many candidates, and how many are labelled already.

        None when there was no search.
        """
        self._filters.setEnabled(shown is not None)
        self._keep.setEnabled(bool(shown))
        self._drop.setEnabled(shown is not None)
        self._keep_confident.setEnabled(bool(shown))
        self._step.setEnabled(bool(shown))
        if shown is None:
            self.show_legend({}, {})
            self.show_single(single=False)
        there = f"; {count_of(labelled, 'object')} labelled already" if labelled else ""
        text = f"{count_of(shown or 0, 'object')}, of {count_of(found, 'candidate')}{there}"
        self._text.setText("" if shown is None else text)


def _row(first: QWidget, *others: QWidget) -> QHBoxLayout:
    """Widgets next to each other; the first gets the room that is left."""
    row = QHBoxLayout()
    row.addWidget(first, 1)
    for other in others:
        row.addWidget(other)
    return row
