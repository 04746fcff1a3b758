"""Suggests classes for objects, from those that have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_segany.core.errors import InputError, SeganyError
from napari_segany.core.masks import windows_of
from napari_segany.core.object_classes import ClassDescriptors, check_classes, learn_classes
from napari_segany.core.planes import Stack
from napari_segany.core.views import View
from napari_segany.engine.prediction import PredictionService
from napari_segany.engine.worker_jobs import PlaneObject, describe_for_classification
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
        box.suggest_wanted.connect(self.suggest)
        box.accepted.connect(self.accept)

    def bind(self, binding: Binding | None) -> None:
        """Describe the objects of another image."""
        self._binding = binding
        self._described.clear()

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
        try:
            check_classes(filter(None, classes.values()))
        except SeganyError as error:
            self.failed.emit(error)
            return
        if all(classes.values()):
            self.message.emit("All objects have a class already.")
            return
        places = {label: _plane_of(objects, label, view) for label in classes}
        planes = {where: where.read(binding.labels.data).copy() for where in set(places.values())}
        numbers = {where: binding.planes.stack(where)[1] for where in planes}
        stack = binding.planes.stack(view)[0]
        self.message.emit(f"Learning classes from {count_of(sum(map(bool, classes.values())), 'object')} …")

        def work() -> Suggestions:
            masks = {where: windows_of(plane) for where, plane in planes.items()}
            found = {k: PlaneObject(numbers[w], *masks[w][k]) for k, w in places.items() if k in masks[w]}
            return self._learned(stack, found, classes)

        self._jobs.run(work, done=self._show_suggestions, failed=self.failed.emit, instead_of="classes")

    def _learned(self, stack: Stack, objects: Mapping[int, PlaneObject], classes: Mapping[int, str]) -> Suggestions:
        """Runs in the worker."""
        keys = {label: _key(self._answers.name, stack, one) for label, one in objects.items()}
        new = {key: objects[label] for label, key in keys.items() if key not in self._described}
        if new:
            (found,) = self._answers.stream(describe_for_classification, stack, list(new.values()), report=self._report)
            self._described |= {key: found.chosen([row]) for row, key in enumerate(new)}
        described = _joined([self._described[key] for key in keys.values()])
        known = [row for row, label in enumerate(keys) if classes[label]]
        rest = [row for row, label in enumerate(keys) if not classes[label]]
        names = [classes[label] for label in keys]
        classifier = learn_classes(described.chosen(known), [names[row] for row in known], described)
        labels = list(keys)
        return dict(zip([labels[row] for row in rest], classifier.suggest(described.chosen(rest)), strict=True))

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
    return ClassDescriptors(*(np.concatenate(blocks) for blocks in zip(*(one.blocks for one in parts), strict=True)))
