"""Models of the user's own: what their files tell, and notes that can be changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_segany import cli
from napari_segany.core.errors import InputError
from napari_segany.models import registry
from napari_segany.models.inference_config import read_inference_config, read_metadata, weights_hash, write_metadata
from napari_segany.models.loading import load_segmenter
from napari_segany.training.fine_tune_report import FineTuneReport, read_report, report_metadata
from napari_segany.training.generations import generations, write_note

Make = Callable[..., Path]


def report(name: str, day: int = 1, note: str = "") -> FineTuneReport:
    numbers = (40, 9, 3, 0.55, 0.89, 0.2, 0.4, 0.75, 0.8, 0.79, 60, 75.0)
    return FineTuneReport("tiny", name, note, *numbers, made=f"2026-11-{day:02}T10:00:00+00:00")


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a model of the user's own."""
    monkeypatch.setenv(registry.OWN_MODELS, str(tmp_path))

    def made(name: str, told: FineTuneReport | None = None) -> Path:
        path = tmp_path / f"{name}.safetensors"
        shutil.copy(registry.find("tiny").path, path)
        if told is not None:
            write_metadata(path, report_metadata(told))
        return path

    return made


def test_the_latest_is_listed_first(make: Make) -> None:
    make("b", report("b", 2))
    make("a", report("a", 3))
    make("c", report("c", 1))
    assert [one.name for one in generations()] == ["a", "b", "c"]
    (latest, *_) = generations()
    assert latest.scores == "0.55 → 0.89"
    for words in ("from tiny", "40 masks of 3 images", "9 held-out masks", "0.75", "0.80 to 0.79, 0.01 forgotten"):
        assert words in latest.description


def test_weights_without_a_report_are_listed_too(make: Make) -> None:
    make("foreign")
    (one,) = generations()
    assert one.report is None
    assert "no report" in one.description
    with pytest.raises(InputError, match="no report"):
        write_note(one.spec, "mine")


@pytest.mark.parametrize("note", ["ten cells", "", 'Zellen, grün: “neu” \\ "alt"', "x" * 3000])
def test_a_note_is_changed_and_nothing_else(make: Make, note: str) -> None:
    path = make("mine", report("mine", note="before"))
    name, digest, config = load_segmenter("mine").name, weights_hash(path), read_inference_config(path)
    size = len(load_segmenter("mine").model.state_dict())
    for text in ("another", note):
        write_note(registry.find("mine"), text)
    found = read_report(read_metadata(path))
    assert found == report("mine", note=note)
    assert load_segmenter("mine").name == name, "sessions find it by the name that they recorded"
    assert load_segmenter(name).name == name
    assert (weights_hash(path), read_inference_config(path)) == (digest, config)
    assert len(load_segmenter("mine").model.state_dict()) == size
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_note_that_cannot_be_written_is_one_line_and_the_model_stays(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make("mine", report("mine"))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"note was not kept.*No space left"):
        write_note(registry.find("mine"), "a note")
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_the_command_line_lists_the_same(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make("mine", report("mine", note="ten cells"))
    make("foreign")
    assert cli.main(["models", "list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "ten cells" in line)
    for words in ("mine", "2026-11-01", "tiny", "40", "0.55 → 0.89", "0.75", "0.80 → 0.79"):
        assert words in line
    assert cli.main(["models", "info", "mine"]) == 0
    assert "ten cells" in capsys.readouterr().out
