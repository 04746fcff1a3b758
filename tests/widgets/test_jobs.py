"""The worker's thread, without a window."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from pytestqt.qtbot import QtBot

from napari_segany.widgets.jobs import Jobs


@pytest.fixture
def jobs(qtbot: QtBot) -> Iterator[Jobs]:
    jobs = Jobs()
    yield jobs
    jobs.close()
    jobs.join(5)


def refuse(error: Exception) -> None:
    raise error


def test_a_short_job_is_answered_at_once_and_only_once(jobs: Jobs, qtbot: QtBot) -> None:
    results: list[int] = []
    jobs.run(lambda: 1, done=results.append, failed=refuse, patience=5)
    assert results == [1]
    qtbot.wait(50)
    assert results == [1]


def test_a_failure_within_the_patience_is_told_once(jobs: Jobs, qtbot: QtBot) -> None:
    errors: list[Exception] = []
    jobs.run(lambda: 1 // 0, done=refuse, failed=errors.append, patience=5)
    qtbot.wait(50)
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_patience_ends_and_the_result_comes_later(jobs: Jobs, qtbot: QtBot) -> None:
    go_on, results = threading.Event(), []
    started = time.perf_counter()
    jobs.run(lambda: go_on.wait(10), done=results.append, failed=refuse, patience=0.05)
    assert 0.04 < time.perf_counter() - started < 2
    assert results == []
    go_on.set()
    qtbot.waitUntil(lambda: results == [True])


def test_nobody_waits_behind_other_work(jobs: Jobs, qtbot: QtBot) -> None:
    go_on, results = threading.Event(), []
    jobs.run(lambda: go_on.wait(10), done=results.append, failed=refuse)
    started = time.perf_counter()
    jobs.run(lambda: 2, done=results.append, failed=refuse, patience=5)
    assert time.perf_counter() - started < 1
    go_on.set()
    qtbot.waitUntil(lambda: results == [True, 2])
