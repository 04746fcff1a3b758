"""Temporary files: room is reserved, nothing stays behind, and what a killed run left is removed by the next."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_segany.core.errors import InputError
from napari_segany.io import temporary_files as files
from napari_segany.io.labels import replacing, write_labels
from napari_segany.io.temporary_files import remove_stale_files, temporary_array, temporary_folder

HOLD = """
import sys
from pathlib import Path
from napari_segany.io.labels import replacing
from napari_segany.io.temporary_files import temporary_array
place = Path(sys.argv[1])
if sys.argv[2] == "temporary_array":
    with temporary_array(place, (4, 5), 9) as labels:
        labels[:] = 1
        print("ready", flush=True)
        sys.stdin.read()
else:
    with replacing(place / "a.zarr") as new:
        new.mkdir()
        (place / "a.zarr").rename(new.parent / "replaced")
        print("ready", flush=True)
        sys.stdin.read()
"""


def held(place: Path, what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(place), what]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "ready\n"
    return run


def kill(run: subprocess.Popen[str]) -> None:
    run.send_signal(signal.SIGKILL)
    run.communicate()


@pytest.mark.parametrize("what", ["temporary_array", "replacing"])
def test_what_a_killed_run_left_is_removed_and_what_it_put_aside_is_back(tmp_path: Path, what: str) -> None:
    write_labels(tmp_path / "a.zarr", np.ones((4, 5), np.uint16))
    run = held(tmp_path, what)
    try:
        write_labels(tmp_path / "b.tif", np.ones((4, 5), np.uint16))
        assert len(list(tmp_path.glob(".segany.*"))) == 1, "what a living process holds stays"
    finally:
        kill(run)
    write_labels(tmp_path / "b.tif", np.ones((4, 5), np.uint16), overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.tif"]
    assert (tmp_path / "a.zarr" / ".zattrs").is_file()


def test_what_somebody_else_made_stays(tmp_path: Path) -> None:
    for name in (".segany.mine", ".segany.other"):
        (tmp_path / name).mkdir()
    (tmp_path / ".segany.other" / "labels").write_bytes(b"of version 0.1.0, which may be running")
    (tmp_path / ".segany.file").write_bytes(b"x")
    before = sorted(tmp_path.rglob("*"))
    remove_stale_files(tmp_path)
    remove_stale_files(tmp_path / "gone")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_name_in_a_lock_never_leads_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "in" / ".segany.x"
    (folder / "replaced").mkdir(parents=True)
    (folder / "lock").write_text("../out")
    remove_stale_files(tmp_path / "in")
    assert not (tmp_path / "out").exists()


def test_a_folder_vanishes_when_something_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), temporary_folder(tmp_path):
        raise KeyError
    with pytest.raises(InputError), replacing(tmp_path / "a.tif") as new:
        new.rename(tmp_path / "b.tif")
    assert not list(tmp_path.iterdir())


def test_no_room_is_said_before_anything_is_painted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "posix_fallocate", full, raising=False)
    with pytest.raises(InputError, match="No space left"), temporary_array(tmp_path, (4, 5), 9):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [None, errno.EOPNOTSUPP])
def test_room_is_reserved_where_the_system_has_no_call_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(error, "unsupported")

    if error is None:
        monkeypatch.delattr(files.os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(files.os, "posix_fallocate", unsupported, raising=False)
    with temporary_array(tmp_path, (40, 50), 2**16) as labels:
        assert labels.shape == (40, 50)
        assert not labels.any()
