"""All benches in one go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_segany import cli
from napari_segany.core.prompts import Point
from napari_segany.experiments import suite
from napari_segany.models import loading
from tests.experiments.test_text_benchmark import Measured

SETS = ("dsb2018", "usiigaci", "epfl6", "plant3d", "usiigaci_movie")


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same disc in all sets, also as a stack; nothing is downloaded or loaded."""
    rows, columns = np.indices((60, 90))
    inside = (rows - 30) ** 2 + (columns - 40) ** 2 <= 100
    for name in SETS:
        for kind, array in (("images", np.where(inside, 200, 30)), ("labels", inside)):
            (tmp_path / name / kind).mkdir(parents=True)
            Image.fromarray(array.astype(np.uint8)).save(tmp_path / name / kind / "a.png")
            stack = np.stack([array] * 6).astype(np.uint8)
            tifffile.imwrite(tmp_path / name / f"a_{kind.replace('images', 'image')}.tif", stack)
    segmenter = Measured([Point(30, 40)])
    segmenter.name = "tiny"
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: segmenter)
    return tmp_path


def test_a_page_and_rows(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, rows = sets / "page.md", sets / "rows.json"
    assert cli.main(["bench", "all", "--data", str(sets), "--page", str(page), "--json", str(rows)]) == 0
    assert capsys.readouterr().out == f"wrote {page}\n"
    text = page.read_text()
    assert text.count("## ") == text.count("napari-segany bench ") - 1 == len(suite.SUITE)
    assert 'bench clicks --model tiny --data "$SEGANY_DATA/dev/dsb2018" --rounds 8 --per-image 8' in text
    benches = {row["bench"] for row in json.loads(rows.read_text())}
    assert benches == {"clicks", "boxes", "prompts", "empty", "sizes", "everything", "stack", "link", "text"}


@pytest.mark.parametrize(("commit", "again"), [("abc", False), ("other", True), ("abc-dirty", True)])
def test_what_the_same_commit_measured_is_not_run_again(
    sets: Path, monkeypatch: pytest.MonkeyPatch, commit: str, again: bool
) -> None:
    monkeypatch.setattr(suite, "SUITE", suite.SUITE[:2])
    kept = sets / "kept"
    kept.mkdir()
    words = ["bench", "all", "--data", str(sets), "--page", str(sets / "page.md"), "--kept", str(kept)]
    assert cli.main(words) == 0
    files = sorted(kept.iterdir())
    assert [file.name for file in files] == ["00-clicks-dsb2018.json", "01-boxes-dsb2018.json"]
    rows = json.loads(files[0].read_text())
    files[0].write_text(json.dumps([{**row, "commit": commit, "miou": 0.123} for row in rows]))
    files[1].write_text("[{")
    monkeypatch.setattr(suite, "commit", lambda: commit if commit.endswith("dirty") else "abc")
    assert cli.main(words) == 0
    assert ("0.123" in (sets / "page.md").read_text()) is not again
    assert json.loads(files[1].read_text())[0]["bench"] == "boxes"


def test_a_missing_set_is_said_before_anything_runs(sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(sets / "epfl6")
    assert cli.main(["bench", "all", "--data", str(sets), "--page", str(sets / "page.md")]) == 2
    assert "lacks the folders epfl6" in capsys.readouterr().err
    assert not (sets / "page.md").exists()


@pytest.mark.parametrize(("bench", "folder", "options"), suite.SUITE)
def test_the_commands_on_the_page_are_taken(sets: Path, bench: str, folder: str, options: dict) -> None:
    words = suite.command_of(bench, folder, options, "tiny").replace('"', "").split()
    words = [word.replace("$SEGANY_DATA/dev", str(sets)) for word in words[1:]]
    assert cli.main(words) == 0
