"""Objects in the formats of other programs: which, where to, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from napari.layers import Image, Labels
from napari.utils.notifications import show_warning
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QMessageBox, QPushButton, QVBoxLayout, QWidget

from napari_segany.core.errors import SeganyError
from napari_segany.core.objects import ObjectInfo
from napari_segany.core.review import EVERYTHING, NOT_REJECTED, ONLY_ACCEPTED, left_out
from napari_segany.io.export import FORMATS, check_export, export_labels
from napari_segany.layers.feature_columns import physical, read_rows
from napari_segany.layers.layer_measurements import axes_of, layer_channels
from napari_segany.layers.lineage import known_parents
from napari_segany.layers.object_features import ObjectFeatures
from napari_segany.widgets.controllers.pending_objects import count_of

CHOICES = {EVERYTHING: "All objects", NOT_REJECTED: "Without rejected objects", ONLY_ACCEPTED: "Only accepted objects"}
TIPS = {
    EVERYTHING: "Write all objects, also those that were rejected in a review",
    NOT_REJECTED: "Write all objects but those that were rejected in a review",
    ONLY_ACCEPTED: "Write the objects that you made or corrected by hand, or accepted in a review",
}


class RunsExport(Protocol):
    """Runs work off the window's thread, as :class:`~napari_segany.widgets.jobs.Jobs` does."""

    def run(
        self, work: Callable[[], Any], *, done: Callable[[Any], object], failed: Callable[[Exception], None]
    ) -> object:
        """Queue work; result or exception come back on the window's thread."""

    def check(self) -> None:
        """Raise Cancelled, in the worker, when the result is no longer needed."""


