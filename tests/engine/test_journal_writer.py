"""A session's file is written in a thread: in order, once, and without anyone waiting who has not to."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.views import View
from napari_segany.engine.journal_writer import JournalWriter
from napari_segany.engine.session_files import SessionStart
from napari_segany.session import fingerprint as content_module
from napari_segany.session.events import ActionEvent, ModelEvent, PromptEvent
from napari_segany.session.journal import read_journal

IMAGE = np.arange(24 * 30, dtype=np.uint16).reshape(24, 30)


class Told:
    """A writer, and what it tells."""

    def __init__(self, image: object = IMAGE) -> None:
        self.lines: list[str] = []
        self.writer = JournalWriter(SessionStart(lambda: image, False, "", "tiny"), self.lines.append)


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    yield told
    told.writer.end(30)


def said(number: int) -> PromptEvent:
    return PromptEvent(View((0, 1), (0, 0)), Prompt((Point(number, 3),)))


def numbers(path: Path) -> list[int]:
    return [int(event.prompt.points[0].y) for event in read_journal(path).events if isinstance(event, PromptEvent)]


def test_events_are_on_the_disk_in_their_order_when_they_were_waited_for(told: Told) -> None:
    for number in range(20):
        told.writer.put(said(number))
        assert told.writer.flush(30)
        assert numbers(told.writer.path) == list(range(number + 1))
    assert told.lines == []


def test_whoever_puts_an_event_does_not_wait_for_a_slow_disk(monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
    threads, sync, ready = set(), os.fsync, threading.Event()

    def slow(handle: int) -> None:
        threads.add(threading.get_ident())
        assert ready.wait(30)
        sync(handle)

    monkeypatch.setattr(os, "fsync", slow)
    for number in range(3):
        told.writer.put(said(number))
    ready.set()
    assert told.writer.flush(30)
    assert threading.get_ident() not in threads
    assert numbers(told.writer.path) == [0, 1, 2]


def test_the_image_is_read_in_the_thread(told: Told) -> None:
    readers = []

    class Watched:
        shape, dtype = IMAGE.shape, IMAGE.dtype

        def __getitem__(self, key: tuple) -> np.ndarray:
            readers.append(threading.get_ident())
            return IMAGE[key]

    other = Told(Watched())
    other.writer.put(said(1))
    other.writer.end(30)
    assert readers
    assert threading.get_ident() not in readers


@pytest.mark.parametrize("names", [["tiny"], ["tiny", "vit_b"], ["vit_b", "vit_b", "tiny"]])
def test_a_change_of_models_is_written_before_what_is_about_it(told: Told, names: list[str]) -> None:
    for name in names:
        told.writer.put(ActionEvent("accepted", 1), name)
    assert told.writer.flush(30)
    events = read_journal(told.writer.path).events
    current, seen = "tiny", []
    for event in events:
        if isinstance(event, ModelEvent):
            current = event.name
        else:
            seen.append(current)
    assert seen == names


def test_a_session_that_is_ended_is_written_to_its_end_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    sync, ended = os.fsync, threading.Event()
    monkeypatch.setattr(os, "fsync", lambda handle: (ended.wait(30), sync(handle)))
    told = Told()
    for number in range(10):
        told.writer.put(said(number))
    told.writer.end()
    ended.set()
    assert told.writer.flush(30)
    assert numbers(told.writer.path) == list(range(10))
    assert told.writer._journal._file.closed


@pytest.mark.parametrize("error", [TypeError("a defect"), RuntimeError("another")])
def test_a_defect_is_told_and_nothing_is_written_behind_a_gap(told: Told, error: Exception) -> None:
    told.writer.put(said(0))
    assert told.writer.flush(30)
    write, told.writer._journal.write = told.writer._journal.write, partial(_raise, error)
    told.writer.put(said(1))
    assert told.writer.flush(30)
    told.writer._journal.write = write
    told.writer.put(said(2))
    assert told.writer.flush(30)
    assert told.lines == [f"this session is not kept for later: {type(error).__name__} {error}"]
    assert numbers(told.writer.path) == [0]


def _raise(error: Exception, *_: object) -> None:
    raise error


def test_the_hash_of_a_large_image_follows_when_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_module, "WHOLE", 2**6)
    told = Told()
    told.writer.put(said(0))
    assert told.writer.flush(30)
    if told.writer._fingerprint is not None:
        told.writer._fingerprint.join(30)
    told.writer.put(said(1))
    told.writer.end(30)
    assert sorted(type(event).__name__ for event in read_journal(told.writer.path).events) == [
        "FingerprintEvent",
        "PromptEvent",
        "PromptEvent",
    ]
