import json
import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from napari_segany.core.errors import InputError
from napari_segany.engine import autosave
from napari_segany.engine.autosave import Autosave, saved_sessions, unfinished_sessions
from napari_segany.engine.session_files import FOLDER, model_of, sessions_folder
from napari_segany.layers.reopening import resume_session
from napari_segany.session import fingerprint as content_module
from napari_segany.session.events import ActionEvent, ModelEvent
from napari_segany.session.fingerprint import fingerprint_of
from napari_segany.session.journal import Journal
from napari_segany.session.recovery import Recovered, recover
from napari_segany.session.session import Session
from tests.layers.desk import Desk

IMAGE = np.arange(24 * 30, dtype=np.uint16).reshape(24, 30)
KILLS = 100


@pytest.fixture(autouse=True)
def _nothing_stays_open():
    yield
    while Kept.opened:
        Kept.opened.pop().close()


class Kept:
    """A desk whose session is kept."""

    opened: ClassVar[list["Kept"]] = []

    def __init__(self, image: np.ndarray = IMAGE, labels: np.ndarray | None = None) -> None:
        self.session = Session()
        self.keeper = Autosave(self.session, lambda: "fake")
        self._problems: list[str] = []
        self.keeper.problem.connect(self._problems.append)
        self.keeper.watch(lambda: image, path="image.tif")
        self.desk = Desk(image, labels, session=self.session)
        self.opened.append(self)

    @property
    def problems(self) -> list[str]:
        """Lines that were told, when all that happened is written or refused."""
        self.keeper.flush()
        return self._problems

    @property
    def journal(self) -> Journal:
        """The file, when all that happened is in it."""
        self.keeper.flush()
        return self.keeper._writer._journal

    def close(self) -> None:
        """End the session, and wait until that is written."""
        self.keeper.close()
        self.keeper.flush()

    def crash(self) -> None:
        """Let go of the file without a word, as the system does when a process is killed."""
        self.keeper._drop()
        self.keeper._image = None
        self.keeper.flush()


def files() -> list[Path]:
    """All files, when what is on its way there has arrived."""
    for kept in Kept.opened:
        kept.keeper.flush()
    return sorted(sessions_folder().glob("*")) if sessions_folder().exists() else []


def test_nothing_is_kept_before_something_is_said():
    kept = Kept()
    kept.desk.viewer.dims.ndisplay = 3
    kept.desk.viewer.dims.ndisplay = 2
    assert files() == []
    kept.desk.click(10, 10)
    assert len(files()) == 1
    assert unfinished_sessions(fingerprint_of(IMAGE)) is None, "another window writes into it"
    kept.close()
    assert unfinished_sessions(fingerprint_of(IMAGE)) is None, "it was ended"


def test_a_session_that_was_not_ended_is_found_by_the_images_content():
    kept = Kept(labels=np.full(IMAGE.shape, 7, np.uint8))
    kept.desk.binding.output.overwrite = True
    kept.desk.click(10, 10)
    kept.desk.binding.keep()
    kept.desk.click(20, 20)
    kept.crash()
    assert unfinished_sessions(fingerprint_of(IMAGE + 1)) is None
    found = unfinished_sessions(fingerprint_of(IMAGE.astype(">u2")))
    assert found.labels.tobytes() == kept.desk.labels.tobytes()
    assert found.labels.dtype == np.uint8
    assert [mark.corners for mark in found.marks("points")] == [((20.0, 20.0),)]
    header = found.journal.header
    assert (header.model, header.path, header.label_shape) == (
        ModelEvent("fake", "fake"),
        str(Path("image.tif").absolute()),
        IMAGE.shape,
    )


def test_damaged_and_empty_sessions_are_passed_over():
    for _ in range(3):
        kept = Kept()
        kept.desk.click(10, 10)
        kept.crash()
    good, damaged, empty = files()
    damaged.write_bytes(damaged.read_bytes().replace(b"10.0", b"11.0"))
    lines = empty.read_bytes().splitlines(keepends=True)
    empty.write_bytes(b"".join(lines[:3]))
    assert unfinished_sessions(fingerprint_of(IMAGE)).path == good


def test_a_resumed_session_goes_on_where_it_was_with_its_history():
    first = Kept()
    first.desk.click(10, 10)
    first.desk.binding.keep()
    first.desk.click(20, 20)
    first.desk.session.choose(2)
    first.desk.binding.labels.paint((3, 3), 5)
    state, preview = first.desk.state(), first.desk.preview()
    first.crash()

    second = Kept()
    found = unfinished_sessions(fingerprint_of(IMAGE))
    second.keeper.resume(found)
    resume_session(second.desk.binding, found)
    assert second.desk.state() == state
    assert second.desk.preview() == preview
    assert second.session.history.undo_name == "edit"
    assert second.desk.session.label == 6
    for _ in range(5):
        assert second.desk.binding.undo()
    assert not second.desk.labels.any()
    for _ in range(5):
        assert second.desk.binding.redo()
    assert second.desk.state() == state
    second.desk.binding.keep()
    third = recover(files()[0])
    assert third.labels.tobytes() == second.desk.labels.tobytes()
    second.keeper.saved()
    second.close()
    assert len(files()) == 1
    assert unfinished_sessions(fingerprint_of(IMAGE)) is None


