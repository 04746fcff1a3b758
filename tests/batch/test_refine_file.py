"""A label file drawn again by a model, and its table of changes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_segany import cli
from napari_segany.batch.refine_file import RefineJob, refine_file
from napari_segany.core.errors import InputError
from napari_segany.io.labels import read_labels
from napari_segany.models import loading
from tests.fakes import BrightSegmenter, FakeSegmenter


def write(folder: Path, planes: int = 1) -> tuple[Path, Path, np.ndarray]:
    """An image of bright discs, labels that are too small, and the discs; the last plane of a stack is empty."""
    truth = np.zeros((planes, 60, 80), np.uint16)
    y, x = np.indices((60, 80))
    for number in range(max(planes - 1, 1)):
        truth[number][(y - 20) ** 2 + (x - 20 - number) ** 2 <= 100] = 5
        truth[number][(y - 40) ** 2 + (x - 55) ** 2 <= 144] = 9
    shape = truth.shape if planes > 1 else (60, 80)
    given = np.stack([np.where(ndimage.binary_erosion(one > 0, iterations=3), one, 0) for one in truth])
    axes = {"axes": "ZYX" if planes > 1 else "YX"}
    image, labels = folder / "image.tif", folder / "labels.tif"
    tifffile.imwrite(
        image, np.where(truth > 0, 200, 10).astype(np.uint8).reshape(shape), photometric="minisblack", metadata=axes
    )
    tifffile.imwrite(labels, given.reshape(shape), photometric="minisblack")
    return image, labels, truth.reshape(shape)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("planes", [1, 4])
def test_objects_are_drawn_again_plane_by_plane(tmp_path: Path, planes: int) -> None:
    image, labels, truth = write(tmp_path, planes)
    before, done = labels.read_bytes(), list[int]()
    report = refine_file(RefineJob(labels, image, tmp_path / "new.tif"), BrightSegmenter, done.append)
    assert labels.read_bytes() == before
    assert np.array_equal(read_labels(tmp_path / "new.tif"), truth)
    assert done == list(range(1, planes + 1))
    table = rows(report.table)
    assert report.table == tmp_path / "new_changes.csv"
    assert len(table) == 2 * max(planes - 1, 1)
    assert [float(row["iou"]) for row in table] == sorted(float(row["iou"]) for row in table)
    first = table[0]
    assert list(first) == ["label", "plane", "iou", "score", "pixels_before", "pixels_after", "used"]
    assert (first["label"], first["used"]) == ("5", "yes")
    assert int(first["pixels_before"]) < int(first["pixels_after"]) == (truth == 5).sum() // max(planes - 1, 1)


def test_what_changes_too_much_stays(tmp_path: Path) -> None:
    image, labels, truth = write(tmp_path)
    report = refine_file(RefineJob(labels, image, tmp_path / "new.tif", least=0.55), BrightSegmenter)
    found = read_labels(tmp_path / "new.tif")
    assert {one.label: one.used for one in report.changes} == {5: False, 9: True}
    assert np.array_equal(found == 5, read_labels(labels) == 5)
    assert np.array_equal(found == 9, truth == 9)


@pytest.mark.parametrize(
    "kind", ["empty", "shape", "planes", "exists", "table", "input", "negative", "colours", "none"]
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys, kind: str) -> None:
    image, labels, _ = write(tmp_path, 3 if kind == "planes" else 1)
    out = tmp_path / "new.tif"
    monkeypatch.setattr(loading, "load_segmenter", lambda *given, **named: pytest.fail("the model was loaded"))
    if kind in ("empty", "shape", "planes"):
        shape = {"empty": (60, 80), "shape": (80, 60), "planes": (2, 60, 80)}[kind]
        tifffile.imwrite(labels, np.full(shape, kind != "empty", np.uint8), photometric="minisblack")
    if kind == "negative":
        tifffile.imwrite(labels, np.full((60, 80), -1, np.int16))
    if kind == "colours":
        tifffile.imwrite(labels, np.zeros((60, 80, 3), np.uint8), photometric="rgb")
    if kind in ("exists", "table"):
        (out if kind == "exists" else tmp_path / "new_changes.csv").write_text("mine")
    if kind == "input":
        out = labels
    if kind == "none":
        labels.unlink()
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    overwrite = ["--overwrite"] if kind == "input" else []
    assert cli.main(["refine", str(labels), "--image", str(image), "-o", str(out), *overwrite]) == 2
    error = capsys.readouterr().err
    assert error.startswith("napari-segany: ")
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_the_command_says_what_it_did(tmp_path, monkeypatch, capsys) -> None:
    image, labels, truth = write(tmp_path)
    monkeypatch.setattr(loading, "load_segmenter", lambda *given, **named: BrightSegmenter())
    command = ["refine", str(labels), "--image", str(image), "-o", str(tmp_path / "new.zarr")]
    assert cli.main(command) == 0
    assert "2 objects, mean IoU of old and new 0." in capsys.readouterr().out
    assert np.array_equal(read_labels(tmp_path / "new.zarr"), truth)
    assert (tmp_path / "new_changes.csv").is_file()
    assert cli.main(command) == 2
    assert cli.main([*command, "--overwrite"]) == 0


def test_nothing_is_written_when_the_model_fails(tmp_path: Path) -> None:
    image, labels, _ = write(tmp_path)
    before = sorted(tmp_path.iterdir())

    class Failing(FakeSegmenter):
        def embed(self, plane):
            raise InputError("no memory")

    with pytest.raises(InputError, match="no memory"):
        refine_file(RefineJob(labels, image, tmp_path / "new.tif"), Failing)
    assert sorted(tmp_path.iterdir()) == before
