"""The table of objects, and its actions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils.notifications import show_warning
from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QAction, QHideEvent, QShowEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_segany.core.errors import SeganyError
from napari_segany.core.objects import REJECTED, ObjectInfo
from napari_segany.core.review import FILTERS, progress, review_now
from napari_segany.layers.colours import NameColours, paler
from napari_segany.layers.commit import Steps
from napari_segany.layers.object_features import ObjectFeatures
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.object_blink import ObjectBlink
from napari_segany.widgets.object_outline import ObjectOutline, canvas_of
from napari_segany.widgets.panels.menu_button import MenuButton
from napari_segany.widgets.panels.object_rows import FeaturesView, ObjectRows
from napari_segany.widgets.panels.review_panel import DECISIONS, ReviewPanel

REST_MS = 100
"""How long after a change objects are counted, together with later changes."""
STEP_SECONDS = 0.012
"""How long the window waits for the counting at a time."""
AROUND_TEXT = 12
"""Pixels of a button next to its text, at least."""
UNDO = "One step of the layer's undo (Ctrl+Z while the Labels layer is selected)."


class ObjectsPanel(QWidget):
    """Lists the objects of a Labels layer; a click on a row shows its object.

    While it is hidden nothing is counted; the objects are counted when it is shown, or by :meth:`update_now`.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are.

    Attributes
    ----------
    objects : ObjectFeatures or None
        The objects that are listed.
    described : Signal
        Emitted with a :class:`~napari_segany.core.objects.ObjectInfo` when a known fact about an object changes.
    listed : Signal
        Emitted without arguments when the objects of the table, or what is known of them, may have changed, or
        other rows are selected.
    plot_wanted : Signal
        Emitted without arguments when measurements are to be plotted.
    """

    described = Signal(object)
    listed = Signal()
    plot_wanted = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = viewer
        self.objects: ObjectFeatures | None = None
        self._rows: ObjectRows | None = None
        self._blink = ObjectBlink(self)
        self._sweep: Iterator[None] | None = None
        self._stale = False
        self._chosen: list[int] = []
        self._view: FeaturesView | None = None
        self._filter = QLineEdit()
        self._filter.setPlaceholderText("Filter: label, name, state, flag, or how it was made")
        self._filter.setClearButtonEnabled(True)
        self._by_name = self._switch("Colours by name", "Show objects of the same name in one colour")
        self._by_class = self._switch(
            "Colours by class", "Show objects in the colours of their classes, paler where these are only suggested"
        )
        self._class_colours: dict[str, str] = {}
        self._hidden: frozenset[str] = frozenset()
        self._outline: ObjectOutline | None = None
        self._colours: NameColours | None = None
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._progress = QLabel()
        self.review_box = ReviewPanel()
        self.buttons = {
            "Delete": self._button("Delete", f"Delete the selected objects. {UNDO}", self._delete),
            "Merge": self._button("Merge", f"Merge the selected objects into one. {UNDO}", self._merge),
            "Split": self._button("Split", f"Give each separate piece a new label. {UNDO}", self._split),
            "Rename": self._button("Rename", "Name the selected object; its pixels stay as they are.", self._rename),
            "Plot…": self._button("Plot…", "Measure all objects: plots, colours, tables.", self.plot_wanted.emit),
        }
        self._lay_out()
        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(self._begin)
        self._steps = QTimer(self, interval=0)
        self._steps.timeout.connect(self._step)
        self._typed = QTimer(self, singleShot=True, interval=REST_MS)
        self._typed.timeout.connect(self._apply_filter)
        self._filter.textChanged.connect(lambda _: self._typed.start())
        self._by_name.toggled.connect(self._colour_by_name)
        self._by_class.toggled.connect(self._colour_by_class)
        self.review_box.wanted.connect(self._review)
        self._choose()
        self._tell()

    def _button(self, text: str, tip: str, act: Callable[[], None]) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        # five of them in a row decide how wide the panel is
        button.setMinimumWidth(button.fontMetrics().horizontalAdvance(text) + AROUND_TEXT)
        button.clicked.connect(lambda _=False: self._try(act))
        return button

    def _switch(self, text: str, tip: str) -> QAction:
        switch = QAction(text, self)
        switch.setToolTip(tip)
        switch.setCheckable(True)
        return switch

    def _lay_out(self) -> None:
        more = MenuButton("…", "Colours and order of the objects, and the table as a file")
        more.setFixedWidth(2 * more.fontMetrics().height())
        menu = more.menu()
        for switch in (self._by_name, self._by_class):
            menu.addAction(switch)
        menu.addAction(self.review_box.order)
        menu.addSeparator()
        menu.addAction("Save table as CSV…").triggered.connect(self._save)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self._layout.addLayout(_row((self._filter, 1), (more, 0)))
        self._layout.addLayout(_row(*((button, 1) for button in self.buttons.values())))
        self._layout.addWidget(self.review_box)
        self._layout.addLayout(_row((self._note, 1), (self._progress, 0)))

    @property
    def chosen(self) -> list[int]:
        """Labels of the objects whose rows are selected."""
        return list(self._chosen)

    def colour_by_class(self) -> None:
        """Show objects in the colours of their classes from here on."""
        self._by_class.setChecked(True)

    def choose(self, labels: list[int]) -> None:
        """Select the rows of objects."""
        if self._rows is not None:
            self._rows.choose(labels)

    @property
    def class_colours(self) -> dict[str, str]:
        """The colour of each class, by name."""
        return dict(self._class_colours)

    @property
    def colouring(self) -> str:
        """The colours that objects have: of their "name" or "class"; empty for those of the layer."""
        return "class" if self._by_class.isChecked() else "name" if self._by_name.isChecked() else ""

    def use_colours(self, of: str = "") -> None:
        """Show objects in the colours of a "name" or "class", or of the layer where it is empty."""
        self._by_name.setChecked(of == "name")
        self._by_class.setChecked(of == "class")

    def set_class_colours(self, colours: Mapping[str, str]) -> None:
        """Set the colour of each class, by name."""
        if colours != self._class_colours:
            self._class_colours = dict(colours)
            self._colour()

    @property
    def text(self) -> str:
        """The text below the table."""
        return self._note.text()

    def bind(self, labels: Labels | None, image: Image | None = None, step: Steps | None = None) -> None:
        """List the objects of another layer, and measure another picture; None lets go of both.

        Parameters
        ----------
        labels, image : Labels, Image, optional
            The layer and the picture.
        step : callable, optional
            Makes one step of undo of what is done within it.
        """
        if self.objects is not None and self.objects.labels is labels and self.objects.image is image:
            return
        self._release()
        if labels is not None:
            self.objects = ObjectFeatures(self._viewer, labels, image, step)
            self._colours = NameColours(labels)
            self._rows = ObjectRows(self.objects)
            self.objects.stale.connect(self._wait)
            self.objects.changed.connect(self._tell)
            self.objects.changed.connect(self._colour)
            self.objects.described.connect(self._describe)
            self.objects.announce()
            self._rows.chosen_changed.connect(self._choose)
            self._rows.picked.connect(self._show_object)
            self._rows.review(FILTERS[self.review_box.filter], least_certain=self.review_box.least_certain)
            self._apply_filter()
            self._wait()
            if self.isVisible():
                self._show(self._rows)
        self._choose()
        self._tell()

    def _release(self) -> None:
        self._rest.stop()
        self._steps.stop()
        self._blink.end()
        self._sweep = None
        self._show(None)
        if self._rows is not None and self.objects is not None:
            self._rows.chosen_changed.disconnect(self._choose)
            self._rows.picked.disconnect(self._show_object)
            self._rows.close()
            self.objects.stale.disconnect(self._wait)
            self.objects.changed.disconnect(self._tell)
            self.objects.changed.disconnect(self._colour)
            self.objects.described.disconnect(self._describe)
            self.objects.close()
        if self._colours is not None:
            self._colours.clear()
        self._rows = self.objects = self._colours = None

    def _describe(self, about: ObjectInfo) -> None:
        # psygnal calls methods, and a signal of Qt is none
        self.described.emit(about)

    def take_over(self, known: Mapping[int, ObjectInfo]) -> None:
        """Set known facts about the objects of an earlier session."""
        if self.objects is not None:
            self.objects.take_over(known)

    def note(self, about: ObjectInfo) -> None:
        """Set known facts about an object that was just committed, see :meth:`ObjectFeatures.note`."""
        if self.objects is not None:
            self.objects.note(about)

    def remark(self, label: int, status: str, confidence: float) -> None:
        """Set the remark of an object, see :meth:`ObjectFeatures.remark`."""
        if self.objects is not None:
            self.objects.remark(label, status, confidence)

    def set_state(self, labels: list[int], state: str) -> None:
        """Note a state of objects, see :meth:`ObjectFeatures.set_state`."""
        if self.objects is not None:
            self._try(partial(self.objects.set_state, labels, state, review_now()))

    def restore_states(self, states: Mapping[int, str], reviews: Mapping[int, tuple[str, str]] | None = None) -> None:
        """Set states that a step of undo already records, see :meth:`ObjectFeatures.set_states`."""
        if self.objects is not None and states:
            self.objects.set_states(states, reviews)

    def about(self, label: int) -> ObjectInfo:
        """What is known of an object."""
        return ObjectInfo(label) if self.objects is None else self.objects.about(label)

    def state_of(self, label: int) -> str:
        """The state of an object, one of ``STATES``; empty for one that the user made or corrected."""
        return "" if self.objects is None else self.objects.about(label).state

    def confirmed(self, label: int) -> bool:
        """Whether the user stands for an object, see :attr:`ObjectInfo.confirmed`."""
        return self.objects is None or self.objects.about(label).confirmed

    def update_now(self) -> None:
        """Count changed objects now, so that the layer's features are current."""
        if self.objects is not None:
            self.objects.update()

    def catch_up(self) -> None:
        """Count objects now, if something changed since they were counted last."""
        if self._stale or self._rest.isActive() or self._steps.isActive():
            self.update_now()

    def showEvent(self, event: QShowEvent) -> None:
        """Count objects that changed while the table was hidden."""
        super().showEvent(event)
        if self._view is None:
            # napari's table imports pandas, and the dock widget must not wait for it
            self._view = FeaturesView()
            self._view.delete_wanted.connect(self._delete_rows)
            self._view.renamed.connect(self._take_name)
            self._view.sorted.connect(self._forget_order)
            self._layout.insertWidget(1, self._view.widget, 1)
        self._show(self._rows)
        self._watch()
        if self._stale:
            self._wait()

    def hideEvent(self, event: QHideEvent) -> None:
        """Stop counting."""
        super().hideEvent(event)
        self._stale |= self._steps.isActive()
        self._rest.stop()
        self._steps.stop()
        self._show(None)
        self._watch()

    def _watch(self) -> None:
        """Have outlines in the picture while the table is visible."""
        if self._outline is None and self.isVisible() and (canvas := canvas_of(self)) is not None:
            self._outline = ObjectOutline(self._viewer, canvas)
            canvas.destroyed.connect(self._forget_outline)
        if self._outline is not None:
            self._outline.bind(self.objects if self.isVisible() else None)
            self._mark()

    def _forget_outline(self) -> None:
        self._outline = None

    def _mark(self) -> None:
        """Mark the chosen and the rejected objects in the picture."""
        if self._outline is not None and self.objects is not None and self.isVisible():
            rejected = [label for label, state in self.objects.states.items() if state == REJECTED]
            self._outline.mark(self._chosen, rejected)

    def _show(self, rows: ObjectRows | None) -> None:
        """Show rows in the table, when there is one."""
        if self._view is not None:
            self._view.show_rows(rows)

    def _wait(self) -> None:
        """Pixels changed: count soon, if the table is visible."""
        self._stale = True
        if self.isVisible() and not self._rest.isActive() and not self._steps.isActive():
            self._rest.start()

    def _begin(self) -> None:
        if self.objects is not None:
            self._stale = False
            self._sweep = self.objects.sweep()
            self._steps.start()

    def _step(self) -> None:
        until = time.perf_counter() + STEP_SECONDS
        while self._sweep is not None and time.perf_counter() < until:
            if next(self._sweep, self) is self:
                self._sweep = None
        if self._sweep is None:
            self._steps.stop()
            if self._stale:
                self._wait()

    def _apply_filter(self) -> None:
        if self._rows is not None:
            self._rows.filter(self._filter.text())
            self._tell()

    def _choose(self) -> None:
        """Other rows are selected: enable the buttons that apply to them."""
        before, self._chosen = self._chosen, self._rows.chosen if self._rows is not None else []
        count = len(self._chosen)
        for name, fits in (("Delete", count > 0), ("Merge", count > 1), ("Split", count == 1), ("Rename", count == 1)):
            self.buttons[name].setEnabled(fits)
        for state, (_, name, _) in DECISIONS.items():
            known = map(self.about, self._chosen)
            open_ones = any(about.state != state or not about.reviewed_by for about in known)
            self.review_box.buttons[name].setEnabled(open_ones)
        if self._chosen != before:
            self._mark()
            if self._view is not None:
                self._view.scroll()
        self.listed.emit()

    def _show_object(self, label: int) -> None:
        if self.objects is not None:
            self._try(partial(self.objects.show, label))
            if len(self.objects.present) > 1:
                self._blink.begin(self.objects.labels)

    def _tell(self) -> None:
        if self.objects is None or self._rows is None:
            self._note.setText("No Labels layer yet: it is created with the first object.")
            self._progress.setText("")
            return
        there, shown = len(self.objects.present), self._rows.count
        count = count_of(there, "object") if shown == there else f"{shown} of {count_of(there, 'object')}"
        self._note.setText(f"{count}. {self.objects.problem}".strip())
        done, checked = self.progress
        self._progress.setText(f"{done} of {checked} checked" if checked else "")
        self._mark()

    @property
    def progress(self) -> tuple[int, int]:
        """How many objects of the review are checked, and how many there are, see :func:`progress`."""
        states = () if self.objects is None else self.objects.states.values()
        return progress(states, self.review_box.filter)

    def _forget_order(self) -> None:
        # psygnal calls methods of Python objects
        self.review_box.forget_order()

    def _review(self, name: str, least_certain: bool) -> None:
        if self._rows is not None:
            self._rows.review(FILTERS[name], least_certain=least_certain)
            self._tell()

    def _colour(self) -> None:
        """Show the objects in the colours of their names or classes, or in the layer's own."""
        if self._colours is None or self.objects is None:
            return
        hidden: set[int] = set()
        if self._hidden:
            hidden = {label for label, name in self.objects.classes.items() if name in self._hidden}
        if self._by_class.isChecked():
            suggested = {label: f"{name}?" for label, (name, _) in self.objects.suggested.items()}
            pale = {f"{name}?": paler(colour) for name, colour in self._class_colours.items()}
            self._colours.show(self.objects.classes | suggested, self._class_colours | pale, hidden)
        elif self._by_name.isChecked():
            self._colours.show({label: self.objects.about(label).name for label in self.objects.present}, {}, hidden)
        elif hidden:
            self._colours.show_own(self.objects.present, hidden)
        else:
            self._colours.clear()

    def hide_classes(self, names: frozenset[str]) -> None:
        """Have the objects of some classes transparent, an empty name stands for those of none; pixels stay."""
        if names != self._hidden:
            self._hidden = names
            self._colour()

    def _colour_by_name(self, wanted: bool) -> None:
        if wanted:
            self._by_class.setChecked(False)
        self._colour()

    def _colour_by_class(self, wanted: bool) -> None:
        if wanted:
            self._by_name.setChecked(False)
        self._colour()

    def go(self, by: int) -> bool:
        """Go to the object that many rows further down the table, from its ends to the other one; False without."""
        self.catch_up()
        label = self._rows.neighbour(by) if self._rows is not None else 0
        if label:
            self.go_to(label)
        return bool(label)

    def go_to(self, label: int) -> None:
        """Select an object and show it."""
        if self._rows is not None:
            self._rows.choose([label])
            self._show_object(label)

    def following(self, labels: list[int]) -> int:
        """The object of the row below those of some objects, around the end; 0 without another one."""
        return self._rows.after(labels) if self._rows is not None else 0

    def delete(self, labels: list[int]) -> None:
        """Delete objects, in one step of undo."""
        if self.objects is not None:
            self._try(partial(self.objects.delete, labels))

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except SeganyError as error:
            show_warning(str(error))

    def _delete(self) -> None:
        self.delete(self._chosen)

    def _delete_rows(self) -> None:
        # psygnal keeps no panel alive for a method of it
        self._try(self._delete)

    def _save(self) -> None:
        if self._rows is None:
            return
        name, _ = QFileDialog.getSaveFileName(self, "Save table", f"{self._rows.name}_features.csv", "Tables (*.csv)")
        if name:
            path = Path(name)
            try:
                self._rows.write(path if path.suffix else path.with_suffix(".csv"))
            except OSError as error:
                show_warning(f"cannot write {path}: {error.strerror}")

    def _merge(self) -> None:
        if self.objects is not None and self._rows is not None:
            self._rows.choose([self.objects.merge(self._chosen)])

    def _split(self) -> None:
        if self.objects is not None and self._rows is not None and self._chosen:
            self._rows.choose(self.objects.split(self._chosen[0]))

    def _take_name(self, label: int, name: str) -> None:
        if self.objects is not None and name != self.objects.about(label).name:
            self._try(partial(self.objects.rename, label, name))

    def _rename(self) -> None:
        if self.objects is None or not self._chosen:
            return
        label = self._chosen[0]
        before = self.objects.about(label).name
        name, confirmed = QInputDialog.getText(self, "Rename", f"Name of object {label}", text=before)
        if confirmed:
            self.objects.rename(label, name.strip())


def _row(*parts: tuple[QWidget, int]) -> QHBoxLayout:
    """Widgets side by side, with how much each stretches."""
    line = QHBoxLayout()
    line.setSpacing(4)
    for part, stretch in parts:
        line.addWidget(part, stretch)
    return line