def test_two_windows_do_not_resume_one_session():
    first = Kept()
    first.desk.click(10, 10)
    first.crash()
    found = unfinished_sessions(fingerprint_of(IMAGE))
    second, third = Kept(), Kept()
    second.keeper.resume(found)
    with pytest.raises(InputError, match="another window"):
        third.keeper.resume(found)


def test_a_full_disk_is_told_once_and_the_session_goes_on(monkeypatch):
    kept = Kept()
    kept.desk.click(10, 10)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    kept.keeper.flush()
    monkeypatch.setattr(os, "fsync", full)
    kept.desk.click(12, 10)
    assert kept.desk.binding.keep()
    assert kept.problems == ["this session is not kept for later until the disk accepts it: No space left on device"]
    blocked = sessions_folder().parent / "a file"
    blocked.write_text("")
    monkeypatch.setenv(FOLDER, str(blocked / "below"))
    other = Kept()
    other.desk.click(10, 10)
    assert len(other.problems) == 1


@pytest.mark.parametrize("part", [0, 1, 30, -1])
def test_what_a_full_disk_did_not_take_is_written_when_there_is_room(monkeypatch, part):
    kept = Kept()
    caught_up = []
    kept.keeper.caught_up.connect(lambda: caught_up.append(True))
    kept.desk.click(10, 10)
    kept.desk.binding.keep()
    file = kept.journal._file

    class Full:
        """A disk that takes a part of each record, which the system reports as no error."""

        def write(self, data: bytes) -> int:
            return file.write(data[:part])

        def __getattr__(self, name: str) -> object:
            return getattr(file, name)

    kept.journal._file = Full()
    kept.desk.click(20, 20)
    kept.desk.binding.keep()
    assert len(kept.problems) == 1
    recover(kept.journal.path)
    kept.journal._file = file
    kept.desk.binding.labels.paint((3, 3), 5)
    kept.keeper.flush()
    assert caught_up == [True]
    kept.crash()
    found = recover(files()[0])
    assert found.labels.tobytes() == kept.desk.labels.tobytes()
    assert found.journal.warning == ""


def test_a_disk_that_does_not_respond_is_told_once_and_not_waited_for_again(monkeypatch):
    monkeypatch.setattr(autosave, "FLUSH_SECONDS", 0.05)
    responds, sync = threading.Event(), os.fsync

    def slow(handle: int) -> None:
        responds.wait(30)
        sync(handle)

    kept = Kept()
    monkeypatch.setattr(os, "fsync", slow)
    kept.desk.click(10, 10)
    assert kept.problems == kept.problems == ["this session is not on the disk: it has not responded for 0 s"]
    assert kept.desk.binding.keep()
    responds.set()
    monkeypatch.setattr(autosave, "FLUSH_SECONDS", 30)
    kept.keeper._stuck = False
    kept.crash()
    assert recover(files()[0]).objects == 1


def test_a_session_that_cannot_be_begun_is_begun_when_it_can(monkeypatch, tmp_path):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv(FOLDER, str(tmp_path / "a file" / "below"))
    kept = Kept()
    kept.desk.click(10, 10)
    kept.desk.binding.keep()
    assert len(kept.problems) == 1
    monkeypatch.setenv(FOLDER, str(tmp_path / "sessions"))
    kept.desk.click(20, 20)
    kept.crash()
    assert recover(files()[0]).labels.tobytes() == kept.desk.labels.tobytes()


def test_an_image_of_which_a_part_cannot_be_read_is_worked_on_and_its_session_told():
    class Broken:
        shape, dtype = (4, 24, 30), np.dtype(np.uint16)

        def __getitem__(self, key):
            raise OSError("truncated chunk")

    kept = Kept()
    kept.keeper.watch(Broken)
    kept.desk.click(10, 10)
    assert kept.desk.session.mask is not None
    assert kept.problems == ["this session is not kept for later: a part of the image cannot be read (truncated chunk)"]


