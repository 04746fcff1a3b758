"""The worker's thread and the pause in drawing, without napari."""

from __future__ import annotations

import subprocess
import sys
import threading

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
