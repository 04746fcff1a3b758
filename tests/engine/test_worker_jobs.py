"""Whole jobs in the worker process: what they yield, how they are cancelled, and what a killed process does to them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from napari_segany.core.errors import Cancelled, InputError, ModelError, SeganyError
from napari_segany.core.planes import LazyPlane, Stack
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.propagate import propagate
from napari_segany.core.query import query_for
from napari_segany.core.segmenter import Segmenter
from napari_segany.core.synthetic import synthetic_image
from napari_segany.core.tiles import is_large
from napari_segany.engine.prediction import PredictionService, load_default
from napari_segany.engine.remote_segmenter import RemoteSegmenter, load_remote_default
from napari_segany.engine.worker_jobs import (
    JobContext,
    PlaneSource,
    find_candidates,
    find_candidates_of_prompts,
    propagate_objects,
    refine_slices,
    search_slices,
)
from tests.fakes import FakeSegmenter

MADE = synthetic_image(np.random.default_rng(0), (120, 160), kind="fluorescence", radius=12)
SLICES = np.stack([np.roll(MADE.image[..., 0], z, axis=1) for z in range(7)])
KNOWN = {3: {label: np.roll(MADE.levels[0] == label, 3, axis=1) for label in (1, 2)}}


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteSegmenter]:
    segmenter = load_remote_default()
    yield segmenter
    segmenter.close()


class Lazy:
    """An array that cannot be pickled, and knows which planes were read."""

    def __init__(self, values: np.ndarray, broken: int = -1) -> None:
        self._values, self._broken = values, broken
        self.shape, self.dtype = values.shape, values.dtype
        self.read: list[int] = []
        self.here = lambda: os.getpid()

    def __getitem__(self, key: tuple) -> np.ndarray:
        if key[0] == self._broken:
            raise OSError("truncated chunk")
        self.read.append(key[0])
        return self._values[key]


def numbered(context: JobContext, path: str, kill_at: tuple[int, ...], seconds: float) -> Generator[int, None, None]:
    """Yield the number of each plane, and note it; processes end at the planes named, each time once."""
    for number in range(len(context.planes)):
        with Path(path).open("a") as notes:
            notes.write(f"{number}\n")
        killed = Path(f"{path}.{number}")
        if number in kill_at and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        assert context.planes.plane(number).shape == (*context.planes.plane_shape, 3)
        time.sleep(seconds)
        yield number


def give_back(context: JobContext, thing: object) -> Generator[object, None, None]:
    """Yield what was given."""
    yield thing


def always_killed(context: JobContext) -> Generator[int, None, None]:
    """Yield once, and end the process."""
    yield 0
    os.kill(os.getpid(), signal.SIGKILL)
    yield 1


def failing(context: JobContext) -> Generator[int, None, None]:
    """Yield once, and fail."""
    yield 0
    raise InputError("there is no more")


def test_objects_are_propagated_as_in_this_process(remote: RemoteSegmenter) -> None:
    stack = Stack(Lazy(SLICES))
    here = list(propagate(load_default(), Stack(SLICES), KNOWN))
    there = list(remote.stream(propagate_objects, stack, KNOWN, range(len(stack))))
    assert [number for number, _, _ in there] == [number for number, _, _ in here] == [4, 5, 6, 2, 1, 0]
    for (_, ours, verdicts), (_, theirs, others) in zip(here, there, strict=True):
        assert sorted(ours) == sorted(theirs) == [1, 2]
        assert sorted(verdicts) == sorted(others)
        for label, mask in ours.items():
            # other threads may add in another order
            assert np.mean(mask.pixels != theirs[label].pixels) < 1e-3
    assert not remote._remote._line.lent


def test_a_model_in_this_process_runs_the_same_job() -> None:
    answers = PredictionService(lambda: FakeSegmenter(radius=8))
    found = list(answers.stream(propagate_objects, Stack(SLICES), KNOWN, [2, 3, 4]))
    assert [number for number, _, _ in found] == [4, 2]
    assert len(answers.cache) == 2


def test_a_search_yields_what_it_does_in_this_process(remote: RemoteSegmenter) -> None:
    stack, shares = Stack(Lazy(SLICES)), []
    here = load_default()
    query = query_for(here)
    (found,) = remote.stream(find_candidates, stack, 2, query, report=shares.append)
    ours = query.select(query.candidates(here, stack.plane(2)))
    theirs = query.select(found)
    assert len(ours.objects) == len(theirs.objects) > 3
    assert np.mean((ours.labels > 0) != (theirs.labels > 0)) < 1e-3
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_of_a_large_plane_parts_are_requested_and_the_plane_stays_here(
    remote: RemoteSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stack, "plane", None)
    side = np.tile(SLICES[0], (40, 30))
    stack = Stack(Lazy(side[np.newaxis]), limits=(0, 255))
    assert is_large(stack.plane_shape)
    shares = []

    def report(share: float) -> None:
        shares.append(share)
        if len(shares) > 2:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        list(remote.stream(find_candidates, stack, 0, query_for(load_default()), report=report))
    assert 0 < shares[0] < shares[2] < 0.5
    (plane,) = remote.stream(give_back, stack, LazyPlane(stack, 0))
    assert plane.planes is stack


def test_slices_are_searched_beside_what_is_labelled_already(remote: RemoteSegmenter) -> None:
    stack, read = Stack(Lazy(SLICES)), []
    labels = np.zeros(SLICES.shape, bool)
    labels[1, :, :80] = True

    def taken(number: int) -> np.ndarray:
        read.append(number)
        return labels[number]

    query = query_for(load_default())
    source = PlaneSource(stack.plane_shape, len(stack), taken)
    first, second = remote.stream(search_slices, stack, [0, 1], query, source)
    assert read == [0, 1]
    assert (first.number, second.number) == (0, 1)
    assert first.labels[:, :80].any()
    assert not second.labels[:, :80].any()
    assert set(np.unique(second.labels)) - {0} <= set(second.verdicts)


def test_many_prompts_have_an_object_each(remote: RemoteSegmenter) -> None:
    prompts = [Prompt((Point(60, 80),)), Prompt((Point(30, 40),))]
    (found,) = remote.stream(find_candidates_of_prompts, Stack(SLICES), 0, prompts)
    assert len(found) == 2


def test_ceasing_to_iterate_stops_the_job_and_the_next_request_is_answered(
    remote: RemoteSegmenter, tmp_path: Path
) -> None:
    stack, notes = Stack(Lazy(SLICES)), tmp_path / "notes"
    process = remote._remote._process.pid
    with closing(remote.stream(numbered, stack, str(notes), (), 0.0)) as items:
        assert next(items) == 0
        assert next(items) == 1
    done = notes.read_text().split()
    assert len(done) < len(SLICES)
    assert remote.segment(remote.embed_plane(stack, 0), [Prompt((Point(60, 80),))])
    assert notes.read_text().split() == done
    assert remote._remote._process.pid == process
    assert not remote._remote._line.lent


def test_a_job_that_was_done_before_it_was_stopped_does_no_harm(remote: RemoteSegmenter, tmp_path: Path) -> None:
    stack = Stack(SLICES)
    with closing(remote.stream(numbered, stack, str(tmp_path / "notes"), (), 0.0)) as items:
        assert [next(items) for _ in SLICES] == list(range(len(SLICES)))
    assert remote.embed(stack.plane(0)).shape == stack.plane_shape


@pytest.mark.parametrize("kill_at", [(0,), (3,), (6,), (2, 4), (1, 2, 3)])
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_process_that_is_killed_is_started_again_and_nothing_arrives_twice(
    remote: RemoteSegmenter, tmp_path: Path, kill_at: tuple[int, ...]
) -> None:
    times: list[str] = []
    remote.restarted = lambda: times.append("again")
    found = list(remote.stream(numbered, Stack(Lazy(SLICES)), str(tmp_path / "notes"), kill_at, 0.0))
    assert found == list(range(len(SLICES)))
    assert len(times) == len(kill_at)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_process_that_ends_again_at_the_same_place_is_an_error_and_not_a_loop(remote: RemoteSegmenter) -> None:
    arrived: list[int] = []
    with pytest.raises(ModelError, match="has ended"):
        arrived.extend(remote.stream(always_killed, Stack(SLICES)))
    assert arrived == [] or arrived == [0]
    assert remote.embed(Stack(SLICES).plane(0)).shape == (120, 160)


def test_an_error_of_a_job_comes_across_behind_what_it_yielded(remote: RemoteSegmenter) -> None:
    items = remote.stream(failing, Stack(SLICES))
    assert next(items) == 0
    with pytest.raises(InputError, match="there is no more"):
        next(items)
    assert remote.embed(Stack(SLICES).plane(0)).shape == (120, 160)


def test_a_plane_that_cannot_be_read_is_one_line(remote: RemoteSegmenter, tmp_path: Path) -> None:
    stack = Stack(Lazy(SLICES, broken=2), limits=(0, 255))
    items = remote.stream(numbered, stack, str(tmp_path / "notes"), (), 0.0)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(SeganyError, match="the image cannot be read: truncated chunk"):
        next(items)
    assert remote.embed(stack.plane(0)).shape == (120, 160)


def test_a_segmenter_that_was_closed_is_not_started_again(tmp_path: Path) -> None:
    segmenter: Segmenter = load_remote_default()
    items = segmenter.stream(numbered, Stack(SLICES), str(tmp_path / "notes"), (), 0.05)
    assert next(items) == 0
    segmenter.close()
    with pytest.raises(ModelError, match="has ended"):
        list(items)


def test_labels_are_drawn_again_slice_by_slice(remote: RemoteSegmenter) -> None:
    labels = np.stack([np.roll(MADE.levels[0], z, axis=1) for z in range(7)])
    labels[2] = 0
    stack, read, shares = Stack(SLICES), list[int](), list[float]()

    def plane(place: int) -> np.ndarray:
        read.append(place)
        return labels[[1, 2, 4][place]]

    source = PlaneSource(stack.plane_shape, 3, plane)
    service = PredictionService(lambda: remote)
    found = dict(service.stream(refine_slices, stack, [1, 2, 4], source, report=shares.append))
    assert list(found) == read == [0, 1, 2]
    assert found[1] == []
    assert sorted(one.label for one in found[0]) == sorted(set(labels[1].ravel().tolist()) - {0})
    for place, number in ((0, 1), (2, 4)):
        assert [one.iou for one in found[place]] == sorted(one.iou for one in found[place])
        for one in found[place]:
            assert np.array_equal(one.before, labels[number][one.window] == one.label)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    own = PredictionService(load_default)
    ((_, here),) = own.stream(refine_slices, stack, [1], PlaneSource(stack.plane_shape, 1, lambda _: labels[1]))
    assert [one.label for one in here] == [one.label for one in found[0]]
    assert np.allclose([one.iou for one in here], [one.iou for one in found[0]], atol=0.02)


def test_drawing_labels_again_is_cancelled_between_objects(remote: RemoteSegmenter) -> None:
    def stop(share: float) -> None:
        raise Cancelled("cancelled")

    service = PredictionService(lambda: remote)
    stack, labels = Stack(SLICES), np.stack([MADE.levels[0]] * 7)
    source = PlaneSource(stack.plane_shape, 7, lambda place: labels[place])
    with pytest.raises(Cancelled):
        list(service.stream(refine_slices, stack, list(range(7)), source, report=stop))
    assert remote.segment(remote.embed(stack.plane(0)), [Prompt((Point(20, 30),))])
