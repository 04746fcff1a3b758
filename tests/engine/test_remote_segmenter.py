"""A segmenter in a process of its own."""

from __future__ import annotations

import inspect
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from napari_segany.core.automatic_masks import as_proposer
from napari_segany.core.errors import Cancelled, InputError, ModelError, SeganyError
from napari_segany.core.planes import Stack
from napari_segany.core.prompts import Box, Point, Prompt
from napari_segany.core.query import query_for
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.synthetic import synthetic_image
from napari_segany.engine import remote_segmenter as remote_module
from napari_segany.engine.prediction import load_default
from napari_segany.engine.remote_segmenter import (
    RemoteSegmenter,
    WorkerConnection,
    load_remote,
    load_remote_default,
    starting,
)
from napari_segany.engine.worker import Worker

PLANE = synthetic_image(np.random.default_rng(0), (200, 260), kind="fluorescence", radius=14).image


@pytest.fixture(scope="module")
def remote() -> Iterator[Segmenter]:
    segmenter = load_remote_default()
    yield segmenter
    segmenter.close()


def test_it_answers_as_a_segmenter_here_does(remote: Segmenter) -> None:
    here = load_default()
    assert remote.name == here.name
    assert as_proposer(remote) is remote
    assert remote.capabilities == here.capabilities
    there, local = remote.embed(PLANE), here.embed(PLANE)
    assert there.shape == local.shape
    prompts = [Prompt((Point(60, 80),)), Prompt(box=Box(20, 20, 60, 70))]
    for ours, theirs in zip(here.segment(local, prompts), remote.segment(there, prompts), strict=True):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert one.pixels.shape == other.pixels.shape == (200, 260)
            # other threads may add in another order
            assert np.mean(one.pixels != other.pixels) < 1e-3
            assert one.score == pytest.approx(other.score, abs=1e-2)
    assert len(remote.seeds(there)) == pytest.approx(len(here.seeds(local)), abs=1)


def test_a_text_is_read_and_found_as_by_a_segmenter_here(remote: RemoteSegmenter) -> None:
    here = load_default()
    queries = [query_for(segmenter, "nucleus") for segmenter in (remote, here)]
    assert queries[0] == queries[1]
    found = [query.select(query.candidates(one, PLANE)) for query, one in zip(queries, (remote, here), strict=True)]
    assert found[1].objects
    assert set(found[0].names) == set(found[1].names) == {"nucleus"}
    # other threads may add in another order
    assert np.mean((found[0].labels > 0) != (found[1].labels > 0)) < 1e-2


def test_the_worker_serves_every_request() -> None:
    source = inspect.getsource(remote_module)
    sent = set(re.findall(r'(?:_call|_ask|\.call|\.begin)\(\s*"(\w+)"', source))
    assert {"load", "embed", "stream", "segment", "seeds", "phrases"} <= sent
    assert {f"do_{name}" for name in sent - {"stop"}} == {name for name in dir(Worker) if name.startswith("do_")}


def test_features_stay_where_they_were_made(remote: RemoteSegmenter) -> None:
    embedding = remote.embed(PLANE)
    assert not embedding.features
    assert embedding.shape == (200, 260)
    assert embedding.nbytes == load_default().embed(PLANE).nbytes
    assert remote.embed(PLANE.copy()).key == embedding.key


@pytest.mark.parametrize("stack", [None, Stack(PLANE, rgb=True)])
def test_an_embedding_that_is_lost_is_computed_again(remote: RemoteSegmenter, stack: Stack | None) -> None:
    embedding = remote.embed(PLANE) if stack is None else remote.embed_plane(stack, 0)
    (first,) = remote.segment(embedding, [Prompt((Point(60, 80),))])
    assert first
    remote._remote.call("load", "tiny")
    (again,) = remote.segment(embedding, [Prompt((Point(60, 80),))])
    assert np.array_equal(first[0].pixels, again[0].pixels)
    remote._remote.call("load", "tiny")
    assert remote.seeds(embedding)


def test_an_embedding_of_another_segmenter_is_refused(remote: RemoteSegmenter) -> None:
    with pytest.raises(ModelError, match="the segmenter that made it"):
        remote.segment(load_default().embed(PLANE), [Prompt((Point(60, 80),))])