class ExportPanel(QWidget):
    """Writes the objects of a Labels layer to a file.

    Parameters
    ----------
    jobs : RunsExport
        Runs the writing.

    Attributes
    ----------
    columns : tuple of str
        Groups of columns that tables have; all where there is none.
    progress : Signal
        Emitted from the worker with how much is written, and how much there is.
    written : Signal
        Emitted with the format when all objects have been written, and none was left out.
    chosen, selection_chosen : Signal
        Emitted with the name of a format, and of a selection of objects, that was chosen.
    """

    progress = Signal(float, float)
    chosen = Signal(str)
    selection_chosen = Signal(str)
    written = Signal(str)

    def __init__(self, jobs: RunsExport) -> None:
        super().__init__()
        self._jobs = jobs
        self._labels: Labels | None = None
        self._image: Image | None = None
        self._objects: ObjectFeatures | None = None
        self._folder = Path.home()
        self._writing = False
        self.columns: tuple[str, ...] = ()
        self.formats = QComboBox()
        self.formats.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.formats.setMinimumContentsLength(14)
        for name, one in FORMATS.items():
            self.formats.addItem(f"{one.title}  ({one.endings[0]})", name)
            self.formats.setItemData(self.formats.count() - 1, one.about, Qt.ItemDataRole.ToolTipRole)
        self.selections = QComboBox()
        for name, title in CHOICES.items():
            self.selections.addItem(title, name)
            self.selections.setItemData(self.selections.count() - 1, TIPS[name], Qt.ItemDataRole.ToolTipRole)
        self.button = QPushButton("Export…")
        self.button.setToolTip("Choose a file, and write the objects of the Labels layer to it")
        self._message = QLabel()
        self._message.setWordWrap(True)
        self._message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        row = QHBoxLayout()
        row.addWidget(self.formats, 1)
        row.addWidget(self.button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.selections)
        layout.addWidget(self._message)
        self.formats.currentIndexChanged.connect(self._explain)
        self.selections.currentIndexChanged.connect(self._explain_selection)
        self.button.clicked.connect(lambda _=False: self._ask())
        self._explain()
        self._explain_selection()
        self.bind(None)

    @property
    def text(self) -> str:
        """The text below the button."""
        return self._message.text()

    @property
    def format(self) -> str:
        """The format that is chosen, one of ``FORMATS``."""
        return str(self.formats.currentData())

    @property
    def selection(self) -> str:
        """Which objects are written, one of ``SELECTIONS``."""
        return str(self.selections.currentData())

    def bind(self, labels: Labels | None, image: Image | None = None, objects: ObjectFeatures | None = None) -> None:
        """Export another layer.

        Parameters
        ----------
        labels : Labels, optional
            What is written; None: nothing can be.
        image : Image, optional
            Whose intensities a table has, and next to which files are suggested.
        objects : ObjectFeatures, optional
            Knows names and scores; else they are read from the layer's features.
        """
        self._labels, self._image, self._objects = labels, image, objects
        self.button.setEnabled(labels is not None)
        self._offer_fitting()
        source = None if image is None else image.source.path
        if source and Path(source).parent.is_dir():
            self._folder = Path(source).parent

    def _offer_fitting(self) -> None:
        """Formats of single planes are grey for stacks and movies."""
        deep = self._labels is not None and self._labels.ndim > 2
        items = self.formats.model()
        for row, one in enumerate(FORMATS.values()):
            if isinstance(items, QStandardItemModel):
                items.item(row).setEnabled(not (deep and one.planes_only))

    def export(self, path: Path, *, overwrite: bool = False) -> None:
        """Write to a path, off the window's thread, the labels as they are now.

        Parameters
        ----------
        path : Path
            Path of the file; the format's extension is added where it is missing.
        overwrite : bool
            Whether an existing file may be replaced.
        """
        labels, path = self._labels, self.with_ending(path)
        if labels is None:
            return
        try:
            check_export(path, format=self.format, overwrite=overwrite, inputs=[self._source])
        except SeganyError as error:
            self._failed(error)
            return
        data = labels.data[0] if labels.multiscale else labels.data
        scale, unit, _ = physical(labels)
        options = {
            "format": self.format,
            "report": self._report,
            "objects": self._known(),
            "axes": axes_of(labels, self._image),
            "selection": self.selection,
            "scale": scale,
            "unit": unit,
            "intensity": self._channels(labels) if FORMATS[self.format].measures_intensity else None,
            "columns": self.columns,
            "image_name": Path(self._source).name if self._source else self._image.name if self._image else "",
            "overwrite": overwrite,
            "inputs": [self._source],
        }
        # what is not in memory is read by the worker; what is, may be painted into while it writes
        snapshot = data.copy() if isinstance(data, np.ndarray) else data
        self._folder = path.parent
        self._writing = True
        self._written_format = self.format
        self._say(f"Writing {path.name} …")
        self._jobs.run(partial(_write, snapshot, path, options), done=self._done, failed=self._failed)

    def _channels(self, labels: Labels) -> dict[str, Any]:
        """The images that a table has intensities of: all of the viewer that fit, else the one that was segmented."""
        images = [] if self._image is None else [self._image]
        return layer_channels(labels, images if self._objects is None else self._objects.viewer.layers)

    @property
    def _source(self) -> str | None:
        """The file that the image was opened from, which no export replaces."""
        return None if self._image is None or not self._image.source.path else str(self._image.source.path)

    def with_ending(self, path: Path) -> Path:
        """A path with an ending of the chosen format."""
        endings = FORMATS[self.format].endings
        inside = self.format == "ome-zarr" and path.parent.name == "labels"
        return path if path.suffix.lower() in endings or inside else path.with_name(path.name + endings[0])

    def _known(self) -> tuple[ObjectInfo, ...]:
        known: dict[int, ObjectInfo] = {}
        if self._objects is not None:
            known = self._objects.known
        elif self._labels is not None:
            known = read_rows(self._labels.features)[0]
        if self._labels is not None:
            mothers = known_parents(self._labels).items()
            known = known | {label: replace(known.get(label, ObjectInfo(label)), parent=one) for label, one in mothers}
        return tuple(about for label, about in known.items() if label > 0)

    def _ask(self) -> None:
        if self._labels is None:
            return
        suggested = self.with_ending(self._folder / self._labels.name.replace("/", "_"))
        endings = " ".join(f"*{ending}" for ending in FORMATS[self.format].endings)
        name, _ = QFileDialog.getSaveFileName(
            self,
            "Export objects",
            str(suggested),
            f"{FORMATS[self.format].title} ({endings})",
            # an extension is added to the name, and a zarr is a folder: the dialog itself handles neither
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if not name:
            return
        path = self.with_ending(Path(name))
        if not path.exists():
            self.export(path)
        elif self._may_replace(path):
            self.export(path, overwrite=True)

    def _may_replace(self, path: Path) -> bool:
        answer = QMessageBox.question(self, "Export objects", f"{path.name} already exists. Replace it?")
        return answer == QMessageBox.StandardButton.Yes

    def stop(self) -> None:
        """The writing was cancelled."""
        if self._writing:
            self._writing = False
            self._say("Cancelled. Nothing was written.")

    def choose(self, name: str, selection: str = "") -> None:
        """Choose a format and a selection of objects; unknown ones change nothing."""
        for box, chosen in ((self.formats, name), (self.selections, selection)):
            if box.findData(chosen) >= 0:
                box.setCurrentIndex(box.findData(chosen))

    def _explain(self) -> None:
        self.formats.setToolTip(FORMATS[self.format].about)
        self.chosen.emit(self.format)

    def _explain_selection(self) -> None:
        self.selections.setToolTip(TIPS[self.selection])
        self.selection_chosen.emit(self.selection)

    def _report(self, done: float, total: float) -> None:
        """Runs in the worker, which stops when the job is cancelled; an unfinished file is removed."""
        self._jobs.check()
        self.progress.emit(done, total)

    def _say(self, text: str) -> None:
        self._message.setText(text)

    def _done(self, result: tuple[Path, int]) -> None:
        path, missing = result
        self._writing = False
        if missing:
            self._say(f"Written to {path}. {count_of(missing, 'object')} left out.")
        else:
            self._say(f"Written to {path}")
            self.written.emit(self._written_format)

    def _failed(self, error: Exception) -> None:
        self._writing = False
        if not isinstance(error, SeganyError):
            self._say("Nothing was written.")
            # a defect of ours: napari shows it with its traceback
            raise error
        self._say(str(error))
        show_warning(str(error))


def _write(data: Any, path: Path, options: dict[str, Any]) -> tuple[Path, int]:
    """Runs in the worker; returns the path, and how many objects were left out."""
    labels = np.asarray(data)
    gone = left_out(options["objects"], options["selection"])
    missing = np.unique(labels[np.isin(labels, gone)]).size if gone else 0
    return export_labels(labels, path, **options), missing
