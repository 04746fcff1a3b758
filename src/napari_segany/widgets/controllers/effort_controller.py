"""Reads all sessions in a worker, and shows what they cost."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from napari_segany.engine.session_effort import EffortReport, report_effort, session_paths
from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.panels.effort_panel import EffortPanel


class EffortController(QObject):
    """Between the panel and the files.

    Parameters
    ----------
    panel : EffortPanel
        Requests and shows the table; owns this object.
    jobs : Jobs
        A worker on which no click waits.

    Attributes
    ----------
    failed : Signal
        Emitted with the exception of work that failed.
    """

    failed = Signal(object)

    def __init__(self, panel: EffortPanel, jobs: Jobs) -> None:
        super().__init__(panel)
        self._panel, self._jobs = panel, jobs
        panel.wanted.connect(self.measure)

    def measure(self) -> None:
        """Read all sessions."""
        self._panel.show_reading()
        # (unseen: it goes on when another image is opened)
        self._jobs.run(self._read, done=self._panel.show_report, failed=self._fail, instead_of="effort", unseen=True)

    def _read(self) -> EffortReport:
        """Runs in the worker."""
        return report_effort(session_paths(), self._jobs.check)

    def _fail(self, error: Exception) -> None:
        self._panel.show_report(None)
        self.failed.emit(error)
