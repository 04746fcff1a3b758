"""The objects of a Labels layer: measured into its features, named, and changed one step of undo at a time.

napari finds the row of a label by the column ``index`` of ``Labels.features``. Columns of the user's own stay as they
are; ours are written again when pixels, scale or names change.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from napari.components import ViewerModel
from napari.layers import Image, Labels
from psygnal import Signal

from napari_segany.core.errors import InputError
from napari_segany.core.objects import ObjectInfo
from napari_segany.io.object_tables import objects_of_labels
from napari_segany.layers import feature_columns
from napari_segany.layers.channel_composite import is_composite
from napari_segany.layers.commit import Steps
from napari_segany.layers.compat import camera_of
from napari_segany.layers.label_counts import LabelCounter, LabelCounts, add_up, changed_rows
from napari_segany.layers.object_facts import ObjectFacts
from napari_segany.layers.table_rows import TableRows
from napari_segany.layers.write import can_be_written, free_label, set_pixels
from napari_segany.session.history import Step

FEW = 1000
"""Objects up to which all rows are written when a fact changes."""
PIECE = 500
"""Objects whose sizes are noted at a time."""


class ObjectFeatures(ObjectFacts):
    """Keeps a layer's features up to date with its pixels.

    A block of pixels that did not change is not counted again. Arrays that are not in memory (dask, zarr, several
    resolutions) are not read at all: of them, only the objects that were noted are listed, without measures.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are shown.
    labels : Labels
        Whose objects.
    image : Image, optional
        The picture whose intensities are measured.
    step : callable, optional
        Makes one step of undo of what is done within it; by default it is one of the layer's own undo.

    Attributes
    ----------
    stale : Signal
        Emitted without arguments when :meth:`update` or :meth:`remove_stale_files` may find something new.
    changed : Signal
        Emitted without arguments when the features were written.
    problem : str
        What is not measured, and why; empty when all is.
    """

    stale = Signal()
    changed = Signal()

    def __init__(
        self, viewer: ViewerModel, labels: Labels, image: Image | None = None, step: Steps | None = None
    ) -> None:
        super().__init__(step)
        self.viewer, self.labels, self.image = viewer, labels, image
        self.problem = ""
        self._counter: LabelCounter | None = None
        self._measured: feature_columns.MeasuredColumns | None = None
        self._names: dict[int, str] = {}
        self._names_written: Any = None
        self._row_of: dict[int, int] = {}
        self._present: set[int] = set()
        self._written: LabelCounts | None = None
        self._remembered: LabelCounts | None = None
        self._changes = 0
        self._rows: TableRows | None = None
        self._writing = False
        self._shown_plane = self._current_plane()
        self._connections = [
            *((event, self._touched) for event in (labels.events.paint, labels.events.set_data)),
            *((getattr(labels.events, name), self._restate) for name in ("scale", "units", "axis_labels")),
            (labels.events.data, self._renew),
            (labels.events.features, self._read),
            *([(image.events.data, self._renew)] if image is not None else []),
        ]
        for event, callback in self._connections:
            event.connect(callback)
        self._read()
        self._read_file()
        self._renew()

    def close(self) -> None:
        """Disconnect everything; the features stay."""
        for event, callback in self._connections:
            event.disconnect(callback)
        self._connections.clear()

    def _current_plane(self) -> tuple[Any, ...]:
        dims = self.viewer.dims
        return dims.current_step, dims.order, dims.ndisplay

    def _touched(self, event: Any) -> None:
        # napari emits set_data also when another slice is shown; no pixel has changed then
        before, self._shown_plane = self._shown_plane, self._current_plane()
        if event.type == "paint" or before == self._shown_plane:
            self.stale.emit()

    def _restate(self, event: object = None, *, facts_only: bool = False) -> None:
        self.version += 1
        self.measured += 1
        self._changes += 1
        self._written = None
        if not facts_only:
            self._rows = None
        self.stale.emit()

    def _renew(self, event: Any = None) -> None:
        """There is another array, or another picture: count from the start."""
        self.problem, self._counter, self._remembered = "", None, None
        if self.labels.multiscale or not isinstance(self.labels.data, np.ndarray):
            self.problem = f"Not measured: {self.labels.name!r} is not in memory; objects kept here are listed."
        else:
            self._counter = LabelCounter(self.labels.data, self._values())
        self._restate()

    def _values(self) -> np.ndarray | None:
        values = feature_columns.grey_values(self.labels, self.image)
        # (of a composite the channels are measured)
        if values is None and self.image is not None and not is_composite(self.image):
            self.problem = f"No intensities: {self.image.name!r} is no grey picture in memory of the labels' shape."
        return values

    def _read(self, event: Any = None) -> None:
        """Read names and other facts from the features, and the columns of other programs."""
        if self._writing:
            return
        features = self.labels.features
        self._nameless = features[feature_columns.nameless_rows(features)]
        known, self._theirs = feature_columns.read_rows(features, self._measured_names())
        self._names = {}
        for label, about in known.items():
            self._about[label] = replace(about, pixels=self.about(label).pixels)
            self._remember_name(about)
        self._restate()

    def _read_file(self) -> None:
        """Read what a batch wrote next to the file of the labels, where the layer itself tells nothing."""
        path = self.labels.source.path
        if path and not self._about:
            self._about.update(objects_of_labels(Path(str(path))))
            for about in self._about.values():
                self._remember_name(about)

    def set_measured(self, measured: feature_columns.MeasuredColumns | None) -> None:
        """Have the next update write measurements, or none; objects that change since have none."""
        self._measured = measured
        # (the layer may be listed again later)
        self.labels.metadata[feature_columns.MEASURED] = [] if measured is None else list(measured.columns)
        self._restate()

    def _measured_names(self) -> list[str]:
        found = self.labels.metadata.get(feature_columns.MEASURED)
        return found if isinstance(found, list) else []

    @property
    def total(self) -> LabelCounts:
        """What was counted last."""
        return add_up([], self.labels.ndim) if self._counter is None else self._counter.total

    @property
    def present(self) -> list[int]:
        """Labels of the objects that are there, sorted."""
        return sorted(self._about) if self._counter is None else self._counter.total.labels.tolist()

    def table(self) -> Any:
        """The features (DataFrame) of the objects that are there, by their labels."""
        features = self.labels.features
        if feature_columns.LABEL not in features:
            return features.iloc[:0]
        there = features[feature_columns.LABEL].isin(self.present)
        rows = features[there].drop(columns=feature_columns.INDEX)
        # a row that names no label makes the column one of other values
        return rows.set_index(rows[feature_columns.LABEL].astype(self.total.labels.dtype)).drop(
            columns=feature_columns.LABEL
        )

    def update(self) -> None:
        """Count what changed and write the features, all at once."""
        for _ in self.sweep():
            pass

    def sweep(self) -> Iterator[None]:
        """Count what changed, a block at each step, and write the features after the last one."""
        if self._counter is not None:
            yield from self._counter.sweep()
        while self._written is not (total := self.total):
            self.version += 1
            self.measured += 1
            self._adopt()
            changes = self._changes
            yield from self._remember(total)
            yield
            rows = TableRows({label: self.about(label) for label in self._listed()}, total)
            table = yield from self._renewed(rows)
            yield
            if self._written is total:
                return
            # (in between, facts may have changed)
            if changes == self._changes:
                self._set(table, rows)
                self._written = total if self._counter is not None else None
                self.changed.emit()
                return

    def _remember(self, total: LabelCounts) -> Iterator[None]:
        """Note sizes, and forget what is known of a label whose object went, and which came back as another one."""
        counts = dict(zip(total.labels.tolist(), total.pixels.tolist(), strict=True))
        changed = set(total.labels[changed_rows(self._remembered, total)].tolist())
        changed.update(label for label, about in self._about.items() if about.pixels is None and label in counts)
        changed.update(label for label in counts if label not in self._last)
        for number, label in enumerate(sorted(changed), 1):
            pixels = counts[label]
            if label not in self._present and self._last.get(label, pixels) != pixels:
                self._about.pop(label, None)
            about = self._about.get(label)
            if about is not None and about.pixels is None:
                self._about[label] = replace(about, pixels=pixels)
            self._last[label] = pixels
            if number % PIECE == 0:
                yield
        self._present, self._remembered = set(counts), total

    def _adopt(self) -> None:
        """Read names that were written into cells of the features, for which there is no event."""
        if not self._names:
            return
        names = self.labels.features["name"]
        if self._names_written is None or not names.equals(self._names_written):
            for label, name in zip(self.labels.features[feature_columns.LABEL], names, strict=True):
                if isinstance(name, str) and name != self._names.get(label, name):
                    self._about[label] = replace(self.about(label), name=name)
                    self.described.emit(self._about[label])

    def _rewrite(self, labels: Iterable[int]) -> None:
        """Write the facts of some objects into their rows; in a table of few objects, all rows are written."""
        known = [self.about(label) for label in labels]
        rows = [self._row_of.get(about.label, -1) for about in known]
        if len(self._row_of) <= FEW or self._rows is None or self._written is None or min(rows, default=-1) < 0:
            self._restate()
            self.update()
            return
        self._changes += 1
        self._gather(about.label for about in known)
        columns = feature_columns.fact_columns(known, self.suggested)
        ours = {name: values for name, values in columns.items() if name not in self._theirs}
        before = self.labels.features
        table = feature_columns.with_columns(before, [name for name, values in ours.items() if any(values)])
        for name, values in ours.items():
            if name in table:
                feature_columns.write_cells(table, name, rows, values)
        self._rows.known.update((about.label, about) for about in known)
        if table is not before:
            self._set(table, self._rows)
        else:
            self._names.update((about.label, about.name) for about in known)
            self._names_written = table["name"].copy()
        self.changed.emit()

    def _listed(self) -> list[int]:
        """Labels of the rows: a row of the user's stays, though there be no such object."""
        return sorted({*self.present, *(self._theirs.index.tolist() if self._theirs.shape[1] else [])})

    def _renewed(self, rows: TableRows) -> Generator[None, None, Any]:
        """Return the table with the rows that differ from what was written last; all are made again if need be."""
        labels, theirs = list(rows.known), self._theirs
        if self._rows is not None and not theirs.shape[1] and not len(self._nameless):
            changed = self._rows.changed(rows)
            if len(changed) <= len(labels) // 4:
                parts = (yield from self._columns(changed, rows.total)) if changed else {}
                table = feature_columns.with_rows(self.labels.features, labels, parts)
                if table is not None:
                    return table
        ours = yield from self._columns(labels, rows.total)
        theirs = theirs.reindex(labels)
        table = theirs.assign(**ours)[[*ours, *(name for name in theirs if name not in ours)]]
        return feature_columns.below(table, self._nameless) if len(self._nameless) else table

    def _set(self, table: Any, rows: TableRows) -> None:
        """Have the layer hold a table."""
        self._row_of = {label: row for row, label in enumerate(rows.known)}
        self._names = {label: about.name for label, about in rows.known.items()}
        self._rows = rows
        self._writing = True
        try:
            self.labels.features = table
        finally:
            self._writing = False
        self._names_written = self.labels.features["name"].copy()

    def _columns(self, labels: list[int], total: LabelCounts) -> Generator[None, None, dict[str, Any]]:
        """Return our columns of the rows of some objects, made one after the other."""
        rows, known = feature_columns.rows_of(labels, total), [self.about(label) for label in labels]
        yield
        intensity = self._counter is not None and self._counter.values is not None
        states = feature_columns.state_columns(known) if feature_columns.STATE not in self._theirs else {}
        yield
        classes = feature_columns.class_columns(known, self.suggested)
        yield
        facts = feature_columns.known_columns(known)
        yield
        counted = feature_columns.counted_columns(self.labels, total, rows, intensity=intensity)
        measured = {} if self._measured is None else self._measured.of(labels, total, rows)
        yield
        flags = feature_columns.flags_column(known, total, rows, self.labels.data.shape[-2:])
        yield
        return {
            feature_columns.INDEX: labels,
            feature_columns.LABEL: labels,
            **classes,
            **feature_columns.some_of(states, (feature_columns.STATE,)),
            **facts,
            # (what is counted is newer where both have a column)
            **counted,
            **{name: column for name, column in measured.items() if name not in counted},
            "how": np.array([about.source for about in known], object),
            "flags": flags,
            **feature_columns.some_of(states, feature_columns.REVIEWS),
        }

    def show(self, label: int) -> None:
        """Select an object and show it: the middle one of its slices, centred in the window.

        Raises
        ------
        InputError
            When there is no such object.
        """
        self._check([label], counted=False)
        self.labels.selected_label = label
        if self._counter is None:
            return
        dims = self.viewer.dims
        world = np.full(dims.ndim, math.nan)
        world[dims.ndim - self.labels.ndim :] = self.labels.data_to_world(self._counter.middle(label))
        hidden = [axis for axis in dims.not_displayed if not math.isnan(world[axis])]
        if hidden:
            dims.set_point(hidden, world[hidden].tolist())
        camera = camera_of(self.viewer)
        centre, shown = np.array(camera.center, float), world[list(dims.displayed)]
        centre[-len(shown) :] = np.where(np.isnan(shown), centre[-len(shown) :], shown)
        camera.center = tuple(centre.tolist())

    def middle(self, label: int) -> np.ndarray | None:
        """(axes,) the middle of an object on its middle plane; None where its pixels are not counted."""
        return self._counter.middle(label) if self._counter is not None and label in self.present else None

    def delete(self, labels: Iterable[int]) -> None:
        """Take objects away.

        Raises
        ------
        InputError
            When none is named, one is not there, or the layer cannot be painted into; so do the others.
        """
        self._paint(self._pixels(self._check(labels)), 0, "delete")

    def merge(self, labels: Iterable[int]) -> int:
        """Make objects one, with the lowest of their labels, which is returned, and what is known of that one."""
        first, *others = self._check(labels)
        if not others:
            raise InputError("choose two or more objects to merge")
        self._paint(self._pixels(others), first, "merge")
        return first

    def split(self, label: int) -> list[int]:
        """Give each piece of an object a separate label; returned, the largest piece first, which keeps its label.

        Pixels that touch, be it at a corner, belong to one piece, on the same slice or the next.
        """
        self._check([label])
        pixels = self._pixels([label])
        corner = [axis.min() for axis in pixels]
        mask = np.zeros([int(axis.max() - low) + 1 for axis, low in zip(pixels, corner, strict=True)], bool)
        inside = tuple(axis - low for axis, low in zip(pixels, corner, strict=True))
        mask[inside] = True
        pieces, count = scipy.ndimage.label(mask, np.ones((3,) * mask.ndim))
        if count == 1:
            raise InputError(f"object {label} is in one piece already")
        piece = pieces[inside]
        order = np.argsort(-np.bincount(piece)[1:], kind="stable")
        others = [tuple(axis[piece == number + 1] for axis in pixels) for number in order[1:]]
        return [label, *self.divide(label, others)]

    def known_windows(self, labels: Iterable[int]) -> dict[int, tuple[slice, ...]]:
        """The windows of objects as they were counted last, by label; without those that were not there."""
        wanted = list(labels)
        if self._counter is None:
            return {}
        rows = feature_columns.rows_of(wanted, self.total)
        return {label: self.total.window(int(row)) for label, row in zip(wanted, rows, strict=True) if row >= 0}

    def corners(self, labels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Starts and stops, (n, axes) each, of the windows of objects as they were counted last."""
        total = self.total
        there = np.isin(total.labels, list(labels)) if labels else np.zeros(len(total.labels), bool)
        return total.starts[there], total.stops[there]

    def windows(self, labels: Iterable[int]) -> dict[int, tuple[slice, ...]]:
        """The smallest part of the array that holds each object, by label; errors as of :meth:`delete`."""
        wanted = self._check(labels)
        if self._counter is None or not can_be_written(self.labels):
            raise InputError(f"{self.labels.name!r} cannot be painted into")
        rows = feature_columns.rows_of(wanted, self.total)
        return {label: self.total.window(int(row)) for label, row in zip(wanted, rows, strict=True)}

    def repaint(self, pixels: Sequence[tuple[tuple[np.ndarray, ...], int]], kind: str) -> None:
        """Give pixels, an index of single ones, to objects, by label, in one step of undo called `kind`."""
        with self._step(Step(kind)):
            for index, label in pixels:
                if index[0].size:
                    set_pixels(self.labels, index, label)
        self.update()

    def divide(self, label: int, pieces: Sequence[tuple[np.ndarray, ...]]) -> list[int]:
        """Give pieces of an object new labels, which are returned; what is left keeps its label.

        Parameters
        ----------
        label : int
            Of the object.
        pieces : sequence of tuple of ndarray
            Index of single pixels of each piece.
        """
        first = free_label(self.labels, None, 1, count=len(pieces))
        names = list(range(first, first + len(pieces)))
        for new in names:
            self.note(ObjectInfo(new, class_name=self.about(label).given_class, source=f"split from {label}"))
        self.repaint(list(zip(pieces, names, strict=True)), "split")
        return names

    def _check(self, labels: Iterable[int], *, counted: bool = True) -> list[int]:
        """Labels, sorted, all of which there are; counted now, or where one was not there before."""
        wanted = sorted({int(label) for label in labels})
        if counted or not set(wanted) <= set(self.present):
            self.update()
        if not wanted:
            raise InputError("choose an object first")
        gone = sorted(set(wanted) - set(self.present))
        if gone:
            raise InputError(f"there is no object {gone[0]}")
        return wanted

    def _pixels(self, labels: list[int]) -> tuple[np.ndarray, ...]:
        """Indices of all pixels of objects."""
        if self._counter is None or not can_be_written(self.labels):
            raise InputError(f"{self.labels.name!r} cannot be painted into")
        found = []
        for label, row in zip(labels, feature_columns.rows_of(labels, self.total), strict=True):
            window = self.total.window(int(row))
            inside = np.nonzero(self.labels.data[window] == label)
            found.append([axis + side.start for axis, side in zip(inside, window, strict=True)])
        return tuple(np.concatenate(axis) for axis in zip(*found, strict=True))

    def _paint(self, pixels: tuple[np.ndarray, ...], value: Any, kind: str) -> None:
        """One step of undo, called `kind`."""
        with self._step(Step(kind)):
            set_pixels(self.labels, pixels, value)
        self.update()
