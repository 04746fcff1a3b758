"""A real Dask scheduler with two worker processes, one of which is killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import tifffile

from napari_segany import cli
from napari_segany.batch.propagate_file import propagate_file
from napari_segany.batch.segment_file import SegmentJob
from napari_segany.batch.segment_folder import FolderJob, segment_folder_files
from napari_segany.core.errors import InputError
from napari_segany.core.prompts import Point, Prompt
from napari_segany.core.query import Query
from napari_segany.core.segmenter import ImageEmbedding
from tests.fakes import KnowingSegmenter

pytest.importorskip("distributed", reason="needs Dask: pip install distributed")

PLACES = (Point(12, 14), Point(30, 44))
ROOT = Path(__file__).parents[2]


class SlowSegmenter(KnowingSegmenter):
    """Takes its time, and leaves a file named after its process for each plane."""

    def __init__(self, seen: Path) -> None:
        super().__init__(PLACES, radius=6)
        self.seen = seen

    def embed(self, plane: np.ndarray) -> ImageEmbedding:
        time.sleep(0.2)
        (self.seen / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        return super().embed(plane)


class Workers:
    """A scheduler and two workers, each a process."""

    def __init__(self, folder: Path) -> None:
        file, log = folder / "scheduler.json", (folder / "log").open("w")
        env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
        scheduler = ["distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        worker = ["distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        worker += ["--local-directory", str(folder), "--scheduler-file", str(file)]
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", *command], env=env, cwd=folder, stdout=log, stderr=log
            )
            for command in (scheduler, worker, worker)
        ]
        log.close()
        from distributed import Client

        with Client(scheduler_file=str(file), timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            self.address = str(client.scheduler.address)

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    (tmp_path / "dask").mkdir()
    running = Workers(tmp_path / "dask")
    yield running
    running.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    planes = np.random.default_rng(0).integers(0, 200, (16, 48, 64)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", planes, photometric="minisblack")
    return tmp_path / "stack.tif"


def test_a_worker_killed_in_the_middle_costs_no_plane(workers: Workers, image: Path, tmp_path: Path) -> None:
    from napari_segany.batch.dask_cluster import DaskCluster

    seen = tmp_path / "seen"
    seen.mkdir()
    killed: list[int] = []
    done = Event()

    def kill() -> None:
        """As soon as both have done something."""
        victim = workers.processes[1]
        while not killed and not done.wait(0.02):
            there = [path.name for path in seen.iterdir()]
            if len({name.split("-")[0] for name in there}) == 2:
                os.kill(victim.pid, signal.SIGKILL)
                killed.append(len(there))

    alone = FolderJob(image, tmp_path / "alone", None, {}, link=True)
    assert [report.problem for report in segment_folder_files(alone, partial(KnowingSegmenter, PLACES, 6))] == [""]
    job = FolderJob(image, tmp_path / "spread", None, {}, link=True)
    killer = Thread(target=kill, daemon=True)
    killer.start()
    with DaskCluster(workers.address, partial(SlowSegmenter, seen)) as cluster:
        reports = list(segment_folder_files(job, partial(KnowingSegmenter, PLACES, 6), cluster))
    done.set()
    killer.join(timeout=10)
    assert [report.problem for report in reports] == [""]
    assert killed
    assert killed[0] < 16
    workers.processes[1].wait(timeout=10)
    assert workers.processes[1].returncode == -signal.SIGKILL
    pids = {path.name.split("-")[0] for path in seen.iterdir()}
    assert str(os.getpid()) not in pids
    for ending in ("labels.tif", "objects.csv", "masks.json"):
        one, other = (tmp_path / folder / f"stack_{ending}" for folder in ("alone", "spread"))
        if ending == "labels.tif":
            assert np.array_equal(tifffile.imread(one), tifffile.imread(other))
            assert tifffile.imread(one).max() == 2
        else:
            assert one.read_text() == other.read_text()


def test_following_with_encodings_from_the_cluster_is_the_same(workers: Workers, image: Path, tmp_path: Path) -> None:
    from napari_segany.batch.dask_cluster import DaskCluster

    seen = tmp_path / "seen"
    seen.mkdir()
    found = []
    load = partial(KnowingSegmenter, PLACES, 6)
    for name in ("alone.tif", "spread.tif"):
        job = SegmentJob(image, tmp_path / name, tuple(Prompt((place,)) for place in PLACES), plane=7)
        if name == "alone.tif":
            propagate_file(job, load)
        else:
            with DaskCluster(workers.address, partial(SlowSegmenter, seen)) as cluster:
                propagate_file(job, load, encoder=cluster.encoder)
        found.append(tifffile.imread(tmp_path / name))
    assert np.array_equal(*found)
    assert len({path.name.split("-")[0] for path in seen.iterdir()}) == 2


def test_an_image_that_workers_cannot_read_is_told_of(workers: Workers, image: Path, tmp_path: Path) -> None:
    from napari_segany.batch.dask_cluster import DaskCluster

    load = partial(KnowingSegmenter, PLACES, 6)
    with DaskCluster(workers.address, load) as cluster, pytest.raises(InputError, match="there is no file"):
        next(iter(cluster.find_on_planes(tmp_path / "none.tif", 3, Query(), "")))


def test_nobody_answers(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from napari_segany.batch import dask_cluster

    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 1)
    command = ["segment", str(image), "--everything", "-o", str(tmp_path / "out"), "--dask", "tcp://127.0.0.1:9"]
    assert cli.main(command) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    command = ["segment", str(image), "--point", "2,3,3", "-o", str(tmp_path / "a.tif"), "--dask", "tcp://127.0.0.1:9"]
    assert cli.main(command) == 2
    assert "--dask belongs to" in capsys.readouterr().err