def test_sessions_ended_with_unsaved_labels_are_offered_again_until_they_are_dismissed():
    ended = Kept()
    ended.desk.click(10, 10)
    ended.desk.binding.keep()
    ended.close()
    saved = Kept()
    saved.desk.click(10, 10)
    saved.desk.binding.keep()
    saved.keeper.saved()
    saved.close()
    content = fingerprint_of(IMAGE)
    found = unfinished_sessions(content)
    assert found.path == files()[0]
    assert [one.saved for one in saved_sessions(content)] == [True, False]
    assert [one.objects for one in saved_sessions(content)] == [1, 1]
    saved.keeper.dismiss(found)
    saved.keeper.flush()
    assert unfinished_sessions(content) is None
    assert [one.dismissed for one in saved_sessions(content)] == [False, True]
    again = Kept()
    again.keeper.resume(recover(files()[0]))
    again.crash()
    assert unfinished_sessions(content).path == files()[0]
    assert len(saved_sessions(content, most=1)) == 1


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_of_a_damaged_session_what_stands_before_the_damage_is_offered(place):
    kept = Kept()
    for number in range(5):
        kept.desk.click(3 + 4 * number, 10)
        kept.desk.binding.keep()
    kept.crash()
    (path,) = files()
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    number = int(place * len(lines))
    start = len(b"".join(lines[:number]))
    path.write_bytes(data[: start + 9] + bytes([data[start + 9] ^ 1]) + data[start + 10 :])
    found = unfinished_sessions(fingerprint_of(IMAGE))
    assert found.journal.whole == start
    assert f"line {number + 1} of the session" in found.journal.warning
    with pytest.raises(InputError, match=f"line {number + 1}"):
        recover(path)
    again = Kept()
    again.keeper.resume(found)
    resume_session(again.desk.binding, found)
    again.desk.click(20, 20)
    again.crash()
    assert recover(path).prompts == found.prompts + 1
    (beside,) = path.parent.glob("*.damaged")
    assert beside.read_bytes().count(b"\n") == len(lines) - number


def test_what_another_window_wrote_meanwhile_is_never_cut_off():
    first = Kept()
    first.desk.click(10, 10)
    first.crash()
    found = unfinished_sessions(fingerprint_of(IMAGE))
    second = Kept()
    second.keeper.resume(found)
    resume_session(second.desk.binding, found)
    second.desk.binding.keep()
    second.crash()
    size = files()[0].stat().st_size
    third = Kept()
    with pytest.raises(InputError, match="another window went on"):
        third.keeper.resume(found)
    assert files()[0].stat().st_size == size
    assert unfinished_sessions(fingerprint_of(IMAGE)).objects == 1
    assert files()[0].stat().st_size == size


def test_a_large_image_is_known_by_all_its_values(monkeypatch):
    monkeypatch.setattr(content_module, "WHOLE", 2**6)
    monkeypatch.setattr(content_module, "BLOCK", 2)
    kept = Kept()
    kept.desk.click(10, 10)
    kept.keeper.flush()
    if kept.keeper._writer._fingerprint is not None:
        kept.keeper._writer._fingerprint.join(30)
    kept.desk.binding.keep()
    kept.crash()
    assert unfinished_sessions(fingerprint_of(IMAGE)) is not None
    other = IMAGE.copy()
    other[13, 7] += 1
    assert fingerprint_of(other).name == fingerprint_of(IMAGE).name, "no block of the sample is there"
    assert unfinished_sessions(fingerprint_of(other)) is None


def test_models_are_named_by_the_hash_of_their_weights():
    assert model_of("tiny").hash.startswith("sha256:")
    assert model_of("vit_b").hash.count(":") == 1
    assert model_of("somebody's") == ModelEvent("somebody's", "fake")


def test_a_model_that_was_exchanged_is_named_before_its_answer():
    kept = Kept()
    kept.desk.click(10, 10)
    kept.keeper._model = lambda: "vit_b"
    kept.session.repeat()
    kept.crash()
    found = recover(files()[0])
    assert found.last_model.name == "vit_b"
    model, accepted = found.journal.events[-2:]
    assert model == model_of("vit_b")
    assert accepted.what == "accepted"


def at_step(found: Recovered, steps: int) -> list[int]:
    """Sums as they were after so many steps; see annotate_and_die."""
    while found.state.history.position > steps:
        found.state.take(ActionEvent("undone"))
    labels = found.labels
    # before the first object was kept there was no layer
    painted = labels is not None and labels.any()
    marks = repr((found.marks("points"), found.marks("shapes")))
    return [zlib.crc32(labels.tobytes()) if painted else 0, zlib.crc32(marks.encode())]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_a_hundred_random_moments_nothing_that_was_acknowledged_is_lost(tmp_path):
    folder = tmp_path / "kills"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.engine.annotate_and_die", str(folder), str(KILLS), "1"]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], timeout=1500)
    places, all_steps = sorted(folder.iterdir()), 0
    for place in places:
        lines = (place / "acknowledged").read_text().splitlines()
        if not lines:
            continue
        steps, labels, marks = json.loads(lines[-1])
        (journal,) = place.glob("*.jsonl")
        found = recover(journal)
        all_steps += steps
        assert len(found.state.history) >= steps, place
        nothing = zlib.crc32(np.zeros((64, 64), np.int32).tobytes())
        assert at_step(found, steps) == [0 if labels == nothing else labels, marks], place
    assert len(places) == KILLS
    assert all_steps > KILLS
