"""Suggests classes for objects, from those that have one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_segany.core.errors import InputError, SeganyError
from napari_segany.core.masks import windows_of
from napari_segany.core.object_classes import ClassDescriptors, check_classes, learn_classes
from napari_segany.core.planes import Stack
from napari_segany.core.views import View
from napari_segany.engine.prediction import PredictionService
from napari_segany.engine.worker_jobs import PlaneObject, describe_for_classification, name_objects
from napari_segany.layers.binding import Binding
from napari_segany.layers.object_features import ObjectFeatures
from napari_segany.widgets.controllers.pending_objects import count_of
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.panels.classes_panel import ClassesPanel
from napari_segany.widgets.panels.objects_panel import ObjectsPanel

Suggestions = dict[int, tuple[str, float]]


class SuggestionController(QObject):
    """Connects the panel of classes with the worker.

    Parameters
    ----------
    box : ClassesPanel
        The panel; owns this object.
    table : ObjectsPanel
        The objects; lists what is suggested.
    give : callable
        A method that gives objects classes, by label.
    jobs : Jobs
        The worker.
    answers : PredictionService
        The model, which describes objects.

    Attributes
    ----------
    message : Signal
        Emitted with a line about what was done.
    failed : Signal
        Emitted with the exception of what failed.
    progress : Signal
        Emitted with the share of the work that is done, and 1.
    """

    message = Signal(str)
    failed = Signal(object)
    progress = Signal(float, float)

    def __init__(
        self,
        box: ClassesPanel,
        table: ObjectsPanel,
        give: Callable[[Mapping[int, str]], None],
        jobs: Jobs,
        answers: PredictionService,
    ) -> None:
        super().__init__(box)
        self._table, self._give, self._jobs, self._answers = table, give, jobs, answers
        self._binding: Binding | None = None
        self._described: dict[tuple[object, ...], ClassDescriptors] = {}
        self._to_name: set[int] = set()
        box.suggest_wanted.connect(self.suggest)
        box.accepted.connect(self.accept)

    def bind(self, binding: Binding | None) -> None:
        """Describe the objects of another image."""
        self._binding = binding
        self._described.clear()
        self._to_name.clear()

    def set_naming(self, on: bool) -> None:
        """Have the model name objects from here on, or not; names that it gave stay."""
        self._answers.naming = on

    def name_objects(self, labels: Iterable[int]) -> None:
        """Have the model name objects that were committed and have no class, where it knows names."""
        objects = self._table.objects
        if not self._answers.naming or objects is None:
            return
        self._to_name.update(label for label in labels if not objects.about(label).class_name)
        if self._to_name:
            self._name(self._to_name)

    def _name(self, labels: Iterable[int], *, awaited: bool = False) -> None:
        """Name some objects in the worker; `awaited` when the user waits for it."""
        binding, objects = self._binding, self._table.objects
        view = binding.planes.view() if binding is not None else None
        if binding is None or objects is None or view is None or binding.labels is None:
            return
        objects.update()
        read = self._reader(binding, objects, view, set(labels) & set(objects.present))

        def work() -> Suggestions:
            if self._answers.segmenter.capabilities.known_classes is None:
                # then classes come from the user alone
                if awaited:
                    check_classes([])
                return {}
            stack, found = read()
            (names,) = self._answers.stream(name_objects, stack, list(found.values()), report=self._report)
            return dict(zip(found, names, strict=True))

        def done(found: Suggestions) -> None:
            self._to_name.difference_update(found)
            if self._table.objects is objects and self._answers.naming:
                objects.name_objects(found)
            if awaited:
                self.message.emit(_told(found))

        self._jobs.run(work, done=done, failed=self.failed.emit, instead_of="names")

    def _reader(
        self, binding: Binding, objects: ObjectFeatures, view: View, labels: Iterable[int]
    ) -> Callable[[], tuple[Stack, dict[int, PlaneObject]]]:
        """What reads the masks of objects in the worker, of labels as they are now."""
        places = {label: _plane_of(objects, label, view) for label in labels}
        values = binding.labels.data if binding.labels is not None else np.zeros((0, 0), int)
        planes = {where: where.read(values).copy() for where in set(places.values())}
        numbers = {where: binding.planes.stack(where)[1] for where in planes}
        stack = binding.planes.stack(view)[0]

        def read() -> tuple[Stack, dict[int, PlaneObject]]:
            masks = {where: windows_of(plane) for where, plane in planes.items()}
            return stack, {k: PlaneObject(numbers[w], *masks[w][k]) for k, w in places.items() if k in masks[w]}

        return read

    def accept(self, selected: bool) -> None:
        """Give objects their suggested class: those of the selected rows, or all of them."""
        objects = self._table.objects
        rows = set(self._table.chosen)
        if objects is not None:
            found = {k: name for k, (name, _) in objects.suggested.items() if not selected or k in rows}
            if found:
                self._give(found)

    def suggest(self) -> None:
        """Learn from the objects that have a class, and suggest one for each of the others."""
        binding, objects = self._binding, self._table.objects
        view = binding.planes.view() if binding is not None else None
        if binding is None or objects is None or view is None or binding.labels is None:
            self.failed.emit(InputError("there is no object yet; segment some, and give a few of each kind a class"))
            return
        objects.update()
        classes = objects.classes
        if not any(classes.values()) and self._answers.naming and objects.nameless:
            # before there is a class of the user's, the names are those that the model knows
            self.message.emit(f"Naming {count_of(len(objects.nameless), 'object')} …")
            self._name(objects.nameless, awaited=True)
            return
        try:
            check_classes(filter(None, classes.values()))
        except SeganyError as error:
            self.failed.emit(error)
            return
        if all(classes.values()):
            self.message.emit("All objects have a class already.")
            return
        read = self._reader(binding, objects, view, classes)
        self.message.emit(f"Learning classes from {count_of(sum(map(bool, classes.values())), 'object')} …")

        def work() -> Suggestions:
            return self._learned(*read(), classes)

        self._jobs.run(work, done=self._show_suggestions, failed=self.failed.emit, instead_of="classes")

    def _learned(self, stack: Stack, objects: Mapping[int, PlaneObject], classes: Mapping[int, str]) -> Suggestions:
        """Runs in the worker."""
        each = self._describe(stack, objects)
        described, labels = _joined(list(each.values())), list(each)
        known = [row for row, label in enumerate(labels) if classes[label]]
        rest = [row for row, label in enumerate(labels) if not classes[label]]
        names = [classes[label] for label in labels]
        classifier = learn_classes(described.chosen(known), [names[row] for row in known], described)
        return dict(zip([labels[row] for row in rest], classifier.suggest(described.chosen(rest)), strict=True))

    def _describe(self, stack: Stack, objects: Mapping[int, PlaneObject]) -> dict[int, ClassDescriptors]:
        """Describe objects in the worker; those that were described before are not described again."""
        keys = {label: _key(self._answers.name, stack, one) for label, one in objects.items()}
        new = {key: objects[label] for label, key in keys.items() if key not in self._described}
        if new:
            (found,) = self._answers.stream(describe_for_classification, stack, list(new.values()), report=self._report)
            self._described |= {key: found.chosen([row]) for row, key in enumerate(new)}
        return {label: self._described[key] for label, key in keys.items()}

    def _report(self, done: float) -> None:
        self._jobs.check()
        self.progress.emit(done, 1.0)

    def _show_suggestions(self, found: Suggestions) -> None:
        objects = self._table.objects
        if objects is None:
            return
        objects.suggest(found)
        suggested = objects.suggested
        if suggested:
            least = min(suggested, key=lambda label: suggested[label][1])
            name, probability = suggested[least]
            self.message.emit(
                f"A class suggested for {count_of(len(suggested), 'object')}; least certain: object {least}, "
                f"{name} ({probability:.2f}). Correct some and suggest again, or accept."
            )


def _told(found: Suggestions) -> str:
    """What objects were named, in a line."""
    counts = Counter(name for name, _ in found.values() if name)
    names = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    unsure = sum(not name for name, _ in found.values())
    rest = f" The model is not sure of {count_of(unsure, 'object')}." if unsure else ""
    return f"Named by the model: {names or 'none'}.{rest} Give a few objects classes of your own to teach others."


def _plane_of(objects: ObjectFeatures, label: int, view: View) -> View:
    """The plane, parallel to one that is shown, on which an object is described: its middle one."""
    middle = objects.middle(label) if view.leading else None
    if middle is None:
        return view
    places = np.round(middle).astype(int).tolist()
    return View(view.axes, tuple(0 if axis in view.axes else place for axis, place in enumerate(places)))


def _key(model: str, stack: Stack, one: PlaneObject) -> tuple[object, ...]:
    rows, columns = one.window
    window = (rows.start, rows.stop, columns.start, columns.stop)
    return model, stack, one.number, window, one.mask.tobytes()


def _joined(parts: Sequence[ClassDescriptors]) -> ClassDescriptors:
    if not parts:
        return ClassDescriptors()
    return ClassDescriptors(*(np.concatenate(blocks) for blocks in zip(*(one.parts for one in parts), strict=True)))
