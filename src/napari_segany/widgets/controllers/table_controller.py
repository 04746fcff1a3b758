"""Tables of measurements to files: of the objects of the layer, or of all images of a folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_segany.core.errors import SeganyError
from napari_segany.io.export import check_export
from napari_segany.io.formats.tables import is_chosen, save_csv, save_parquet
from napari_segany.io.labels import replacing
from napari_segany.layers.layer_measurements import ObjectTable
from napari_segany.widgets.command_process import CommandProcess
from napari_segany.widgets.jobs import Jobs

ENDINGS = "Table (*.csv);;Parquet table (*.parquet)"
ALWAYS = ("label", "t", "axis-0")
"""Columns that tell what a row is about."""


class TableController(QObject):
    """Asks for a path and writes.

    Parameters
    ----------
    window : QWidget
        Owner of the dialogs, and of this object.
    jobs : Jobs
        Writes.
    columns : callable
        Gives the groups of columns that are chosen.

    Attributes
    ----------
    message : Signal
        Emitted with a line about what became of it.
    failed : Signal
        Emitted with the exception of what failed.
    progressed : Signal
        Emitted with the images that are measured, and their total.
    """

    message = Signal(str)
    failed = Signal(object)
    progressed = Signal(float, float)

    def __init__(self, window: QWidget, jobs: Jobs, columns: Callable[[], tuple[str, ...]]) -> None:
        super().__init__(window)
        self._window, self._jobs, self._columns = window, jobs, columns
        self.folder = Path.home()
        self._process = CommandProcess("measuring the folder", self)
        self._process.progressed.connect(self._tell)
        self._process.ended.connect(self._end)
        self._process.failed.connect(self.failed)

    @property
    def running(self) -> bool:
        """Whether a folder is measured."""
        return self._process.running

    def stop(self) -> None:
        """End the measuring of a folder; no table is written."""
        if self._process.running:
            self._process.stop()
            self.message.emit("Cancelled. No table was written.")

    def save(self, table: ObjectTable, name: str) -> None:
        """Ask for a path, and write the table of the layer of a name there."""
        path = self._path("Save measurements", self.folder / f"{name.replace('/', '_')}.csv")
        if path is not None:
            self.save_to(table, path)

    def save_to(self, table: ObjectTable, path: Path) -> None:
        """Write a table to a path, which is replaced where it exists."""
        try:
            kind = check_export(path, overwrite=True)
        except SeganyError as error:
            self.failed.emit(error)
            return
        chosen = self._columns()
        columns = {
            name: values
            for name, values in table.columns.items()
            if not chosen or name in ALWAYS or is_chosen(name, chosen)
        }
        write = save_parquet if kind == "parquet" else save_csv
        work = partial(_write, write, columns, path)
        self._jobs.run(work, done=self._saved, failed=self.failed.emit, instead_of="save")

    def measure_folder(self) -> None:
        """Ask for a folder and a path, and measure all its images in a separate process."""
        name = QFileDialog.getExistingDirectory(self._window, "Folder of images", str(self.folder))
        if not name:
            return
        path = self._path("Table of all images", Path(name) / "measurements.csv")
        if path is not None:
            self.measure_to(Path(name), path)

    def measure_to(self, folder: Path, path: Path) -> None:
        """Measure the images of a folder into a table, which is replaced where it exists."""
        if self._process.running:
            return
        columns = [word for group in self._columns() for word in ("--column", group)]
        self.progressed.emit(0, 1)
        self.message.emit(f"Measuring the images of {folder.name} …")
        self._process.start(["measure", str(folder), "-o", str(path), "--overwrite", *columns])

    def _path(self, title: str, suggested: Path) -> Path | None:
        options = QFileDialog.Option.DontConfirmOverwrite
        name, kind = QFileDialog.getSaveFileName(self._window, title, str(suggested), ENDINGS, options=options)
        if not name:
            return None
        path = Path(name)
        if path.suffix.lower() not in (".csv", ".parquet"):
            path = path.with_name(path.name + (".parquet" if "parquet" in kind else ".csv"))
        self.folder = path.parent
        if path.exists() and not self._may_replace(path):
            return None
        return path

    def _may_replace(self, path: Path) -> bool:
        answer = QMessageBox.question(self._window, "Table", f"{path.name} already exists. Replace it?")
        return answer == QMessageBox.StandardButton.Yes

    def _tell(self, stage: str, done: int, total: int, seconds_left: object) -> None:
        self.progressed.emit(done, total)

    def _saved(self, path: Path) -> None:
        self.message.emit(f"Saved {path.name}")

    def _end(self, lines: list[str]) -> None:
        self.message.emit("\n".join(lines))


def _write(
    write: Callable[[dict[str, list[object]], Path], None], columns: dict[str, list[object]], path: Path
) -> Path:
    """Runs in the worker."""
    with replacing(path) as temporary:
        write(columns, temporary)
    return path
