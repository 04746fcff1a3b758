"""A command of this program in a separate process: its progress, its lines, and its end."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from qtpy.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from napari_segany.core.errors import InputError
from napari_segany.training.fine_tune_report import EXAMPLES, read_examples

PYTHON = sys.executable


class CommandProcess(QObject):
    """Runs one command at a time, with ``--json-progress``.

    Parameters
    ----------
    what : str
        What does not work where it fails, for example "learning".
    parent : QObject
        Owns this object.

    Attributes
    ----------
    what : str
        As given.
    progressed : Signal
        Emitted with the stage, the units done, their total, and the seconds left or None.
    showed : Signal
        Emitted with the held-out objects, a tuple of :class:`HeldOutExample`.
    ended : Signal
        Emitted with the other lines that the command printed, a list of str, when it ended well.
    failed : Signal
        Emitted with an :class:`InputError` when it did not start, or ended with an error.
    """

    progressed = Signal(str, int, int, object)
    showed = Signal(object)
    ended = Signal(object)
    failed = Signal(object)

    def __init__(self, what: str, parent: QObject) -> None:
        super().__init__(parent)
        self.what = what
        self._process: QProcess | None = None
        self._lines: list[str] = []

    @property
    def running(self) -> bool:
        """Whether a command runs."""
        return self._process is not None

    def start(self, command: Sequence[str]) -> None:
        """Run ``napari-segany COMMAND --json-progress`` on one processor, so that another one is left for clicks."""
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("OMP_NUM_THREADS", "1")
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.finished.connect(self._end)
        process.errorOccurred.connect(self._not_started)
        self._process, self._lines = process, []
        process.start(PYTHON, ["-m", "napari_segany", *command, "--json-progress"])

    def stop(self) -> None:
        """End the command; nothing is emitted then."""
        process, self._process = self._process, None
        if process is not None:
            process.finished.disconnect(self._end)
            process.kill()
            process.waitForFinished(5000)
            process.deleteLater()

    def _read(self) -> None:
        # (the last line may have arrived in part)
        while self._process is not None and self._process.canReadLine():
            self._take(bytes(self._process.readLine().data()).decode("utf-8", "replace").rstrip("\r\n"))

    def _take(self, line: str) -> None:
        """A line of the process: progress, held-out objects, or words for the user."""
        try:
            told = json.loads(line)
            if "examples" in told:
                self.showed.emit(read_examples({EXAMPLES: json.dumps(told["examples"])}))
                return
            self.progressed.emit(told["stage"], told["done"], told["total"], told["seconds_left"])
        except (ValueError, TypeError, KeyError):
            self._lines.append(line)

    def _end(self, code: int) -> None:
        self._read()
        process, self._process = self._process, None
        if process is None:
            return
        for line in bytes(process.readAllStandardOutput().data()).decode("utf-8", "replace").splitlines():
            self._take(line)
        errors = bytes(process.readAllStandardError().data()).decode("utf-8", "replace").strip().splitlines()
        process.deleteLater()
        if code != 0:
            reason = errors[-1].removeprefix("napari-segany: ") if errors else "the process ended"
            self.failed.emit(InputError(f"{self.what} did not work: {reason}"))
            return
        self.ended.emit(self._lines)

    def _not_started(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._process = None
            self.failed.emit(InputError(f"{self.what} did not work: {PYTHON} could not be started"))
