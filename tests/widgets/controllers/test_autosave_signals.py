"""What the disk does is no matter of the window: it stays fluent, loses nothing, and tells when something is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QThread, QTimer
from qtpy.QtWidgets import QApplication

from napari_segany.session.recovery import recover
from tests.fakes import FakeSegmenter
from tests.widgets.conftest import Hand, Opened

SLOW, STALL = 0.3, 0.05


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """A disk that takes its time; the threads that wait for it."""
    threads, sync = set[int](), os.fsync

    def fsync(handle: int) -> None:
        threads.add(threading.get_ident())
        time.sleep(SLOW)
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return threads


class Gaps:
    """The longest time between two beats of the event loop."""

    def __init__(self) -> None:
        self.longest, self._last = 0.0, time.perf_counter()
        self._timer = QTimer(interval=1)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest, self._last = max(self.longest, now - self._last), now


def longest_gap(act: Callable[[], None]) -> float:
    gaps = Gaps()
    act()
    return gaps.longest


def test_a_slow_disk_makes_the_prediction_wait_and_not_the_window(opened: Opened, slow: set[int]) -> None:
    places = iter([(20, 20), (20, 40), (20, 60), (40, 20), (40, 40), (40, 60)])
    written = []

    def annotate() -> None:
        opened.widget.binding.points.add(next(places))
        opened.wait_for_mask()
        written.append(recover(opened.widget.keeper.path, partial=True).prompts)
        assert opened.widget.binding.keep()

    annotate()
    # others use this machine, too: once without a stall is enough to tell that nothing waits for the disk
    gaps = [longest_gap(annotate) for _ in range(5)]
    assert min(gaps) < STALL, gaps
    assert max(gaps) < SLOW, gaps
    assert written == [1] * 6, "the prompt is on the disk before its mask is shown"
    assert slow
    assert threading.get_ident() not in slow


def test_closing_the_window_waits_for_the_disk(hand: Hand, slow: set[int]) -> None:
    opened = Opened(hand, np.zeros((60, 80), np.uint8), FakeSegmenter(radius=8))
    opened.widget.binding.points.add((20, 20))
    opened.wait_for_mask()
    assert opened.widget.binding.keep()
    path = opened.widget.keeper.path
    opened.close()
    found = recover(path)
    assert found.objects == 1
    assert found.state.finished


def test_a_disk_that_refuses_shows_its_line_in_the_window(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple[str, bool]] = []

    def told(line: str) -> None:
        lines.append((line, QThread.currentThread() is QApplication.instance().thread()))

    opened.widget.autosaving.problem.connect(told)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    opened.widget.binding.points.add((20, 20))
    opened.hand.qtbot.waitUntil(lambda: bool(lines))
    assert lines == [("this session is not kept for later until the disk accepts it: No space left on device", True)]
    opened.wait_for_mask()
    monkeypatch.undo()
    with opened.hand.qtbot.waitSignal(opened.widget.autosaving.caught_up):
        opened.widget.binding.points.add((20, 40))


@pytest.mark.parametrize(("seconds", "masks"), [(0.0, 1), (0.0, 7), (SLOW, 1), (SLOW, 3)])
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_killed_right_after_a_prediction_nothing_is_lost_that_was_shown(
    tmp_path: Path, seconds: float, masks: int
) -> None:
    command = [sys.executable, "-m", "tests.widgets.annotate_in_window", str(seconds)]
    env = {**os.environ, "SEGANY_SESSIONS": str(tmp_path / "sessions"), "QT_QPA_PLATFORM": "offscreen"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3], env=env)
    for _ in range(masks):
        committed = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (journal,) = (tmp_path / "sessions").glob("*.jsonl")
    found = recover(journal, partial=True)
    assert committed == masks - 1
    assert found.objects >= committed
    # the click of the mask that was shown: open, or committed already
    assert found.prompts == 1 or found.objects > committed