def test_errors_come_across_and_the_next_call_is_answered(remote: Segmenter) -> None:
    with pytest.raises(InputError, match="a plane is"):
        remote.embed(np.zeros((3, 3)))
    embedding = remote.embed(PLANE)
    with pytest.raises(InputError, match="an empty prompt"):
        remote.segment(embedding, [Prompt()])
    assert remote.segment(embedding, [Prompt((Point(3, 3),))])


def test_a_model_that_is_not_known() -> None:
    with pytest.raises(ModelError, match="nothing"):
        load_remote("nothing")


def test_a_process_that_died_says_so_in_one_line() -> None:
    remote = WorkerConnection()
    remote._process.kill()
    with pytest.raises(ModelError, match="the process that computes has ended"):
        remote.call("load", "tiny")
    assert not remote.alive


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_process_that_died_or_hangs_is_started_again_and_asked_once_more(
    monkeypatch: pytest.MonkeyPatch, end: int
) -> None:
    monkeypatch.setattr(remote_module, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(remote_module, "HANG_SECONDS", 1.0)
    segmenter = load_remote_default()
    times: list[str] = []
    segmenter.restarted = lambda: times.append("again")
    try:
        embedding = segmenter.embed(PLANE)
        (first,) = segmenter.segment(embedding, [Prompt((Point(60, 80),))])
        segmenter._remote._process.send_signal(end)
        (again,) = segmenter.segment(embedding, [Prompt((Point(60, 80),))])
        assert np.array_equal(first[0].pixels, again[0].pixels)
        segmenter._remote._process.send_signal(end)
        assert segmenter.embed(PLANE).shape == embedding.shape
        assert times == ["again", "again"]
    finally:
        segmenter.close()
    with pytest.raises(ModelError, match="has ended"):
        segmenter.embed(PLANE)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "not enough memory to encode"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory to encode"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("one line\nand another"), "ValueError one line"),
    ],
)
def test_whatever_goes_wrong_there_is_one_line(error: Exception, says: str) -> None:
    class Failing:
        def embed_keyed(self, plane: np.ndarray) -> None:
            raise error

    class Line:
        asked: ClassVar = [("embed", (None,))]
        answers: ClassVar[list] = []

        def recv(self) -> object:
            if not self.asked:
                raise EOFError
            return self.asked.pop()

        def send(self, what: object) -> None:
            self.answers.append(what)

    Line.asked, Line.answers = [("embed", (None,))], []
    worker = Worker(Line())
    worker._encoder = Failing()
    worker.serve()
    ((kind, answer),) = Line.answers
    assert kind == "error"
    assert isinstance(answer, ModelError)
    assert says in str(answer)
    assert "\n" not in str(answer)


def test_a_temporary_folder_with_a_long_name_does_not_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    WorkerConnection().close()


def test_the_process_ends_with_the_one_who_asks() -> None:
    remote = WorkerConnection()
    remote._line.close()
    started = time.monotonic()
    assert remote._process.wait(30) == 0
    assert time.monotonic() - started < 30


def test_what_is_stopped_by_its_progress_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    remote = WorkerConnection()
    monkeypatch.setattr(remote, "_line", _Line([("progress", (1, 2)), ("done", None)]))

    def stop(done: int, total: int | None) -> None:
        raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        remote.call("load", "vit_b", progress=stop)
    assert not remote.alive


class _Line:
    def __init__(self, news: list[tuple[str, object]]) -> None:
        self._news = news

    def send(self, question: object) -> None:
        pass

    def poll(self, seconds: float) -> bool:
        return True

    def recv(self) -> tuple[str, object]:
        return self._news.pop(0)


def test_a_model_can_be_begun_to_load_and_had_later():
    segmenter = starting()()
    try:
        assert segmenter.name == "tiny"
        plane = np.zeros((32, 40, 3), np.uint8)
        assert segmenter.segment(segmenter.embed(plane), [Prompt((Point(3, 4),))])
    finally:
        segmenter.close()


def test_what_is_wrong_with_a_model_is_said_when_it_is_had():
    load = starting("no such model")
    with pytest.raises(SeganyError, match="no such model"):
        load()
