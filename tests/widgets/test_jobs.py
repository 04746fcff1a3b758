"""The worker's thread and the pause in drawing, without napari."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QLabel

from napari_segany.widgets.jobs import Jobs
from napari_segany.widgets.paint_pause import LONGEST_MS, PaintPause


def refuse(error: Exception) -> None:
    raise error


def test_the_window_draws_itself_again_when_the_answer_is_there(qtbot: QtBot) -> None:
    label = QLabel("a window")
    qtbot.addWidget(label)
    pause = PaintPause(label)
    pause.begin()
    pause.begin()
    assert not label.updatesEnabled()
    pause.end()
    assert label.updatesEnabled()
    pause.end()


def test_the_window_never_waits_long(qtbot: QtBot) -> None:
    label = QLabel("a window")
    qtbot.addWidget(label)
    PaintPause(label).begin()
    qtbot.waitUntil(label.updatesEnabled, timeout=40 * LONGEST_MS)


def test_work_that_is_cancelled_is_not_heard_of(qtbot: QtBot) -> None:
    jobs = Jobs()
    go_on, results = threading.Event(), []
    first = jobs.run(lambda: go_on.wait(10), done=results.append, failed=refuse)
    jobs.run(lambda: 2, done=results.append, failed=refuse)
    jobs.cancel(first)
    go_on.set()
    qtbot.waitUntil(lambda: results == [2])
    jobs.close()
    jobs.join(5)


class Held:
    """Something that a job alone holds; its end is noted with the thread."""

    def __init__(self, ends: list[threading.Thread]) -> None:
        weakref.finalize(self, lambda: ends.append(threading.current_thread()))

    def take(self, _: object) -> None:
        """The result is of no interest."""


@pytest.mark.parametrize("fate", ["done", "cancelled", "window gone"])
def test_what_a_job_holds_is_let_go_in_the_main_thread(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    """Elsewhere Qt and the interpreter may wait for each other, and the window freezes."""
    jobs, go_on = Jobs(), threading.Event()
    ends: list[threading.Thread] = []
    jobs.run(lambda: go_on.wait(10), done=lambda _: None, failed=refuse)
    held = Held(ends)
    job = jobs.run(lambda: 1, done=held.take, failed=refuse)
    del held
    if fate == "cancelled":
        jobs.cancel(job)
    if fate == "window gone":
        monkeypatch.setattr(jobs, "_finished", Gone())
        jobs.cancel_all()
    del job
    jobs.end()
    go_on.set()
    jobs.join(5)
    other = Jobs()
    other.run(lambda: 3, done=lambda _: None, failed=refuse)
    qtbot.waitUntil(lambda: bool(ends))
    assert ends == [threading.main_thread()]
    other.close()
    other.join(5)


class Gone:
    """The signal of an object whose C++ half is gone."""

    def emit(self, _: object) -> None:
        raise RuntimeError("already deleted")


def test_a_program_that_ends_in_the_middle_of_work_ends_in_peace() -> None:
    code = """
import torch
from qtpy.QtWidgets import QApplication
from napari_segany.widgets.jobs import Jobs
app = QApplication([])
jobs = Jobs()
jobs.run(lambda: [torch.rand(900, 900) @ torch.rand(900, 900) for _ in range(30)], done=print, failed=print)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
