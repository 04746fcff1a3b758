"""Whole folders without a prompt."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from pycocotools.coco import COCO

from napari_segany import cli
from napari_segany.core.errors import InputError
from napari_segany.core.everything import Grid
from napari_segany.core.prompts import Point
from napari_segany.models import loading
from napari_segany.run.everything import EverythingJob, segment_everything
from tests.fakes import FakeSegmenter, KnowingSegmenter

PLACES = [Point(15, 20), Point(40, 60)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture, a stack of two planes, and a text file."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.arange(60 * 80, dtype=np.uint8).reshape(60, 80)).save(folder / "a.png")
    tifffile.imwrite(folder / "b.tif", np.zeros((2, 60, 80), np.uint16), photometric="minisblack")
    (folder / "notes.txt").write_text("not an image")
    return folder


def run(folder: Path, out: Path, **changes: float) -> list[tuple[str, int]]:
    job = EverythingJob(folder, out, None, changes)
    return [(one.image.name, one.objects) for one in segment_everything(job, lambda: KnowingSegmenter(PLACES, 6))]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools with numpy 2
def test_labels_masks_and_a_table_for_each_image(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(folder, out) == [("a.png", 2), ("b.tif", 4)]
    labels = tifffile.imread(out / "a_labels.tif")
    assert (labels[15, 20], labels[40, 60], labels[0, 0]) == (1, 2, 0)
    stack = tifffile.imread(out / "b_labels.tif")
    # labels differ from plane to plane: nothing says yet that they are the same object
    assert [stack[z, y, x] for z in (0, 1) for y, x in ((15, 20), (40, 60))] == [1, 2, 3, 4]
    coco = COCO(out / "a_masks.json")
    mask = coco.annToMask(coco.anns[1])
    assert np.array_equal(mask.astype(bool), labels == 1)
    with (out / "b_objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["label"]) for row in rows] == [1, 2, 3, 4]
    assert float(rows[0]["score"]) == pytest.approx(0.9)


def test_what_is_done_is_not_done_again_and_what_is_half_done_is(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(folder, out)
    before = (out / "a_labels.tif").stat().st_mtime_ns
    (out / "b_objects.csv").unlink()
    (out / "b_labels.tif").write_bytes(b"torn")
    assert run(folder, out) == [("a.png", -1), ("b.tif", 4)]
    assert (out / "a_labels.tif").stat().st_mtime_ns == before
    assert tifffile.imread(out / "b_labels.tif").max() == 4


def test_results_made_in_two_ways_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "out")
    with pytest.raises(InputError, match="made with another filters; choose another folder"):
        run(folder, tmp_path / "out", score=0.5)


def test_a_broken_image_does_not_stop_the_others(folder: Path, tmp_path: Path) -> None:
    (folder / "a0.png").write_bytes(b"no picture")
    job = EverythingJob(folder, tmp_path / "out", None, {})
    reports = list(segment_everything(job, lambda: KnowingSegmenter(PLACES)))
    assert [bool(one.problem) for one in reports] == [False, True, False]
    assert "a0.png" in reports[1].problem
    assert not list((tmp_path / "out").glob("a0*"))


def test_two_images_of_one_name_get_two_results(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((60, 80), np.uint8)).save(folder / "a.bmp")
    run(folder, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("a*_labels.tif")} == {"a.png_labels.tif", "a.bmp_labels.tif"}


def test_a_grid_asks_everywhere(folder: Path, tmp_path: Path) -> None:
    segmenter = FakeSegmenter(3)
    list(segment_everything(EverythingJob(folder / "a.png", tmp_path / "out", Grid(3), {}), lambda: segmenter))
    assert sum(map(len, segmenter.asked)) == 9


def test_the_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "load_segmenter", lambda *_, **__: KnowingSegmenter(PLACES, 6))
    out = tmp_path / "out"
    assert cli.main(["segment", str(folder), "--everything", "-o", str(out), "--smallest", "50"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a.png: 2 objects",
        "b.tif: 4 objects",
        f"wrote {out}: 2 images, 0 were done before, 0 failed",
    ]
    assert json.loads((out / "everything.json").read_text())["filters"]["smallest"] == 50
    (folder / "c.png").write_bytes(b"")
    assert cli.main(["segment", str(folder), "--everything", "-o", str(out), "--smallest", "50"]) == 2
    heard = capsys.readouterr()
    assert heard.out == f"wrote {out}: 0 images, 2 were done before, 1 failed\n"
    assert heard.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--everything", "--point", "1,1"], "--everything takes no points"),
        (["--everything", "-o", "x.tif"], "labels go to a folder"),
        (["--grid", "3"], "belong to --everything"),
    ],
)
def test_what_does_not_go_together(
    folder: Path, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["segment", str(folder), "-o", str(tmp_path / "out"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no image in the folder"):
        run(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
