"""The work in all sessions of this computer, in the window's folder and on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_segany import cli
from napari_segany.engine.journal_writer import JournalWriter
from napari_segany.engine.session_effort import report_effort, session_paths
from napari_segany.engine.session_files import FOLDER, SessionStart, model_of
from napari_segany.session.effort import measure_effort
from napari_segany.session.history import Mark, MarksPatch, Patch, Step
from napari_segany.session.journal import Header, Journal, read_journal
from tests.engine.test_autosave import IMAGE


def session(path: Path, model: str = "tiny") -> Path:
    """A click at 10 s, and a mask at 14 s."""
    header: Header = SessionStart(lambda: IMAGE, False, "", model).header()
    after = np.zeros(IMAGE.shape, np.int32)
    after[2:5, 2:5] = 1
    click = Mark("point", ((3.0, 3.0),))
    journal = Journal.create(path, header)
    journal.write(Step("prompt", marks=((2, MarksPatch(0, (), (click,))),)), 10.0)
    journal.write(Step("keep", ((1, Patch.between(np.zeros_like(after), after)),)), 14.0)
    journal.close()
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def test_sessions_are_added_and_damaged_ones_named(folder: Path) -> None:
    session(folder / "a.jsonl")
    session(folder / "b.jsonl")
    (folder / "c.jsonl").write_text("no session\n")
    cut = session(folder / "d.jsonl", "vit_b")
    cut.write_bytes(cut.read_bytes()[:-5])
    report = report_effort(session_paths())
    first, second = report.efforts
    assert (first.model, first.seconds, first.clicks, first.objects) == ("tiny", 8.0, 2, 2)
    assert (second.model, second.clicks, second.objects) == ("vit_b", 1, 0)
    assert report.sessions == 3
    assert len(report.problems) == 2


def test_nothing_is_no_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_effort(session_paths()).efforts == ()
    assert cli.main(["effort"]) == 0
    assert "no work" in capsys.readouterr().out


def test_the_command_line_prints_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = session(folder / "a.jsonl")
    for given in ([], [str(folder)], [str(path)]):
        assert cli.main(["effort", *given]) == 0
        head, row = capsys.readouterr().out.splitlines()
        assert "s/object" in head
        assert row.split() == ["tiny", "1", "1", "4.0", "1.0", "1.0", "100%", "0%", "0%", "0%", "0%"]


@pytest.mark.parametrize(("name", "words"), [("gone.jsonl", "no session"), ("bad.jsonl", "none of the sessions")])
def test_what_cannot_be_read_is_one_line(
    folder: Path, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.jsonl").write_text("x\n")
    assert cli.main(["effort", str(folder / name)]) == 2
    assert words in capsys.readouterr().err


def test_the_writer_tells_when_events_happened_and_not_when_they_were_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 103.5])
    monkeypatch.setattr("napari_segany.engine.journal_writer.time.time", lambda: next(clock))
    writer = JournalWriter(SessionStart(lambda: IMAGE, False, "", "tiny"), lambda problem: None)
    click = Mark("point", ((3.0, 3.0),))
    for number in range(2):
        writer.put(Step("prompt", marks=((2, MarksPatch(number, (), (click,))),)))
    assert writer.flush(10)
    writer.end(10)
    assert writer.path is not None
    found = read_journal(writer.path)
    assert found.times == (100.0, 103.5)
    assert measure_effort([found])[0].seconds == 3.5
    assert found.header.model == model_of("tiny")
