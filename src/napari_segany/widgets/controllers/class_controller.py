"""The classes, and objects that get them by rows and keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QMessageBox

from napari_segany.core.errors import InputError, SeganyError
from napari_segany.core.objects import ObjectClass
from napari_segany.engine.session_files import project_folder
from napari_segany.io.class_tables import read_classes, write_classes
from napari_segany.layers.binding import Binding
from napari_segany.layers.class_list import ClassList
from napari_segany.widgets.class_keys import ClassKeys
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.panels.classes_panel import NONE, ClassesPanel
from napari_segany.widgets.panels.objects_panel import ObjectsPanel

FIRST = ("class 1", "class 2")
"""Classes that are made when the class keys are switched on and there is none."""


class ClassController(QObject):
    """Connects the panel of classes with the objects.

    Parameters
    ----------
    viewer : ViewerModel
        Its keys and its cursor.
    box : ClassesPanel
        The panel; owns this object.
    table : ObjectsPanel
        The objects.

    Attributes
    ----------
    message : Signal
        Emitted with a line about what was done.
    failed : Signal
        Emitted with the exception of what failed.
    chosen : Signal
        Emitted with the name of the class that new objects get; empty for none.
    """

    message = Signal(str)
    failed = Signal(object)
    chosen = Signal(str)

    def __init__(self, viewer: ViewerModel, box: ClassesPanel, table: ObjectsPanel) -> None:
        super().__init__(box)
        self._viewer, self._box, self._table = viewer, box, table
        self._binding: Binding | None = None
        self.classes = ClassList()
        self._keys = ClassKeys(viewer, self.press)
        table.listed.connect(self.show)
        box.chosen.connect(self._choose)
        box.given.connect(self._give)
        box.keys_switched.connect(self._switch_keys)
        for signal, method in (
            (box.added, self._add),
            (box.removed, self._remove),
            (box.renamed, self._rename),
            (box.recoloured, self._recolour),
            (box.keyed, self._set_key),
            (box.hidden_changed, table.hide_classes),
            (box.file_read, self._read),
            (box.file_written, self._write),
        ):
            signal.connect(method)

    def bind(self, binding: Binding | None) -> None:
        """Classify the objects of another image; the classes stay.

        The current one stays within a folder of images alone: elsewhere new objects would get it unnoticed.
        """
        if self._binding is not None:
            self._binding.undo_stack.classified.disconnect(self._restore)
        self._binding = binding
        if binding is not None:
            binding.undo_stack.classified.connect(self._restore)
            if project_folder(binding.image.source.path or "") is None:
                self._set_list(self.classes, "")

    def close(self) -> None:
        """Give the keys back."""
        self._keys.switch(False)

    def show(self) -> None:
        """Show the classes of the objects, and how many there are of each."""
        objects = self._table.objects
        classes = objects.classes if objects is not None else {}
        self._set_list(self.classes.with_names(filter(None, dict.fromkeys(classes.values()))))
        self._box.count(classes, objects.suggested if objects is not None else (), self._table.chosen)

    def _set_list(self, classes: ClassList, current: str | None = None) -> None:
        """Have other classes; another one may be current from here on."""
        before, current = self._box.current, self._box.current if current is None else current
        if classes != self.classes or current != before:
            self.classes = classes
            self._box.show_classes(classes, current)
            self._table.set_class_colours(classes.colours)
            self._table.hide_classes(self._box.hidden)
        if self._box.current != before:
            self.chosen.emit(self._box.current)

    def _restore(self, changes: Iterable[tuple[int, str, str]]) -> None:
        """A step that changed classes was undone or redone; the table may list another layer by now."""
        objects = self._table.objects
        if objects is not None:
            known = objects.classes
            objects.set_classes({label: new for label, old, new in changes if known.get(label) == old})

    def press(self, digit: int) -> None:
        """Give the object under the cursor the class of a key; 0 takes its class away."""
        one = self.classes.of_key(digit)
        if digit and one is None:
            self.failed.emit(InputError(f"no class has the key {digit}; add one with “Edit” in the tab Objects"))
            return
        label = 0
        if self._binding is not None:
            _, label = self._binding.picker.label_under(tuple(self._viewer.cursor.position))
        if not label:
            self.failed.emit(InputError("there is no object under the cursor to give a class"))
            return
        self.classify({label: one.name if one is not None else ""})

    def _choose(self, name: str) -> None:
        """New objects get another class."""
        self.chosen.emit(name)
        self.message.emit(f"New objects get the class {name}." if name else "New objects get no class.")

    def _give(self) -> None:
        self.classify(dict.fromkeys(self._table.chosen, self._box.current))

    def classify(self, classes: Mapping[int, str]) -> None:
        """Give objects classes, in one step of undo."""
        objects = self._table.objects
        if objects is None:
            self.failed.emit(InputError("there is no object yet"))
            return
        try:
            objects.classify(classes)
        except SeganyError as error:
            self.failed.emit(error)
            return
        what = f"Object {next(iter(classes))}" if len(classes) == 1 else count_of(len(classes), "object")
        first, *others = sorted(set(classes.values()))
        kind = f"{len(others) + 1} classes" if others else first or NONE
        self.message.emit(f"{what}: {kind}. Ctrl+Z undoes it.")

    def _switch_keys(self, on: bool) -> None:
        self._keys.switch(on)
        if on:
            if not len(self.classes):
                self._set_list(self.classes.with_names(FIRST))
            self.show()
            self._table.colour_by_class()
            keys = ", ".join(f"{one.key} {one.name}" for one in self.classes if one.key)
            self.message.emit(f"Point at an object and press a digit: {keys}, 0 {NONE}.")

    def _add(self, name: str) -> None:
        try:
            new = self.classes.new_names("", name)[""]
        except SeganyError as error:
            self.failed.emit(error)
            return
        # it is not chosen: new objects would get it without a word
        self._set_list(self.classes.with_names([new]))
        self.show()

    def _remove(self, name: str) -> None:
        objects = self._table.objects
        used = [k for k, kind in objects.classes.items() if kind == name] if objects is not None else []
        if used:
            text = f"{count_of(len(used), 'object')} of class {name!r} would have no class. Remove it?"
            if QMessageBox.question(self._box, "Remove class", text) != QMessageBox.StandardButton.Yes:
                return
        if self.classes.below(name):
            self.failed.emit(InputError(f"there are classes below {name!r}; remove them first"))
            return
        if used:
            self.classify(dict.fromkeys(used, ""))
        self._set_list(self.classes.without(name), "")
        self.show()

    def _rename(self, name: str, new: str) -> None:
        try:
            names, classes = self.classes.new_names(name, new), self.classes.renamed(name, new)
        except SeganyError as error:
            self.failed.emit(error)
            return
        current = self._box.current
        self._set_list(classes, names.get(current, current))
        objects = self._table.objects
        used = {k: names[kind] for k, kind in objects.classes.items() if kind in names} if objects is not None else {}
        if used:
            self.classify(used)
        self.show()

    def _set_key(self, name: str, key: int) -> None:
        self._set_list(self.classes.joined([ObjectClass(name, key, "")]))

    def _recolour(self, name: str, colour: str) -> None:
        self._set_list(self.classes.joined([ObjectClass(name, -1, colour)]))

    def _read(self, path: Path) -> None:
        try:
            found = read_classes(path)
        except SeganyError as error:
            self.failed.emit(error)
            return
        self._set_list(self.classes.joined(found))
        self.show()
        self.message.emit(f"{_classes(len(found))} read from {path.name}.")

    def _write(self, path: Path) -> None:
        try:
            write_classes(path, self.classes)
        except SeganyError as error:
            self.failed.emit(error)
            return
        self.message.emit(f"{_classes(len(self.classes))} written to {path.name}.")


def _classes(count: int) -> str:
    return f"{count} class{'' if count == 1 else 'es'}"
